//! The first deployment to servers, and what follows when nothing or little has changed.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::support::wait_until;

use super::fleet::{Commands as _, ENVIRONMENT, Fleet};

/// The helpers on a host: the name of each is its digest, so another would lie beside it.
const HELPERS: &str = "ls --full-time /home/deploy/.cache/rosey";

/// The hosts on which a step was taken, as the events of a run tell it.
fn steps_of(lines: &[Value]) -> BTreeSet<&str> {
    let steps = lines.iter().filter(|line| {
        let kind = line["type"].as_str().expect("a line has a type");
        kind.starts_with("step")
    });
    steps
        .map(|line| line["host"].as_str().expect("a step has a host"))
        .collect()
}

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
    for host in ["h1", "h2", "h3"] {
        assert_eq!(outcome["hosts"][host]["version"], "1.0.0");
        assert_eq!(outcome["hosts"][host]["healthy"], true);
        assert!(steps_of(&first).contains(host), "{host}: {first:#?}");
    }
    assert_eq!(fleet.served(), ["1.0.0"; 3]);

    // The database has been written to since, and has a backup declared: neither is a difference.
    let helpers = fleet.lab.exec(1, HELPERS);
    assert_eq!(helpers.matches("helper-").count(), 1, "{helpers}");
    let before = fleet.snapshots();
    assert_eq!(rosey.steps(), [""; 0]);
    let again = rosey.run(&["apply", "lab", "--yes", "--json"]).exits(0);
    let again = again.json_lines();
    assert_eq!(steps_of(&again), BTreeSet::new(), "{again:#?}");
    let outcome = again.last().expect("there is an outcome");
    assert_eq!(outcome["outcome"], "unchanged");
    assert_eq!(fleet.lab.exec(1, HELPERS), helpers);
    rosey.drift().exits(0);
    fleet.must_be(&before);
}

#[test]
fn a_reboot_a_crash_and_a_restart_by_hand_are_no_difference() {
    let fleet = Fleet::deployed(3);
    let lab = &fleet.lab;
    let main = "systemctl show --property MainPID --value rosey-bot";
    lab.reboot(1);
    let killed = lab.exec(2, &format!("{main}; kill -9 $({main})"));
    lab.exec(3, "systemctl restart rosey-bot");
    let rosey = fleet.rosey();
    assert_eq!(rosey.steps(), [""; 0]);
    rosey.drift().exits(0);
    wait_until(
        "systemd to restart the bot",
        Duration::from_secs(20),
        || {
            let now = lab.exec(2, main);
            now != killed && now != "0"
        },
    );
    assert_eq!(rosey.steps(), [""; 0]);
    rosey.drift().exits(0);
}

#[test]
fn a_changed_file_takes_a_new_release_and_a_restart_and_nothing_else() {
    let fleet = Fleet::deployed(3);
    let rosey = fleet.rosey();
    let units = || {
        let unit = "stat --format %i /etc/systemd/system/rosey-bot.service";
        let hosts = fleet.lab.hosts();
        hosts
            .map(|host| fleet.lab.exec(host, unit))
            .collect::<Vec<_>>()
    };
    let before = units();
    fleet.version("1.1.0");
    let steps: Vec<String> = rosey
        .steps()
        .into_iter()
        .map(|step| {
            step.split("-bot/releases/1.1.0-")
                .next()
                .unwrap_or("")
                .to_owned()
        })
        .collect();
    let wanted = ["h1", "h2", "h3"].map(|host| {
        [
            "check gates rosey-bot",
            "create release /opt/rosey",
            "restart service rosey-bot.service",
            "take backup rosey-bot",
            "update link /opt/rosey-bot/current",
        ]
        .map(|step| format!("{host} {step}"))
    });
    assert_eq!(steps, wanted.concat());
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["1.1.0"; 3]);
    assert_eq!(units(), before);
    assert_eq!(rosey.steps(), [""; 0]);
}

#[test]
fn an_environment_that_comes_and_goes_is_in_force_each_time() {
    let fleet = Fleet::deployed(1);
    let rosey = fleet.rosey();
    let unit = "unit \"systemd/rosey-bot.service\"";
    let with = "unit \"systemd/rosey-bot.service\"\n        env BOT_WORD=\"said\"";
    let word = "tr '\\0' '\\n' </proc/$(systemctl show rosey-bot --property MainPID --value)/environ | grep BOT_WORD || true";
    for (old, new, said) in [(unit, with, "BOT_WORD=said"), (with, unit, "")] {
        fleet.declare(old, new);
        rosey.apply().exits(0);
        assert_eq!(fleet.lab.exec(1, word), said);
        assert_eq!(rosey.steps(), [""; 0]);
        rosey.drift().exits(0);
    }
    let beside = "ls -d /etc/systemd/system/rosey-bot.service.d 2>/dev/null || true";
    assert_eq!(fleet.lab.exec(1, beside), "");
}

#[test]
fn what_is_declared_no_more_goes_from_the_hosts_that_know_it() {
    let fleet = Fleet::deployed(2);
    let rosey = fleet.rosey();
    let is_there = || -> Vec<bool> {
        let there = |host| fleet.lab.try_exec(host, "test -e /opt/rosey-bot/current");
        let hosts = fleet.lab.hosts();
        hosts.map(|host| there(host).status.success()).collect()
    };
    let remove = |more: &[&str]| {
        let arguments = [&["remove", ENVIRONMENT, "rosey-bot", "--yes"], more].concat();
        rosey.run(&arguments)
    };
    // On one host it stays declared.
    let app = "app \"rosey-bot\" {";
    fleet.declare(app, &format!("{app}\n    on \"h1\""));
    remove(&["--only", "h2"]).exits(0);
    assert_eq!(is_there(), [true, false]);
    assert_eq!(fleet.health(1)["version"], "1.0.0");
    // Nothing is declared any more at all.
    fleet.declare(app, &format!("/-{app}"));
    remove(&["--only", "h2"]).exits(0);
    assert_eq!(is_there(), [true, false]);
    fleet.lab.cut(2);
    remove(&[]).exits(4);
    fleet.lab.join(2);
    remove(&["--with-data"]).exits(0);
    assert_eq!(is_there(), [false, false]);
    for host in fleet.lab.hosts() {
        assert_eq!(
            fleet.lab.exec(host, "ls /var/lib/rosey/apps /opt"),
            "/opt:\n\n/var/lib/rosey/apps:"
        );
    }
    remove(&[]).exits(1);
}
