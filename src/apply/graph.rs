//! Steps of one host and app by their edges, in parallel.
//!
//! Nothing is decided here but whose turn it is.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::journal::Journal;
use super::site::Site;
use super::step::{Done, TakeError, Taking, Way, take};
use crate::model::{EventKind, Resource, ResourceId, Step, StepId};

/// Asks steps not to begin any more. Those under way end as they do, but for what only waits.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// Nobody has asked yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Asks.
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody has asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What is to be done, and how.
pub struct Batch<'a> {
    /// The steps; what they wait for outside of the batch is done.
    pub steps: Vec<&'a Step>,
    /// Which way they lead.
    pub way: Way,
    /// Resources that are declared or known besides, for finding out what is used.
    pub known: &'a [(ResourceId, Resource)],
    /// How many steps at a time; with 1 their order is the one given.
    pub workers: usize,
    /// Stops further steps from beginning.
    pub cancel: &'a Cancel,
    /// Hears what happens.
    pub tell: &'a (dyn Fn(EventKind) + Sync),
}

/// What a batch came to.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    /// Steps that are done, with whether anything had to be changed.
    pub done: BTreeMap<StepId, Done>,
    /// Steps that failed, in the order in which they did.
    pub failed: Vec<(StepId, TakeError)>,
    /// Steps that weren't begun.
    pub left: Vec<StepId>,
}

struct Turns<'a> {
    waiting: Vec<&'a Step>,
    under_way: BTreeSet<StepId>,
    outcome: BatchOutcome,
}

/// Takes the steps of a batch, each after those that it waits for.
///
/// Forward, no step begins after the first that failed; on the way back only those are left out
/// that wait for one that failed. Steps under way are always waited for.
#[must_use]
pub fn take_all(site: &Site<'_>, journal: &Journal<'_>, batch: &Batch<'_>) -> BatchOutcome {
    let turns = Mutex::new(Turns {
        waiting: batch.steps.clone(),
        under_way: BTreeSet::new(),
        outcome: BatchOutcome::default(),
    });
    let changed = Condvar::new();
    let workers = batch.workers.clamp(1, batch.steps.len().max(1));
    if workers == 1 {
        work(site, journal, batch, &turns, &changed);
    } else {
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| work(site, journal, batch, &turns, &changed));
            }
        });
    }
    let turns = turns.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut outcome = turns.outcome;
    outcome.left = turns.waiting.iter().map(|step| step.id.clone()).collect();
    outcome
}

fn work(
    site: &Site<'_>,
    journal: &Journal<'_>,
    batch: &Batch<'_>,
    turns: &Mutex<Turns<'_>>,
    changed: &Condvar,
) {
    let mut held = lock(turns);
    loop {
        let stop = batch.cancel.is_asked()
            || (batch.way == Way::Forward && !held.outcome.failed.is_empty());
        let next = if stop { None } else { next_turn(&held) };
        if let Some(index) = next {
            let step = held.waiting.remove(index);
            held.under_way.insert(step.id.clone());
            drop(held);
            // Nobody else would ever have a turn again, nor anybody the lock: it fails like any other.
            let taken = AssertUnwindSafe(|| take_aloud(site, journal, batch, step));
            let result = catch_unwind(taken).unwrap_or_else(|panic| {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                Err(TakeError::Panic(words.unwrap_or("no words").to_owned()))
            });
            held = lock(turns);
            held.under_way.remove(&step.id);
            match result {
                Ok(done) => {
                    held.outcome.done.insert(step.id.clone(), done);
                }
                Err(error) => held.outcome.failed.push((step.id.clone(), error)),
            }
            changed.notify_all();
        } else if held.under_way.is_empty() || stop {
            // Nothing that may begin now or later: whoever is under way looks again when done.
            changed.notify_all();
            return;
        } else {
            held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The first step that waits for nothing more.
fn next_turn(turns: &Turns<'_>) -> Option<usize> {
    let blocked: BTreeSet<&StepId> = turns
        .waiting
        .iter()
        .map(|step| &step.id)
        .chain(&turns.under_way)
        .chain(turns.outcome.failed.iter().map(|(id, _)| id))
        .collect();
    turns
        .waiting
        .iter()
        .position(|step| step.after.iter().all(|id| !blocked.contains(id)))
}

fn take_aloud(
    site: &Site<'_>,
    journal: &Journal<'_>,
    batch: &Batch<'_>,
    step: &Step,
) -> Result<Done, TakeError> {
    let (host, app) = (&step.resource.host, &step.resource.app);
    (batch.tell)(EventKind::StepStarted {
        host: host.clone(),
        app: app.clone(),
        step: step.id.clone(),
        kind: step.kind.clone(),
        action: step.action,
        resource: step.resource.name.clone(),
        within: site
            .kind(&step.resource)
            .ok()
            .and_then(|kind| kind.within(step)),
    });
    let begin = Instant::now();
    let taking = Taking {
        way: batch.way,
        known: batch.known,
        cancel: batch.cancel,
        waits: &|reason| {
            (batch.tell)(EventKind::StepWaits {
                host: host.clone(),
                step: step.id.clone(),
                reason,
            });
        },
        gates: &|results| {
            for result in results {
                (batch.tell)(EventKind::GateRead {
                    host: host.clone(),
                    app: app.clone(),
                    result,
                    baseline: false,
                    back: batch.way == Way::Back,
                    step: Some(step.id.clone()),
                });
            }
        },
    };
    let result = take(site, journal, taking, step);
    let elapsed = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    (batch.tell)(match &result {
        Ok(done) => EventKind::StepDone {
            host: host.clone(),
            app: app.clone(),
            step: step.id.clone(),
            action: Some(step.action),
            back: batch.way == Way::Back,
            changed: *done == Done::Changed,
            elapsed,
        },
        Err(error) => EventKind::StepFailed {
            host: host.clone(),
            app: app.clone(),
            step: step.id.clone(),
            error: error.to_string(),
            elapsed,
        },
    });
    result
}

fn lock<'m, 'a>(turns: &'m Mutex<Turns<'a>>) -> MutexGuard<'m, Turns<'a>> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}
