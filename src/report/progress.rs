//! Events to a terminal or a log: what is done, what is being waited for and why.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::model::{Event, EventKind, HostName, StepId, StepKind};

use super::event::message;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Failures and the outcome.
    Quiet,
    /// What happens on each host, in a few lines.
    Usual,
    /// Every event.
    Verbose,
}

/// Shows events to a person on stderr: a line for all that is under way on a terminal, plain lines elsewhere.
pub struct Progress {
    volume: Volume,
    bars: Option<MultiProgress>,
    under_way: BTreeMap<(HostName, UnderWay), ProgressBar>,
}

/// What is under way on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum UnderWay {
    /// A step: several are taken at a time.
    Step(StepId),
    Transfer,
    /// The host waits, until anything else is heard of it.
    Wait,
}

impl Progress {
    /// `terminal`: whether stderr is one.
    #[must_use]
    pub fn new(volume: Volume, terminal: bool) -> Self {
        let bars = (terminal && volume != Volume::Quiet).then(MultiProgress::new);
        Self {
            volume,
            bars,
            under_way: BTreeMap::new(),
        }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        if let EventKind::Outcome(_) = &event.kind {
            self.clear();
            return;
        }
        if let EventKind::PlannedAnew { .. } = &event.kind {
            self.clear();
        }
        let text = message(&event.kind);
        let goes = goes(&event.kind);
        let ended = self.under_way.keys().filter(|it| ends(&event.kind, it));
        let ended: Vec<_> = ended
            .filter(|it| goes.as_ref() != Some(*it))
            .cloned()
            .collect();
        for bar in ended.iter().filter_map(|it| self.under_way.remove(it)) {
            bar.finish_and_clear();
        }
        if let Some(goes) = goes.filter(|_| self.bars.is_some()) {
            self.bar(goes).set_message(text.clone());
            if self.volume < Volume::Verbose {
                return;
            }
        }
        if self.volume >= weight(&event.kind) {
            self.line(&text);
        }
    }

    /// Takes away what moves.
    pub fn clear(&mut self) {
        for bar in std::mem::take(&mut self.under_way).into_values() {
            bar.finish_and_clear();
        }
    }

    fn bar(&mut self, goes: (HostName, UnderWay)) -> &ProgressBar {
        let bars = self.bars.as_ref();
        self.under_way.entry(goes).or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            let bar = match bars {
                Some(bars) => bars.add(bar),
                None => bar,
            };
            // Only where it belongs already: what is drawn before stays on the terminal for ever.
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        })
    }

    fn line(&self, text: &str) {
        let print = || {
            // Nothing can be done about a closed stderr, and the run goes on without it.
            let _ = writeln!(std::io::stderr(), "{text}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

/// What an event says is under way, so that a terminal shows it in place.
fn goes(event: &EventKind) -> Option<(HostName, UnderWay)> {
    let (host, goes) = match event {
        EventKind::StepStarted { host, step, .. } | EventKind::StepWaits { host, step, .. } => {
            (host, UnderWay::Step(step.clone()))
        }
        EventKind::Transfer {
            host, done: false, ..
        } => (host, UnderWay::Transfer),
        EventKind::Waiting {
            host: Some(host), ..
        } => (host, UnderWay::Wait),
        _ => return None,
    };
    Some((host.clone(), goes))
}

/// Whether an event says that something is under way no more.
fn ends(event: &EventKind, (on, goes): &(HostName, UnderWay)) -> bool {
    let is_over =
        |host: &HostName, what: &UnderWay| host == on && (goes == what || *goes == UnderWay::Wait);
    match event {
        EventKind::StepDone { host, step, .. }
        | EventKind::StepFailed { host, step, .. }
        | EventKind::StepStarted { host, step, .. } => is_over(host, &UnderWay::Step(step.clone())),
        EventKind::Transfer { host, .. } => is_over(host, &UnderWay::Transfer),
        EventKind::WentBack { host, .. } => host == on,
        _ => false,
    }
}

/// From which volume on an event is said.
fn weight(event: &EventKind) -> Volume {
    match event {
        EventKind::StepFailed { .. } | EventKind::GoingBack { .. } => Volume::Quiet,
        EventKind::WentBack { .. } => Volume::Quiet,
        // Where something is waited for, silence would look like standing still. A task may take minutes.
        EventKind::StepStarted { within, kind, .. }
            if within.is_some() || *kind == StepKind::RUN =>
        {
            Volume::Usual
        }
        EventKind::StepDone { changed: false, .. }
        | EventKind::StepStarted { .. }
        // Somebody who looks sees them in place; in a log they would be many.
        | EventKind::StepWaits { .. }
        | EventKind::Transfer { done: false, .. } => Volume::Verbose,
        EventKind::GateRead {
            result,
            baseline,
            step,
            ..
        } => {
            // What fails in a step is told by its failure, with the end of the log.
            if *baseline || step.is_some() || result.verdict == crate::model::Verdict::Passed {
                Volume::Verbose
            } else {
                Volume::Usual
            }
        }
        _ => Volume::Usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, AppName};

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn started(name: &str, step: &str) -> EventKind {
        EventKind::StepStarted {
            host: host(name),
            app: AppName::new("bot").unwrap(),
            step: StepId(step.to_owned()),
            kind: StepKind::RUN,
            action: Action::Run,
            resource: "task".to_owned(),
            within: None,
        }
    }

    fn done(name: &str, step: &str) -> EventKind {
        EventKind::StepDone {
            host: host(name),
            app: AppName::new("bot").unwrap(),
            step: StepId(step.to_owned()),
            action: Some(Action::Run),
            back: false,
            changed: true,
            elapsed: 1,
        }
    }

    /// What is still under way after some events.
    fn left(events: &[EventKind]) -> Vec<(HostName, UnderWay)> {
        let mut left = Vec::new();
        for event in events {
            left.retain(|it| !ends(event, it));
            left.extend(goes(event));
        }
        left
    }

    #[test]
    fn what_is_under_way_stays_until_it_ends_itself() {
        let slow = (host("a"), UnderWay::Step(StepId("slow".to_owned())));
        let waits = EventKind::Waiting {
            host: Some(host("a")),
            reason: "the lock".to_owned(),
        };
        let events = [
            waits,
            started("a", "slow"),
            started("a", "quick"),
            started("b", "slow"),
            done("a", "quick"),
            done("b", "slow"),
        ];
        assert_eq!(left(&events), [slow]);
        let back = EventKind::WentBack {
            host: host("a"),
            app: AppName::new("bot").unwrap(),
            complete: true,
            problems: Vec::new(),
            steps: 1,
            elapsed: 1,
        };
        assert_eq!(left(&[started("a", "slow"), back]), []);
    }

    #[test]
    fn a_log_hears_of_a_task_before_it_is_done() {
        assert_eq!(weight(&started("a", "slow")), Volume::Usual);
    }
}
