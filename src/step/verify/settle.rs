//! Waiting until an app is healthy and stays so, or is known not to become it.
//!
//! Three clocks: everything passes for `stable` without a break; that must be over by `within`; and
//! between two looks a pause grows, from [`SHORTEST`] to [`LONGEST`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::WriteHost;
use crate::model::{Gate, GateResult, Gates, Verdict};

use super::look::{Seen, class_of, costly, inconclusive, joined, light, unread};
use super::pace::Pace;
use super::process::Running;

/// The first pause between two looks.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(1);
/// For how long a pause doesn't look whether it was cancelled.
const DEAF: Duration = Duration::from_millis(100);

/// What waiting needs beside the gates.
pub struct Settling<'a> {
    /// The host.
    pub host: &'a dyn WriteHost,
    /// The clock.
    pub pace: &'a dyn Pace,
    /// Whether nobody waits any more.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Hears after a look which gates were read for the first time, or began or ceased to pass.
    pub told: &'a dyn Fn(&[GateResult]),
}

/// Reads gates until it is decided whether the app is healthy; one result each, in their order.
///
/// All of them pass exactly when the app was healthy for `stable` without a break. What costs next
/// to nothing is read at every look; a database, a command and response times at the first look at
/// which all the rest passes, and at the last. A gate that wasn't read in the end because others
/// fail is inconclusive, as is every one that doesn't fail when the waiting was cancelled.
#[must_use]
pub fn settle(settling: &Settling<'_>, gates: &Gates) -> Vec<GateResult> {
    Waiting {
        settling,
        gates: &gates.gates,
        seen: vec![None; gates.gates.len()],
        told: BTreeMap::new(),
        running: BTreeMap::new(),
        since: None,
    }
    .until_decided(
        Duration::from_millis(gates.within),
        Duration::from_millis(gates.stable),
    )
}

struct Waiting<'a> {
    settling: &'a Settling<'a>,
    gates: &'a [Gate],
    /// What the last look showed of each gate, and how long it took.
    seen: Vec<Option<(Seen, Duration)>>,
    told: BTreeMap<usize, Verdict>,
    /// The process of each service that ran at the last look.
    running: BTreeMap<usize, Running>,
    /// Since when everything passes.
    since: Option<Duration>,
}

impl Waiting<'_> {
    fn until_decided(mut self, within: Duration, stable: Duration) -> Vec<GateResult> {
        let pace = self.settling.pace;
        // Whoever isn't healthy by then can't be so for long enough.
        let latest = pace.now() + within.saturating_sub(stable);
        let mut pause = SHORTEST;
        loop {
            if (self.settling.cancelled)() {
                return self.cancelled();
            }
            let whole = self.since.is_none_or(|since| pace.now() >= since + stable);
            let passed = self.look(whole);
            self.tell();
            if (self.settling.cancelled)() {
                return self.cancelled();
            }
            let now = pace.now();
            let next = match (passed, self.since) {
                (true, Some(_)) if whole => return self.results(),
                (true, None) if stable.is_zero() => return self.results(),
                (true, since) => *self.since.insert(since.unwrap_or(now)) + stable,
                (false, _) => {
                    self.since = None;
                    if self.is_hopeless() || now >= latest {
                        return self.results();
                    }
                    latest
                }
            };
            self.pause(pause.min(next.saturating_sub(now)));
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// One look at the gates; whether all that was read passes.
    fn look(&mut self, whole: bool) -> bool {
        let host = self.settling.host;
        let cancelled = self.settling.cancelled;
        if whole {
            self.seen.fill(None);
        }
        for index in 0..self.gates.len() {
            let begin = self.settling.pace.now();
            if let Some(mut seen) = light(host, &self.gates[index]) {
                self.compare_process(index, &mut seen);
                self.note(index, seen, begin);
            }
        }
        if !whole || !self.all_pass() {
            return self.all_pass();
        }
        for index in 0..self.gates.len() {
            let begin = self.settling.pace.now();
            if cancelled() {
                break;
            }
            if let Some(rest) = costly(host, &self.gates[index], cancelled) {
                let first = self.seen[index].take().map(|(seen, _)| seen);
                if let Some(seen) = joined(first, Some(rest)) {
                    self.note(index, seen, begin);
                }
            }
        }
        self.all_pass()
    }

    /// A service that runs, but not as it did when everything began to pass, has had a break.
    fn compare_process(&mut self, index: usize, seen: &mut Seen) {
        let Some(running) = seen.running else {
            self.running.remove(&index);
            return;
        };
        let before = self.running.insert(index, running);
        if let (Some(before), Some(_)) = (before, self.since)
            && let Some(why) = running.differs_from(before)
        {
            seen.verdict = Verdict::Failed;
            seen.detail = why;
        }
    }

    fn note(&mut self, index: usize, seen: Seen, begin: Duration) {
        let elapsed = self.settling.pace.now().saturating_sub(begin);
        self.seen[index] = Some((seen, elapsed));
    }

    fn all_pass(&self) -> bool {
        self.seen.iter().flatten().all(|(seen, _)| seen.passed())
    }

    fn is_hopeless(&self) -> bool {
        self.seen.iter().flatten().any(|(seen, _)| seen.hopeless)
    }

    fn tell(&mut self) {
        let mut news = Vec::new();
        for (index, seen) in self.seen.iter().enumerate() {
            let Some((seen, elapsed)) = seen else {
                continue;
            };
            if self.told.insert(index, seen.verdict) != Some(seen.verdict) {
                news.push(seen.clone().result(&self.gates[index], *elapsed));
            }
        }
        if !news.is_empty() {
            (self.settling.told)(&news);
        }
    }

    fn pause(&self, time: Duration) {
        let end = self.settling.pace.now() + time;
        loop {
            let left = end.saturating_sub(self.settling.pace.now());
            if left.is_zero() || (self.settling.cancelled)() {
                return;
            }
            self.settling.pace.wait(left.min(DEAF));
        }
    }

    fn results(self) -> Vec<GateResult> {
        let others = |gate: &Gate| {
            let detail = "it wasn't read, because others don't pass".to_owned();
            inconclusive(class_of(&gate.kind), detail)
        };
        self.with(others)
    }

    /// Who is cancelled knows only what fails: what passes may not have passed for long enough.
    fn cancelled(mut self) -> Vec<GateResult> {
        for seen in &mut self.seen {
            if seen.as_ref().is_some_and(|(seen, _)| seen.passed()) {
                *seen = None;
            }
        }
        self.with(unread)
    }

    /// The results, with something said of each gate that has none.
    fn with(self, otherwise: impl Fn(&Gate) -> Seen) -> Vec<GateResult> {
        let results = self.gates.iter().zip(self.seen);
        results
            .map(|(gate, seen)| {
                let (seen, elapsed) = seen.unwrap_or_else(|| (otherwise(gate), Duration::ZERO));
                seen.result(gate, elapsed)
            })
            .collect()
    }
}
