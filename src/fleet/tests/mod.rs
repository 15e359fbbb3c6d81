//! Whole runs, over real streams, against hosts that fail where a test says so.

mod cancelled;
mod connection;
mod once;
mod runs;

use std::sync::Arc;

use super::Cancelling;
use super::run::{Run, RunEnd, conduct};
use super::testing::{self, Fault, Lab, Texts, plan, step};
use crate::model::{EventKind, OutcomeKind, Plan};

/// The step that shows the release fails, as gates do.
const FAILS: Fault = Fault::Step {
    name: "current",
    verdict: true,
};

/// A release on every host, then a link in each host's wave.
fn two_waves() -> Plan {
    plan(vec![
        step("a", "release", 0, &[]),
        step("b", "release", 0, &[]),
        step("c", "release", 0, &[]),
        step("a", "current", 1, &["a/app/file:release"]),
        step("b", "current", 2, &["b/app/file:release"]),
        step("c", "current", 2, &["c/app/file:release"]),
    ])
}

async fn conducted(lab: &Lab, run: Run) -> (RunEnd, Vec<EventKind>) {
    cancelled(lab, run, &Cancelling::never()).await
}

/// The same, cancelled by somebody.
async fn cancelled(lab: &Lab, run: Run, cancelling: &Cancelling) -> (RunEnd, Vec<EventKind>) {
    let (events, receiver) = testing::events();
    let end = conduct(run, &lab.fleet, Arc::new(Texts), &events, cancelling).await;
    let events = testing::all(receiver);
    let outcomes = events
        .iter()
        .filter(|it| matches!(it, EventKind::Outcome(_)));
    assert_eq!(outcomes.count(), 1, "the outcome is said exactly once");
    assert_eq!(
        events.last(),
        Some(&EventKind::Outcome(end.outcome.clone()))
    );
    (end, events)
}

fn three(b: Vec<Fault>) -> Lab {
    Lab::new(&[("a", vec![]), ("b", b), ("c", vec![])])
}

fn said(end: &RunEnd) -> (OutcomeKind, u8) {
    (end.outcome.outcome, end.outcome.exit_code)
}
