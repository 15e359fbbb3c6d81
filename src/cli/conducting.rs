//! A run with its consumers: progress or JSON, history, and the signals that cancel it.

use std::io::Write;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use crate::fleet::cancel::{Canceller, Cancelling};
use crate::fleet::events::Events;
use crate::fleet::prospect::{Prospect, Survey};
use crate::fleet::readback::host_outcome;
use crate::fleet::run::{ContentSource, Run, RunEnd, conduct};
use crate::model::{Event, EventKind, Outcome, OutcomeKind};
use crate::report::display::Volume;
use crate::report::progress::Progress;
use crate::report::{event_line, summary};

use super::Session;
use super::arguments::Choice;
use super::deployment::Deployment;
use super::error::{CommandError, Hosts};
use super::exit::Exit;
use super::recording::Recording;
use super::surroundings::Surroundings;

/// How often it is looked for what a log is to be reminded of.
const REMINDING: Duration = Duration::from_secs(1);

/// What is conducted.
pub(super) struct Conducted<'a> {
    /// The hosts.
    pub deployment: &'a Deployment,
    /// Which of them were chosen, for the record.
    pub choice: &'a Choice,
    /// The run.
    pub run: Run,
    /// The content that hosts may lack.
    pub content: Arc<dyn ContentSource>,
}

/// How a command talks while it acts.
pub(super) struct Talk {
    sender: UnboundedSender<Event>,
    events: Events,
    consumer: tokio::task::JoinHandle<()>,
    calming: UnboundedSender<oneshot::Sender<()>>,
    json: bool,
    quiet: bool,
    cancelling: Cancelling,
    /// Whether something is being done on hosts that a signal must not leave half done.
    acting: watch::Sender<bool>,
    /// Whether what was cut off has been settled.
    settled: AtomicBool,
    /// The hosts as they were read last, for what no run says of them.
    seen: Mutex<Hosts>,
    /// Whether changes have an exit code of their own.
    detailed: bool,
}

/// What stands on the hosts of a survey, with their services where they were read.
///
/// A host that was ready serves what it has promised. Its ledger doesn't have that yet, and no verdict on it.
pub(super) fn hosts_of(survey: &Survey, prospect: Option<&Prospect>) -> Hosts {
    let mut hosts = Hosts::new();
    for (member, app) in &survey.members {
        let actual = prospect
            .and_then(|prospect| prospect.members.get(member))
            .map(|seen| &seen.actual);
        let mut outcome = host_outcome(member.app.to_string(), app.ledger.as_ref(), actual);
        if let Some(promised) = app.promised() {
            outcome.release.clone_from(&promised.release);
            outcome.version.clone_from(&promised.version);
            outcome.healthy = None;
        }
        hosts.entry(member.host.clone()).or_default().push(outcome);
    }
    hosts
}

/// What a command knows of how its run ends that the run itself doesn't.
struct Told {
    /// The hosts as they were read last.
    seen: Hosts,
    /// Whether changes have an exit code of their own.
    detailed: bool,
}

impl Told {
    /// The outcome with every chosen host and all of its apps, also those that the run had nothing to do with.
    fn of(&self, mut outcome: Outcome) -> Outcome {
        for (host, seen) in &self.seen {
            let told = outcome.hosts.entry(host.clone()).or_default();
            for app in seen {
                if !told.iter().any(|it| it.app == app.app) {
                    told.push(app.clone());
                }
            }
            told.sort_by(|one, other| one.app.cmp(&other.app));
        }
        if self.detailed && outcome.outcome == OutcomeKind::Applied && outcome.exit_code == 0 {
            outcome.exit_code = Exit::DIFFERENCES.0;
        }
        outcome
    }

    /// Passes on what happens, and the outcome as the command tells it.
    async fn relay(self, mut from: UnboundedReceiver<Event>, to: UnboundedSender<Event>) -> Self {
        let mut ended = false;
        // Whoever isn't waited for any more may still hold the stream.
        while !ended && let Some(mut event) = from.recv().await {
            ended = matches!(
                event.kind,
                EventKind::Outcome(_) | EventKind::PlannedAnew { .. }
            );
            if let EventKind::Outcome(outcome) = event.kind {
                event.kind = EventKind::Outcome(self.of(outcome));
            }
            // Who has gone wants no more events.
            to.send(event).ok();
        }
        self
    }
}

impl Talk {
    /// Begins to talk: one JSON object a line on stdout, or to a person on stderr; the history listens too.
    pub fn begin(session: &Session, json: bool) -> Self {
        let (sender, mut receiver) = unbounded_channel::<Event>();
        let quiet = session.display.volume == Volume::Quiet;
        let display = session.display.clone();
        let (calming, mut calmed) = unbounded_channel::<oneshot::Sender<()>>();
        let consumer = tokio::spawn(async move {
            let mut progress = Progress::on(display);
            let mut reminding = tokio::time::interval(REMINDING);
            loop {
                let heard = tokio::select! {
                    biased;
                    heard = receiver.recv() => heard,
                    Some(done) = calmed.recv() => {
                        progress.clear();
                        done.send(()).ok();
                        continue;
                    }
                    _ = reminding.tick() => {
                        progress.remind(Instant::now());
                        continue;
                    }
                };
                let Some(event) = heard else { break };
                if json {
                    print_line(&event_line(&event));
                } else {
                    progress.show(&event, Instant::now());
                }
                // The last event, whoever else may still hold the stream.
                if matches!(event.kind, EventKind::Outcome(_)) {
                    break;
                }
            }
        });
        let events = Events::new(Surroundings::now, vec![sender.clone()]);
        Self {
            sender,
            events,
            consumer,
            calming,
            json,
            quiet,
            cancelling: on_signals(),
            acting: watch::channel(false).0,
            settled: AtomicBool::new(false),
            seen: Mutex::default(),
            detailed: false,
        }
    }

    /// The same where changes have an exit code of their own.
    pub fn detailed(self, detailed: bool) -> Self {
        Self { detailed, ..self }
    }

    /// What was waited for is over, and no event says so: what is said next must not come beside it.
    pub async fn calm(&self) {
        let (done, is_done) = oneshot::channel();
        self.calming.send(done).ok();
        // Who has gone shows nothing.
        is_done.await.ok();
    }

    /// Notes how the hosts are, for an outcome without a run.
    pub fn saw(&self, survey: &Survey, prospect: Option<&Prospect>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = hosts_of(survey, prospect);
    }

    /// Notes that what was cut off was settled: how the hosts are isn't known until they are read again.
    pub fn settled(&self) {
        self.settled.store(true, Ordering::SeqCst);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Hosts::new();
    }

    /// The hosts as they were read last.
    pub fn seen(&self) -> Hosts {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// Does what comes before a run, unless a signal comes first. What is [`acting`](Self::acting) by
    /// then is brought to its end; a further signal ends the waiting for that too.
    ///
    /// # Errors
    /// Those of the work; exit code 130 or 143 when it was cancelled, 18 when hosts may still be at it.
    pub async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let mut work = pin!(work);
        let signal = tokio::select! {
            biased;
            done = &mut work => return done,
            signal = self.cancelling.wanted() => signal,
        };
        let mut acting = self.acting.subscribe();
        tokio::select! {
            biased;
            done = &mut work => done,
            _ = acting.wait_for(|acting| !acting) => {
                let settled = self.settled.load(Ordering::SeqCst);
                Err(CommandError::cancelled(signal, settled))
            }
            () = self.cancelling.impatient() => Err(CommandError::new(
                Exit::GOING_BACK,
                "cancelled while a run that was cut off was being settled; the hosts go on by themselves",
            )
            .hint("how it ended: rosey status")),
        }
    }

    /// Waits for a while, unless a signal comes first.
    ///
    /// # Errors
    /// Exit code 130 or 143 when it was cancelled.
    pub async fn pause(&self, pause: Duration) -> Result<(), CommandError> {
        let sleeping = async {
            tokio::time::sleep(pause).await;
            Ok(())
        };
        self.unless_cancelled(sleeping).await
    }

    /// Does something on hosts that a signal must not leave half done.
    pub async fn acting<T>(&self, work: impl Future<Output = T>) -> T {
        self.acting.send_replace(true);
        let done = work.await;
        self.acting.send_replace(false);
        done
    }

    /// Where events go.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Conducts a run; signals cancel it, and the history listens.
    pub async fn conduct(&self, session: &Session, conducted: Conducted<'_>) -> RunEnd {
        let Conducted {
            deployment,
            choice,
            run,
            content,
        } = conducted;
        let recording = Recording::begin(session, &deployment.project, choice, &run);
        let told = Told {
            seen: self.seen(),
            detailed: self.detailed,
        };
        let (sender, receiver) = unbounded_channel();
        let relay = tokio::spawn(told.relay(receiver, self.sender.clone()));
        let consumers = std::iter::once(sender).chain(recording.sender());
        let events = Events::new(Surroundings::now, consumers.collect());
        let mut end = conduct(run, &deployment.fleet, content, &events, &self.cancelling).await;
        drop(events);
        match relay.await {
            Ok(told) => end.outcome = told.of(end.outcome),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        recording.end().await;
        end
    }

    /// Says the outcome of a command that began no run.
    pub fn outcome(&self, outcome: Outcome) {
        self.events.emit(EventKind::Outcome(outcome));
    }

    /// Ends the talk, after the outcome, with the summary for a person.
    pub async fn end(self, outcome: &Outcome) -> Exit {
        let Self {
            sender,
            events,
            consumer,
            json,
            quiet,
            ..
        } = self;
        drop((sender, events));
        consumer.await.ok();
        let silent = json || (quiet && outcome.exit_code == 0);
        if !silent {
            // A terminal that was closed takes no words, and that is no other outcome.
            writeln!(anstream::stderr(), "{}", summary(outcome)).ok();
        }
        Exit(outcome.exit_code)
    }

    /// Ends the talk of a command that found nothing to do, and has no outcome.
    pub async fn close(self) {
        let Self {
            sender,
            events,
            consumer,
            ..
        } = self;
        drop((sender, events));
        consumer.await.ok();
    }

    /// Ends the talk with an error before any run was begun: scripts get their last line all the same.
    pub async fn refuse(self, error: CommandError) -> CommandError {
        let mut hosts = self.seen();
        hosts.extend(error.hosts.clone());
        let outcome = error.refused(hosts);
        if self.json {
            self.events.emit(EventKind::Note {
                host: None,
                text: error.words(),
            });
        }
        self.outcome(outcome);
        drop((self.sender, self.events));
        self.consumer.await.ok();
        error
    }
}

/// Prints the outcome of a command that was refused before it could begin to talk.
pub(super) fn print_refused(error: &CommandError) {
    let outcome = EventKind::Outcome(error.refused(error.hosts.clone()));
    let note = EventKind::Note {
        host: None,
        text: error.words(),
    };
    for kind in [note, outcome] {
        let time = Surroundings::now();
        print_line(&event_line(&Event { time, kind }));
    }
}

/// Prints what was asked for on stdout, by a command that does nothing else.
///
/// # Errors
/// Exit code 1 when it can't be written, such as to a full disk. A reader that has seen enough is no error.
pub(super) fn print_data(text: &str) -> Result<(), CommandError> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let message = format!("what was asked for can't be written: {error}");
            Err(CommandError::new(Exit::ERROR, message))
        }
        _ => Ok(()),
    }
}

/// Prints one line on stdout; a closed one ends nothing, since the servers matter more.
pub(super) fn print_line(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Cancels on SIGINT, SIGTERM and SIGHUP; a second one ends the waiting, not the way back.
///
/// A terminal that is gone counts as a wish to end, like SIGTERM: the contract has no code of its own for it.
///
/// Once for the program: from here on no signal ends it by itself, so that none may be forgotten either.
fn on_signals() -> Cancelling {
    static CANCELLING: OnceLock<Cancelling> = OnceLock::new();
    CANCELLING.get_or_init(listen_to_signals).clone()
}

fn listen_to_signals() -> Cancelling {
    let (canceller, cancelling) = Canceller::new();
    let canceller = Arc::new(canceller);
    for (kind, number) in [
        (SignalKind::interrupt(), 2),
        (SignalKind::terminate(), 15),
        (SignalKind::hangup(), 15),
    ] {
        let canceller = Arc::clone(&canceller);
        if let Ok(mut signals) = signal(kind) {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    canceller.signal(number);
                }
            });
        }
    }
    cancelling
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fleet::testing::{Lab, address, generation, member};
    use crate::helper::protocol::Marks;
    use crate::model::RunId;

    #[tokio::test]
    async fn a_ready_host_is_told_by_what_it_has_promised() {
        let lab = Lab::new(&[("a", vec![])]);
        let old = generation(1, None);
        let new = generation(2, Some(1));
        {
            let mut host = lab.host("a");
            host.open = Some(RunId("run-2".to_owned()));
            host.ready = true;
            host.promise = Some((new.clone(), Marks::default()));
        }
        let addresses = [(member("a"), address("a"))].into();
        let survey = crate::fleet::prospect::survey(&lab.fleet, &addresses, BTreeMap::new());
        let hosts = hosts_of(&survey.await.unwrap(), None);
        let told = &hosts.values().next().unwrap()[0];
        assert_ne!(old.release, new.release);
        assert_eq!(told.release, new.release);
        assert_eq!(told.version, new.version);
        assert_eq!(told.healthy, None);
    }
}
