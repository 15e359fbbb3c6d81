//! The suite: a test a shape.

use super::faults::Fired;
use super::journey::Journey;
use crate::apply::tests::laws::shapes::{DRAWN, NAMED, Shape, drawn, named};

/// How many faults fire at least in the shapes that have a name, and in those that are drawn.
const LEAST: usize = 120;

fn holds(shape: Shape) -> usize {
    let began = std::time::Instant::now();
    let name = shape.name.clone();
    let journey = Journey::new(shape, None).unwrap_or_else(|lost| panic!("{lost}"));
    let fired = journey.sweep().unwrap_or_else(|lost| panic!("{lost}"));
    said(&name, &fired, began)
}

fn said(name: &str, fired: &Fired, began: std::time::Instant) -> usize {
    println!(
        "simulated: {} distinct faults fired in sessions of {name}, none lost; {:?} in {:.1} s",
        fired.count(),
        fired.counts,
        began.elapsed().as_secs_f64()
    );
    fired.count()
}

macro_rules! shapes {
    ($($test:ident: $name:literal;)*) => {
        $(#[test]
        fn $test() {
            let fired = holds(named($name));
            assert!(fired >= LEAST, "{fired}");
        })*

        const TESTED: &[&str] = &[$($name),*];
    };
}

shapes! {
    a_first_deploy: "a first deploy";
    a_new_version: "a new version";
    a_rollback: "a rollback";
    a_removal: "a removal";
    a_restore_of_data: "a restore of data";
    a_take_over: "a take-over";
    a_heal: "a heal";
    the_built_in_manager: "the built-in manager";
    a_secret_and_a_reload: "a secret and a reload";
    a_few_things_leave: "a few things leave";
    a_small_change: "a small change";
}

#[test]
fn drawn_shapes() {
    let fired: usize = (0..DRAWN).map(|number| holds(drawn(number))).sum();
    assert!(fired >= LEAST, "{fired}");
}

#[test]
fn every_shape_is_tested() {
    assert_eq!(TESTED, NAMED);
}

#[test]
fn a_silent_controller_is_lost_and_one_that_waits_is_not() {
    let began = std::time::Instant::now();
    let journey =
        Journey::new(named("a small change"), None).unwrap_or_else(|lost| panic!("{lost}"));
    let mut fired = Fired::default();
    for index in journey.at("begin")..journey.at("ready") {
        let held = journey.silence(index, &mut fired);
        held.unwrap_or_else(|lost| panic!("{lost}"));
    }
    let held = journey.long_step(journey.task(), &mut fired);
    held.unwrap_or_else(|lost| panic!("{lost}"));
    assert!(said("a controller that is silent", &fired, began) >= 6);
}
