//! One step of a plan: one resource, from one state to another.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::resource::{Resource, ResourceId};
use super::value::Value;
use super::word::word;

/// Names a step within its plan; the same resource on the same way always gets the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub String);

impl StepId {
    /// The name of the step that brings a resource somewhere. `part` tells two steps of one
    /// resource apart (stop and start); it is empty where there is one.
    #[must_use]
    pub fn of(resource: &ResourceId, part: &str) -> Self {
        let ResourceId {
            host,
            app,
            kind,
            name,
        } = resource;
        let dash = if part.is_empty() { "" } else { "#" };
        Self(format!("{host}/{app}/{kind}:{name}{dash}{part}"))
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

word! {
    /// The kind of a step: `sync`, `link`, `run`, `restart`, `backup`, `verify`, `prune`, or a further one.
    StepKind {
        /// Makes a release, file or directory as it should be.
        SYNC = "sync";
        /// Sets a link.
        LINK = "link";
        /// Runs a task.
        RUN = "run";
        /// Brings a service to enabled, active, fresh.
        RESTART = "restart";
        /// Takes or restores a backup.
        BACKUP = "backup";
        /// Reads the gates.
        VERIFY = "verify";
        /// Removes what no kept generation needs.
        PRUNE = "prune";
    }
}

/// What a step does to its resource, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It isn't there and will be.
    Create,
    /// It is there and becomes another.
    Update,
    /// It is there and goes.
    Remove,
    /// A task is run.
    Run,
    /// A task's own `undo` is run.
    Undo,
    /// A task that another host of the run has run is noted as run.
    Note,
    /// A service that doesn't run is started.
    Start,
    /// A service that runs is stopped and started in one act.
    Restart,
    /// A service reads its configuration again.
    Reload,
    /// A service that runs is stopped.
    Stop,
    /// Only enablement changes; the service runs on.
    Enable,
    /// Only enablement changes, the other way.
    Disable,
    /// A backup is taken.
    Take,
    /// A backup is put back.
    Restore,
    /// Gates are read.
    Check,
}

impl Action {
    /// The word as plans show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Remove => "remove",
            Self::Run => "run",
            Self::Undo => "undo",
            Self::Note => "note",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Stop => "stop",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Take => "take",
            Self::Restore => "restore",
            Self::Check => "check",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Why a step is in the plan: one attribute, as it is and as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The attribute that differs.
    pub attribute: String,
    /// Its value now; none when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// Its value after the step; none when it will be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
    /// The step that makes it differ, where it doesn't differ by itself (a restart because of a link).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<StepId>,
}

/// How a step can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// Byte for byte.
    Reversible,
    /// To an equal state by its kind's own measure.
    Compensable,
    /// Not by rosey.
    Irreversible,
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Reversible => "reversible",
            Self::Compensable => "compensable",
            Self::Irreversible => "irreversible",
        })
    }
}

/// When a step's turn comes: 0 is inert work, which happens on all hosts first; from 1 on the wave
/// of its host. A wave begins when every step of the one before, its gates among them, is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wave(pub u32);

impl Wave {
    /// Nothing that the running system can see.
    pub const INERT: Self = Self(0);
}

/// One resource on its way from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name within the plan.
    pub id: StepId,
    /// The kind of the step, which knows how to take it.
    pub kind: StepKind,
    /// What it changes.
    pub resource: ResourceId,
    /// What it does to it, in one word.
    pub action: Action,
    /// The resource before the step; none when it is absent. Found otherwise, the step is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Resource>,
    /// The resource after the step; none when it will be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Resource>,
    /// Why it is in the plan; never empty but for attendants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// How it can be taken back.
    pub label: Label,
    /// When its turn comes.
    pub wave: Wave,
    /// The steps that must be done first, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StepId>,
}

impl Step {
    /// Whether there is no way back once this has begun: it can't be taken back, and the old release
    /// can't live with what it does.
    #[must_use]
    pub fn is_past_return(&self) -> bool {
        let settings = self.to.as_ref().map(|to| &to.settings);
        let compatible = settings.and_then(|settings| settings.get("compatible"));
        self.label == Label::Irreversible && compatible.and_then(Value::as_bool) != Some(true)
    }
}
