//! The first deployment to servers, and what follows when nothing or little has changed.

use super::fleet::{Commands as _, Fleet};

/// The helpers on a host: the name of each is its digest, so another would lie beside it.
const HELPERS: &str = "ls --full-time /home/deploy/.cache/rosey";

#[test]
fn a_first_apply_reaches_all_hosts_and_a_second_finds_nothing_to_do() {
    let fleet = Fleet::up(3);
    let rosey = fleet.rosey();
    let first = rosey
        .run(&["apply", "lab", "--yes", "--json"])
        .exits(0)
        .json_lines();
    let outcome = first.last().expect("there is an outcome");
    assert_eq!(outcome["outcome"], "applied");
    assert_eq!(outcome["hosts"]["h3"]["version"], "1.0.0");
    assert_eq!(outcome["hosts"]["h3"]["healthy"], true);
    assert_eq!(fleet.served(), ["1.0.0"; 3]);

    // The database has been written to since, and has a backup declared: neither is a difference.
    let helpers = fleet.lab.exec(1, HELPERS);
    assert_eq!(helpers.matches("helper-").count(), 1, "{helpers}");
    let before = fleet.snapshots();
    assert_eq!(rosey.steps(), [""; 0]);
    let again = rosey.run(&["apply", "lab", "--yes", "--json"]).exits(0);
    let outcome = again.json_lines();
    let outcome = outcome.last().expect("there is an outcome");
    assert_eq!(outcome["outcome"], "unchanged");
    assert_eq!(fleet.lab.exec(1, HELPERS), helpers);
    rosey.drift().exits(0);
    fleet.must_be(&before);
}
