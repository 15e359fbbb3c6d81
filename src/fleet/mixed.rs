//! Whether the hosts of an app agree: all old, all new, or mixed. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::prospect::Survey;
use crate::helper::protocol::Interrupted;
use crate::model::{AppName, HostName};

/// An app whose hosts don't agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixed {
    /// The app.
    pub app: AppName,
    /// What stands, and where; none where nothing was ever applied.
    pub releases: BTreeMap<Option<String>, Vec<HostName>>,
    /// Runs there that were cut off and not settled yet: often why.
    pub interrupted: Vec<(HostName, Interrupted)>,
}

/// The apps whose hosts don't agree: the content that stands differs, or that in their ledgers does.
///
/// By content and not by number, because a run doesn't touch hosts on which nothing changes. A host
/// that was ready keeps what it has promised, and its ledger doesn't have that yet.
#[must_use]
pub fn mixed(survey: &Survey) -> Vec<Mixed> {
    let mut apps: BTreeMap<&AppName, Mixed> = BTreeMap::new();
    let mut contents: BTreeMap<&AppName, (BTreeSet<_>, BTreeSet<_>)> = BTreeMap::new();
    for (member, surveyed) in &survey.members {
        let current = surveyed.ledger.as_ref().and_then(|ledger| ledger.current());
        let interrupted = surveyed.interrupted.as_ref();
        let stands = surveyed.standing();
        let (standing, in_ledgers) = contents.entry(&member.app).or_default();
        standing.insert(stands.and_then(|it| it.content));
        in_ledgers.insert(current.and_then(|it| it.content));
        let app = apps.entry(&member.app).or_insert_with(|| Mixed {
            app: member.app.clone(),
            releases: BTreeMap::new(),
            interrupted: Vec::new(),
        });
        let release = stands.and_then(|it| it.release.clone());
        let hosts = app.releases.entry(release).or_default();
        hosts.push(member.host.clone());
        app.interrupted
            .extend(interrupted.map(|it| (member.host.clone(), it.clone())));
    }
    apps.retain(|app, _| {
        let (standing, in_ledgers) = &contents[app];
        standing.len() > 1 || in_ledgers.len() > 1
    });
    apps.into_values().collect()
}

impl fmt::Display for Mixed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |hosts: &[HostName]| {
            let names: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            names.join(", ")
        };
        let stands: Vec<_> = self
            .releases
            .iter()
            .map(|(release, hosts)| {
                let release = release.as_deref().unwrap_or("nothing of rosey's");
                format!("{release} on {}", list(hosts))
            })
            .collect();
        write!(formatter, "{} is mixed: {}", self.app, stands.join("; "))?;
        for (host, interrupted) in &self.interrupted {
            let Interrupted { run, command, .. } = interrupted;
            let how = if interrupted.ready {
                "stands unconfirmed"
            } else {
                "was cut off"
            };
            write!(formatter, "; the run {run} ({command}) {how} on {host}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{Lab, address, generation, member};
    use crate::helper::protocol::Marks;

    async fn survey(lab: &Lab, hosts: &[&str]) -> Survey {
        let addresses = hosts.iter().map(|host| (member(host), address(host)));
        let addresses = addresses.collect();
        crate::fleet::prospect::survey(&lab.fleet, &addresses, BTreeMap::new())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn hosts_that_a_run_did_not_touch_agree_all_the_same() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![])]);
        let mut same = generation(2, Some(1));
        same.content = generation(1, None).content;
        lab.host("b").ledger.generations.push(same);
        assert_eq!(mixed(&survey(&lab, &["a", "b"]).await), []);
    }

    #[tokio::test]
    async fn what_differs_or_was_cut_off_is_said_host_by_host() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![]), ("c", vec![])]);
        lab.host("b")
            .ledger
            .generations
            .push(generation(2, Some(1)));
        {
            let mut host = lab.host("c");
            host.open = Some(crate::model::RunId("run-2".to_owned()));
            host.ready = true;
            host.promise = Some((generation(2, Some(1)), Marks::default()));
        }
        // What a ready host serves is what it has promised, not yet what its ledger says.
        let told = "app is mixed: 1.1-abc on a; 1.2-abc on b, c; the run run-2 (apply) stands unconfirmed on c";
        assert_eq!(
            mixed(&survey(&lab, &["a", "b", "c"]).await)[0].to_string(),
            told
        );
        let told = told.replace(" on b, c;", " on c;");
        assert_eq!(
            mixed(&survey(&lab, &["a", "c"]).await)[0].to_string(),
            told,
            "no ledger has it yet"
        );
        assert_eq!(
            mixed(&survey(&lab, &["b", "c"]).await)[0].to_string(),
            "app is mixed: 1.2-abc on b, c; the run run-2 (apply) stands unconfirmed on c",
            "it has yet to be committed"
        );
    }
}
