//! What rosey knows about one kind of resource, as one trait.
//!
//! The planner asks the pure half and never looks at a kind's name; the executor asks the other
//! half. A new kind is one file that implements this, and one line in [`super::registry`].

use thiserror::Error;

use crate::config::{Declaration, Word};
use crate::content::{Content, ContentError, PathChange};
use crate::host::{HostError, HostErrorKind, Owner, ReadHost, WriteHost};
use crate::model::{
    Action, GateResult, Label, Moment, Places, Reason, Resource, ResourceId, ResourceKind, RunId,
    Step, StepKind, Thing, Value,
};

use super::desired::Desired;

/// A resource with its name.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Its name.
    pub id: &'a ResourceId,
    /// How it is.
    pub resource: &'a Resource,
}

/// A resource on its way: from how it is to how it should be; none is absence.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Its name.
    pub id: &'a ResourceId,
    /// How it is.
    pub from: Option<&'a Resource>,
    /// How it should be.
    pub to: Option<&'a Resource>,
}

/// Something in a resource's place that a change neither turns into it nor puts aside for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    /// What lies there: `a directory`.
    pub lies: String,
    /// What belongs there: `a link to releases/1.4.2-3fa9c1d2e0b7`.
    pub belongs: String,
}

/// One part of a change: most changes have one; a service that must not run while something under
/// it changes has two, `stop` and `start`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Tells parts of one resource apart; empty where there is one.
    pub name: &'static str,
    /// What it does.
    pub action: Action,
    /// How the resource is before it.
    pub from: Option<Resource>,
    /// How the resource is after it.
    pub to: Option<Resource>,
}

/// What reading resources needs beside the host.
pub struct ObserveContext<'a> {
    /// The host, for reading.
    pub host: &'a dyn ReadHost,
    /// Where the app's things lie.
    pub places: &'a Places,
    /// Patterns of paths that may be extra inside a release: `*.pyc`, `__pycache__/`.
    pub ignore: &'a [String],
    /// The key for digests of content that holds a secret; it never leaves the host.
    pub seal: &'a [u8; 32],
    /// The manifest of a tree by its digest, where it is known.
    pub manifest: &'a (dyn Fn(&str) -> Option<crate::content::Manifest> + Sync),
    /// When rosey last changed a resource, for telling a stale service.
    pub changed: &'a (dyn Fn(&ResourceId) -> Option<Moment> + Sync),
    /// All resources that are declared or known from the ledger, for finding out what is used.
    pub known: &'a [(ResourceId, Resource)],
}

/// A resource as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// How it is; none when it is absent.
    pub resource: Option<Resource>,
    /// Paths in it that differ from what is known, where it has paths.
    pub changes: Vec<PathChange>,
}

/// What taking a step needs beside the step.
pub struct StepContext<'a> {
    /// The host.
    pub host: &'a dyn WriteHost,
    /// For reading back.
    pub observe: &'a ObserveContext<'a>,
    /// The run that takes it.
    pub run: &'a RunId,
    /// Who owns what rosey makes where nothing else is declared.
    pub owner: &'a Owner,
    /// Content by digest: from packs, kept releases, or what a step put aside.
    pub content: &'a dyn Content,
    /// Whether nobody wants the step any more. What changes something ends all the same; what only
    /// waits needn't.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Told that the step is going to fail, before it clears away what it has made: the host may lack something, as room,
    /// only until then.
    pub failing: &'a dyn Fn(),
    /// Hears what a step that waits is waiting for right now.
    pub waits: &'a dyn Fn(String),
    /// Hears what gates said in the end, where the step reads gates.
    pub gates: &'a dyn Fn(Vec<GateResult>),
}

/// Why a step failed.
#[derive(Debug, Error)]
pub enum StepError {
    /// A primitive failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Content is not to be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The resource is neither as it was planned nor as it should be.
    #[error(
        "{resource} is not as it was when the plan was made ({found}); nothing was overwritten. Plan again"
    )]
    Conflict {
        /// The resource.
        resource: String,
        /// What was found instead.
        found: String,
    },
    /// A command of the user's failed.
    #[error("{what} {how}{tail}")]
    Command {
        /// Which: `task "dependencies"`.
        what: String,
        /// `exited with 1`, `took longer than 5m`.
        how: String,
        /// What it printed last, on lines of its own, or nothing.
        tail: String,
    },
    /// A service didn't come to be as it should.
    #[error("{unit} {how}{tail}")]
    Service {
        /// The unit.
        unit: String,
        /// `failed (exit-code) after 3 restarts`.
        how: String,
        /// The last lines of its log, on lines of their own, or nothing.
        tail: String,
    },
    /// Gates failed.
    #[error("{0}")]
    Gates(String),
    /// Gates said neither yes nor no, or weren't waited for.
    #[error("{0}")]
    Inconclusive(String),
    /// After the step the resource isn't as the step should have made it.
    #[error("{resource} was changed, but then read back otherwise: {found}")]
    NotAsWritten {
        /// The resource.
        resource: String,
        /// What was read.
        found: String,
    },
}

impl StepError {
    /// The same without what may not be told: `mask` takes that out of words of the app's and of the system's.
    #[must_use]
    pub fn masked(mut self, mask: impl Fn(&str) -> String) -> Self {
        match &mut self {
            Self::Command { how, tail, .. } | Self::Service { how, tail, .. } => {
                *how = mask(how);
                *tail = mask(tail);
            }
            Self::Gates(words) | Self::Inconclusive(words) => *words = mask(words),
            Self::Host(HostError {
                kind: HostErrorKind::Other(words),
                ..
            }) => *words = mask(words),
            Self::Host(_)
            | Self::Content(_)
            | Self::Conflict { .. }
            | Self::NotAsWritten { .. } => {}
        }
        self
    }

    /// Whether it says something about the app (a verdict, which holds), not about the host or the network.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(
            self,
            Self::Command { .. } | Self::Service { .. } | Self::Gates(_)
        )
    }
}

/// One kind of resource, and the step that changes it.
pub trait Kind: Send + Sync {
    /// The word of the resource.
    fn resource(&self) -> ResourceKind;

    /// The word of the step.
    fn step(&self) -> StepKind;

    // What the declaration asks.

    /// The words of an app's body that are this kind's.
    fn words(&self) -> Vec<Word> {
        Vec::new()
    }

    /// Puts into the release's tree what one of its words declares there.
    fn shape(&self, _declaration: &Declaration, _desired: &mut Desired<'_>) {}

    /// Wants what one of its words declares; the release's tree is complete.
    fn desire(&self, _declaration: &Declaration, _desired: &mut Desired<'_>) {}

    /// Wants what every app has.
    fn complete(&self, _desired: &mut Desired<'_>) {}

    // The pure half: what the planner asks.

    /// What is there because of it.
    fn makes(&self, it: Named<'_>) -> Vec<Thing>;

    /// What it can't be without.
    fn uses(&self, it: Named<'_>) -> Vec<Thing>;

    /// What only one resource at a time may have.
    fn occupies(&self, _it: Named<'_>) -> Vec<Thing> {
        Vec::new()
    }

    /// Whether it stays when it is no longer declared, until no kept generation needs it: only
    /// pruning removes it.
    fn is_retained(&self, _it: Named<'_>) -> bool {
        false
    }

    /// What is wanted of a resource that is there and that no ledger knows: by default what is declared.
    fn met(&self, wanted: &Resource, _found: &Resource) -> Resource {
        wanted.clone()
    }

    /// What of the things that it uses is no ground that it stands on: where such a thing leaves, it is renewed after
    /// that, to see that it is gone, rather than before. A path that ends with a slash is whatever lies there: that is used
    /// even where nobody names it.
    fn heeds(&self, _it: Named<'_>) -> Vec<Thing> {
        Vec::new()
    }

    /// Whether what uses it has to be renewed when it changes (a restart): not for a directory.
    fn renews(&self) -> bool {
        true
    }

    /// The attribute that becomes false when something that it uses changes; none where nothing does.
    fn freshness(&self, _it: Named<'_>) -> Option<&'static str> {
        None
    }

    /// Whether a resource that was found so uses what it uses by its declaration, which alone tells that.
    fn is_used_as(&self, declared: Named<'_>, _found: &Resource) -> bool {
        self.freshness(declared).is_some()
    }

    /// What differs; empty when there is nothing to do. By default each attribute that `to` names:
    /// what only `from` has was read, not declared.
    fn compare(&self, change: Change<'_>) -> Vec<Reason> {
        differing_attributes(change.from, change.to)
    }

    /// What lies in the resource's place, where a step would only stop at it.
    fn in_the_way(&self, _change: Change<'_>) -> Option<InTheWay> {
        None
    }

    /// The parts of a change that has reasons. `disturbed`: something happens in the plan that it
    /// must not be running through; then there may be no reasons.
    fn parts(&self, change: Change<'_>, reasons: &[Reason], disturbed: bool) -> Vec<Part>;

    /// What nobody may be running on while the change happens (a restore of data): who occupies
    /// such a thing is stopped before and started after.
    fn disturbs(&self, _change: Change<'_>) -> Vec<Thing> {
        Vec::new()
    }

    /// Whether the change is made on one host only, once a run, while the others note that it was (a migration).
    fn is_once(&self, _change: Change<'_>) -> bool {
        false
    }

    /// Whether the running system can't see the change.
    fn is_inert(&self, change: Change<'_>) -> bool;

    /// How a change can be taken back.
    fn label(&self, _change: Change<'_>) -> Label {
        Label::Reversible
    }

    // The other half: what observing and applying ask.

    /// Reads the resource. `wanted` is how it should be, for what can't be read without knowing that.
    ///
    /// # Errors
    /// When it can't be known how it is.
    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError>;

    /// How long the step may wait for what it waits for, in milliseconds, where it says so itself.
    fn within(&self, _step: &Step) -> Option<u64> {
        None
    }

    /// Whether a resource so can't be told from none at all: nothing is left to read of it.
    fn is_absence(&self, _it: Named<'_>) -> bool {
        false
    }

    /// Whether all that a step changes is what is read: found as before it, a step that has failed has changed nothing.
    /// Not so of a command.
    fn shows_all(&self) -> bool {
        false
    }

    /// Whether a state found is one that this step, once begun, may leave behind.
    fn is_between(&self, _step: &Step, _found: Option<&Resource>) -> bool {
        false
    }

    /// How a resource is to be again that a run has begun to change; `before`: how it was.
    fn restored(&self, _id: &ResourceId, before: &Resource) -> Resource {
        before.clone()
    }

    /// Takes the step. Called twice, or after being cut off anywhere, it ends the same.
    ///
    /// # Errors
    /// When the resource isn't as the step says afterwards.
    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError>;

    /// Removes what a run put aside for the way back of this step, once the run is settled.
    ///
    /// # Errors
    /// When something can't be removed; that harms nothing but space.
    fn sweep(&self, _context: &StepContext<'_>, _step: &Step) -> Result<(), StepError> {
        Ok(())
    }
}

/// A reason for each attribute that differs.
#[must_use]
pub fn differing_attributes(from: Option<&Resource>, to: Option<&Resource>) -> Vec<Reason> {
    let empty = Resource::new();
    let old = &from.unwrap_or(&empty).attributes;
    let reason = |attribute: &String, old: Option<&Value>, new: Option<&Value>| Reason {
        attribute: attribute.clone(),
        old: old.cloned(),
        new: new.cloned(),
        because: None,
    };
    match to {
        None => old
            .iter()
            .map(|(name, value)| reason(name, Some(value), None))
            .collect(),
        Some(to) => to
            .attributes
            .iter()
            .filter(|(name, value)| old.get(*name) != Some(*value))
            .map(|(name, value)| reason(name, old.get(name), Some(value)))
            .collect(),
    }
}
