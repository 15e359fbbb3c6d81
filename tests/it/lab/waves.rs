//! Waves, their bakes, and what is declared about failures: one host alone, then half of them, then all.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::fleet::{Commands as _, Fleet};

/// Four hosts make three waves: `h1`, then `h2`, then `h3` and `h4`.
const ROLLOUT: &str =
    "rollout { waves 1 \"50%\" \"100%\"; wave 1 bake=\"600ms\"; bake \"100ms\"; }";

/// Version 1 on four hosts, and what the apply said of it, an event a line.
fn deployed() -> (Fleet, Vec<Value>) {
    let fleet = Fleet::up(4);
    fleet.declare("rollout { waves 1 \"100%\"; }", ROLLOUT);
    let first = fleet.rosey().run(&["apply", "lab", "--yes", "--json"]);
    let events = first.exits(0).json_lines();
    (fleet, events)
}

/// The bot becomes another version, which is never healthy on the second host.
fn release(fleet: &Fleet, version: &str) {
    fleet.version(version);
    super::back::break_one(fleet, 2, "unhealthy");
    // Short, but the others have to become healthy in it.
    fleet.declare("within \"10s\"", "within \"5s\"");
}

/// The same version without what ails it.
fn repair(fleet: &Fleet) {
    fleet.declare("vars { fault \"unhealthy\"; }; ", "");
    fleet.declare("within \"5s\"", "within \"10s\"");
}

/// Says what is to be done when a host fails.
fn on_failure(fleet: &Fleet, words: &str) {
    fleet.declare("bake \"100ms\"; }", &format!("bake \"100ms\"; {words}; }}"));
}

fn apply(fleet: &Fleet, code: i32) -> Vec<Value> {
    let ran = fleet.rosey().run(&["apply", "lab", "--yes", "--json"]);
    ran.exits(code).json_lines()
}

/// `HOST:VERSION/GENERATION` of each host, as an outcome tells it.
fn hosts(outcome: &Value) -> String {
    let hosts = outcome["hosts"].as_object().expect("an outcome has hosts");
    let word = |(host, it): (&String, &Value)| {
        assert_eq!(it["healthy"], true, "{host}: {it}");
        let version = it["version"].as_str().unwrap_or("?");
        format!("{host}:{version}/{}", it["generation"])
    };
    hosts.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// When an event was.
fn at(event: &Value) -> Timestamp {
    let time = event["time"].as_str().expect("an event has a time");
    time.parse().expect("it is RFC 3339")
}

#[test]
fn a_wave_begins_when_the_one_before_has_baked_and_as_many_hosts_may_fail_as_is_declared() {
    let (fleet, events) = deployed();
    let starts: Vec<usize> = (0..events.len())
        .filter(|at| events[*at]["type"] == "wave-started")
        .collect();
    let told: Vec<_> = starts.iter().map(|at| &events[*at]["message"]).collect();
    assert_eq!(
        told,
        [
            "preparing h1, h2, h3, h4",
            "wave 1 of 3: h1",
            "wave 2 of 3: h2",
            "wave 3 of 3: h3, h4"
        ]
    );
    // Nobody is touched before its wave, and each wave was watched for as long as is declared.
    let bakes = [600, 100, 100];
    let ends = starts[2..].iter().copied().chain([events.len()]);
    for ((start, end), bake) in starts[1..].iter().zip(ends).zip(bakes) {
        let wave = &events[*start..end];
        let members = wave[0]["hosts"].as_array().expect("a wave has hosts");
        let steps = wave.iter().filter(|event| event["type"] == "step-started");
        for step in steps {
            assert!(members.contains(&step["host"]), "{step}");
        }
        let is_bake = |event: &&Value| event["type"] == "waiting";
        let baking = wave.iter().find(is_bake).expect("a wave bakes");
        let number = &wave[0]["wave"];
        let bake_words = format!(
            "waiting for wave {number} to bake for {} s",
            f64::from(bake) / 1e3
        );
        assert_eq!(baking["message"], bake_words.as_str());
        let read = wave.iter().rposition(|event| event["type"] == "gate-read");
        let read = &wave[read.expect("gates are read at the end of a bake")];
        let baked = at(read).duration_since(at(baking));
        assert!(
            baked >= SignedDuration::from_millis(bake.into()),
            "{wave:#?}"
        );
    }

    // The second wave fails: who had the first goes back too, and the third has seen nothing of it.
    let before = fleet.snapshots();
    release(&fleet, "2.0.0");
    let events = apply(&fleet, 7);
    let outcome = events.last().expect("there is an outcome");
    assert_eq!(outcome["outcome"], "rolled-back");
    assert_eq!(
        hosts(outcome),
        "h1:1.0.0/1 h2:1.0.0/1 h3:1.0.0/1 h4:1.0.0/1"
    );
    let wave_three = |event: &&Value| event["type"] == "wave-started" && event["wave"] == 3;
    assert_eq!(events.iter().filter(wave_three).count(), 0);
    fleet.must_be(&before);
    // Where one host may fail, the others go on without it.
    on_failure(&fleet, "max-failures 1");
    fleet.version("3.0.0");
    let events = apply(&fleet, 17);
    let outcome = events.last().expect("there is an outcome");
    assert_eq!(outcome["outcome"], "degraded");
    assert_eq!(outcome["exit_code"], 17);
    let stands = "h1:3.0.0/2 h2:1.0.0/1 h3:3.0.0/2 h4:3.0.0/2";
    assert_eq!(hosts(outcome), stands);
    assert_eq!(fleet.served(), ["3.0.0", "1.0.0", "3.0.0", "3.0.0"]);
    let rosey = fleet.rosey();
    let status = rosey.run(&["status", "lab", "--json"]).exits(0).json();
    assert_eq!(hosts(&status), stands);
    assert_eq!(status["mixed"], true);
    let status = rosey.run(&["status", "lab"]).exits(0).stdout;
    assert!(status.contains("rosey-bot is mixed: 1.0.0-"), "{status}");
    rosey.drift().exits(0);

    // Who failed isn't tried again with the same, and nobody else is disturbed.
    let held = rosey.run(&["apply", "lab", "--yes"]).exits(5);
    assert!(
        held.stderr.contains("rosey-bot on h2: 3.0.0-"),
        "{}",
        held.stderr
    );
    assert_eq!(held.stderr.matches(" is held since ").count(), 1);
    rosey
        .run(&["apply", "lab", "--yes", "--except", "h2"])
        .exits(0);
    let status = rosey.run(&["status", "lab", "--json"]).exits(0).json();
    assert_eq!(hosts(&status), stands);

    // The next apply of something else brings along who failed.
    repair(&fleet);
    let events = apply(&fleet, 0);
    let outcome = events.last().expect("there is an outcome");
    assert_eq!(outcome["outcome"], "applied");
    assert_eq!(fleet.served(), ["3.0.0"; 4]);
    let status = rosey.run(&["status", "lab", "--json"]).exits(0).json();
    assert_eq!(status["mixed"], false);
}

#[test]
fn earlier_waves_stay_where_only_the_failed_one_is_to_go_back() {
    let (fleet, _) = deployed();
    for (words, version, old) in [
        ("on-failure \"rollback-wave\"", "2.0.0", "1.0.0"),
        ("on-failure \"stop\"", "3.0.0", "2.0.0"),
    ] {
        on_failure(&fleet, words);
        release(&fleet, version);
        let events = apply(&fleet, 17);
        let outcome = events.last().expect("there is an outcome");
        assert_eq!(outcome["outcome"], "degraded");
        assert_eq!(fleet.served(), [version, old, old, old]);
        for (host, version) in ["h1", "h2", "h3", "h4"].iter().zip(fleet.served()) {
            assert_eq!(outcome["hosts"][host]["version"], *version);
        }
        repair(&fleet);
        apply(&fleet, 0);
        assert_eq!(fleet.served(), [version; 4]);
        fleet.declare(&format!(" {words};"), "");
    }
}
