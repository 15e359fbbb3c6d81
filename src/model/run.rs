//! Runs: who began one and why, and how it ended.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::HostName;

/// Names a run: the time at which it began and some randomness, so that names sort by time:
/// `20261120T195602Z-3fa9c1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Who began a run, from where and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Author {
    /// The person's or the CI system's account.
    pub user: String,
    /// The machine that the controller ran on.
    pub machine: String,
    /// The actor that the CI system names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_actor: Option<String>,
    /// The address of the CI job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci_job: Option<String>,
    /// The commit of the source, where it is a git checkout; with `+changes` where it isn't clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// `--reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Author {
    /// `--reason`, as it goes on in a sentence; empty where none was given.
    #[must_use]
    pub fn why(&self) -> String {
        let reason = self.reason.as_deref();
        reason.map_or_else(String::new, |reason| format!(" ({reason})"))
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// Every host is as declared, and healthy.
    Applied,
    /// There was nothing to do.
    Unchanged,
    /// There was nothing to do, and a gate fails.
    Unhealthy,
    /// Every host is back as it was.
    RolledBack,
    /// Hosts that can't be read are still going back by themselves, or stand new without having confirmed it.
    GoingBack,
    /// Mixed, as the declaration allows.
    Degraded,
    /// A person is needed.
    Stuck,
    /// Nothing was begun.
    Refused,
    /// A person or a signal ended it; every host is back as it was.
    Cancelled,
}

impl OutcomeKind {
    /// The word of the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Unhealthy => "unhealthy",
            Self::RolledBack => "rolled-back",
            Self::GoingBack => "going-back",
            Self::Degraded => "degraded",
            Self::Stuck => "stuck",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What stands on a host for one app, as it was read at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostOutcome {
    /// The app.
    pub app: String,
    /// The number of the generation that stands; none before the first apply.
    pub generation: Option<u64>,
    /// The name of its release.
    pub release: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Whether its last verdict was good and its services are active; none when the host couldn't be read.
    pub healthy: Option<bool>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The run; none when none was begun.
    pub run: Option<RunId>,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// The exit code of the command.
    pub exit_code: u8,
    /// What stands on each host: an object, or an array where the host has several apps.
    pub hosts: BTreeMap<HostName, Vec<HostOutcome>>,
}
