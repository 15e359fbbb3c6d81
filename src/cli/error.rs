//! Errors of commands: what to say, which hint, which exit code. The only place that knows all three.

use std::collections::BTreeMap;
use std::fmt;

use miette::Diagnostic;

use crate::model::{HostName, HostOutcome, Outcome, OutcomeKind};

use super::exit::Exit;

/// Why a command failed.
pub struct CommandError {
    /// Its exit code.
    pub exit: Exit,
    /// What is known of the hosts that could be read.
    pub hosts: Hosts,
    /// The hosts that couldn't be read, each with why.
    pub unread: BTreeMap<HostName, String>,
    what: What,
    hints: Vec<String>,
}

/// Between errors that are told together.
pub(super) const NEXT: &str = "\nrosey: ";

/// What is said of the apps of hosts.
pub type Hosts = BTreeMap<HostName, Vec<HostOutcome>>;

enum What {
    Words(String),
    Places(Vec<Box<dyn Diagnostic + Send + Sync>>),
    /// All has been said already.
    Said,
}

impl CommandError {
    /// An error in words: a sentence that says what failed, where and why.
    #[must_use]
    pub fn new(exit: Exit, words: impl fmt::Display) -> Self {
        Self {
            exit,
            hosts: Hosts::new(),
            unread: BTreeMap::new(),
            what: What::Words(words.to_string()),
            hints: Vec::new(),
        }
    }

    /// An error with its places in files.
    #[must_use]
    pub fn at_places(exit: Exit, places: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self::all_places(exit, vec![places])
    }

    /// Several errors with their places in files.
    #[must_use]
    pub fn all_places<D: Diagnostic + Send + Sync + 'static>(exit: Exit, places: Vec<D>) -> Self {
        let boxed = places
            .into_iter()
            .map(|it| Box::new(it) as Box<_>)
            .collect();
        Self {
            exit,
            hosts: Hosts::new(),
            unread: BTreeMap::new(),
            what: What::Places(boxed),
            hints: Vec::new(),
        }
    }

    /// A signal came before anything was begun, but that what was cut off may have been settled.
    #[must_use]
    pub fn cancelled(signal: u8, settled: bool) -> Self {
        let words = if settled {
            "cancelled: nothing more was done than to settle what was cut off"
        } else {
            "cancelled before anything was done"
        };
        Self::new(Exit::cancelled_by(signal), words)
    }

    /// How a command ended that failed so before it had a run.
    #[must_use]
    pub fn outcome(&self) -> OutcomeKind {
        match self.exit {
            Exit::STUCK => OutcomeKind::Stuck,
            Exit::GOING_BACK => OutcomeKind::GoingBack,
            exit if exit.is_cancelled() => OutcomeKind::Cancelled,
            _ => OutcomeKind::Refused,
        }
    }

    /// The outcome of a command that failed so before it had a run.
    #[must_use]
    pub fn refused(&self, hosts: Hosts) -> Outcome {
        Outcome {
            run: None,
            outcome: self.outcome(),
            exit_code: self.exit.0,
            hosts,
        }
    }

    /// Only an exit code: all has been said.
    #[must_use]
    pub fn said(exit: Exit) -> Self {
        Self {
            exit,
            hosts: Hosts::new(),
            unread: BTreeMap::new(),
            what: What::Said,
            hints: Vec::new(),
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with what is known of the hosts that could be read, for the outcome.
    #[must_use]
    pub fn knowing(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// The same with the hosts that couldn't be read, for documents.
    #[must_use]
    pub fn lacking(mut self, unread: impl IntoIterator<Item = (HostName, String)>) -> Self {
        self.unread.extend(unread);
        self
    }

    /// Everything that there is to say, for stderr; none when all has been said.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let mut text = match &self.what {
            What::Said => return None,
            What::Words(words) => format!("rosey: {words}"),
            What::Places(places) => {
                let handler = miette::GraphicalReportHandler::new();
                let mut texts = Vec::new();
                for places in places {
                    let mut text = String::new();
                    if handler.render_report(&mut text, places.as_ref()).is_err() {
                        text = places.to_string();
                    }
                    texts.push(text.trim_end().to_owned());
                }
                texts.join("\n")
            }
        };
        for hint in &self.hints {
            text += "\n  ";
            text += &hint.replace('\n', "\n  ");
        }
        Some(text)
    }

    /// The words alone, for JSON.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.what {
            // On a terminal each of several errors begins with the program's name.
            What::Words(words) => words.replace(NEXT, "\n"),
            What::Places(places) => {
                let places = places.iter().map(|it| {
                    let all = it.related().into_iter().flatten();
                    let all: Vec<String> = all.map(ToString::to_string).collect();
                    format!("{it}: {}", all.join("; "))
                });
                places.collect::<Vec<_>>().join("\n")
            }
            What::Said => String::new(),
        }
    }
}
