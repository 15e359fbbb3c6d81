//! A run: a plan, the hosts it goes to, and what each of them is told at its end.
//!
//! [`conduct`] is the whole run, from the locks to the outcome. Nothing is decided here: the plan
//! is fixed, and what follows from a failure is said by `decide` and `ending`. The phases have a
//! file each, in this order: `lock`, `begin`, `transfer`, `waves`, `rounds`, `back`, `readback`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use super::cancel::Cancelling;
use super::conduct::Conduct;
use super::connection::Connection;
use super::ending::MemberEnd;
use super::events::Events;
use crate::config::OnFailure;
use crate::content::Manifest;
use crate::helper::protocol::{AppAddress, Holder, Marks};
use crate::model::{
    Author, Digest, EnvironmentName, Gates, Generation, HostName, Member, Outcome, Plan, RunId,
    StepId, Wave,
};

/// The hosts of a run, each by its connection.
pub type Fleet = BTreeMap<HostName, Connection>;

/// Everything that a run is made of.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its name, the same on all hosts.
    pub id: RunId,
    /// The environment.
    pub environment: EnvironmentName,
    /// `apply`, `rollback`, `remove` or `heal`.
    pub command: String,
    /// Who, from where and why.
    pub author: Author,
    /// All steps on all hosts.
    pub plan: Plan,
    /// What each member gets beside its steps.
    pub parts: BTreeMap<Member, Part>,
    /// How the change goes over the hosts.
    pub pace: Pace,
}

/// How a change goes over the hosts. The waves themselves are in the plan.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Whether a lock that is held is waited for.
    pub wait: bool,
    /// Whether what is refused because its plan has become stale is planned anew: then this run's end is
    /// not the command's.
    pub anew: bool,
    /// The shortest pause before locks are tried again; the longest is four times that.
    pub lock_pause: Duration,
    /// How long each wave is watched after its gates passed; a wave that isn't in it isn't.
    pub bakes: BTreeMap<Wave, Duration>,
    /// How many hosts may fail without ending the run.
    pub max_failures: u32,
    /// What is done when more fail.
    pub on_failure: OnFailure,
    /// Without the controller for this long, a host goes back by itself.
    pub guard: Duration,
    /// A run in which nothing begins or ends for this long makes no progress and fails.
    pub progress: Duration,
}

/// What one member of a run gets beside its steps.
#[derive(Debug, Clone)]
pub struct Part {
    /// The app on the host.
    pub address: AppAddress,
    /// The ledger's head that the plan was made on.
    pub head: Option<RunId>,
    /// The new generation's gates.
    pub gates: Gates,
    /// The new generation; when it's committed and that it is verified is filled in then.
    pub generation: Generation,
    /// What else changes in the ledger with it.
    pub marks: Marks,
    /// How many distinct releases stay.
    pub releases: u32,
    /// How many backups stay.
    pub backups: u32,
    /// Whether the app goes for good after its steps, and whether its data goes with it.
    pub forget: Option<Forget>,
    /// The manifests of trees that will be made.
    pub manifests: BTreeMap<String, Manifest>,
    /// Single contents that will be needed.
    pub digests: BTreeSet<Digest>,
    /// Content that comes from another host of the app, not from here.
    pub elsewhere: BTreeMap<Digest, HostName>,
    /// What is held after a verdict; none where a verdict holds nothing.
    pub holdable: Option<Holdable>,
}

/// An app that goes for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forget {
    /// Whether `shared/` and the backups go too.
    pub data: bool,
}

/// An app as declared, as a hold names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdable {
    /// Its digest.
    pub declared: Digest,
    /// The name of the release that it would make.
    pub release: String,
}

/// Where content comes from that hosts lack.
pub trait ContentSource: Send + Sync {
    /// How many bytes these contents have, before compression.
    fn bytes(&self, member: &Member, digests: &BTreeSet<Digest>) -> u64;

    /// Writes a pack with these contents; called on a thread that may block.
    ///
    /// # Errors
    /// When one can't be read, or isn't what it was when its digest was taken.
    fn pack(
        &self,
        member: &Member,
        digests: &BTreeSet<Digest>,
        out: &mut dyn Write,
    ) -> io::Result<()>;
}

/// Something that failed in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The host.
    pub host: HostName,
    /// The member, where it's about one.
    pub member: Option<Member>,
    /// The step, where one failed.
    pub step: Option<StepId>,
    /// What, where and why.
    pub error: String,
    /// What kind of failure it is.
    pub cause: Cause,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It says something about the app, so that it holds.
    Verdict,
    /// Something changed since the plan was made.
    Stale,
    /// Planning could have found it: space, a conflict.
    Conflict,
    /// Gates said neither yes nor no.
    Inconclusive,
    /// The host is out of reach.
    Unreachable,
    /// Anything else.
    Other,
}

/// How a run ended, for whoever has to say it.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// As the last event said it, unless that one says that all is planned anew.
    pub outcome: Outcome,
    /// Whether all is to be planned anew: nothing was changed.
    pub anew: bool,
    /// What became of each member.
    pub ends: BTreeMap<Member, MemberEnd>,
    /// What failed, in the order in which it did.
    pub failures: Vec<Failure>,
    /// Who held a lock, where the run was refused because of one.
    pub holder: Option<Holder>,
}

/// Conducts a run from the locks to the outcome. The outcome is the last event, exactly once,
/// after every host that can be reached has given its locks back. Where all is to be planned anew
/// the last event says that instead.
pub async fn conduct(
    run: Run,
    fleet: &Fleet,
    content: Arc<dyn ContentSource>,
    events: &Events,
    cancelling: &Cancelling,
) -> RunEnd {
    let conduct = Conduct::new(run, fleet, content, events, cancelling);
    conduct.whole_run().await
}
