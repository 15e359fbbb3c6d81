//! What the phases of a run share, and their order.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ask::AskError;
use super::cancel::Cancelling;
use super::connection::{Connection, ConnectionLost};
use super::decide::{Decision, End, Situation, decide};
use super::ending::{self, MemberEnd, Stopped};
use super::events::Events;
use super::progress::Progress;
use super::run::{Cause, ContentSource, Failure, Fleet, Part, Run, RunEnd};
use crate::helper::protocol::{Holder, RefusalKind, WentBack};
use crate::model::{EventKind, Hold, HostName, Member, Outcome, OutcomeKind};

/// The exit code of a plan that has become stale, by the contract.
const STALE: u8 = 6;

/// A run under way.
pub(super) struct Conduct {
    pub(super) run: Arc<Run>,
    pub(super) fleet: Fleet,
    pub(super) content: Arc<dyn ContentSource>,
    pub(super) events: Events,
    pub(super) cancelling: Cancelling,
    pub(super) progress: Arc<Mutex<Progress>>,
    /// Hosts whose connections were lost, as that happens.
    pub(super) lost: mpsc::UnboundedReceiver<ConnectionLost>,
    _watches: JoinSet<()>,
    /// What became of members that take part no more.
    pub(super) ends: BTreeMap<Member, MemberEnd>,
    /// Members that are back but for what they did once for all hosts, which waits for where the others end.
    pub(super) waiting: BTreeMap<Member, WentBack>,
    /// Members that said that they are ready.
    pub(super) ready: BTreeSet<Member>,
    /// Hosts that have yet to answer something that isn't waited for any more: nothing else is asked of them.
    pub(super) unanswered: BTreeSet<HostName>,
    /// Hosts that failed and were put up with.
    put_up_with: BTreeSet<HostName>,
    pub(super) failures: Vec<Failure>,
    pub(super) holder: Option<Holder>,
    stopped: Option<Stopped>,
}

/// Why a phase ended early.
#[derive(Debug)]
pub(super) enum Interruption {
    /// Some hosts failed.
    Failed(Vec<Failure>),
    /// Somebody wants the run to end.
    Cancelled(u8),
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Failed(vec![failure])
    }
}

impl Conduct {
    pub(super) fn new(
        run: Run,
        fleet: &Fleet,
        content: Arc<dyn ContentSource>,
        events: &Events,
        cancelling: &Cancelling,
    ) -> Self {
        let members: BTreeSet<Member> = run.parts.keys().cloned().collect();
        let hosts: BTreeSet<&HostName> = members.iter().map(|member| &member.host).collect();
        // Hosts that are no part of the run are none of its business, not even as lost ones.
        let supplies: BTreeSet<&HostName> = run
            .parts
            .values()
            .flat_map(|part| part.elsewhere.values())
            .collect();
        let fleet: Fleet = fleet
            .iter()
            .filter(|(host, _)| hosts.contains(host) || supplies.contains(host))
            .map(|(host, connection)| (host.clone(), connection.clone()))
            .collect();
        let (sender, lost) = mpsc::unbounded_channel();
        let mut watches = JoinSet::new();
        for connection in fleet.values().filter(|it| hosts.contains(it.host())) {
            let (connection, sender) = (connection.clone(), sender.clone());
            watches.spawn(async move {
                // The run may be over by then.
                sender.send(connection.wait_lost().await).ok();
            });
        }
        let progress = Arc::new(Mutex::new(Progress::new(&run.plan, members)));
        Self {
            run: Arc::new(run),
            fleet,
            content,
            events: events.clone(),
            cancelling: cancelling.clone(),
            progress,
            lost,
            _watches: watches,
            ends: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ready: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            put_up_with: BTreeSet::new(),
            failures: Vec::new(),
            holder: None,
            stopped: None,
        }
    }

    /// The whole run.
    pub(super) async fn whole_run(mut self) -> RunEnd {
        self.events.emit(EventKind::RunStarted {
            run: self.run.id.clone(),
            environment: self.run.environment.to_string(),
            command: self.run.command.clone(),
            author: self.run.author.clone(),
            steps: self.run.plan.steps.len(),
            hosts: self.hosts().into_iter().collect(),
        });
        match self.lock().await {
            Ok(()) => self.locked_run().await,
            Err(interruption) => self.refuse(interruption),
        }
        let hosts = self.read_back().await;
        self.unlock().await;
        let (outcome, exit_code) = ending::outcome(&self.ends, self.stopped);
        let outcome = Outcome {
            run: Some(self.run.id.clone()),
            outcome,
            exit_code,
            hosts,
        };
        let stale = Stopped::Refused { exit_code: STALE };
        let refused = outcome.outcome == OutcomeKind::Refused && self.stopped == Some(stale);
        let anew = self.run.pace.anew && refused;
        self.events.emit(if anew {
            EventKind::PlannedAnew {
                run: self.run.id.clone(),
            }
        } else {
            EventKind::Outcome(outcome.clone())
        });
        RunEnd {
            outcome,
            anew,
            ends: self.ends,
            failures: self.failures,
            holder: self.holder,
        }
    }

    /// The part of the run for which the locks are held.
    async fn locked_run(&mut self) {
        if let Err(interruption) = self.begin().await {
            let reason = self.reason(&interruption);
            self.refuse(interruption);
            // Nothing has changed anywhere; this closes the journals that were opened.
            let members = self.taking_part();
            self.go_back(&members, &reason).await;
            return;
        }
        if let Some(end) = self.forward().await {
            self.end(end).await;
        }
        self.end_once(&self.why_stopped()).await;
    }

    /// Everything up to the end of the last wave, then the two rounds. None when all of it went
    /// well; else how the run is to end.
    async fn forward(&mut self) -> Option<End> {
        if let Err(end) = self.transfer().await {
            return Some(end);
        }
        let waves = self.tracked().waves();
        for wave in waves {
            if let Err(end) = self.wave(wave).await {
                return Some(end);
            }
        }
        self.rounds().await.err()
    }

    /// Records a failure or a cancel, and says how the run ends. None when it goes on without the
    /// hosts that failed, which are then back already.
    pub(super) async fn weigh(
        &mut self,
        interruption: Interruption,
        wave: &BTreeSet<Member>,
    ) -> Option<End> {
        let reason = self.reason(&interruption);
        let mut failed = BTreeSet::new();
        let mut cancelled = None;
        match interruption {
            Interruption::Cancelled(signal) => cancelled = Some(signal),
            Interruption::Failed(failures) => {
                failed.extend(failures.iter().map(|failure| failure.host.clone()));
                self.failures.extend(failures);
            }
        }
        let decision = {
            let progress = self.tracked();
            let mut standings = progress.standings();
            standings.retain(|member, _| !self.ends.contains_key(member));
            decide(&Situation {
                standings: &standings,
                wave,
                failed: &failed,
                leaned_on: progress.leaned_on(&failed),
                before: self.put_up_with.len(),
                max_failures: self.run.pace.max_failures,
                on_failure: self.run.pace.on_failure,
                cancelled: cancelled.is_some(),
                past_return: progress.past_return().is_some(),
            })
        };
        match decision {
            Decision::GoOn { back } => {
                self.put_up_with.extend(failed);
                self.go_back(&back, &reason).await;
                None
            }
            Decision::End(end) => {
                self.stopped = Some(match cancelled {
                    Some(signal) => Stopped::Cancelled { signal },
                    None if self.is_inconclusive() => Stopped::Inconclusive,
                    None => Stopped::Failed,
                });
                Some(end)
            }
        }
    }

    /// Brings every member to where it ends.
    async fn end(&mut self, end: End) {
        let reason = self.why_stopped();
        self.go_back(&end.back, &reason).await;
        self.stand(&end.stand).await;
        self.keep(&end.keep).await;
    }

    /// Whether all that failed is that gates said neither yes nor no.
    fn is_inconclusive(&self) -> bool {
        let mut failures = self.failures.iter();
        !self.failures.is_empty() && failures.all(|it| it.cause == Cause::Inconclusive)
    }

    fn refuse(&mut self, interruption: Interruption) {
        self.stopped = Some(match interruption {
            Interruption::Cancelled(signal) => Stopped::Cancelled { signal },
            Interruption::Failed(failures) => {
                let exit_code = failures
                    .first()
                    .map_or(1, |failure| self.refusal_code(failure));
                for failure in &failures {
                    self.events.emit(EventKind::Note {
                        host: Some(failure.host.clone()),
                        text: failure.error.clone(),
                    });
                }
                self.failures.extend(failures);
                Stopped::Refused { exit_code }
            }
        });
    }

    fn refusal_code(&self, failure: &Failure) -> u8 {
        match failure.cause {
            _ if self.holder.is_some() => 5,
            Cause::Unreachable => 4,
            Cause::Conflict => 10,
            Cause::Stale => STALE,
            Cause::Inconclusive => 9,
            Cause::Verdict | Cause::Other => 1,
        }
    }

    /// Why hosts are told to go back.
    fn reason(&self, interruption: &Interruption) -> String {
        match interruption {
            Interruption::Cancelled(signal) => cancel_words(*signal),
            Interruption::Failed(failures) => failures
                .first()
                .map_or_else(String::new, |failure| in_short(&failure.error)),
        }
    }

    fn why_stopped(&self) -> String {
        match (self.stopped, self.failures.last()) {
            (Some(Stopped::Cancelled { signal }), _) => cancel_words(signal),
            (_, Some(failure)) => in_short(&failure.error),
            (_, None) => "the run ended".to_owned(),
        }
    }

    /// The hold that a member's ledger gets: of a verdict that ended the run, on every host; of one that
    /// was put up with, only where it failed. Elsewhere the same gates have passed, and what is well there
    /// is to stay so.
    pub(super) fn hold(&self, member: &Member) -> Option<Hold> {
        let ended_it = self.stopped == Some(Stopped::Failed);
        let verdict = self.failures.iter().find(|failure| {
            let about = failure.member.as_ref().map(|it| &it.app);
            let counts = ended_it || failure.host == member.host;
            failure.cause == Cause::Verdict && about == Some(&member.app) && counts
        })?;
        let holdable = self.part(member).holdable.clone()?;
        Some(Hold {
            declared: holdable.declared,
            release: holdable.release,
            why: in_short(&verdict.error),
            run: self.run.id.clone(),
            at: self.events.now(),
        })
    }

    /// The members that take part and have no end yet.
    pub(super) fn taking_part(&self) -> BTreeSet<Member> {
        let members = self.run.parts.keys();
        members
            .filter(|member| !self.ends.contains_key(member))
            .cloned()
            .collect()
    }

    /// The members that take part no more.
    pub(super) fn out(&self) -> BTreeSet<Member> {
        self.ends.keys().cloned().collect()
    }

    /// The hosts of the run.
    pub(super) fn hosts(&self) -> BTreeSet<HostName> {
        let members = self.run.parts.keys();
        members.map(|member| member.host.clone()).collect()
    }

    pub(super) fn part(&self, member: &Member) -> &Part {
        self.run
            .parts
            .get(member)
            .expect("BUG: only members of the run are asked about")
    }

    pub(super) fn tracked(&self) -> MutexGuard<'_, Progress> {
        lock_progress(&self.progress)
    }

    /// Does the same on several members at once, and gives what each said in the order of arrival.
    ///
    /// A host without a connection was lost before the run began.
    pub(super) fn on_each<T, F, Fut>(
        &self,
        members: &BTreeSet<Member>,
        what: F,
    ) -> JoinSet<(Member, Result<T, AskError>)>
    where
        T: Send + 'static,
        F: Fn(&Member, Connection) -> Fut,
        Fut: Future<Output = Result<T, AskError>> + Send + 'static,
    {
        let mut set = JoinSet::new();
        for member in members {
            let member = member.clone();
            match self.connection(&member.host) {
                Ok(connection) => {
                    let asked = what(&member, connection);
                    set.spawn(async move { (member, asked.await) });
                }
                Err(lost) => {
                    set.spawn(async move { (member, Err(lost.into())) });
                }
            }
        }
        set
    }

    pub(super) fn connection(&self, host: &HostName) -> Result<Connection, ConnectionLost> {
        self.fleet.get(host).cloned().ok_or_else(|| ConnectionLost {
            host: host.clone(),
            reason: "it was never reached".to_owned(),
            last_words: String::new(),
        })
    }

    /// Waits for everybody, also when somebody wants the run to end: what was asked for is done or
    /// refused then, and what is asked next can't overtake it. Only impatience ends that.
    pub(super) async fn all_answered<T: 'static>(
        &mut self,
        mut set: JoinSet<(Member, Result<T, AskError>)>,
    ) -> Result<BTreeMap<Member, T>, Interruption> {
        let mut answers = BTreeMap::new();
        let mut failures = Vec::new();
        loop {
            let joined = tokio::select! {
                biased;
                joined = set.join_next() => joined,
                () = self.cancelling.impatient() => None,
            };
            match joined.map(unpanicked) {
                Some((member, Ok(answer))) => drop(answers.insert(member, answer)),
                Some((member, Err(error))) => failures.push(failure(&member, &error)),
                None => break,
            }
        }
        if let Some(signal) = self.cancelling.signal() {
            return Err(Interruption::Cancelled(signal));
        }
        if failures.is_empty() {
            Ok(answers)
        } else {
            Err(Interruption::Failed(failures))
        }
    }

    /// Waits for everybody, or until somebody wants the run to end.
    pub(super) async fn all_well<T: 'static>(
        &mut self,
        mut set: JoinSet<(Member, Result<T, AskError>)>,
    ) -> Result<BTreeMap<Member, T>, Interruption> {
        let mut answers = BTreeMap::new();
        let mut failures = Vec::new();
        loop {
            let joined = tokio::select! {
                joined = set.join_next() => joined,
                signal = self.cancelling.wanted() => return Err(Interruption::Cancelled(signal)),
            };
            match joined.map(unpanicked) {
                Some((member, Ok(answer))) => drop(answers.insert(member, answer)),
                Some((member, Err(error))) => failures.push(failure(&member, &error)),
                None if failures.is_empty() => return Ok(answers),
                None => return Err(Interruption::Failed(failures)),
            }
        }
    }
}

/// A task's result; a panic in it goes on here.
pub(super) fn unpanicked<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    match joined {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Tasks are aborted only by dropping their set, after which nobody joins them.
            Err(_) => unreachable!("BUG: an aborted task was joined"),
        },
    }
}

pub(super) fn lock_progress(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an error says before the lines of a log that follow it. Those have been told with it, and are
/// not to lie in ledgers, where nobody knows what they may hold.
fn in_short(error: &str) -> String {
    error.lines().next().unwrap_or_default().to_owned()
}

fn cancel_words(signal: u8) -> String {
    match signal {
        2 => "it was interrupted (Ctrl-C)".to_owned(),
        15 => "it was told to end (TERM)".to_owned(),
        other => format!("it was cancelled by signal {other}"),
    }
}

/// What a helper's refusal or silence means for the run.
pub(super) fn failure(member: &Member, error: &AskError) -> Failure {
    let cause = match error {
        AskError::Lost(_) => Cause::Unreachable,
        error => match error.refusal() {
            Some(RefusalKind::Owned | RefusalKind::Host | RefusalKind::ForNow) => Cause::Conflict,
            Some(RefusalKind::Stale) => Cause::Stale,
            Some(RefusalKind::OtherProgram | RefusalKind::UnknownFormat) => Cause::Unreachable,
            _ => Cause::Other,
        },
    };
    Failure {
        host: member.host.clone(),
        member: Some(member.clone()),
        step: None,
        error: error.to_string(),
        cause,
    }
}
