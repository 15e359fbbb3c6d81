//! A run with its consumers: progress or JSON, history, and the signals that cancel it.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::fleet::cancel::{Canceller, Cancelling};
use crate::fleet::events::Events;
use crate::fleet::run::{ContentSource, Run, conduct};
use crate::model::{Event, EventKind, Outcome, OutcomeKind};
use crate::report::progress::Progress;
use crate::report::{event_line, summary};

use super::Session;
use super::arguments::Choice;
use super::deployment::Deployment;
use super::error::CommandError;
use super::exit::Exit;
use super::recording::Recording;
use super::surroundings::Surroundings;

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
    json: bool,
    cancelling: Cancelling,
}

impl Talk {
    /// Begins to talk: one JSON object a line on stdout, or to a person on stderr; the history listens too.
    pub fn begin(session: &Session, json: bool) -> Self {
        let (sender, mut receiver) = unbounded_channel::<Event>();
        let (volume, terminal) = (session.volume, session.around.terminal);
        let consumer = tokio::spawn(async move {
            let mut progress = Progress::new(volume, terminal);
            while let Some(event) = receiver.recv().await {
                if json {
                    print_line(&event_line(&event));
                } else {
                    progress.show(&event);
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
            json,
            cancelling: on_signals(),
        }
    }

    /// Does what comes before a run, until a signal ends it: nothing has been begun then.
    ///
    /// # Errors
    /// Those of the work; the signal's exit code when one came.
    pub async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        tokio::select! {
            done = work => done,
            signal = self.cancelling.wanted() => {
                let exit = Exit::cancelled_by(signal);
                Err(CommandError::new(exit, "cancelled before anything was begun"))
            }
        }
    }

    /// Where events go.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Conducts a run; signals cancel it, and the history listens.
    pub async fn conduct(&self, session: &Session, conducted: Conducted<'_>) -> Outcome {
        let Conducted {
            deployment,
            choice,
            run,
            content,
        } = conducted;
        let recording = Recording::begin(session, &deployment.project, choice, &run);
        let consumers = std::iter::once(self.sender.clone()).chain(recording.sender());
        let events = Events::new(Surroundings::now, consumers.collect());
        let end = conduct(run, &deployment.fleet, content, &events, &self.cancelling).await;
        drop(events);
        recording.end().await;
        end.outcome
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
            cancelling: _,
        } = self;
        drop((sender, events));
        consumer.await.ok();
        if !json {
            anstream::eprintln!("{}", summary(outcome));
        }
        Exit(outcome.exit_code)
    }

    /// Ends the talk of a part of a command, which has no outcome of its own.
    pub async fn close(self) {
        let Self {
            sender,
            events,
            consumer,
            json: _,
            cancelling: _,
        } = self;
        drop((sender, events));
        consumer.await.ok();
    }

    /// Ends the talk with an error before any run was begun: scripts get their last line all the same.
    pub async fn refuse(self, error: CommandError) -> CommandError {
        let outcome = Outcome {
            run: None,
            outcome: if error.exit.is_cancelled() {
                OutcomeKind::Cancelled
            } else {
                OutcomeKind::Refused
            },
            exit_code: error.exit.0,
            hosts: std::collections::BTreeMap::new(),
        };
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

/// Prints one line on stdout; a closed one ends nothing, since the servers matter more.
pub(super) fn print_line(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Cancels on SIGINT, SIGTERM and SIGHUP; a second one ends the waiting, not the way back.
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
        (SignalKind::hangup(), 1),
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
