//! Hosts that are left alone in the middle of a run: they go back by themselves, whatever became of the controller, of
//! the link, of the helper or of the power.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;

use crate::support::{Rosey, Snapshot, Wanted, wait_until};

use super::fleet::{Commands as _, Fleet};

/// How long a host may take to serve the old version, beyond the guard time where that has to pass.
const BACK: f64 = 2.0;

/// From PID 1's beginning to the old version.
const BOOT: f64 = 5.0;

/// A fleet with version 1, and what it looks like.
pub fn deployed(wanted: Wanted) -> (Fleet, BTreeMap<usize, Snapshot>) {
    let fleet = Fleet::with(wanted);
    fleet.declare("stable \"0.3s\"", "stable \"0s\"");
    fleet.declare("rollout { waves", "rollout { guard \"2s\"; waves");
    fleet.rosey().apply().exits(0);
    let before = fleet.snapshots();
    (fleet, before)
}

pub fn one() -> (Fleet, BTreeMap<usize, Snapshot>) {
    deployed(Wanted {
        hosts: 1,
        ..Wanted::default()
    })
}

/// Begins to apply version 2, whose gates never pass: returns as soon as every host serves it.
pub fn in_the_middle(fleet: &Fleet, rosey: &Rosey<'_>) -> Child {
    fleet.version("2.0.0");
    fleet.declare("fault \"\"", "fault \"unhealthy\"");
    fleet.declare("within \"10s\"", "within \"120s\"");
    let run = rosey.start(&["apply", "lab", "--yes"]);
    for host in fleet.lab.hosts() {
        serves(fleet, host, "2.0.0");
    }
    run
}

/// Waits on the host itself until it serves a version; returns its clock then, in seconds since boot.
pub fn serves(fleet: &Fleet, host: usize, version: &str) -> f64 {
    let script = format!(
        "for try in $(seq 1500); do
             curl --silent --max-time 1 http://127.0.0.1:8000/api/health | grep --quiet '\"{version}\"' && exec cut -d' ' -f1 /proc/uptime
             sleep 0.02
         done
         systemctl --no-pager list-units 'rosey*'; journalctl --no-pager -n 60
         exit 1"
    );
    let clock = fleet.lab.exec(host, &script);
    clock.parse().expect("a number of seconds")
}

fn clock(fleet: &Fleet, host: usize) -> f64 {
    let clock = fleet.lab.exec(host, "cut -d' ' -f1 /proc/uptime");
    clock.parse().expect("a number of seconds")
}

/// Everything is as before, nothing of a run is left, and the next command says what has happened.
pub fn is_back(fleet: &Fleet, before: &BTreeMap<usize, Snapshot>, told: &str) {
    for host in fleet.lab.hosts() {
        wait_until("the end of the run's unit", Duration::from_secs(20), || {
            let left = fleet.lab.exec(
                host,
                "systemctl --no-legend --all list-units 'rosey-run-*' 'rosey-recover*' --state=active,activating,deactivating,failed; ls -d /run/rosey 2>/dev/null || true",
            );
            left.is_empty()
        });
    }
    fleet.must_be(before);
    let status = fleet.rosey().run(&["status", "lab"]).exits(0);
    assert!(status.stdout.contains(told), "{}", status.stdout);
    fleet.rosey().drift().exits(0);
}

#[test]
fn a_controller_that_is_killed_in_the_middle() {
    let (fleet, before) = one();
    let rosey = fleet.rosey();
    let mut run = in_the_middle(&fleet, &rosey);
    let unit = fleet.lab.exec(
        1,
        "systemctl --no-legend list-units 'rosey-run-*.service' --state=running",
    );
    assert_eq!(unit.lines().count(), 1, "{unit}");
    let killed = clock(&fleet, 1);
    run.kill().expect("it runs");
    run.wait().expect("it was started");
    let took = serves(&fleet, 1, "1.0.0") - killed;
    assert!(took < BACK, "{took:.2} s");
    is_back(&fleet, &before, "the controller was lost");
}

#[test]
fn a_network_that_is_cut_in_the_middle() {
    let (fleet, before) = one();
    let rosey = fleet.rosey();
    let run = in_the_middle(&fleet, &rosey);
    let cut = clock(&fleet, 1);
    fleet.lab.cut(1);
    let took = serves(&fleet, 1, "1.0.0") - cut;
    assert!(took < 2.0 + BACK, "{took:.2} s");
    let output = run.wait_with_output().expect("it was started");
    assert_eq!(output.status.code(), Some(18));
    fleet.lab.join(1);
    is_back(&fleet, &before, "nothing was heard of it for 2.");
}

#[test]
fn a_helper_that_is_killed_in_the_middle_of_a_task_is_started_again_and_goes_back() {
    let (fleet, before) = deployed(Wanted {
        hosts: 2,
        old: vec![2],
        ..Wanted::default()
    });
    fleet.version("2.0.0");
    fleet.declare(
        "    verify {\n",
        "    task \"slow\" { run \"sh -c 'sleep 987'; true\"; output \"slow\"; timeout \"10m\"; }\n    verify {\n",
    );
    let rosey = fleet.rosey();
    let mut run = rosey.start(&["apply", "lab", "--yes"]);
    let asleep = |host| {
        let found = fleet.lab.exec(host, "pgrep -f '^sleep 987' || true");
        !found.is_empty()
    };
    let mut over = || run.try_wait().expect("it was started").is_some();
    for host in fleet.lab.hosts() {
        wait_until("the task", Duration::from_secs(30), || {
            asleep(host) || over()
        });
    }
    assert!(!over(), "{:?}", run.wait_with_output());
    // TERM is a clean end to systemd, and none to a run.
    for (host, signal) in [(1, "KILL"), (2, "TERM")] {
        let helper = "$(systemctl show --property=MainPID --value 'rosey-run-*.service')";
        fleet.lab.exec(host, &format!("kill -{signal} {helper}"));
    }
    for host in fleet.lab.hosts() {
        wait_until("the end of the task", Duration::from_secs(10), || {
            !asleep(host)
        });
    }
    let output = run.wait_with_output().expect("it was started");
    assert_eq!(output.status.code(), Some(18));
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    is_back(&fleet, &before, "the run was cut off");
}

#[test]
fn a_session_that_is_killed_in_the_middle() {
    let (fleet, before) = one();
    let rosey = fleet.rosey();
    let run = in_the_middle(&fleet, &rosey);
    let killed = clock(&fleet, 1);
    // The wire alone: what the session had started is called after the cached program, the unit is not.
    fleet.lab.exec(1, "pkill -9 '^helper-'");
    let took = serves(&fleet, 1, "1.0.0") - killed;
    assert!(took < BACK, "{took:.2} s");
    let output = run.wait_with_output().expect("it was started");
    assert_eq!(output.status.code(), Some(18));
    is_back(&fleet, &before, "the controller was lost");
}

#[test]
fn a_power_cut_in_the_middle() {
    let (fleet, before) = deployed(Wanted {
        hosts: 1,
        disks: true,
        ..Wanted::default()
    });
    let rosey = fleet.rosey();
    let mut run = in_the_middle(&fleet, &rosey);
    fleet.lab.power_cut(1);
    run.kill().expect("it runs");
    run.wait().expect("it was started");
    fleet.lab.boot(1);
    // Nobody has contacted it.
    let served = serves(&fleet, 1, "1.0.0");
    let up = "systemctl show --property=UserspaceTimestampMonotonic --value";
    let up = fleet.lab.exec(1, up).parse::<f64>();
    let took = served - up.expect("microseconds") / 1e6;
    assert!((0.0..BOOT).contains(&took), "{took:.2} s");
    is_back(&fleet, &before, "the run was cut off");
}

#[test]
fn hosts_that_lose_their_power_at_once() {
    let (fleet, before) = deployed(Wanted {
        hosts: 3,
        disks: true,
        ..Wanted::default()
    });
    fleet.declare("waves 1 \"100%\"", "waves \"100%\"");
    let rosey = fleet.rosey();
    let run = in_the_middle(&fleet, &rosey);
    for host in [1, 2] {
        fleet.lab.power_cut(host);
    }
    // The third is taken back at once, by a controller that can't read the others.
    let output = run.wait_with_output().expect("it was started");
    assert_eq!(output.status.code(), Some(18));
    assert_eq!(fleet.health(3)["version"], "1.0.0");
    for host in [1, 2] {
        fleet.lab.boot(host);
    }
    for host in [1, 2] {
        serves(&fleet, host, "1.0.0");
    }
    is_back(&fleet, &before, "the run was cut off");
}

#[test]
fn what_takes_longer_than_the_guard_time_is_no_lost_controller() {
    let (fleet, _) = one();
    fleet.version("2.0.0");
    fleet.declare(
        "    verify {\n",
        "    task \"slow\" { run \"mkdir slow && sleep 4\"; output \"slow\"; timeout \"60s\"; }\n    verify {\n",
    );
    fleet.declare("stable \"0s\"", "stable \"4s\"");
    let ran = fleet.rosey().apply().exits(0);
    assert_eq!(fleet.served(), ["2.0.0"]);
    let steps: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|it| it.contains("slow"))
        .collect();
    assert!(!steps.is_empty(), "{}", ran.stderr);
    fleet.rosey().drift().exits(0);
}

mod all {
    use super::*;

    /// The guard time that nobody has declared is a minute.
    #[test]
    fn a_network_that_is_cut_where_no_guard_is_declared() {
        let fleet = Fleet::deployed(1);
        let before = fleet.snapshots();
        let rosey = fleet.rosey();
        let run = in_the_middle(&fleet, &rosey);
        let cut = clock(&fleet, 1);
        fleet.lab.cut(1);
        let until = format!(
            "while [ $(cut -d. -f1 /proc/uptime) -lt {} ]; do sleep 1; done",
            cut as u64 + 55
        );
        fleet.lab.exec(1, &until);
        assert_eq!(
            fleet.lab.exec(
                1,
                "curl --silent http://127.0.0.1:8000/api/health | grep -c 2.0.0"
            ),
            "1"
        );
        let took = serves(&fleet, 1, "1.0.0") - cut;
        assert!((58.0..62.0).contains(&took), "{took:.2} s");
        let output = run.wait_with_output().expect("it was started");
        assert_eq!(output.status.code(), Some(18));
        fleet.lab.join(1);
        is_back(&fleet, &before, "nothing was heard of it for 60");
    }
}

#[test]
fn a_helper_that_hangs_is_ended_by_unlock_and_its_host_goes_back() {
    let (fleet, before) = one();
    let rosey = fleet.rosey();
    let run = in_the_middle(&fleet, &rosey);
    let main = "$(systemctl show --property=MainPID --value 'rosey-run-*.service')";
    fleet.lab.exec(1, &format!("kill -STOP {main}"));
    // It gives no sign of life, and what it was at nobody else may take back.
    let output = run.wait_with_output().expect("it was started");
    assert_eq!(output.status.code(), Some(18));
    assert_eq!(fleet.served(), ["2.0.0"]);
    let status = rosey.run(&["status", "lab", "--json"]).exits(0).json();
    let notes = status["notes"].to_string();
    let name = notes
        .split("(run ")
        .nth(1)
        .and_then(|it| it.split(')').next());
    let name = name.unwrap_or_else(|| panic!("the run is named: {notes}"));
    rosey.run(&["unlock", "lab", "--run", name]).exits(0);
    assert_eq!(fleet.served(), ["1.0.0"]);
    // Whoever was first took it back, this command or the unit that was started again: only the latter leaves word.
    is_back(&fleet, &before, "");
}

/// Services of the built-in manager are children of the helper, which is a unit and ends.
#[test]
fn a_service_of_the_built_in_manager_outlives_the_unit_that_started_it() {
    let fleet = Fleet::up(1);
    let owner = "    owner \"rosey\" group=\"rosey\" create=#true\n";
    fleet.declare(owner, &format!("{owner}    manager \"process\"\n"));
    let ended = || {
        wait_until("the end of the run's unit", Duration::from_secs(20), || {
            // systemd remembers a unit that is over for as long as processes are left in its group.
            let units = "systemctl --no-legend list-units 'rosey-run-*' --state=active,activating,deactivating,failed";
            fleet.lab.exec(1, units).is_empty()
        });
    };
    fleet.rosey().apply().exits(0);
    ended();
    assert_eq!(fleet.served(), ["1.0.0"]);
    fleet.version("2.0.0");
    fleet.rosey().apply().exits(0);
    ended();
    assert_eq!(fleet.served(), ["2.0.0"]);
    // And so does what a helper starts that takes its host back alone.
    fleet.version("3.0.0");
    fleet.declare("fault \"\"", "fault \"unhealthy\"");
    fleet.declare("within \"10s\"", "within \"120s\"");
    let rosey = fleet.rosey();
    let mut run = rosey.start(&["apply", "lab", "--yes"]);
    serves(&fleet, 1, "3.0.0");
    fleet.lab.exec(
        1,
        "kill -9 $(systemctl show --property=MainPID --value 'rosey-run-*.service')",
    );
    assert_eq!(run.wait().expect("it was started").code(), Some(18));
    ended();
    assert_eq!(fleet.served(), ["2.0.0"]);
    fleet.rosey().drift().exits(0);
}
