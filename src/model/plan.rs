//! A plan: steps in an order, and what stands in their way.

use serde::{Deserialize, Serialize};

use super::names::{AppName, HostName};
use super::step::{Label, Step, StepId};

/// A graph of steps. Sorted so that no step stands before one that it waits for; the same inputs
/// give the same plan, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The steps in a topological order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// One step by its name.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| &step.id == id)
    }

    /// The part of the plan that one host takes; edges to other hosts' steps stay in `after`.
    #[must_use]
    pub fn on(&self, host: &HostName) -> Self {
        Self {
            steps: self
                .steps
                .iter()
                .filter(|step| &step.resource.host == host)
                .cloned()
                .collect(),
        }
    }

    /// The part of the plan that changes one app.
    #[must_use]
    pub fn of(&self, app: &AppName) -> Self {
        Self {
            steps: self
                .steps
                .iter()
                .filter(|step| &step.resource.app == app)
                .cloned()
                .collect(),
        }
    }

    /// The steps that rosey can't take back.
    pub fn irreversible(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(|step| step.label == Label::Irreversible)
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingClass {
    /// Worth knowing; nothing fails because of it.
    Note,
    /// The apply would fail: exit code 10.
    Blocking,
}

/// Something that planning found beside the differences.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub class: FindingClass,
    /// The host that it was found on.
    pub host: HostName,
    /// The app that it concerns, where it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// What was found, where: a whole sentence without its full stop.
    pub message: String,
    /// The line to type, or what to change; none when there is nothing better than the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}
