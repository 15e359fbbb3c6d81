//! Going to an earlier generation, and what a declaration no longer names.

use serde_json::Value;

use super::fleet::{Commands as _, Fleet};

#[test]
fn a_rollback_goes_further_back_each_time_and_to_where_it_is_told() {
    let fleet = Fleet::deployed(3);
    let rosey = fleet.rosey();
    for version in ["1.1.0", "1.2.0"] {
        fleet.version(version);
        rosey.apply().exits(0);
    }
    fleet.mark();
    let rollback = ["rollback", "lab", "--yes", "--json"];
    let back = rosey.run(&rollback).exits(0).json_lines();
    for host in ["h1", "h2", "h3"] {
        for what in ["link:/opt/rosey-bot/current", "service:rosey-bot.service"] {
            let done = |line: &&Value| {
                let step = line["step"].as_str().unwrap_or_default();
                line["type"] == "step-done" && line["host"] == host && step.contains(what)
            };
            assert!(
                back.iter().any(|line| done(&line)),
                "{host} {what}: {back:#?}"
            );
        }
    }
    assert_eq!(fleet.served(), ["1.1.0"; 3]);
    rosey.run(&rollback).exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 3]);
    // What was left is held: a release that was given up isn't deployed again unasked.
    rosey.apply().exits(5);
    rosey
        .run(&["rollback", "lab", "--to", "1.2.0", "--yes"])
        .exits(0);
    assert_eq!(fleet.served(), ["1.2.0"; 3]);
    fleet.must_be_marked();
    rosey.drift().exits(0);
    assert_eq!(rosey.steps(), [""; 0]);
}

#[test]
fn a_renamed_service_gives_its_port_to_the_new_one() {
    let fleet = Fleet::deployed(3);
    let rosey = fleet.rosey();
    fleet.declare("service \"rosey-bot\" {", "service \"chat-bot\" {");
    fleet.declare("process \"rosey-bot\"", "process \"chat-bot\"");
    let steps = rosey.steps();
    for host in fleet.lab.hosts() {
        let stop = format!("h{host} remove service rosey-bot.service");
        let start = format!("h{host} start service chat-bot.service");
        assert!(steps.contains(&stop), "{stop}: {steps:#?}");
        assert!(steps.contains(&start), "{start}: {steps:#?}");
    }
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 3]);
    let listed = "systemctl list-units --all --plain --no-legend '*-bot.service'; ls /etc/systemd/system/*-bot.service /etc/systemd/system/*.wants/*-bot.service";
    for host in fleet.lab.hosts() {
        let units = fleet.lab.exec(host, listed);
        assert!(
            units.contains("chat-bot.service loaded active running"),
            "h{host}: {units}"
        );
        assert!(!units.contains("rosey-bot.service"), "h{host}: {units}");
    }
    assert_eq!(rosey.steps(), [""; 0]);
}

#[test]
fn what_the_app_has_written_stays_when_the_app_goes() {
    let fleet = Fleet::deployed(1);
    fleet.mark();
    let rosey = fleet.rosey();
    rosey.run(&["remove", "lab", "--yes"]).exits(0);
    let gone =
        "ls /opt/rosey-bot/current /etc/systemd/system/rosey-bot.service 2>/dev/null || true";
    assert_eq!(fleet.lab.exec(1, gone), "");
    fleet.must_be_marked();
    // Who comes back finds it.
    rosey.apply().exits(0);
    fleet.must_be_marked();
}

// Somebody takes a host out of the app's `on`: what stands there goes on, and every command that looks says so.
#[test]
fn a_host_that_an_app_has_left_is_asked_what_it_still_has() {
    let fleet = Fleet::deployed(2);
    let rosey = fleet.rosey();
    fleet.declare(
        "root \"/opt/rosey-bot\"\n    owner",
        "on \"h1\"\n    root \"/opt/rosey-bot\"\n    owner",
    );
    let words = "rosey-bot is in /opt/rosey-bot but isn't declared for this host";
    let remedy = "rosey remove lab rosey-bot --only h2";
    let told = |document: &Value, list: &str| {
        let notes = document[list].as_array().expect("a list of notes");
        let of_h2: Vec<_> = notes.iter().filter(|it| it["host"] == "h2").collect();
        assert_eq!(of_h2.len(), 1, "{document}");
        of_h2[0].to_string()
    };
    let looks = [
        (&["plan", "lab", "--json"][..], "findings"),
        (&["drift", "lab", "--json"], "notes"),
        (&["status", "lab", "--json"], "notes"),
    ];
    for (command, list) in looks {
        let told = told(&rosey.run(command).exits(0).json(), list);
        assert!(told.contains(words) && told.contains(remedy), "{told}");
    }
    // Nobody waits for it, and who chose another one isn't told.
    let only = rosey.run(&["plan", "lab", "--only", "h1", "--json"]);
    assert_eq!(only.exits(0).json()["findings"], serde_json::json!([]));
    fleet.lab.exec(2, "systemctl stop ssh");
    for (command, list) in looks {
        let told = told(&rosey.run(command).exits(0).json(), list);
        assert!(told.contains("what it still has isn't known"), "{told}");
    }
    fleet.lab.exec(2, "systemctl start ssh");
    let words = ["remove", "lab", "rosey-bot", "--only", "h2", "--yes"];
    rosey.run(&words).exits(0);
    let plan = rosey.run(&["plan", "lab", "--json"]).exits(0).json();
    assert_eq!(plan["findings"], serde_json::json!([]));
    assert_eq!(fleet.health(1)["status"], "running");
}
