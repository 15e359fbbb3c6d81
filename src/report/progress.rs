//! Events to a terminal or a log: what is done, what is being waited for and why.

use std::collections::BTreeMap;
use std::time::Instant;

use indicatif::ProgressBar;

use crate::model::{Event, EventKind, HostName, StepId, StepKind};

use super::display::{Display, SILENCE, Volume, reminder};
use super::event::message;

/// Shows events to a person on stderr: a line for all that is under way on a terminal, plain lines elsewhere.
pub struct Progress {
    display: Display,
    under_way: BTreeMap<Place, Going>,
}

/// Where something is under way: on a host, or on no single one.
type Place = (Option<HostName>, UnderWay);

/// Something that is under way.
struct Going {
    text: String,
    since: Instant,
    /// When it was told of last.
    told: Instant,
    bar: Option<ProgressBar>,
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
    /// Shows them there.
    #[must_use]
    pub fn on(display: Display) -> Self {
        Self {
            display,
            under_way: BTreeMap::new(),
        }
    }

    /// Shows one event, which is heard at this moment.
    pub fn show(&mut self, event: &Event, now: Instant) {
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
        for going in ended.iter().filter_map(|it| self.under_way.remove(it)) {
            going.end();
        }
        let is_told = self.display.volume >= weight(&event.kind);
        if let Some(goes) = goes {
            let display = &self.display;
            let going = self.under_way.entry(goes).or_insert_with(|| Going {
                text: String::new(),
                since: now,
                told: now,
                bar: display.bar(),
            });
            going.text.clone_from(&text);
            if is_told {
                going.told = now;
            }
            if let Some(bar) = &going.bar {
                bar.set_message(text.clone());
                if self.display.volume < Volume::Verbose {
                    return;
                }
            }
        }
        if is_told {
            self.display.line(&text);
        }
    }

    /// Says in a log what is still under way and of which nothing was told for a while. Where it moves nobody needs that.
    pub fn remind(&mut self, now: Instant) {
        for line in self.reminders(now) {
            self.display.line(&line);
        }
    }

    fn reminders(&mut self, now: Instant) -> Vec<String> {
        if self.display.moves() || self.display.volume == Volume::Quiet {
            return Vec::new();
        }
        let silent = self.under_way.values_mut();
        let silent = silent.filter(|going| now.duration_since(going.told) >= SILENCE);
        let reminder = |going: &mut Going| {
            going.told = now;
            reminder(&going.text, now.duration_since(going.since))
        };
        silent.map(reminder).collect()
    }

    /// Takes away what moves.
    pub fn clear(&mut self) {
        std::mem::take(&mut self.under_way)
            .into_values()
            .for_each(Going::end);
    }
}

impl Going {
    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What an event says is under way, so that a terminal shows it in place, and a log goes on telling of it.
fn goes(event: &EventKind) -> Option<Place> {
    let (host, goes) = match event {
        EventKind::StepStarted { host, step, .. } | EventKind::StepWaits { host, step, .. } => {
            (Some(host), UnderWay::Step(step.clone()))
        }
        EventKind::Transfer {
            host, done: false, ..
        } => (Some(host), UnderWay::Transfer),
        EventKind::Waiting { host, .. } => (host.as_ref(), UnderWay::Wait),
        _ => return None,
    };
    Some((host.cloned(), goes))
}

/// Whether an event says that something is under way no more.
fn ends(event: &EventKind, (on, goes): &Place) -> bool {
    let Some(on) = on else {
        // What all wait for is over as soon as anything else happens.
        return true;
    };
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
    use std::time::Duration;

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
    fn left(events: &[EventKind]) -> Vec<Place> {
        let mut left = Vec::new();
        for event in events {
            left.retain(|it| !ends(event, it));
            left.extend(goes(event));
        }
        left
    }

    #[test]
    fn what_is_under_way_stays_until_it_ends_itself() {
        let slow = (Some(host("a")), UnderWay::Step(StepId("slow".to_owned())));
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

    #[test]
    fn a_log_is_reminded_of_what_goes_on_in_silence() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let event = |kind| Event {
            time: String::new(),
            kind,
        };
        let mut progress = Progress::on(Display::new(Volume::Usual, false));
        progress.show(&event(started("a", "a/bot/task:slow")), at(0));
        progress.show(&event(started("b", "b/bot/task:slow")), at(20));
        let lock = EventKind::Waiting {
            host: None,
            reason: "the lock".to_owned(),
        };
        progress.show(&event(lock), at(25));
        assert_eq!(progress.reminders(at(29)), [""; 0]);
        assert_eq!(
            progress.reminders(at(30)),
            ["a: run task slow, for 30 s now"]
        );
        assert_eq!(progress.reminders(at(49)), [""; 0]);
        assert_eq!(
            progress.reminders(at(60)),
            [
                "waiting for the lock, for 35 s now",
                "a: run task slow, for 1 min 00 s now",
                "b: run task slow, for 40 s now"
            ]
        );
        progress.show(&event(done("a", "a/bot/task:slow")), at(80));
        assert_eq!(
            progress.reminders(at(90)),
            ["b: run task slow, for 1 min 10 s now"]
        );
        let mut quiet = Progress::on(Display::new(Volume::Quiet, false));
        quiet.show(&event(started("a", "a/bot/task:slow")), at(0));
        assert_eq!(quiet.reminders(at(90)), [""; 0]);
    }
}
