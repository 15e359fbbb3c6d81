//! The suite is itself tested: with each of these bugs it has to fail.
//!
//! A bug is a controller that is wrong in one thing, or a kind that is; nothing is planted in the program.

use std::time::Instant;

use super::faults::Fired;
use super::journey::{Bug, Journey};
use crate::apply::tests::laws::faults::Lost;
use crate::apply::tests::laws::planted::Wrong;
use crate::apply::tests::laws::shapes::named;
use crate::model::ResourceKind;

/// The suite has to find it, and for that reason; says how.
fn found(bug: Bug, why: &str, look: impl FnOnce(&Journey) -> Result<(), Lost>) {
    let began = Instant::now();
    let journey = Journey::new(named("a small change"), Some(bug));
    told(journey.and_then(|journey| look(&journey)), why, began);
}

fn told(tried: Result<(), Lost>, why: &str, began: Instant) {
    let lost = tried.expect_err("the suite must not hold with this bug");
    println!(
        "planted: found after {:.1} s: {lost}",
        began.elapsed().as_secs_f64()
    );
    assert!(lost.0.contains(why), "{lost}");
}

fn sweep(journey: &Journey) -> Result<(), Lost> {
    journey.sweep().map(drop)
}

#[test]
fn the_lock_is_not_given_back() {
    found(Bug::KeepsTheLock, "still holds the lock", sweep);
}

#[test]
fn an_earlier_answer_is_believed() {
    found(Bug::BelievesAnEarlierAnswer, "isn't done", sweep);
}

#[test]
fn ready_comes_before_the_gates() {
    found(
        Bug::IsReadyBeforeTheGates,
        "gates:bot#check isn't done",
        sweep,
    );
}

#[test]
fn a_hold_is_not_written() {
    found(Bug::ForgetsTheHold, "a verdict holds", sweep);
}

#[test]
fn the_guard_never_fires() {
    found(Bug::SetsNoGuard, "nobody takes it back", |journey| {
        journey.silence(journey.at("begin"), &mut Fired::default())
    });
}

#[test]
fn a_long_step_is_taken_for_a_lost_controller() {
    found(Bug::IsSilentDuringAStep, "takes long", |journey| {
        journey.long_step(journey.task(), &mut Fired::default())
    });
}

#[test]
fn gates_are_not_read() {
    let began = Instant::now();
    let mut shape = named("a small change");
    let gates = ResourceKind::new("gates");
    Wrong::applying(gates, |_, _, _| Ok(())).among(&mut shape);
    let tried = Journey::new(shape, None).and_then(|journey| sweep(&journey));
    told(tried, "a gate fails", began);
}
