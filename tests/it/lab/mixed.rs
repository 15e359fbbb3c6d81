//! The one moment in which a lost controller leaves a fleet that isn't all old or all new: between the first host
//! that says *ready* and the last. Everything here waits for what the hosts themselves write down.

use std::process::Child;
use std::time::Duration;

use crate::support::{Rosey, wait_until};

use super::fleet::{Commands as _, Fleet};

const PATIENCE: Duration = Duration::from_secs(25);

/// What the run's helper on a host is told, by its process id.
fn signal(fleet: &Fleet, host: usize, name: &str) {
    let helper = "systemctl show --property=MainPID --value 'rosey-run-*.service'";
    fleet.lab.exec(host, &format!("kill -{name} $({helper})"));
}

/// Waits until the journal of the app's last run says something.
fn says(fleet: &Fleet, host: usize, record: &str) {
    let look = format!("grep --quiet --text '{record}' /var/lib/rosey/apps/*/journal");
    wait_until(&format!("{record} on host {host}"), PATIENCE, || {
        fleet.lab.try_exec(host, &look).status.success()
    });
}

/// Waits until the helper on a host has sent what it had to say: all of its threads wait for something.
fn is_silent(fleet: &Fleet, host: usize) {
    let there = "test \"$(systemctl show --property=MainPID --value 'rosey-run-*.service')\" -gt 0";
    fleet.lab.exec(host, there);
    let awake = "main=$(systemctl show --property=MainPID --value 'rosey-run-*.service') \
         && cut -d')' -f2 /proc/$main/task/*/stat | grep --quiet --invert-match '^ S'";
    wait_until("the helper to wait", PATIENCE, || {
        !fleet.lab.try_exec(host, awake).status.success()
    });
}

/// Waits until nobody is at work on the hosts. A helper that was killed is started again first.
fn at_rest(fleet: &Fleet) {
    let units = "systemctl --no-legend --all list-units 'rosey-run-*'";
    for host in fleet.lab.hosts() {
        wait_until("the end of the run's helper", PATIENCE, || {
            fleet.lab.exec(host, units).is_empty()
        });
    }
}

/// Two hosts with version 1.1.0, and 1.0.0 before it. A gate of the second one opens when the test says so.
fn deployed() -> Fleet {
    let fleet = Fleet::up(2);
    fleet.declare("within \"10s\"", "within \"60s\"");
    fleet.declare(
        "process \"rosey-bot\"\n",
        "process \"rosey-bot\"\n        command \"go\" run=\"test -e /tmp/go\"\n",
    );
    for version in ["1.0.0", "1.1.0"] {
        open(&fleet);
        fleet.version(version);
        fleet.rosey().apply().exits(0);
    }
    fleet
}

fn open(fleet: &Fleet) {
    for host in fleet.lab.hosts() {
        fleet.lab.exec(host, "touch /tmp/go");
    }
}

/// Begins to apply a version, and returns when the first host is through and the second one waits for its gate.
fn waiting(fleet: &Fleet, rosey: &Rosey<'_>, version: &str) -> Child {
    fleet.lab.exec(2, "rm -f /tmp/go");
    fleet.version(version);
    let run = rosey.start(&["apply", "lab", "--yes"]);
    let serves =
        format!("curl --silent http://127.0.0.1:8000/api/health | grep -q '\"{version}\"'");
    wait_until("the new version on host 2", PATIENCE, || {
        fleet.lab.try_exec(2, &serves).status.success()
    });
    run
}

fn kill(mut run: Child) {
    run.kill().expect("it runs");
    run.wait().expect("it was started");
}

/// The second host is ready, the first one never hears of it: it goes back, and the second one stays.
fn leave_mixed(fleet: &Fleet, version: &str) {
    let rosey = fleet.rosey();
    let old = fleet.served().remove(0);
    let run = waiting(fleet, &rosey, version);
    signal(fleet, 1, "STOP");
    open(fleet);
    says(fleet, 2, "\"ready\"");
    kill(run);
    // Whose helper is killed while it is ready stands all the same, and nobody has to wait for the guard time.
    for host in fleet.lab.hosts() {
        signal(fleet, host, "KILL");
    }
    at_rest(fleet);
    assert_eq!(fleet.served(), [&*old, version]);
}

/// Every command that looks says how the hosts stand.
fn told(fleet: &Fleet, versions: &[&str]) {
    let rosey = fleet.rosey();
    for command in ["plan", "status", "drift"] {
        // Each host is as its ledger says, or as it has promised: nobody has changed anything.
        let ran = rosey.run(&[command, "lab"]).exits(0);
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains("rosey-bot is mixed: "), "{command}: {said}");
        assert!(
            said.contains("stands unconfirmed on h2"),
            "{command}: {said}"
        );
        for version in versions {
            assert!(said.contains(&format!("{version}-")), "{command}: {said}");
        }
    }
    for command in ["status", "drift"] {
        let ran = rosey.run(&[command, "lab", "--json"]);
        assert_eq!(ran.json()["mixed"], true, "{}", ran.stdout);
    }
    // What the second host serves stands in no ledger yet, and nothing has judged it.
    let status = rosey.run(&["status", "lab", "--json"]).json();
    let second = &status["hosts"]["h2"];
    assert!(
        !status["notes"].to_string().contains("not as applied"),
        "{status}"
    );
    assert_eq!(second["version"], *versions.last().expect("it serves one"));
    assert!(second["healthy"].is_null(), "{second}");
}

/// Both hosts have it, and nothing is left of what was cut off.
fn settled(fleet: &Fleet, version: &str) {
    assert_eq!(fleet.served(), [version; 2]);
    let rosey = fleet.rosey();
    rosey.drift().exits(0);
    let status = rosey.run(&["status", "lab", "--json"]).exits(0).json();
    assert_eq!(status["mixed"], false);
    for host in ["h1", "h2"] {
        assert_eq!(status["hosts"][host]["version"], version);
    }
}

#[test]
fn where_nobody_has_committed_the_next_command_takes_the_ready_host_back_first() {
    let fleet = deployed();
    let before = fleet.snapshots();
    leave_mixed(&fleet, "2.0.0");
    told(&fleet, &["1.1.0", "2.0.0"]);
    fleet
        .rosey()
        .run(&["drift", "lab", "--heal", "--yes"])
        .exits(0);
    settled(&fleet, "1.1.0");
    fleet.must_be(&before);

    leave_mixed(&fleet, "3.0.0");
    fleet.rosey().run(&["rollback", "lab", "--yes"]).exits(0);
    settled(&fleet, "1.0.0");

    leave_mixed(&fleet, "4.0.0");
    let ran = fleet.rosey().apply().exits(0);
    assert!(
        ran.stderr.contains("goes back to how it was before"),
        "{}",
        ran.stderr
    );
    settled(&fleet, "4.0.0");
}

#[test]
fn where_one_has_committed_the_ready_host_follows() {
    let fleet = deployed();
    let rosey = fleet.rosey();
    let run = waiting(&fleet, &rosey, "2.0.0");
    signal(&fleet, 1, "STOP");
    open(&fleet);
    says(&fleet, 2, "\"ready\"");
    is_silent(&fleet, 2);
    // The second host hears nothing of what the first one's answer leads to.
    signal(&fleet, 2, "STOP");
    signal(&fleet, 1, "CONT");
    says(&fleet, 1, "{\"settled\"");
    kill(run);
    signal(&fleet, 2, "KILL");
    at_rest(&fleet);
    // Both serve the new version; one of them doesn't know yet that it is to stay.
    assert_eq!(fleet.served(), ["2.0.0"; 2]);
    told(&fleet, &["2.0.0"]);
    // A boot leaves it alone, as it left the gate's file.
    fleet.lab.reboot(2);
    open(&fleet);
    let ran = fleet.rosey().apply().exits(0);
    assert!(
        ran.stderr.contains("is committed, as on the other hosts"),
        "{}",
        ran.stderr
    );
    settled(&fleet, "2.0.0");
}
