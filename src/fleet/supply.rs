//! Where the bytes for a heal or a rollback come from: the host itself, another host of the app, the
//! controller where the digest agrees; found nowhere, a finding that names the file. The controller
//! is asked last, since reading (and building) its source takes long, and may fail.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::AskError;
use super::run::Fleet;
use crate::content::Manifest;
use crate::helper::protocol::AppAddress;
use crate::model::{Digest, Finding, FindingClass, HostName, Member};

/// What a member will need.
#[derive(Debug, Clone)]
pub struct Need {
    /// The app on the host.
    pub address: AppAddress,
    /// The manifests of trees that will be made.
    pub manifests: BTreeMap<String, Manifest>,
    /// Single contents that will be needed, each with what needs it.
    pub contents: BTreeMap<Digest, String>,
}

/// Where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supplies {
    /// What comes from another host; the rest is here or there already.
    pub elsewhere: BTreeMap<Member, BTreeMap<Digest, HostName>>,
    /// What no host has, each with a file that needs it: only the controller may still have it.
    pub nowhere: BTreeMap<Member, BTreeMap<Digest, String>>,
}

impl Supplies {
    /// What isn't on the controller either, file by file.
    #[must_use]
    pub fn findings(&self, here: impl Fn(&Member, &Digest) -> bool) -> Vec<Finding> {
        let all = self
            .nowhere
            .iter()
            .flat_map(|(member, lacking)| lacking.iter().map(move |it| (member, it)));
        let finding = |(member, (digest, name)): (&Member, (&Digest, &String))| Finding {
            class: FindingClass::Blocking,
            host: member.host.clone(),
            app: Some(member.app.clone()),
            message: format!(
                "the content of {name} ({}) is neither on this host nor on another one of {}, and the source here has another",
                digest.short(),
                member.app
            ),
            remedy: Some(
                "check out the version of the source that made it, or apply a new one".to_owned(),
            ),
        };
        all.filter(|(member, (digest, _))| !here(member, digest))
            .map(finding)
            .collect()
    }
}

impl Need {
    /// Every content with the name of a file that has it.
    fn names(&self) -> BTreeMap<Digest, String> {
        let mut names = self.contents.clone();
        for manifest in self.manifests.values() {
            for (path, digest, _) in manifest.files() {
                names.entry(digest).or_insert_with(|| path.to_string());
            }
        }
        names
    }
}

/// Finds out where each member gets what it lacks. Takes no lock and changes nothing.
///
/// # Errors
/// The first host that refuses or is out of reach.
pub async fn supplies(fleet: &Fleet, needs: &BTreeMap<Member, Need>) -> Result<Supplies, AskError> {
    let mut lacking: BTreeMap<Member, BTreeSet<Digest>> = BTreeMap::new();
    for (member, need) in needs {
        let Some(connection) = fleet.get(&member.host) else {
            continue;
        };
        let digests = need.contents.keys().copied().collect();
        let (address, manifests) = (need.address.clone(), need.manifests.clone());
        let lacks = connection.lacking(address, manifests, digests).await?;
        if !lacks.is_empty() {
            lacking.insert(member.clone(), lacks);
        }
    }
    let mut holders: BTreeMap<Member, BTreeMap<HostName, BTreeSet<Digest>>> = BTreeMap::new();
    for (member, digests) in &lacking {
        for (host, connection) in fleet.iter().filter(|(host, _)| **host != member.host) {
            let others = needs
                .keys()
                .any(|it| it.app == member.app && it.host == *host);
            if !others {
                continue;
            }
            let mut address = needs[member].address.clone();
            address.host = host.clone();
            // What is asked by digest alone needs no manifest; sealed digests are one host's own.
            let asked: BTreeSet<_> = digests
                .iter()
                .filter(|it| !it.is_sealed())
                .copied()
                .collect();
            let lacks = connection.lacking(address, BTreeMap::new(), asked.clone());
            let has = asked.difference(&lacks.await?).copied().collect();
            let holders = holders.entry(member.clone()).or_default();
            holders.insert(host.clone(), has);
        }
    }
    Ok(choose(needs, &lacking, &holders))
}

/// Chooses a source for all that is lacking. Pure.
fn choose(
    needs: &BTreeMap<Member, Need>,
    lacking: &BTreeMap<Member, BTreeSet<Digest>>,
    holders: &BTreeMap<Member, BTreeMap<HostName, BTreeSet<Digest>>>,
) -> Supplies {
    let mut supplies = Supplies::default();
    for (member, digests) in lacking {
        let names = needs[member].names();
        for digest in digests {
            let mut hosts = holders.get(member).into_iter().flatten();
            if let Some((host, _)) = hosts.find(|(_, has)| has.contains(digest)) {
                let elsewhere = supplies.elsewhere.entry(member.clone()).or_default();
                elsewhere.insert(*digest, host.clone());
            } else {
                let name = names.get(digest).map_or("a file", String::as_str);
                let nowhere = supplies.nowhere.entry(member.clone()).or_default();
                nowhere.insert(*digest, name.to_owned());
            }
        }
    }
    supplies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{Lab, address, host, member};

    #[tokio::test]
    async fn bytes_come_from_the_nearest_place_that_has_them() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![])]);
        let [own, other, source, gone] = [b"1", b"2", b"3", b"4"].map(|it| Digest::of(it));
        lab.host("a").has = [own].into();
        lab.host("b").has = [own, other, source, gone].into();
        lab.host("b").has.remove(&source);
        lab.host("b").has.remove(&gone);
        let needs = ["a", "b"].map(|name| {
            let all = [own, other, source, gone].into_iter();
            let contents = match name {
                "a" => all.map(|it| (it, format!("/etc/{}", it.short()))).collect(),
                _ => BTreeMap::new(),
            };
            let need = Need {
                address: address(name),
                manifests: BTreeMap::new(),
                contents,
            };
            (member(name), need)
        });
        let here = |_: &Member, digest: &Digest| *digest == source || *digest == other;
        let supplies = supplies(&lab.fleet, &needs.into()).await.unwrap();
        let elsewhere = &supplies.elsewhere[&member("a")];
        assert_eq!(*elsewhere, [(other, host("b"))].into());
        let findings = supplies.findings(here);
        assert_eq!(findings.len(), 1);
        let message = &findings[0].message;
        assert!(
            message.contains(&format!("/etc/{}", gone.short())),
            "{message}"
        );
    }
}
