//! What a journal says: its records, and what they come to when read in order.
//!
//! Pure values. Nothing here knows how records lie in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::{Manager, Owner};
use crate::model::{
    AppName, Author, EnvironmentName, GateResult, Gates, Generation, Hold, HostName, Marks, Member,
    Moment, Plan, Resource, ResourceId, ResourceKind, RunId, State, Step, StepId, Verdict,
};

/// The format of journals that this program writes and reads.
pub const FORMAT: &str = "rosey journal 1";

/// The first record: everything that the way back needs to know, so that it can be taken without
/// the controller, the declaration and the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// [`FORMAT`].
    pub format: String,
    /// The run.
    pub run: RunId,
    /// The environment.
    pub environment: EnvironmentName,
    /// What the declaration calls this host.
    pub host: HostName,
    /// The app.
    pub app: AppName,
    /// All that take part in the run, this one too: should the controller be lost in its last round, one of them may
    /// have committed.
    pub members: BTreeSet<Member>,
    /// The app's root, by its real path.
    pub root: PathBuf,
    /// Directories above the root that weren't there, top first: made for it, and taken away with it.
    pub above: Vec<PathBuf>,
    /// Who owns what rosey makes here.
    pub owner: Owner,
    /// Patterns of paths that may be extra inside a release.
    pub ignore: Vec<String>,
    /// Who runs the app's services.
    pub manager: Manager,
    /// Who began it, and why.
    pub author: Author,
    /// What it was: `apply`.
    pub command: String,
    /// Milliseconds without the controller after which the helper goes back by itself.
    pub guard: u64,
    /// When (RFC 3339).
    pub at: String,
    /// The steps of this host and app.
    pub plan: Plan,
    /// How everything was, read under the lock.
    pub before: State,
    /// What is declared or known besides: for finding out what is used.
    pub known: State,
    /// The gates of the generation that stood.
    pub gates: Gates,
    /// What they said before the first change.
    pub baseline: Vec<GateResult>,
}

impl Opened {
    /// The gates that judge a way back: those of the generation that stood, as far as they passed
    /// before the first change.
    #[must_use]
    pub fn judges(&self) -> Gates {
        let passed = |name: &str| {
            self.baseline
                .iter()
                .any(|result| result.gate == name && result.verdict == Verdict::Passed)
        };
        Gates {
            gates: self
                .gates
                .gates
                .iter()
                .filter(|gate| passed(&gate.name))
                .cloned()
                .collect(),
            ..self.gates.clone()
        }
    }
}

/// Why a run is taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// In words, for the record.
    pub reason: String,
    /// The hold to set, where a verdict is the reason.
    pub hold: Option<Hold>,
    /// Since when it is on its way (RFC 3339), once it is.
    #[serde(default)]
    pub since: String,
}

/// How a run ended here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settled {
    /// Its generation stands.
    Committed,
    /// Everything is as it was before, but for what is listed, a sentence each.
    WentBack {
        /// What isn't as it was.
        problems: Vec<String>,
    },
    /// It was left between old and new: past its point of no return there is no way back.
    Stands,
}

/// What a commit makes of a run: so that it needs nobody else, should the controller be lost between
/// one host and the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The generation.
    pub generation: Generation,
    /// What else changes in the ledger.
    pub marks: Marks,
    /// Whether no member commits before every app of the run on this host is ready. Not so of what stays new in a run
    /// that failed.
    #[serde(default)]
    pub with_all: bool,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// The run is open.
    Opened(Box<Opened>),
    /// A step of the plan is about to change something.
    Begin {
        /// Which.
        step: StepId,
    },
    /// The way back begins, again where it was cut off.
    GoingBack(Box<Cause>),
    /// A step of the way back is about to change something.
    BeginBack {
        /// The whole step: the plan doesn't have it.
        step: Box<Step>,
    },
    /// A step is done, or has failed and may have changed something. One of the way back that fails stays open: it is
    /// tried again, and announced as it is.
    End {
        /// Which.
        step: StepId,
        /// Whether anything may have changed.
        changed: bool,
        /// When: not before the change.
        moment: Moment,
        /// Whether it failed.
        failed: bool,
    },
    /// What a commit will make of it.
    Promise(Box<Promise>),
    /// From here on the new state is kept if the controller is lost.
    Ready,
    /// The run is over here.
    Settled(Settled),
    /// What it had put aside is gone.
    Swept,
}

/// How many ends of one step of the way back are written down.
const ENDS: usize = 8;

/// What the records of a journal come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The first record.
    pub opened: Opened,
    /// Steps of the plan that were begun.
    pub begun: BTreeSet<StepId>,
    /// Steps that were done without fault, whether or not anything had to be changed.
    pub done: BTreeSet<StepId>,
    /// Steps of ways back that were begun: of each name all that were different.
    pub back: BTreeMap<StepId, Vec<Step>>,
    /// Steps, forward or back, that were begun and not ended.
    pub open: BTreeSet<StepId>,
    /// How often each step of ways back has ended.
    pub ended: BTreeMap<StepId, usize>,
    /// When the run last changed each resource.
    pub changes: BTreeMap<ResourceId, Moment>,
    /// Why the run is taken back, once it is.
    pub going_back: Option<Cause>,
    /// What a commit makes of it.
    pub promise: Option<Box<Promise>>,
    /// Whether it has said *ready*.
    pub ready: bool,
    /// How it ended.
    pub settled: Option<Settled>,
    /// Whether what it had put aside is gone.
    pub swept: bool,
}

impl Told {
    /// What a journal says that has only been opened.
    #[must_use]
    pub fn new(opened: Opened) -> Self {
        Self {
            opened,
            begun: BTreeSet::new(),
            done: BTreeSet::new(),
            back: BTreeMap::new(),
            open: BTreeSet::new(),
            ended: BTreeMap::new(),
            changes: BTreeMap::new(),
            going_back: None,
            promise: None,
            ready: false,
            settled: None,
            swept: false,
        }
    }

    /// Takes in the next record. Another `Opened` changes nothing.
    pub fn take_in(&mut self, record: &Record) {
        match record {
            Record::Opened(_) => {}
            Record::Begin { step } => {
                self.begun.insert(step.clone());
                self.open.insert(step.clone());
            }
            Record::GoingBack(cause) => {
                // The first cause is the true one; a later try was caused by the first being cut off.
                self.going_back.get_or_insert_with(|| (**cause).clone());
                // From here on it is no whole new state that could be kept.
                self.ready = false;
            }
            Record::BeginBack { step } => {
                self.open.insert(step.id.clone());
                let known = self.back.entry(step.id.clone()).or_default();
                if !known.contains(step) {
                    known.push((**step).clone());
                }
            }
            Record::End {
                step,
                changed,
                moment,
                failed,
            } => {
                self.open.remove(step);
                if self.back.contains_key(step) {
                    *self.ended.entry(step.clone()).or_default() += 1;
                }
                if *failed {
                    self.done.remove(step);
                } else {
                    self.done.insert(step.clone());
                }
                if *changed && let Some(resource) = self.resource(step).cloned() {
                    self.changes.insert(resource, moment.clone());
                }
            }
            Record::Promise(promise) => self.promise = Some(promise.clone()),
            Record::Ready => self.ready = true,
            Record::Settled(how) => self.settled = Some(how.clone()),
            Record::Swept => self.swept = true,
        }
    }

    /// Whether it goes on: it has neither ended nor turned back.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.settled.is_none() && self.going_back.is_none()
    }

    /// The resource of a step, forward or back.
    #[must_use]
    pub fn resource(&self, step: &StepId) -> Option<&ResourceId> {
        let planned = self.opened.plan.step(step);
        planned
            .or_else(|| self.back.get(step)?.first())
            .map(|step| &step.resource)
    }

    /// The steps of the plan that were begun, in the plan's order.
    pub fn begun_steps(&self) -> impl Iterator<Item = &Step> {
        let steps = self.opened.plan.steps.iter();
        steps.filter(|step| self.begun.contains(&step.id))
    }

    /// The step of the plan that was begun and that leaves no way back, if there is one.
    #[must_use]
    pub fn past_return(&self) -> Option<&Step> {
        self.begun_steps().find(|step| step.is_past_return())
    }

    /// Everything that the run knows of: for finding out what is used.
    #[must_use]
    pub fn known(&self) -> Vec<(ResourceId, Resource)> {
        let mut all = self.opened.before.clone();
        all.extend(self.opened.known.clone());
        for step in &self.opened.plan.steps {
            if let Some(to) = &step.to {
                all.resources.insert(step.resource.clone(), to.clone());
            }
        }
        all.resources.into_iter().collect()
    }

    /// The same for the way back, where everything is used as it was before the run: a link that was
    /// to lead elsewhere leads where it led.
    #[must_use]
    pub fn known_back(&self) -> Vec<(ResourceId, Resource)> {
        let mut all: BTreeMap<_, _> = self.known().into_iter().collect();
        all.extend(self.opened.before.resources.clone());
        all.into_iter().collect()
    }

    /// The step that makes the app's root, where the run makes it.
    #[must_use]
    pub fn root_step(&self) -> Option<&Step> {
        let root = self.opened.root.to_string_lossy();
        let mut steps = self.opened.plan.steps.iter();
        steps.find(|step| {
            step.resource.kind == ResourceKind::DIRECTORY
                && step.resource.name == root
                && step.from.is_none()
        })
    }

    /// The steps of ways back that were begun.
    pub fn back_steps(&self) -> impl Iterator<Item = &Step> {
        self.back.values().flatten()
    }

    /// Whether a step of the way back was begun just so, and has not ended since.
    #[must_use]
    pub fn is_announced(&self, step: &Step) -> bool {
        let known = self.back.get(&step.id);
        self.open.contains(&step.id) && known.is_some_and(|known| known.contains(step))
    }

    /// Whether a step of ways back has ended so often that no further end is written down.
    #[must_use]
    pub fn was_ended_often(&self, step: &StepId) -> bool {
        self.ended.get(step).is_some_and(|times| *times >= ENDS)
    }

    /// Whether a step of the way back is open that may have changed a resource at any moment up to now. What goes with
    /// the way back is no such thing: who had used it was renewed before to do without it.
    #[must_use]
    pub fn may_change(&self, id: &ResourceId) -> bool {
        let mut steps = self.back_steps();
        steps.any(|step| &step.resource == id && step.to.is_some() && self.open.contains(&step.id))
    }

    /// Whether a step that was begun, forward or back, may have left a resource so.
    #[must_use]
    pub fn has_begun(&self, step: &StepId) -> bool {
        self.begun.contains(step) || self.back.contains_key(step)
    }
}
