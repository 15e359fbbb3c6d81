//! What a plan finds out on real servers, before anything is done there.

use crate::support::{Look, Wanted};

use super::fleet::{Commands as _, ENVIRONMENT, Fleet};

const UNIT: &str = "bot/systemd/rosey-bot.service";

/// Somebody else's server on the bot's port.
const SQUAT: &str =
    "systemd-run --quiet --unit squatter python3 -m http.server --bind 127.0.0.1 8000
until curl --silent --output /dev/null http://127.0.0.1:8000/; do :; done";

#[test]
fn a_taken_port_and_a_unit_that_systemd_refuses_are_found_at_once() {
    // systemd 252 and 247.
    let fleet = Fleet::with(Wanted {
        hosts: 2,
        old: vec![2],
        ..Wanted::default()
    });
    let rosey = fleet.rosey();
    // Its program comes with the release; what systemd says of that is no finding.
    let later = "[Service]\nExecStop=-{{ root }}/current/comes-later\nFrobnicate=yes\n";
    fleet.project.replace(UNIT, "[Service]\n", later);
    for host in fleet.lab.hosts() {
        fleet.lab.exec(host, SQUAT);
    }
    fleet
        .project
        .replace(UNIT, "ExecStart=/", "ExecStart=nowhere/");
    let everything = Look::at([
        "/etc/systemd",
        "/run/systemd/system",
        "/dev/shm",
        "/mnt",
        "/tmp",
    ]);
    let before: Vec<_> = fleet
        .lab
        .hosts()
        .map(|host| everything.on(&fleet.lab, host))
        .collect();
    let refused = rosey.apply().exits(10).stderr;
    for host in ["h1", "h2"] {
        for words in [
            "port 8000 is taken: python3 (process ",
            "systemd can't load rosey-bot.service as it will be: line ",
        ] {
            let line = format!("{host}: {words}");
            assert!(
                refused.contains(&line),
                "{line:?} is missing in:\n{refused}"
            );
        }
    }
    for words in [
        "squatter.service",
        "sudo systemctl stop squatter",
        "nowhere/usr/bin/python3",
    ] {
        assert!(
            refused.contains(words),
            "{words:?} is missing in:\n{refused}"
        );
    }
    for (host, before) in fleet.lab.hosts().zip(&before) {
        before.must_equal(&everything.on(&fleet.lab, host));
        fleet.lab.exec(host, "systemctl stop squatter");
    }

    fleet
        .project
        .replace(UNIT, "ExecStart=nowhere/", "ExecStart=/");
    let plan = rosey.run(&["plan", ENVIRONMENT]).exits(0).stdout;
    assert_eq!(plan.matches("Frobnicate").count(), 2, "{plan}");
    assert!(!plan.contains("comes-later"), "{plan}");
    rosey.apply().exits(0);

    // The bot's own process listens there now, and its unit is as it was.
    fleet.version("2.0.0");
    let plan = rosey.run(&["plan", ENVIRONMENT]).exits(0).stdout;
    assert!(
        !plan.contains("Frobnicate") && !plan.contains("taken"),
        "{plan}"
    );
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["2.0.0"; 2]);

    // Stopped, and its port lost to somebody.
    fleet.lab.exec(1, "systemctl stop rosey-bot");
    fleet.lab.exec(1, SQUAT);
    let refused = rosey.apply().exits(10).stderr;
    assert!(refused.contains("h1: port 8000 is taken"), "{refused}");
    // Declared, it is what the gate asks.
    fleet.declare(
        "    verify {",
        "    service \"squatter\" external=#true { restart \"never\"; }\n    verify {",
    );
    rosey.run(&["plan", ENVIRONMENT]).exits(0);
}
