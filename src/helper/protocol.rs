//! What the controller and a helper say to each other.
//!
//! Each frame is a length (`u32`, little endian, of what follows), a kind (`u8`) and a payload. The
//! kind is 0 for a [`Message`] as JSON and 1 for bytes of a pack. Both ends are the same program:
//! the first request carries its digest, and a helper of another one refuses to talk.
//!
//! Every request is answered exactly once, after any number of events. The end of the stream is
//! never an answer. Packs flow by credit: the sender has at most [`PACK_CREDIT`] bytes on the way
//! that the receiver hasn't acknowledged, so that a slow disk can't fill anybody's memory.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::content::{Manifest, PathChange};
use crate::host::Owner;
use crate::model::{
    AppName, Author, Digest, EnvironmentName, EventKind, Finding, GateResult, Gates, Generation,
    Hold, HostFacts, HostName, Ledger, Member, Once, Plan, ResourceId, RunId, State, StepId,
};
pub use crate::model::{Marks, Restated};

/// Largest frame that is read, in bytes; a longer one ends the session.
pub const FRAME_LIMIT: u32 = 256 << 20;

/// Bytes of a pack that may be on the way without having been acknowledged.
pub const PACK_CREDIT: u64 = 4 << 20;

/// Bytes of a pack in one frame at most.
pub const PACK_FRAME: usize = 256 << 10;

/// One message, in either direction.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// From the controller; `id` is repeated in all that answers it.
    Request {
        /// Unique in the session.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// From the helper: the one answer.
    Reply {
        /// The request's.
        id: u64,
        /// The answer.
        reply: Reply,
    },
    /// From the helper: something happened on the way to the answer.
    Event {
        /// The request's.
        id: u64,
        /// What happened.
        event: EventKind,
    },
    /// From the receiver of a pack: so many bytes have been taken in all.
    Credit {
        /// The request's.
        id: u64,
        /// Bytes since the pack began.
        taken: u64,
    },
    /// From the sender of a pack: that was all of it.
    PackEnd {
        /// The request's.
        id: u64,
        /// Bytes in all.
        bytes: u64,
    },
    /// From the controller, at least every fifth of the guard time; answered by [`Message::Alive`] at once, whatever else goes on.
    Heartbeat,
    /// From the helper.
    Alive,
}

/// An app on the host, as every request that concerns one names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppAddress {
    /// The environment.
    pub environment: EnvironmentName,
    /// What the declaration calls this host.
    pub host: HostName,
    /// The app.
    pub app: AppName,
    /// Its root as declared; the helper resolves links in it.
    pub root: String,
    /// Who owns what the app itself writes (`owner`, `group` of the declaration); none for the helper's user.
    pub owner: Option<Owner>,
    /// Whether `owner` is made where it isn't there (`create=#true`).
    pub create_owner: bool,
    /// `systemd` or `process`; none for what fits the host.
    pub manager: Option<String>,
    /// `drift { ignore }`, in force for every comparison.
    pub ignore: Vec<String>,
}

/// What the controller asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// First of all.
    Hello {
        /// blake3 of the program.
        program: String,
    },
    /// What trees consist of that an earlier helper of this session was told. From that helper only.
    Told {
        /// The manifests of trees, by their digests.
        manifests: BTreeMap<String, Manifest>,
    },
    /// Values of secrets, which no word of this session may hold: in memory only.
    Conceal {
        /// The values.
        values: Vec<SecretBytes>,
        /// What the controller has made with them, by sealed digests: nothing else has to be hidden there.
        files: BTreeSet<Digest>,
    },
    /// What is known here of some apps; takes no lock and changes nothing.
    Survey {
        /// The apps.
        apps: Vec<AppAddress>,
        /// Bytes that hold a secret, to be known by their sealed digests; by any key.
        seal: BTreeMap<String, SecretBytes>,
    },
    /// Reads resources; takes no lock and changes nothing.
    Observe {
        /// For each app what is to be read.
        apps: Vec<ObserveApp>,
    },
    /// Reads gates once each, or until they are stable.
    Gates {
        /// The app.
        app: AppAddress,
        /// The gates; none for those of the generation that stands.
        gates: Option<Gates>,
        /// Whether to wait for `within` and `stable`, or to read once.
        settle: bool,
    },
    /// Tries to take the locks of apps for a run: all or none.
    Lock {
        /// The run.
        run: RunId,
        /// The apps.
        apps: Vec<AppAddress>,
        /// Who.
        author: Author,
        /// What for: `apply`.
        command: String,
        /// Milliseconds without a sign of the controller after which it is taken for lost, as long
        /// as a lock is held; 0 for never.
        guard: u64,
    },
    /// Takes the way back of an interrupted run, if there is one. The lock is held.
    Settle {
        /// The app.
        app: AppAddress,
        /// As in [`Request::GoBack`].
        once: Once,
    },
    /// Opens the journal of a run for an app. The lock is held.
    Begin(Box<Begin>),
    /// What trees consist of that were received here once; those that aren't known any more are left out.
    Manifests {
        /// The app.
        app: AppAddress,
        /// The digests of the trees.
        trees: BTreeSet<String>,
    },
    /// Which content is nowhere on the host. Makes known the manifests on the way.
    Lacking {
        /// The app.
        app: AppAddress,
        /// The manifests of trees that will be made, by their digests.
        manifests: BTreeMap<String, Manifest>,
        /// Single contents that will be needed.
        digests: BTreeSet<Digest>,
    },
    /// A pack follows in frames of bytes, then [`Message::PackEnd`].
    Pack {
        /// The app.
        app: AppAddress,
    },
    /// Sends content from here as a pack, for another host of the app or for the controller.
    Supply {
        /// The app.
        app: AppAddress,
        /// What is wanted; what isn't here is left out.
        digests: BTreeSet<Digest>,
    },
    /// Takes steps of the plan, by their order, those that don't wait for each other in parallel.
    /// Predecessors on other hosts are done.
    Steps {
        /// The run.
        run: RunId,
        /// The app.
        app: AppName,
        /// Which.
        steps: Vec<StepId>,
    },
    /// Takes the way back to how the app was before the run, then reads the gates that passed in
    /// the baseline. Steps under way are stopped first.
    GoBack {
        /// The run.
        run: RunId,
        /// The app.
        app: AppName,
        /// Why, for the record.
        reason: String,
        /// The hold to set, where a verdict is the reason.
        hold: Option<Hold>,
        /// What becomes of what it did once for all hosts. Where that waits, [`WentBack::once`] says so.
        once: Once,
    },
    /// From here on the new state is kept if the controller is lost. What a commit makes of it lies
    /// in the journal from then on, whoever asks for that.
    Ready {
        /// The run.
        run: RunId,
        /// The app.
        app: AppName,
        /// The generation; its state is replaced by what the helper reads when it commits.
        generation: Box<Generation>,
        /// What else changes in the ledger.
        marks: Marks,
        /// Whether no member commits before every app of the run on this host is ready: as long as one of them isn't,
        /// a helper on its own takes all of them back.
        with_all: bool,
    },
    /// Leaves the app as it is, between old and new, and closes the journal: there is no way back
    /// any more, and not all steps are done.
    Stand {
        /// The run.
        run: RunId,
        /// The app.
        app: AppName,
        /// Why, for who looks next.
        reason: String,
    },
    /// Appends the generation that it was ready with to the ledger, and closes the journal.
    Commit {
        /// The run.
        run: RunId,
        /// The app.
        app: AppName,
    },
    /// Removes what no kept generation needs. After the commit.
    Prune {
        /// The run.
        run: RunId,
        /// The app.
        app: AppName,
        /// How many distinct releases stay.
        releases: u32,
        /// How many backups stay.
        backups: u32,
    },
    /// Takes an app's ledger and all of rosey's own away, after a remove. Data stays unless `data`;
    /// what an earlier remove has left can be taken away by itself.
    Forget {
        /// The run.
        run: RunId,
        /// The app.
        app: AppName,
        /// Whether `shared/` and the backups go too.
        data: bool,
    },
    /// Changes marks in the ledger with no steps taken. The lock is held.
    Mark {
        /// The app.
        app: AppAddress,
        /// The marks.
        marks: Marks,
    },
    /// Gives all locks of the run back.
    Unlock {
        /// The run.
        run: RunId,
    },
    /// Stops another helper that makes no progress, and takes the way back of what it left in the
    /// middle. What is ready, and what happened once a run, is left to a settlement of the fleet.
    Break {
        /// The app.
        app: AppAddress,
        /// The run that holds the lock; another one is left alone.
        run: RunId,
    },
}

/// Bytes that hold a secret: nothing prints them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretBytes(pub Vec<u8>);

impl From<&str> for SecretBytes {
    fn from(value: &str) -> Self {
        Self(value.as_bytes().to_vec())
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretBytes(…)")
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// What is to be read of one app.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObserveApp {
    /// The app.
    pub app: AppAddress,
    /// Resources as they should be; those of the generation that stands are read too.
    pub wanted: State,
    /// The manifests of wanted trees that the host may not know.
    pub manifests: BTreeMap<String, Manifest>,
    /// Whether to look for what would make an apply fail.
    pub findings: bool,
    /// Bytes that an apply would bring, for the finding about space.
    pub incoming: u64,
    /// What wanted files below `/etc/systemd/system` would hold, by their paths; never a secret.
    pub units: BTreeMap<String, String>,
    /// The gates of what is wanted, for the finding about ports.
    pub gates: Gates,
}

/// Opens a run for an app on this host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begin {
    /// The run.
    pub run: RunId,
    /// The app.
    pub app: AppAddress,
    /// The part of the plan that this host takes.
    pub plan: Plan,
    /// The ledger's head that the plan was made on; another one refuses the run.
    pub head: Option<RunId>,
    /// All that take part in the run.
    pub members: BTreeSet<Member>,
    /// Who, from where and why.
    pub author: Author,
    /// `apply`, `rollback`, `remove` or `heal`.
    pub command: String,
    /// Milliseconds without the controller after which the helper goes back by itself.
    pub guard: u64,
}

/// The answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To `Hello`.
    Welcome {
        /// What the host says of itself.
        facts: HostFacts,
    },
    /// To `Survey`.
    Surveyed {
        /// In the order of the request.
        apps: Vec<SurveyedApp>,
        /// The sealed digests, by the keys of the request.
        sealed: BTreeMap<String, Digest>,
        /// Apps that the host's registry knows, for what is no longer declared.
        registry: Vec<RegistryEntry>,
    },
    /// To `Observe`, in the order of the request.
    Observed(Vec<ObservedApp>),
    /// To `Gates`.
    Gates(Vec<GateResult>),
    /// To `Lock`, when all are taken; and to `Told`, `Conceal`, `Unlock`, `Mark`, `Pack`, `Ready`, `Stand`.
    Done,
    /// To `Lock`, when another run holds one of them; none is held then.
    Busy(Holder),
    /// To `Begin`.
    Begun {
        /// How everything was, read under the lock.
        before: State,
        /// The gates of the generation that stands, read once.
        baseline: Vec<GateResult>,
    },
    /// To `Manifests`.
    Manifests(BTreeMap<String, Manifest>),
    /// To `Lacking`.
    Lacking(BTreeSet<Digest>),
    /// To `Supply`, after the pack.
    Supplied(BTreeSet<Digest>),
    /// To `Steps`.
    Steps {
        /// The first step that failed, if one did; no further one was begun after it.
        failed: Option<StepFailure>,
    },
    /// To `GoBack`, `Settle` and `Break`.
    WentBack(WentBack),
    /// To `Commit`: the ledger as it is now.
    Committed(Box<Ledger>),
    /// To `Prune`.
    Pruned {
        /// How many things.
        count: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// To `Forget`: what is left of the app on the host, such as its data.
    Forgotten(Vec<String>),
    /// To anything.
    Refused(Refusal),
}

/// What is known of an app on the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SurveyedApp {
    /// The root with every link resolved.
    pub root: String,
    /// Where the app's part of the host's registry is.
    pub state: String,
    /// The manager in force: `systemd` or `process`.
    pub manager: String,
    /// Who owns what rosey makes: the helper's user, and the app's group where the helper is root.
    pub owner: Owner,
    /// Who owns what the app writes.
    pub app_owner: Owner,
    /// The ledger; none before the first apply.
    pub ledger: Option<Ledger>,
    /// Trees of kept releases: the release's name with its tree's digest.
    pub releases: BTreeMap<String, String>,
    /// Who holds the lock, if somebody does.
    pub holder: Option<Holder>,
    /// A run that was cut off and not settled.
    pub interrupted: Option<Interrupted>,
    /// A run that is on its way back, by whoever holds the lock.
    #[serde(default)]
    pub going_back: Option<GoingBack>,
    /// What a remove has left here of an app that has no ledger any more.
    pub left: Vec<String>,
}

impl SurveyedApp {
    /// What the app has promised to keep, where it was ready and has yet to hear whether that is committed.
    #[must_use]
    pub fn promised(&self) -> Option<&Generation> {
        self.interrupted.as_ref()?.promised.as_deref()
    }

    /// The generation that the app is to be as now: what it has promised, else what its ledger has last.
    #[must_use]
    pub fn standing(&self) -> Option<&Generation> {
        let recorded = || self.ledger.as_ref()?.current();
        self.promised().or_else(recorded)
    }
}

/// A run that was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// The run.
    pub run: RunId,
    /// What it was: `apply`.
    pub command: String,
    /// Who began it.
    pub author: Author,
    /// All that take part in it, this one too.
    pub members: BTreeSet<Member>,
    /// When (RFC 3339).
    pub at: String,
    /// Steps that were begun.
    pub begun: Vec<StepId>,
    /// Whether it had said *ready*: then it stands, unconfirmed, until the fleet is settled.
    pub ready: bool,
    /// What stands here, where it had said so, and is in no ledger yet.
    pub promised: Option<Box<Generation>>,
}

/// A run that is on its way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoingBack {
    /// The run.
    pub run: RunId,
    /// What it was: `apply`.
    pub command: String,
    /// Who began it.
    pub author: Author,
    /// Why it goes back.
    pub reason: String,
    /// Since when (RFC 3339).
    pub since: String,
}

/// An app that the registry knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryEntry {
    /// Its environment.
    pub environment: EnvironmentName,
    /// The app.
    pub app: AppName,
    /// Its root.
    pub root: String,
    /// Who runs its services; none where it has none.
    pub manager: Option<String>,
    /// Whether it was taken away, and only its data is left.
    pub left: bool,
}

/// What was read of an app.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObservedApp {
    /// How everything is.
    pub actual: State,
    /// Paths inside resources that differ from what is known of them.
    pub changes: Vec<(ResourceId, Vec<PathChange>)>,
    /// What would make an apply fail, or is worth knowing.
    pub findings: Vec<Finding>,
    /// The same, only for a plan that starts a service of the app.
    pub starting: Vec<Finding>,
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The app.
    pub app: AppName,
    /// The run.
    pub run: RunId,
    /// Who.
    pub author: Author,
    /// What for.
    pub command: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// The helper's process.
    pub process: u32,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// Which.
    pub step: StepId,
    /// Whether it may have changed something.
    pub begun: bool,
    /// What failed, where and why.
    pub error: String,
    /// Whether it says something about the app, so that it holds.
    pub verdict: bool,
    /// Whether it is a finding that planning could have made (space, conflict): exit code 10's business.
    pub conflict: bool,
    /// Whether gates said neither yes nor no: exit code 9's business, and nothing is held.
    pub inconclusive: bool,
}

/// How a way back ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WentBack {
    /// Whether there was anything to go back from.
    pub run: Option<RunId>,
    /// Steps that were taken.
    pub steps: usize,
    /// What isn't as it was before the run, a sentence each; empty when everything is.
    pub problems: Vec<String>,
    /// The gates of the old generation that passed in the baseline, read again.
    pub gates: Vec<GateResult>,
    /// Whether something that happened once a run waits for all other hosts to be back.
    pub once: bool,
    /// Milliseconds.
    pub elapsed: u64,
}

/// Why a request was not done. Nothing was changed by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of refusal it is.
    pub kind: RefusalKind,
    /// What, where and why, with what to do.
    pub message: String,
}

/// Kinds of refusals; each has its exit code in `cli`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The helper is another program than the controller.
    OtherProgram,
    /// The lock isn't held, or is held by another run.
    NotLocked,
    /// The ledger's head, or a resource, isn't as the plan found it.
    Stale,
    /// An app's root or a path belongs to another environment or app.
    Owned,
    /// The journal or ledger has a format that this program doesn't know.
    UnknownFormat,
    /// The host can't do it (space, rights).
    Host,
    /// The host can't do it for now (no space, read-only).
    ForNow,
    /// The run has ended, or was never begun here.
    NoSuchRun,
    /// A fault in rosey itself.
    Internal,
}
