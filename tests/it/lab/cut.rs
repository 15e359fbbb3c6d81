//! Runs that are cut off, and runs in each other's way.

use std::time::Duration;

use crate::support::{Ran, Rosey, wait_until};

use super::fleet::{Commands as _, Fleet};

#[test]
fn a_helper_that_dies_in_the_middle_leaves_what_the_next_command_settles() {
    let fleet = Fleet::deployed(2);
    let before = fleet.snapshots();
    let rosey = fleet.rosey();
    // It waits in the gates of the first host, which has the new release by then.
    fleet.version("2.0.0");
    fleet.declare("fault \"\"", "fault \"unhealthy\"");
    fleet.declare("within \"10s\"", "within \"60s\"");
    let run = rosey.start(&["apply", "lab", "--yes"]);
    wait_until("the new release on host 1", Duration::from_secs(30), || {
        fleet
            .lab
            .exec(1, "curl --silent http://127.0.0.1:8000/api/health || true")
            .contains("2.0.0")
    });
    fleet.lab.exec(1, "pkill -9 '^helper-'");
    let output = run.wait_with_output().expect("it was started");
    let ran = Ran::new("rosey apply".to_owned(), &output);
    // The host goes back by itself, with nobody who could be told.
    ran.exits(18);

    // It is on its way back by itself, and says so until it is.
    let heal = || rosey.run(&["drift", "lab", "--heal", "--yes"]);
    let mut ran = heal();
    wait_until("the host's own way back", Duration::from_secs(20), || {
        let busy = ran.code == Some(5);
        if busy {
            ran = heal();
        }
        !busy
    });
    ran.exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    fleet.must_be(&before);
    rosey.drift().exits(0);
}

#[test]
fn the_second_of_two_controllers_is_told_who_is_at_work() {
    let fleet = Fleet::deployed(1);
    let rosey = fleet.rosey();
    fleet.version("2.0.0");
    fleet.declare("fault \"\"", "fault \"unhealthy\"");
    fleet.declare("within \"10s\"", "within \"5s\"");
    let mut first = rosey.start(&["apply", "lab", "--yes", "--reason", "the first one"]);
    wait_until("the new release", Duration::from_secs(30), || {
        fleet
            .lab
            .exec(1, "curl --silent http://127.0.0.1:8000/api/health || true")
            .contains("2.0.0")
    });
    let second = fleet.rosey().apply().exits(5);
    assert!(second.stderr.contains("rosey unlock"), "{}", second.stderr);
    // Reading takes no lock.
    fleet.rosey().run(&["status", "lab"]).exits(0);
    assert_eq!(first.wait().expect("it was started").code(), Some(7));
}

#[test]
fn two_controllers_on_overlapping_hosts_take_turns() {
    let fleet = Fleet::deployed(3);
    let others = Fleet::project_on(&fleet.lab);
    fleet.version("2.0.0");
    others.write("bot/VERSION", "3.0.0\n");
    let one = fleet.rosey();
    let other = Rosey::in_lab(&others, &fleet.lab);
    let start = |rosey: &Rosey<'_>, hosts: [&str; 2]| {
        let [first, second] = hosts;
        let arguments = [
            "apply", "lab", "--yes", "--wait", "--only", first, "--only", second,
        ];
        rosey.command(&arguments).spawn().expect("rosey starts")
    };
    // Who had planned before the other took the locks plans anew.
    for run in [start(&one, ["h1", "h2"]), start(&other, ["h2", "h3"])] {
        let output = run.wait_with_output().expect("it was started");
        Ran::new("one of two".to_owned(), &output).exits(0);
    }
    let served = fleet.served();
    assert_eq!((&*served[0], &*served[2]), ("2.0.0", "3.0.0"));
    assert!(["2.0.0", "3.0.0"].contains(&&*served[1]), "{served:?}");
    one.run(&["apply", "lab", "--yes"]).exits(0);
    assert_eq!(fleet.served(), ["2.0.0"; 3]);
}
