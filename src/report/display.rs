//! Where a person looks while rosey works: stderr, a terminal or a log.

use std::io::Write as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::text::duration;
use crate::fleet::pending::Screen;

/// How long something may be under way without a word of it in a log.
pub const SILENCE: Duration = Duration::from_secs(30);

/// How long something may take before a terminal shows that it is waited for.
const AT_ONCE: Duration = Duration::from_millis(300);

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

/// Lines that stay, and on a terminal lines that move below them. Clones share the screen.
#[derive(Clone)]
pub struct Display {
    /// How much is said.
    pub volume: Volume,
    bars: Option<MultiProgress>,
}

impl Display {
    /// `terminal`: whether stderr is one.
    #[must_use]
    pub fn new(volume: Volume, terminal: bool) -> Self {
        let bars = (terminal && volume != Volume::Quiet).then(MultiProgress::new);
        Self { volume, bars }
    }

    /// Whether there are lines that move.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.bars.is_some()
    }

    /// Prints a line that stays.
    pub fn line(&self, text: &str) {
        let print = || {
            // Nothing can be done about a closed stderr, and the run goes on without it.
            let _ = writeln!(std::io::stderr(), "{text}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// A line that moves, where there are such.
    #[must_use]
    pub fn bar(&self) -> Option<ProgressBar> {
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.bars.as_ref()?;
        let bar = bar.add(ProgressBar::new_spinner().with_style(style));
        // Only where it belongs already: what is drawn before stays on the terminal for ever.
        bar.enable_steady_tick(Duration::from_millis(100));
        Some(bar)
    }
}

/// Reminds a log of something that goes on.
#[must_use]
pub fn reminder(text: &str, passed: Duration) -> String {
    let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    format!("{text}, for {} now", duration(passed))
}

/// What is waited for while no event tells of it: a line that moves, or a reminder in a log.
pub struct PendingLine {
    display: Display,
    bar: Option<ProgressBar>,
    /// When a log was told of it last, or since when nothing was.
    told: Option<Instant>,
}

impl PendingLine {
    /// Shown there.
    #[must_use]
    pub fn on(display: Display) -> Self {
        Self {
            display,
            bar: None,
            told: None,
        }
    }

    /// What a log is to be told.
    fn log(&mut self, text: &str, passed: Duration, now: Instant) -> Option<String> {
        let told = self.told.get_or_insert(now);
        if now.saturating_duration_since(*told) < SILENCE {
            return None;
        }
        *told = now;
        Some(reminder(text, passed))
    }
}

impl Screen for PendingLine {
    fn show(&mut self, text: &str, passed: Duration) {
        if self.display.volume == Volume::Quiet {
            return;
        }
        if !self.display.moves() {
            if let Some(line) = self.log(text, passed, Instant::now()) {
                self.display.line(&line);
            }
            return;
        }
        if self.bar.is_none() && passed >= AT_ONCE {
            self.bar = self.display.bar();
        }
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    fn clear(&mut self) {
        self.told = None;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_hears_of_what_lasts() {
        let mut line = PendingLine::on(Display::new(Volume::Usual, false));
        let begin = Instant::now();
        let mut at = |seconds| {
            let passed = Duration::from_secs(seconds);
            line.log("connecting to web1", passed, begin + passed)
        };
        assert_eq!(at(0), None);
        assert_eq!(at(29), None);
        assert_eq!(at(30).unwrap(), "connecting to web1, for 30 s now");
        assert_eq!(at(59), None);
        assert_eq!(at(61).unwrap(), "connecting to web1, for 1 min 01 s now");
    }
}
