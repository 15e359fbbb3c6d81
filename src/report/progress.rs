//! Events to a terminal or a log: what is done, what is being waited for and why.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::model::{Event, EventKind, HostName};

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

/// Shows events to a person on stderr: a line for each host that moves on a terminal, plain lines elsewhere.
pub struct Progress {
    volume: Volume,
    bars: Option<MultiProgress>,
    hosts: BTreeMap<HostName, ProgressBar>,
}

impl Progress {
    /// `terminal`: whether stderr is one.
    #[must_use]
    pub fn new(volume: Volume, terminal: bool) -> Self {
        let bars = (terminal && volume != Volume::Quiet).then(MultiProgress::new);
        Self {
            volume,
            bars,
            hosts: BTreeMap::new(),
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
        if let Some(host) = host(&event.kind)
            && self.bars.is_some()
            && is_passing(&event.kind)
        {
            let bar = self.bar(host);
            bar.set_message(text.clone());
            // The step goes on.
            if !matches!(event.kind, EventKind::StepWaits { .. }) {
                bar.reset_elapsed();
            }
            if self.volume < Volume::Verbose {
                return;
            }
        }
        if let Some(host) = ends_on(&event.kind)
            && let Some(bar) = self.hosts.remove(host)
        {
            bar.finish_and_clear();
        }
        if self.volume >= weight(&event.kind) {
            self.line(&text);
        }
    }

    /// Takes away what moves.
    pub fn clear(&mut self) {
        for bar in std::mem::take(&mut self.hosts).into_values() {
            bar.finish_and_clear();
        }
    }

    fn bar(&mut self, host: &HostName) -> &ProgressBar {
        let bars = self.bars.as_ref();
        self.hosts.entry(host.clone()).or_insert_with(|| {
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

/// Whether an event is about a moment that passes, so that a terminal shows it in place.
fn is_passing(event: &EventKind) -> bool {
    matches!(
        event,
        EventKind::StepStarted { .. }
            | EventKind::StepWaits { .. }
            | EventKind::Waiting { .. }
            | EventKind::Transfer { done: false, .. }
    )
}

fn host(event: &EventKind) -> Option<&HostName> {
    match event {
        EventKind::StepStarted { host, .. }
        | EventKind::Transfer { host, .. }
        | EventKind::StepWaits { host, .. }
        | EventKind::Waiting {
            host: Some(host), ..
        } => Some(host),
        _ => None,
    }
}

/// The host on which what was going on has ended.
fn ends_on(event: &EventKind) -> Option<&HostName> {
    match event {
        EventKind::StepDone { host, .. }
        | EventKind::StepFailed { host, .. }
        | EventKind::Transfer {
            host, done: true, ..
        }
        | EventKind::WentBack { host, .. } => Some(host),
        _ => None,
    }
}

/// From which volume on an event is said.
fn weight(event: &EventKind) -> Volume {
    match event {
        EventKind::StepFailed { .. } | EventKind::GoingBack { .. } => Volume::Quiet,
        EventKind::WentBack { .. } => Volume::Quiet,
        // Where something is waited for, silence would look like standing still.
        EventKind::StepStarted {
            within: Some(_), ..
        } => Volume::Usual,
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
