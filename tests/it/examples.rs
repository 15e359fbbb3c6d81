//! The declarations of this repository are what a newcomer reads first, so they have to be right.

use std::path::Path;

use crate::support::checkout;

#[track_caller]
fn is_declared_well(environment: &Path) {
    if let Err(errors) = rosey::config::load(environment, &rosey::step::words::words()) {
        panic!("{:?}", miette::Report::new(errors));
    }
}

#[test]
fn the_environments_of_this_repository_are_declared_well() {
    for name in ["demo", "test", "prod"] {
        is_declared_well(&checkout().join(format!("environments/{name}.kdl")));
    }
}
