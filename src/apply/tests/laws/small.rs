//! Every set of steps that can be finished, in an app with one resource of each kind: the way back from each, with a
//! fault on the way there and another on the way back, power cuts among them; and that independent steps may be taken
//! in any order.

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

/// How often what is tried.
#[derive(Clone, Copy)]
struct Rarity {
    /// Every so many-th fault of the way back after each on the way there.
    pairs: u64,
    /// After every so many-th fault on the way there the power fails, too: what the disk has then.
    cuts: u64,
}

/// What may be there when nobody is at a run any more: all that was written, where only the helper has died; and what
/// a power cut leaves, each different disk once: nothing unsynced, all of it, and a part that a number decides.
fn left_of(
    host: &MemoryHost,
    number: u64,
    has_power_cuts: bool,
) -> Vec<(&'static str, MemoryHost)> {
    let mut left = vec![("died", host.fork())];
    let mut disks: Vec<MemoryHost> = Vec::new();
    let drawn = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for choice in [0, u64::MAX, drawn].into_iter().filter(|_| has_power_cuts) {
        let cut = host.fork();
        cut.crash(choice);
        if disks.iter().any(|disk| disk.has_disk_of(&cut)) {
            continue;
        }
        disks.push(cut.fork());
        cut.reboot();
        left.push(("cut off the power", cut));
    }
    left
}

/// Every fault on the way there, and some on the way back after each.
fn every_point(rare: Rarity) {
    let trip = Trip::new(named("a small change")).unwrap_or_else(|lost| panic!("{lost}"));
    let sets = sets(&trip);
    let (mut points, mut cuts, mut pairs) = (0, 0, 0);
    let holds = |host: &MemoryHost, what: &str| {
        trip.settles(host, what)
            .unwrap_or_else(|lost| panic!("{lost}"));
    };
    for (set, host) in &sets {
        for step in enabled(&trip, set) {
            let there = host.fork();
            there.record();
            take(&trip, &there, &step.id);
            for point in there.take_recorded() {
                points += 1;
                let is_cut = points % rare.cuts == 0;
                for (how, start) in left_of(&point.host(), points, is_cut) {
                    let what = format!("{set:?}, {} {how}", step.id);
                    let whole = start.fork();
                    let first = whole.primitives();
                    holds(&whole, &what);
                    let count = whole.primitives() - first;
                    cuts += usize::from(how != "died");
                    let mut at = 1 + (points + pairs as u64) % rare.pairs.min(count.max(1));
                    while at <= count {
                        let host = start.fork();
                        host.fault_at(at, Fault::CrashAfter);
                        // What comes of it is read from the host.
                        drop(trip.shape.app.recover(&host, &|_| {}));
                        host.revive();
                        for (again, host) in left_of(&host, at, is_cut) {
                            holds(
                                &host,
                                &format!("{what}, then {again} at {at} of {count} back"),
                            );
                            pairs += 1;
                        }
                        at += rare.pairs;
                    }
                }
            }
        }
    }
    println!(
        "simulated: {} sets of finished steps of {}, {points} faults forward and {cuts} different disks after power cuts there, {pairs} pairs with one back, none lost",
        sets.len(),
        trip.prospect.plan.steps.len()
    );
    assert!(sets.len() >= 8 && points >= 100 && pairs >= 100);
    assert!(cuts as u64 >= points / rare.cuts, "{cuts}");
}

#[test]
fn from_every_set_of_finished_steps_with_a_fault_on_the_way_there_and_back() {
    every_point(Rarity { pairs: 97, cuts: 3 });
}

mod all {
    use super::{Rarity, every_point};

    #[test]
    fn every_fault_there_with_every_fault_back() {
        every_point(Rarity { pairs: 1, cuts: 97 });
    }

    #[test]
    fn a_power_cut_after_every_fault_there_and_some_back() {
        every_point(Rarity { pairs: 17, cuts: 1 });
    }
}
