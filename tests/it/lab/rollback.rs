//! Going to an earlier generation, and what a declaration no longer names.

use super::fleet::{Commands as _, Fleet};

#[test]
fn a_rollback_goes_further_back_each_time_and_to_where_it_is_told() {
    let fleet = Fleet::deployed(2);
    let rosey = fleet.rosey();
    for version in ["1.1.0", "1.2.0"] {
        fleet.version(version);
        rosey.apply().exits(0);
    }
    let rollback = ["rollback", "lab", "--yes"];
    rosey.run(&rollback).exits(0);
    assert_eq!(fleet.served(), ["1.1.0"; 2]);
    rosey.run(&rollback).exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    // What was left is held: a release that was given up isn't deployed again unasked.
    rosey.apply().exits(5);
    rosey
        .run(&["rollback", "lab", "--to", "1.2.0", "--yes"])
        .exits(0);
    assert_eq!(fleet.served(), ["1.2.0"; 2]);
    rosey.drift().exits(0);
    assert_eq!(rosey.steps(), [""; 0]);
}

#[test]
fn a_renamed_service_gives_its_port_to_the_new_one() {
    let fleet = Fleet::deployed(1);
    let rosey = fleet.rosey();
    fleet.declare("service \"rosey-bot\" {", "service \"chat-bot\" {");
    fleet.declare("process \"rosey-bot\"", "process \"chat-bot\"");
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["1.0.0"]);
    let units = "systemctl list-units --all --plain --no-legend '*-bot.service'; ls /etc/systemd/system/*-bot.service /etc/systemd/system/*.wants/*-bot.service";
    let units = fleet.lab.exec(1, units);
    assert!(
        units.contains("chat-bot.service loaded active running"),
        "{units}"
    );
    assert!(!units.contains("rosey-bot.service"), "{units}");
    assert_eq!(rosey.steps(), [""; 0]);
}
