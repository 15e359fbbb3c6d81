//! Releases that don't work out: every host is as it was, byte for byte, and the same is not tried again unasked.

use super::fleet::{Commands as _, Fleet};
use super::guard::serves;
use crate::support::{Ran, Wanted};

/// Gives a host a fault of its own.
pub fn break_one(fleet: &Fleet, host: usize, fault: &str) {
    let address = fleet.lab.address(host);
    let host = format!("host \"h{host}\" address=\"{address}\" user=\"deploy\" {{ ");
    fleet.declare(&host, &format!("{host}vars {{ fault \"{fault}\"; }}; "));
}

#[test]
fn a_release_that_fails_on_the_second_host_leaves_all_as_they_were() {
    let fleet = Fleet::deployed(3);
    fleet.mark();
    let before = fleet.snapshots();
    fleet.version("2.0.0");
    break_one(&fleet, 2, "unhealthy");
    fleet.declare("within \"10s\"", "within \"3s\"");
    let rosey = fleet.rosey();
    let failed = rosey
        .run(&["apply", "lab", "--yes", "--json"])
        .exits(7)
        .json_lines();
    let outcome = failed.last().expect("there is an outcome");
    assert_eq!(outcome["outcome"], "rolled-back");
    assert_eq!(outcome["hosts"]["h1"]["version"], "1.0.0");
    assert_eq!(fleet.served(), ["1.0.0"; 3]);
    fleet.must_be(&before);
    fleet.must_be_marked();

    // The same again is held; with the gate corrected it is something else.
    let held = rosey.apply().exits(5);
    assert!(
        held.stderr.contains("rosey release-hold lab"),
        "{}",
        held.stderr
    );
    fleet.must_be(&before);
    fleet.declare("json \"status\" \"running\"\n", "");
    fleet.declare("json \"connected\" #true\n", "");
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["2.0.0"; 3]);
    fleet.must_be_marked();
}

#[test]
fn a_service_that_ends_at_once_makes_way_for_the_old_one() {
    let fleet = Fleet::up(2);
    // One start within ten minutes, then systemd refuses any: the one after the first end, and that of the way back.
    fleet.project.replace(
        "bot/systemd/rosey-bot.service",
        "[Unit]\n",
        "[Unit]\nStartLimitIntervalSec=600\nStartLimitBurst=1\n",
    );
    fleet.project.replace(
        "bot/systemd/rosey-bot.service",
        "RestartSec=1\n",
        "RestartSec=20ms\n",
    );
    let rosey = fleet.rosey();
    rosey.apply().exits(0);
    let before = fleet.snapshots();
    fleet.version("2.0.0");
    break_one(&fleet, 2, "exit");
    let failed = rosey.apply().exits(7);
    assert!(
        failed.stderr.contains("ends at once: a fault on purpose"),
        "{}",
        failed.stderr
    );
    // That it refused one is in the journal of the second host, and of that alone.
    let journal = |host| {
        let told = "journalctl --quiet --output cat --unit rosey-bot";
        fleet.lab.exec(host, told)
    };
    let refused = "Start request repeated too quickly";
    assert!(journal(2).contains(refused), "{}", journal(2));
    assert!(!journal(1).contains(refused), "{}", journal(1));
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    fleet.must_be(&before);
    rosey.apply().exits(5);
}

#[test]
fn a_first_deploy_that_fails_leaves_nothing_behind() {
    let fleet = Fleet::up(1);
    let before = fleet.snapshots();
    fleet.declare("fault \"\"", "fault \"exit\"");
    fleet.rosey().apply().exits(7);
    fleet.must_be(&before);
}

/// What somebody changes meanwhile on one host is never overwritten, and keeps no other host from going back.
#[test]
fn what_was_changed_by_hand_meanwhile_needs_a_person_and_nothing_else_does() {
    let fleet = Fleet::deployed(2);
    let before = fleet.snapshots();
    fleet.version("2.0.0");
    fleet.declare("fault \"\"", "fault \"unhealthy\"");
    fleet.declare("waves 1 \"100%\"", "waves \"100%\"");
    let rosey = fleet.rosey();
    let run = rosey.start(&["apply", "lab", "--yes", "--json"]);
    for host in fleet.lab.hosts() {
        serves(&fleet, host, "2.0.0");
    }
    let current = "/opt/rosey-bot/current";
    let relink = format!("ln -sfn /opt {current}");
    fleet.lab.exec(1, &relink);
    let output = run.wait_with_output().expect("it was started");
    let lines = Ran::new("apply".to_owned(), &output).exits(8).json_lines();
    let outcome = lines.last().expect("there is an outcome");
    assert_eq!(outcome["outcome"], "stuck");
    let named = lines
        .iter()
        .filter_map(|line| line["message"].as_str())
        .any(|words| words.contains(current) && words.starts_with("h1"));
    assert!(named, "{lines:#?}");
    assert_eq!(fleet.lab.exec(1, &format!("readlink {current}")), "/opt");
    before[&2].must_equal(&fleet.snapshots()[&2]);
    assert_eq!(fleet.health(2)["version"], "1.0.0");
    let status = rosey.run(&["status", "lab"]).exits(0);
    assert!(status.stdout.contains(current), "{}", status.stdout);

    // Healing is agreeing: the same as a change by hand at any other time.
    rosey.run(&["drift", "lab", "--heal", "--yes"]).exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    rosey.drift().exits(0);
}

#[test]
fn what_fails_for_want_of_room_is_not_held() {
    let fleet = Fleet::with(Wanted {
        hosts: 1,
        disks: true,
        ..Wanted::default()
    });
    fleet.rosey().apply().exits(0);
    let before = fleet.snapshots();
    fleet.version("2.0.0");
    // As its owner: root could go on for a while.
    let fills = "task \"fills\" { run \"mkdir o && cat /dev/zero >o/zeros\"; output \"o\"; timeout \"5m\"; }";
    fleet.declare("    verify {", &format!("    {fills}\n    verify {{"));
    for _ in 0..2 {
        let ran = fleet.rosey().apply().exits(7);
        assert!(
            ran.stderr.contains("No space left on device"),
            "{}",
            ran.stderr
        );
        fleet.must_be(&before);
        assert_eq!(fleet.served(), ["1.0.0"]);
    }
}
