//! The suite: a test a shape, so that they run side by side.

use std::collections::BTreeSet;

use super::faults::{Depth, Trip};
use super::shapes::{DRAWN, NAMED, Shape, drawn, named};
use crate::step::registry::registry;

/// How many faults fire at least in each half of the drawn ones.
const DRAWN_LEAST: usize = 1_900;

/// A new task in an old release, which no declaration says: a release's name covers its tasks.
const UNLIKELY: [u64; 1] = [34];

const DEPTH: Depth = Depth { cuts: 2, stops: 4 };

/// No fault may be lost, and at least so many must have fired.
fn holds(shape: Shape, least: usize) -> usize {
    holds_to(shape, least, DEPTH)
}

fn holds_to(shape: Shape, least: usize, depth: Depth) -> usize {
    let began = std::time::Instant::now();
    let name = shape.name.clone();
    let mut trip = Trip::new(shape).unwrap_or_else(|lost| panic!("{lost}"));
    let steps = trip.prospect.plan.steps.len();
    trip.sweep(depth).unwrap_or_else(|lost| panic!("{lost}"));
    let fired = trip.fired();
    println!(
        "simulated: {fired} distinct faults fired in {name} ({steps} steps), {} lost; {:?} in {:.1} s",
        if trip.lost.is_empty() { "none" } else { "SOME" },
        trip.counts,
        began.elapsed().as_secs_f64()
    );
    let lost: Vec<String> = trip
        .lost
        .values()
        .take(12)
        .map(|lost| lost.to_string())
        .collect();
    assert!(
        lost.is_empty(),
        "{} reasons:\n{}",
        trip.lost.len(),
        lost.join("\n")
    );
    assert!(fired >= least, "{name}: only {fired} distinct faults fired");
    fired
}

macro_rules! shapes {
    ($($test:ident: $name:literal, $least:literal;)*) => {
        $(#[test]
        fn $test() {
            let _fired = holds(named($name), $least);
        })*

        /// Those that are tested, with how many faults fire at least.
        const TESTED: &[(&str, usize)] = &[$(($name, $least)),*];
    };
}

shapes! {
    a_first_deploy: "a first deploy", 3200;
    a_new_version: "a new version", 1900;
    a_rollback: "a rollback", 1100;
    a_removal: "a removal", 1850;
    a_restore_of_data: "a restore of data", 1500;
    a_take_over: "a take-over", 1600;
    a_heal: "a heal", 1150;
    the_built_in_manager: "the built-in manager", 1700;
    a_secret_and_a_reload: "a secret and a reload", 1400;
    a_few_things_leave: "a few things leave", 1700;
    a_small_change: "a small change", 1600;
}

#[test]
fn drawn_shapes_with_even_numbers() {
    let fired: usize = (0..DRAWN).step_by(2).map(|it| holds(drawn(it), 1)).sum();
    assert!(fired >= DRAWN_LEAST, "{fired}");
}

#[test]
fn drawn_shapes_with_odd_numbers() {
    let fired: usize = (1..DRAWN).step_by(2).map(|it| holds(drawn(it), 1)).sum();
    assert!(fired >= DRAWN_LEAST, "{fired}");
}

/// What takes long.
mod all {
    use super::*;

    const DEEP: Depth = Depth { cuts: 6, stops: 1 };

    #[test]
    fn everything_at_first() {
        let _fired = holds_to(named("everything at first"), 1, DEEP);
    }

    #[test]
    fn everything_new() {
        let _fired = holds_to(named("everything new"), 1, DEEP);
    }

    #[test]
    fn everything_goes() {
        let _fired = holds_to(named("everything goes"), 1, DEEP);
    }

    #[test]
    fn further_drawn_shapes() {
        for number in (DRAWN..DRAWN + 40).filter(|it| !UNLIKELY.contains(it)) {
            let _fired = holds_to(drawn(number), 1, DEEP);
        }
    }
}

/// Without a fault: what was applied is what was declared, and what was taken back is what was.
#[test]
fn many_drawn_shapes_converge_there_and_back() {
    let mut tried = 0;
    for number in (DRAWN..DRAWN + 60).filter(|it| !UNLIKELY.contains(it)) {
        let shape = drawn(number);
        let prospect = shape.app.prospect(&shape.host, shape.to.as_ref());
        if prospect.plan.is_empty() {
            continue;
        }
        Trip::new(shape).unwrap_or_else(|lost| panic!("{lost}"));
        tried += 1;
    }
    assert!(tried >= 50, "{tried}");
}

#[test]
fn every_shape_is_tested_and_together_they_are_enough() {
    let tested: BTreeSet<_> = TESTED.iter().map(|(name, _)| *name).collect();
    assert_eq!(tested, NAMED.into_iter().collect());
    let least: usize = TESTED.iter().map(|(_, least)| least).sum();
    assert!(least + 2 * DRAWN_LEAST >= 20_000, "{least}");
}

/// What makes a new kind a part of all this.
#[test]
fn every_kind_is_in_a_shape() {
    let mut there = BTreeSet::new();
    for name in NAMED {
        let shape = named(name);
        let prospect = shape.app.prospect(&shape.host, shape.to.as_ref());
        there.extend(
            prospect
                .plan
                .steps
                .into_iter()
                .map(|step| step.resource.kind),
        );
    }
    for kind in registry() {
        let kind = kind.resource();
        assert!(
            there.contains(&kind),
            "no shape changes a {kind}: add one to `declared`"
        );
    }
}
