//! What rosey leaves on a host about an app: generations, holds, and the times of its changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::facts::Moment;
use super::gate::Gates;
use super::names::{AppName, EnvironmentName, HostName};
use super::resource::{Resource, ResourceId, State};
use super::run::{Author, RunId};

/// One state that an app had on a host, from its commit on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The run that made it, the same on all hosts of the run; none for generation 0, what was there before.
    pub run: Option<RunId>,
    /// Its number for people: one above the highest that any host of the app showed.
    pub number: u64,
    /// The number of the generation that it came after; for one that a rollback made, the parent of the target.
    pub parent: Option<u64>,
    /// The name of the release; none for generation 0.
    pub release: Option<String>,
    /// The version; none for generation 0.
    pub version: Option<String>,
    /// The digest of source, templates and task definitions, the same for all hosts.
    pub content: Option<Digest>,
    /// The digest of the app as declared: what a hold holds.
    pub declared: Option<Digest>,
    /// The variables that it was declared with here, as commands get them; none where that wasn't recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<BTreeMap<String, String>>,
    /// The app's whole state on this host.
    pub state: State,
    /// Its gates, rendered for this host.
    pub gates: Gates,
    /// What its backups cover, as the backup's settings; none where nothing is declared.
    #[serde(default)]
    pub backup: Option<Resource>,
    /// Who made it, and why.
    pub author: Author,
    /// When it was committed (RFC 3339, UTC).
    pub at: String,
    /// Whether all gates passed when it was committed.
    pub verified: bool,
    /// Whether a rollback has left it.
    #[serde(default)]
    pub left: bool,
}

/// An app as declared that may not be applied again, because of a verdict or a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The digest of the app as declared.
    pub declared: Digest,
    /// The name of the release that it would make.
    pub release: String,
    /// Why: the verdict, or the rollback's reason.
    pub why: String,
    /// The run that set it.
    pub run: RunId,
    /// When (RFC 3339, UTC).
    pub at: String,
}

/// A person's word that nothing is to be applied for now; a rollback is still allowed.
///
/// It lies on the servers, so that it holds for every controller, a fresh CI runner among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who froze it, and why: the reason is always there.
    pub author: Author,
    /// Since when (RFC 3339, UTC).
    pub at: String,
    /// When it ends by itself, in seconds since 1970; none when it has to be lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

impl Freeze {
    /// Whether it still holds at a time, in seconds since 1970.
    #[must_use]
    pub fn holds_at(&self, now: i64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Changes to the ledger beside a new generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Generations that a rollback leaves.
    pub left: Vec<u64>,
    /// Holds to set.
    pub hold: Vec<Hold>,
    /// Apps as declared whose holds are lifted.
    pub lift: Vec<Digest>,
    /// Lifts all holds.
    pub lift_all: bool,
    /// The freeze to set, in the place of an earlier one.
    pub freeze: Option<Box<Freeze>>,
    /// Lifts the freeze.
    pub unfreeze: bool,
    /// How the standing generation is declared, where nothing else about it is another than before.
    #[serde(default)]
    pub restate: Option<Box<Restated>>,
}

/// What of a declaration can change without a step: nothing on the host is another for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restated {
    /// The run of the generation that is meant; another one that stands by now refuses it.
    pub run: Option<RunId>,
    /// Its gates.
    pub gates: Gates,
    /// What its backups cover.
    pub backup: Option<Resource>,
    /// The digest of the app as declared: what a hold holds.
    pub declared: Option<Digest>,
    /// Its variables, as commands get them.
    #[serde(default)]
    pub variables: Option<BTreeMap<String, String>>,
}

/// Everything that rosey knows of an app on a host; it lies on that host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The environment that the app belongs to.
    pub environment: EnvironmentName,
    /// The app.
    pub app: AppName,
    /// The app's root, by its real path.
    pub root: String,
    /// The last run that had steps here, whatever its outcome; a saved plan names it.
    pub head: Option<RunId>,
    /// Generations that are kept, oldest first; the last one stands.
    pub generations: Vec<Generation>,
    /// What may not be applied again.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// When rosey last changed each resource.
    #[serde(default, with = "changes")]
    pub changes: BTreeMap<ResourceId, Moment>,
    /// How the last run ended that did not end well: for the next contact to tell.
    #[serde(default)]
    pub notice: Option<String>,
    /// What stands here between old and new, since a run ended past its point of no return; until a
    /// generation is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
    /// Whether the standing generation was healthy when its gates were read last, after a way back to it; none as long
    /// as its commit says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<bool>,
    /// The freeze by hand, even when its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(environment: EnvironmentName, app: AppName, root: String) -> Self {
        Self {
            environment,
            app,
            root,
            head: None,
            generations: Vec::new(),
            holds: Vec::new(),
            changes: BTreeMap::new(),
            notice: None,
            standing: None,
            judged: None,
            freeze: None,
        }
    }

    /// The same by the name that its host has now: a declaration may call a host otherwise than when it was written.
    #[must_use]
    pub fn on(mut self, host: &HostName) -> Self {
        let id = |id: ResourceId| ResourceId {
            host: host.clone(),
            ..id
        };
        for generation in &mut self.generations {
            let resources = std::mem::take(&mut generation.state.resources).into_iter();
            generation.state.resources = resources.map(|(of, it)| (id(of), it)).collect();
        }
        let changes = self.changes.into_iter();
        self.changes = changes.map(|(of, moment)| (id(of), moment)).collect();
        self
    }

    /// Whether it has the generation of a run: that has committed here.
    #[must_use]
    pub fn has(&self, run: &RunId) -> bool {
        let mut generations = self.generations.iter();
        generations.any(|it| it.run.as_ref() == Some(run))
    }

    /// The generation that stands.
    #[must_use]
    pub fn current(&self) -> Option<&Generation> {
        self.generations.last()
    }

    /// The last verdict on the generation that stands.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let verified = self.current().is_some_and(|current| current.verified);
        self.judged.unwrap_or(verified)
    }

    /// Generation 0: what was there before rosey came, and of what it took over later, before that.
    #[must_use]
    pub fn found(&self) -> Option<&Generation> {
        self.generations.first().filter(|first| first.run.is_none())
    }

    /// The freeze that holds at a time, in seconds since 1970.
    #[must_use]
    pub fn frozen(&self, now: i64) -> Option<&Freeze> {
        self.freeze.as_ref().filter(|freeze| freeze.holds_at(now))
    }

    /// One generation by its number.
    #[must_use]
    pub fn generation(&self, number: u64) -> Option<&Generation> {
        self.generations
            .iter()
            .find(|generation| generation.number == number)
    }
}

/// JSON has no maps with compound keys: the changes are written as a list of pairs.
mod changes {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Moment, ResourceId};

    pub fn serialize<S: Serializer>(
        changes: &BTreeMap<ResourceId, Moment>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        changes.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ResourceId, Moment>, D::Error> {
        Ok(Vec::<(ResourceId, Moment)>::deserialize(deserializer)?
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_ends_with_its_time_and_is_absent_in_ledgers_that_know_none() {
        let environment = EnvironmentName::new("prod").unwrap();
        let mut ledger = Ledger::new(environment, AppName::new("bot").unwrap(), "/opt/bot".into());
        let text = serde_json::to_string(&ledger).unwrap();
        assert!(!text.contains("freeze"), "{text}");
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
        let mut freeze = Freeze {
            author: Author::default(),
            at: "2026-11-20T10:00:00Z".into(),
            until: Some(100),
        };
        ledger.freeze = Some(freeze.clone());
        assert_eq!(ledger.frozen(99), Some(&freeze));
        assert_eq!(ledger.frozen(100), None);
        freeze.until = None;
        ledger.freeze = Some(freeze.clone());
        assert_eq!(ledger.frozen(i64::MAX), Some(&freeze));
    }

    #[test]
    fn a_generation_of_an_earlier_rosey_is_read() {
        // It knew no variables, and had a flag that nothing ever set.
        let text = r#"{"run":"r","number":1,"parent":0,"release":"1-a","version":"1","content":null,
            "declared":null,"state":[],"gates":{"within":0,"stable":0,"gates":[]},
            "author":{"user":"ann","machine":"m"},"at":"2026-11-20T10:00:00Z","verified":true,"left":false,"bad":false}"#;
        let generation: Generation = serde_json::from_str(text).unwrap();
        assert_eq!((generation.verified, generation.variables), (true, None));
    }
}
