//! Every set of steps that can be finished, in an app with one resource of each kind: the way back from each, with a
//! fault on the way there and another on the way back; and that independent steps may be taken in any order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::faults::Trip;
use super::guardian::Seen;
use super::shapes::named;
use crate::apply::Journal;
use crate::host::MemoryHost;
use crate::host::memory::Fault;
use crate::model::{Step, StepId};

type Set = BTreeSet<StepId>;

/// Every set that the graph allows, each with a host where just that is finished. Whatever the order was, it is the
/// same host.
fn sets(trip: &Trip) -> BTreeMap<Set, MemoryHost> {
    let (app, prospect) = (&trip.shape.app, &trip.prospect);
    let begun = trip.shape.host.fork();
    drop(app.open(&begun, prospect).unwrap());
    let mut sets = BTreeMap::from([(Set::new(), begun)]);
    let mut open = VecDeque::from([Set::new()]);
    while let Some(set) = open.pop_front() {
        for step in enabled(trip, &set) {
            let host = sets[&set].fork();
            take(trip, &host, &step.id);
            let mut next = set.clone();
            next.insert(step.id.clone());
            let seen = Seen::of(&host);
            match sets.get(&next) {
                None => {
                    sets.insert(next.clone(), host);
                    open.push_back(next);
                }
                Some(other) => {
                    let other = Seen::of(other);
                    let differences = other.differences(&other, &seen);
                    assert!(differences.is_empty(), "{} last: {differences:?}", step.id);
                }
            }
        }
    }
    sets
}

fn enabled<'t>(trip: &'t Trip, set: &Set) -> Vec<&'t Step> {
    let steps = trip.prospect.plan.steps.iter();
    let may =
        |step: &&Step| !set.contains(&step.id) && step.after.iter().all(|id| set.contains(id));
    steps.filter(may).collect()
}

fn take(trip: &Trip, host: &MemoryHost, step: &StepId) {
    let app = &trip.shape.app;
    let journal = Journal::open(host, &app.journal()).unwrap().unwrap();
    let taken = app.take(host, &journal, &trip.prospect, |id| id == step.0, &|_| {});
    taken.unwrap_or_else(|error| panic!("{error}"));
}

/// Every so many-th crash of the way back is tried after each crash on the way there.
fn every_point(rare: u64) {
    let trip = Trip::new(named("a small change")).unwrap_or_else(|lost| panic!("{lost}"));
    let sets = sets(&trip);
    let (mut points, mut pairs) = (0, 0);
    for (set, host) in &sets {
        for step in enabled(&trip, set) {
            let there = host.fork();
            there.record();
            take(&trip, &there, &step.id);
            for point in there.take_recorded() {
                points += 1;
                let whole = point.host();
                let first = whole.primitives();
                trip.shape.app.recover(&whole, &|_| {}).unwrap();
                let count = whole.primitives() - first;
                let mut at = 1 + points % rare.min(count.max(1));
                while at <= count {
                    let host = point.host();
                    host.fault_at(at, Fault::CrashAfter);
                    // What comes of it is read from the host.
                    drop(trip.shape.app.recover(&host, &|_| {}));
                    host.revive();
                    let what =
                        format!("{set:?}, {} cut off, then at {at} of {count} back", step.id);
                    trip.settles(&host, &what)
                        .unwrap_or_else(|lost| panic!("{lost}"));
                    pairs += 1;
                    at += rare;
                }
            }
        }
    }
    println!(
        "simulated: {} sets of finished steps of {}, {points} faults forward, {pairs} pairs with one back, none lost",
        sets.len(),
        trip.prospect.plan.steps.len()
    );
    assert!(sets.len() >= 8 && points >= 100 && pairs >= 100);
}

#[test]
fn from_every_set_of_finished_steps_with_a_fault_on_the_way_there_and_back() {
    every_point(97);
}

mod all {
    #[test]
    fn every_fault_there_with_every_fault_back() {
        super::every_point(1);
    }
}
