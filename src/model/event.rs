//! What happens while a run goes on. Human output, JSON, history and dashboard are equal consumers.

use serde::{Deserialize, Serialize};

use super::gate::GateResult;
use super::names::{AppName, HostName};
use super::run::{Author, Outcome, RunId};
use super::step::{Action, StepId, StepKind, Wave};

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// RFC 3339, UTC, by the clock of whoever saw it.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. `message` for people is made of it in `report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EventKind {
    /// A run begins; its plan is known.
    RunStarted {
        /// The run.
        run: RunId,
        /// The environment.
        environment: String,
        /// The command: `apply`, `rollback`, `remove`, `heal`.
        command: String,
        /// Who, from where and why.
        author: Author,
        /// How many steps.
        steps: usize,
        /// The hosts of the run.
        hosts: Vec<HostName>,
    },
    /// Something is being waited for.
    Waiting {
        /// The host, where it is one.
        host: Option<HostName>,
        /// For what, and why: `the lock, held by ann since 12:03 (run …)`.
        reason: String,
    },
    /// A step that waits has something else to wait for now.
    StepWaits {
        /// The host.
        host: HostName,
        /// The step.
        step: StepId,
        /// For what, and why.
        reason: String,
    },
    /// Content is on its way to a host.
    Transfer {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// Files that the host lacks.
        files: u64,
        /// Their bytes, before compression.
        bytes: u64,
        /// Bytes on the wire so far.
        sent: u64,
        /// Whether all has arrived.
        done: bool,
    },
    /// A wave begins.
    WaveStarted {
        /// Which; 0 is inert work.
        wave: Wave,
        /// How many waves there are, the inert one not counted.
        of: u32,
        /// Its hosts.
        hosts: Vec<HostName>,
    },
    /// A step begins.
    StepStarted {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// The step.
        step: StepId,
        /// Its kind.
        kind: StepKind,
        /// What it does.
        action: Action,
        /// To what.
        resource: String,
        /// How long it may wait for what it waits for, in milliseconds, where it says so itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<u64>,
    },
    /// A step is done, and what it says was read back.
    StepDone {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// The step.
        step: StepId,
        /// What it did; none in what an earlier rosey recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<Action>,
        /// Whether it was taken on the way back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        back: bool,
        /// Whether anything had to be done.
        changed: bool,
        /// Milliseconds.
        elapsed: u64,
    },
    /// A step failed.
    StepFailed {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// The step.
        step: StepId,
        /// What failed, where and why, with what to do.
        error: String,
        /// Milliseconds.
        elapsed: u64,
    },
    /// A gate was read.
    GateRead {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// What it said.
        result: GateResult,
        /// Whether it was read before the first change, for the baseline.
        baseline: bool,
        /// Whether it was read after the way back; else it is one of what was to be new.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        back: bool,
        /// The step that waited for it, which tells itself what doesn't pass.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
    },
    /// A host begins or ends its way back.
    GoingBack {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// Why.
        reason: String,
    },
    /// A host is back as it was, or isn't.
    WentBack {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// Whether everything is as it was.
        complete: bool,
        /// What isn't, where something isn't.
        problems: Vec<String>,
        /// Steps that were taken back.
        steps: usize,
        /// Milliseconds.
        elapsed: u64,
    },
    /// All hosts of a run have committed.
    Committed {
        /// The generation's number.
        generation: u64,
        /// Its hosts.
        hosts: Vec<HostName>,
    },
    /// Something was removed after the commit.
    Pruned {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// How many things.
        count: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A run was cut off on a host and is settled now, before anything else is done.
    CutOff {
        /// The host.
        host: HostName,
        /// The app.
        app: AppName,
        /// The run.
        run: RunId,
        /// What it was: `apply`.
        command: String,
        /// Who began it.
        user: String,
        /// The steps that it had begun there, in the plan's order.
        steps: Vec<StepId>,
        /// Whether it is committed, as on the other hosts; else it goes back.
        forward: bool,
    },
    /// Something worth saying that is none of the others.
    Note {
        /// The host, where it concerns one.
        host: Option<HostName>,
        /// The words.
        text: String,
    },
    /// A run was refused because its plan had become stale, and nothing was changed: another run follows.
    PlannedAnew {
        /// The run that was refused.
        run: RunId,
    },
    /// The last event, exactly once.
    Outcome(Outcome),
}
