//! Each request of the protocol as one call with its own answer.
//!
//! Events that repeat what an answer says are dropped here, so that each thing is told once: by
//! the helper while steps are taken, by the controller everywhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thiserror::Error;

use super::connection::{Connection, ConnectionLost, Sink};
use super::events::Events;
use crate::content::Manifest;
use crate::helper::protocol::{
    AppAddress, Begin, Holder, Marks, ObserveApp, ObservedApp, Refusal, RefusalKind, RegistryEntry,
    Reply, Request, SecretBytes, StepFailure, SurveyedApp, WentBack,
};
use crate::model::{
    AppName, Author, Digest, EventKind, GateResult, Gates, Generation, Hold, HostFacts, HostName,
    Ledger, Once, RunId, State, StepId,
};

/// Why a helper didn't do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AskError {
    /// Whether it was done isn't known.
    #[error(transparent)]
    Lost(#[from] ConnectionLost),
    /// It was not done, and nothing was changed.
    #[error("{host} refuses: {}", .refusal.message)]
    Refused {
        /// The host.
        host: HostName,
        /// Why.
        refusal: Refusal,
    },
    /// The answer is one to another question.
    #[error("{host} answers {asked} with something else, which is a fault in rosey")]
    Unexpected {
        /// The host.
        host: HostName,
        /// What was asked.
        asked: &'static str,
    },
    /// What was to be sent couldn't be read on this side, or what came was cut short.
    #[error("the content for {host}: {reason}")]
    Content {
        /// The host.
        host: HostName,
        /// What is wrong with it.
        reason: String,
    },
}

impl AskError {
    /// The host.
    #[must_use]
    pub fn host(&self) -> &HostName {
        match self {
            Self::Lost(lost) => &lost.host,
            Self::Refused { host, .. }
            | Self::Unexpected { host, .. }
            | Self::Content { host, .. } => host,
        }
    }

    /// What kind of refusal it is, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<RefusalKind> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.kind),
            _ => None,
        }
    }

    /// Whether the host is out of reach.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// What a host knows of some apps.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// In the order asked.
    pub apps: Vec<SurveyedApp>,
    /// The sealed digests, by the keys given.
    pub sealed: BTreeMap<String, Digest>,
    /// Apps that the host's registry knows.
    pub registry: Vec<RegistryEntry>,
}

/// How an app was when its run began.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Everything, read under the lock.
    pub before: State,
    /// The gates of the generation that stands, read once.
    pub baseline: Vec<GateResult>,
}

/// What trying to lock gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locked {
    /// All of them.
    Taken,
    /// None, because of this one.
    Busy(Box<Holder>),
}

/// Which way back is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayBack {
    /// The run.
    pub run: RunId,
    /// The app.
    pub app: AppName,
    /// Why, for the record.
    pub reason: String,
    /// The hold to set, where a verdict is the reason.
    pub hold: Option<Hold>,
    /// What becomes of what the run did once for all hosts.
    pub once: Once,
}

/// Lets nothing through but words for a person.
fn notes(events: &Events) -> Sink {
    let events = events.clone();
    Arc::new(move |event| {
        let told_by_the_answer = matches!(
            event,
            EventKind::GateRead { .. }
                | EventKind::GoingBack { .. }
                | EventKind::WentBack { .. }
                | EventKind::Committed { .. }
                | EventKind::Pruned { .. }
                | EventKind::Outcome(_)
        );
        if !told_by_the_answer {
            events.emit(event);
        }
    })
}

fn nothing() -> Sink {
    Arc::new(|_| {})
}

impl Connection {
    pub(super) fn unexpected(&self, asked: &'static str) -> AskError {
        AskError::Unexpected {
            host: self.host().clone(),
            asked,
        }
    }

    pub(super) fn refused(&self, refusal: Refusal) -> AskError {
        AskError::Refused {
            host: self.host().clone(),
            refusal,
        }
    }

    /// Asks, waits, and turns a refusal into an error.
    async fn answer(&self, request: Request, sink: Sink) -> Result<Reply, AskError> {
        let reply = self.ask(request, sink).await?.wait().await?;
        match reply {
            Reply::Refused(refusal) => Err(self.refused(refusal)),
            reply => Ok(reply),
        }
    }

    async fn done(&self, request: Request, asked: &'static str) -> Result<(), AskError> {
        match self.answer(request, nothing()).await? {
            Reply::Done => Ok(()),
            _ => Err(self.unexpected(asked)),
        }
    }

    /// The first thing to say: which program this is.
    ///
    /// # Errors
    /// When the helper is another program, or the host is out of reach.
    pub async fn hello(&self, program: String) -> Result<HostFacts, AskError> {
        match self.answer(Request::Hello { program }, nothing()).await? {
            Reply::Welcome { facts } => Ok(facts),
            _ => Err(self.unexpected("a greeting")),
        }
    }

    /// Tells values of secrets, which nothing that the helper says may hold from then on.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn conceal(
        &self,
        values: Vec<SecretBytes>,
        files: BTreeSet<Digest>,
    ) -> Result<(), AskError> {
        let request = Request::Conceal { values, files };
        self.done(request, "secrets to conceal").await
    }

    /// What the host knows of some apps. Takes no lock and changes nothing.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn survey(
        &self,
        apps: Vec<AppAddress>,
        seal: BTreeMap<String, SecretBytes>,
    ) -> Result<Surveyed, AskError> {
        let expected = apps.len();
        match self
            .answer(Request::Survey { apps, seal }, nothing())
            .await?
        {
            Reply::Surveyed {
                apps,
                sealed,
                registry,
            } if apps.len() == expected => Ok(Surveyed {
                apps,
                sealed,
                registry,
            }),
            _ => Err(self.unexpected("a survey")),
        }
    }

    /// Reads resources. Takes no lock and changes nothing.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn observe(&self, apps: Vec<ObserveApp>) -> Result<Vec<ObservedApp>, AskError> {
        let expected = apps.len();
        match self.answer(Request::Observe { apps }, nothing()).await? {
            Reply::Observed(apps) if apps.len() == expected => Ok(apps),
            _ => Err(self.unexpected("an observation")),
        }
    }

    /// Reads gates: those given, or those of the generation that stands; once, or until they are stable.
    ///
    /// # Errors
    /// When it refuses or is out of reach. A gate that fails is no error.
    pub async fn gates(
        &self,
        app: AppAddress,
        gates: Option<Gates>,
        settle: bool,
    ) -> Result<Vec<GateResult>, AskError> {
        let request = Request::Gates { app, gates, settle };
        match self.answer(request, nothing()).await? {
            Reply::Gates(results) => Ok(results),
            _ => Err(self.unexpected("gates")),
        }
    }

    /// Tries to take the locks of apps: all or none.
    ///
    /// # Errors
    /// When it refuses or is out of reach. A lock that is held is no error.
    pub async fn lock(
        &self,
        run: RunId,
        apps: Vec<AppAddress>,
        author: Author,
        command: String,
    ) -> Result<Locked, AskError> {
        let request = Request::Lock {
            run,
            apps,
            author,
            command,
            guard: u64::try_from(self.guarded().as_millis()).unwrap_or(u64::MAX),
        };
        match self.answer(request, nothing()).await? {
            Reply::Done => Ok(Locked::Taken),
            Reply::Busy(holder) => Ok(Locked::Busy(Box::new(holder))),
            _ => Err(self.unexpected("a lock")),
        }
    }

    /// Takes the way back of a run that was cut off. The lock is held.
    ///
    /// # Errors
    /// When it refuses or is out of reach. What couldn't be put back is in the answer.
    pub async fn settle(
        &self,
        app: AppAddress,
        once: Once,
        events: &Events,
    ) -> Result<WentBack, AskError> {
        let request = Request::Settle { app, once };
        match self.answer(request, notes(events)).await? {
            Reply::WentBack(back) => Ok(back),
            _ => Err(self.unexpected("settling a run")),
        }
    }

    /// Opens the journal of a run. The lock is held.
    ///
    /// # Errors
    /// When it refuses (the plan is stale, say) or is out of reach.
    pub async fn begin(&self, begin: Begin, events: &Events) -> Result<Begun, AskError> {
        let request = Request::Begin(Box::new(begin));
        match self.answer(request, notes(events)).await? {
            Reply::Begun { before, baseline } => Ok(Begun { before, baseline }),
            _ => Err(self.unexpected("the beginning of a run")),
        }
    }

    /// What trees consist of, as far as the host knows it.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn manifests(
        &self,
        app: AppAddress,
        trees: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Manifest>, AskError> {
        match self
            .answer(Request::Manifests { app, trees }, nothing())
            .await?
        {
            Reply::Manifests(manifests) => Ok(manifests),
            _ => Err(self.unexpected("what trees consist of")),
        }
    }

    /// Which content is nowhere on the host.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn lacking(
        &self,
        app: AppAddress,
        manifests: BTreeMap<String, Manifest>,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, AskError> {
        let request = Request::Lacking {
            app,
            manifests,
            digests,
        };
        match self.answer(request, nothing()).await? {
            Reply::Lacking(digests) => Ok(digests),
            _ => Err(self.unexpected("what it lacks")),
        }
    }

    /// Takes steps. What happens goes to `sink`.
    ///
    /// # Errors
    /// When it refuses or is out of reach. A step that failed is no error.
    pub(super) async fn steps(
        &self,
        run: RunId,
        app: AppName,
        steps: Vec<StepId>,
        sink: Sink,
    ) -> Result<Option<StepFailure>, AskError> {
        match self
            .answer(Request::Steps { run, app, steps }, sink)
            .await?
        {
            Reply::Steps { failed } => Ok(failed),
            _ => Err(self.unexpected("steps")),
        }
    }

    /// Takes the way back to how the app was before the run.
    ///
    /// # Errors
    /// When it refuses or is out of reach. What couldn't be put back is in the answer.
    pub async fn go_back(&self, way: WayBack, events: &Events) -> Result<WentBack, AskError> {
        let WayBack {
            run,
            app,
            reason,
            hold,
            once,
        } = way;
        let request = Request::GoBack {
            run,
            app,
            reason,
            hold,
            once,
        };
        match self.answer(request, notes(events)).await? {
            Reply::WentBack(back) => Ok(back),
            _ => Err(self.unexpected("going back")),
        }
    }

    /// From here on the new state is kept if the controller is lost.
    ///
    /// # Errors
    /// When it refuses or is out of reach; then it may be ready or not.
    pub async fn ready(
        &self,
        run: RunId,
        app: AppName,
        generation: Generation,
        marks: Marks,
        with_all: bool,
    ) -> Result<(), AskError> {
        let request = Request::Ready {
            run,
            app,
            generation: Box::new(generation),
            marks,
            with_all,
        };
        self.done(request, "whether it is ready").await
    }

    /// It is left as it is, between old and new.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn stand(&self, run: RunId, app: AppName, reason: String) -> Result<(), AskError> {
        self.done(Request::Stand { run, app, reason }, "whether it stands")
            .await
    }

    /// Appends the generation that it was ready with to the ledger, and closes the journal.
    ///
    /// # Errors
    /// When it refuses or is out of reach; then it may have committed or not.
    pub async fn commit(&self, run: RunId, app: AppName) -> Result<Ledger, AskError> {
        match self.answer(Request::Commit { run, app }, nothing()).await? {
            Reply::Committed(ledger) => Ok(*ledger),
            _ => Err(self.unexpected("a commit")),
        }
    }

    /// Removes what no kept generation needs: how many things, and their bytes.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn prune(
        &self,
        run: RunId,
        app: AppName,
        releases: u32,
        backups: u32,
    ) -> Result<(u64, u64), AskError> {
        let request = Request::Prune {
            run,
            app,
            releases,
            backups,
        };
        match self.answer(request, nothing()).await? {
            Reply::Pruned { count, bytes } => Ok((count, bytes)),
            _ => Err(self.unexpected("pruning")),
        }
    }

    /// Takes an app's ledger and all of rosey's own away; says what is left.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn forget(
        &self,
        run: RunId,
        app: AppName,
        data: bool,
    ) -> Result<Vec<String>, AskError> {
        let request = Request::Forget { run, app, data };
        match self.answer(request, nothing()).await? {
            Reply::Forgotten(left) => Ok(left),
            _ => Err(self.unexpected("forgetting an app")),
        }
    }

    /// Changes marks in the ledger. The lock is held.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn mark(&self, app: AppAddress, marks: Marks) -> Result<(), AskError> {
        self.done(Request::Mark { app, marks }, "marking the ledger")
            .await
    }

    /// Gives all locks of the run back.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn unlock(&self, run: RunId) -> Result<(), AskError> {
        self.done(Request::Unlock { run }, "unlocking").await
    }

    /// Stops another helper that makes no progress, and settles its journal.
    ///
    /// # Errors
    /// When it refuses or is out of reach.
    pub async fn break_lock(
        &self,
        app: AppAddress,
        run: RunId,
        events: &Events,
    ) -> Result<WentBack, AskError> {
        match self
            .answer(Request::Break { app, run }, notes(events))
            .await?
        {
            Reply::WentBack(back) => Ok(back),
            _ => Err(self.unexpected("breaking a lock")),
        }
    }
}
