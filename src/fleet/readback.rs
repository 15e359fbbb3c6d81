//! What stands on the hosts at the end of a run, as they say it themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::conduct::{Conduct, unpanicked};
use super::connection::Connection;
use super::ending::MemberEnd;
use crate::helper::protocol::{AppAddress, ObserveApp, SurveyedApp};
use crate::model::{Gates, HostName, HostOutcome, Ledger, Member, ResourceKind, State};

/// What was read of one app at the end.
struct Read {
    surveyed: SurveyedApp,
    /// None when it couldn't be read.
    actual: Option<State>,
}

impl Conduct {
    /// Reads every host that can be reached, and corrects what was believed of it.
    pub(super) async fn read_back(&mut self) -> BTreeMap<HostName, Vec<HostOutcome>> {
        let mut read = self.read_hosts().await;
        let members: Vec<Member> = self.run.parts.keys().cloned().collect();
        let mut hosts: BTreeMap<HostName, Vec<HostOutcome>> = BTreeMap::new();
        for member in members {
            let found = read.remove(&member);
            if let Some(found) = &found {
                self.correct(&member, &found.surveyed);
            }
            let app = member.app.to_string();
            let outcome = match found {
                Some(found) => {
                    host_outcome(app, found.surveyed.ledger.as_ref(), found.actual.as_ref())
                }
                None => HostOutcome {
                    app,
                    generation: None,
                    release: None,
                    version: None,
                    healthy: None,
                },
            };
            hosts.entry(member.host).or_default().push(outcome);
        }
        hosts
    }

    async fn read_hosts(&self) -> BTreeMap<Member, Read> {
        let first: BTreeMap<HostName, Member> = self
            .run
            .parts
            .keys()
            .map(|member| (member.host.clone(), member.clone()))
            .collect();
        let first = first.into_iter();
        let first = first.filter(|(host, _)| !self.unanswered.contains(host));
        let first: BTreeSet<Member> = first.map(|(_, member)| member).collect();
        let mut set = self.on_each(&first, |member, connection| {
            let parts = self.run.parts.iter();
            let apps: Vec<AppAddress> = parts
                .filter(|(other, _)| other.host == member.host)
                .map(|(_, part)| part.address.clone())
                .collect();
            async move { Ok(read_host(&connection, apps).await) }
        });
        let mut read = BTreeMap::new();
        loop {
            let joined = tokio::select! {
                biased;
                joined = set.join_next() => joined,
                () = self.cancelling.impatient() => return read,
            };
            match joined.map(unpanicked) {
                Some((_, Ok(found))) => read.extend(found),
                // Its end says already why it can't be read.
                Some((_, Err(_))) => {}
                None => return read,
            }
        }
    }

    /// What a host says of itself counts more than what it was believed to be.
    fn correct(&mut self, member: &Member, surveyed: &SurveyedApp) {
        let open = surveyed.interrupted.as_ref();
        let open = open.is_some_and(|interrupted| interrupted.run == self.run.id);
        let shows = surveyed
            .ledger
            .as_ref()
            .map(|ledger| self.shows_run(ledger));
        let forgotten = self.part(member).forget.is_some();
        match self.ends.get(member) {
            Some(MemberEnd::Committed) => {
                // Where another host has yet to commit, this one's ledger still says that it has.
                let stands = shows == Some(true) || (forgotten && shows.is_none());
                if !stands {
                    self.stuck(
                        member,
                        format!("{member} committed, and its ledger doesn't show it"),
                    );
                }
            }
            Some(MemberEnd::Back) if shows == Some(true) => {
                self.stuck(
                    member,
                    format!("{member} went back, and its ledger shows the new generation"),
                );
            }
            Some(MemberEnd::Back) if open => {
                self.stuck(
                    member,
                    format!("{member} went back, and its journal is still open"),
                );
            }
            _ => {}
        }
    }
}

/// Reads apps of one host; those that can't be read are left out.
async fn read_host(connection: &Connection, apps: Vec<AppAddress>) -> BTreeMap<Member, Read> {
    let Ok(surveyed) = connection.survey(apps.clone(), BTreeMap::new()).await else {
        return BTreeMap::new();
    };
    let observe = apps.iter().map(|app| ObserveApp {
        app: app.clone(),
        wanted: State::default(),
        manifests: BTreeMap::new(),
        findings: false,
        incoming: 0,
        units: BTreeMap::new(),
        gates: Gates::default(),
    });
    let observed = connection.observe(observe.collect()).await;
    let mut states = observed.into_iter().flatten().map(|app| app.actual);
    apps.into_iter()
        .zip(surveyed.apps)
        .map(|(app, surveyed)| {
            let member = Member::new(&app.host, &app.app);
            let actual = states.next();
            (member, Read { surveyed, actual })
        })
        .collect()
}

/// What the outcome and `status` say of an app on a host: `healthy` is its last verdict in the
/// ledger, and that its services are active now.
#[must_use]
pub fn host_outcome(app: String, ledger: Option<&Ledger>, actual: Option<&State>) -> HostOutcome {
    let current = ledger.and_then(Ledger::current);
    let healthy = match (ledger, current, actual) {
        (Some(ledger), Some(current), Some(actual)) => {
            let mut services = current
                .state
                .resources
                .iter()
                .filter(|(id, wanted)| id.kind == ResourceKind::SERVICE && wanted.is("active"));
            let active = services.all(|(id, _)| actual.get(id).is_some_and(|it| it.is("active")));
            Some(ledger.is_healthy() && active)
        }
        _ => None,
    };
    HostOutcome {
        app,
        generation: current.map(|current| current.number),
        release: current.and_then(|current| current.release.clone()),
        version: current.and_then(|current| current.version.clone()),
        healthy,
    }
}
