//! Servers that can't be deployed to: what the message says, the exit code, and that nothing was changed.

use std::path::Path;
use std::process::Command;

use crate::support::Ran;

use super::fleet::{Commands as _, Fleet};

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{word:?} is missing in:\n{}",
            ran.stderr
        );
    }
}

pub fn new_key(path: &Path) {
    std::fs::remove_file(path).ok();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(made.expect("ssh-keygen runs").success());
}

#[test]
fn hosts_that_refuse_us_are_told_apart_and_left_alone() {
    let fleet = Fleet::up(2);
    let before = fleet.snapshots();
    let known = std::fs::read_to_string(fleet.lab.known_hosts()).unwrap();
    let (first, second) = known.trim_end().split_once('\n').expect("two hosts");

    // A key that nobody knows yet, with its fingerprint and what to type.
    let rosey = fleet.rosey();
    let file = rosey.home().join(".ssh/known_hosts");
    std::fs::write(&file, format!("{first}\n")).unwrap();
    let ran = rosey.apply().exits(4);
    let fingerprint = fleet.lab.exec(
        2,
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2",
    );
    says(&ran, &["h2", &fingerprint, "rosey trust h2"]);

    // A key that has changed.
    let (address, _) = second.split_once(' ').expect("an address");
    let (_, key) = first.split_once(' ').expect("a key");
    std::fs::write(&file, format!("{first}\n{address} {key}\n")).unwrap();
    let ran = rosey.apply().exits(4);
    says(
        &ran,
        &[
            "its key has changed",
            "known_hosts:2",
            &fingerprint,
            "ssh-keygen -R",
        ],
    );
    std::fs::write(&file, &known).unwrap();

    // A key of ours that they don't accept.
    let stranger = fleet.rosey();
    new_key(&stranger.home().join(".ssh/id_ed25519"));
    let ran = stranger.apply().exits(4);
    says(
        &ran,
        &[
            "as deploy",
            "id_ed25519",
            "the server refused it",
            "authorized_keys",
        ],
    );

    // People who can't become root.
    for user in ["plain", "pass"] {
        fleet.declare("user=\"deploy\"", &format!("user=\"{user}\""));
        let ran = rosey.apply().exits(4);
        says(
            &ran,
            &["h1", "sudo", &format!("{user} ALL=(root) NOPASSWD: ALL")],
        );
        fleet.declare(&format!("user=\"{user}\""), "user=\"deploy\"");
    }
    fleet.must_be(&before);

    // What is in the way on a server, all of it at once.
    fleet.lab.exec(
        1,
        "mkdir -p /opt/rosey-bot/current && echo mine >/opt/rosey-bot/current/file",
    );
    fleet.lab.exec(
        2,
        "printf '[Service]\\nExecStart=/bin/sleep inf\\n' >/etc/systemd/system/rosey-bot.service && systemctl daemon-reload && systemctl start rosey-bot",
    );
    let before = fleet.snapshots();
    let ran = rosey.apply().exits(10);
    says(
        &ran,
        &[
            "h1",
            "/opt/rosey-bot/current",
            "h2",
            "/etc/systemd/system/rosey-bot.service",
            "adopt #true",
        ],
    );
    fleet.must_be(&before);
}

#[test]
fn a_host_without_space_is_found_before_anything_is_changed() {
    let fleet = Fleet::deployed(1);
    let before = fleet.snapshots();
    // What is free is less than what is to be sent.
    fleet.lab.exec(
        1,
        "mkdir /mnt/full && mount -t tmpfs -o size=64k tmpfs /mnt/full && mkdir /mnt/full/app",
    );
    let root = "root \"/opt/rosey-bot\"\n    owner";
    fleet.declare(root, "root \"/mnt/full/app\"\n    owner");
    fleet.declare("service \"rosey-bot\" {", "service \"other-bot\" {");
    fleet.declare("process \"rosey-bot\"", "process \"other-bot\"");
    fleet
        .project
        .write("bot/big", &"0123456789abcdef".repeat(64 << 10));
    let ran = fleet.rosey().apply().exits(10);
    says(
        &ran,
        &[
            "h1",
            "are needed on the file system of /mnt/full",
            "make room",
        ],
    );
    assert_eq!(
        fleet.lab.exec(1, "find /mnt/full -mindepth 1"),
        "/mnt/full/app"
    );
    fleet.must_be(&before);
}

/// What a package brings: a unit where a distribution's are.
const PACKAGED: &str = "printf '[Service]\\nExecStart=/bin/sleep inf\\n[Install]\\nWantedBy=multi-user.target\\n' >/usr/lib/systemd/system/rosey-bot.service && systemctl daemon-reload";

#[test]
fn a_packages_unit_is_taken_over_only_when_told_and_given_back() {
    let fleet = Fleet::up(2);
    for host in fleet.lab.hosts() {
        fleet.lab.exec(host, PACKAGED);
    }
    fleet
        .lab
        .exec(1, "systemctl enable --now --quiet rosey-bot");
    let unit = "/usr/lib/systemd/system/rosey-bot.service";
    let look = Fleet::look().and(unit);
    let seen = || -> Vec<_> {
        let hosts = fleet.lab.hosts();
        hosts.map(|host| look.on(&fleet.lab, host)).collect()
    };
    let before = seen();
    let must_be_as_before = || {
        for (before, after) in before.iter().zip(seen()) {
            before.must_equal(&after);
        }
    };
    let rosey = fleet.rosey();
    let ran = rosey.apply().exits(10);
    for host in ["h1", "h2"] {
        let line = format!("{host}: service rosey-bot.service is defined in {unit} already");
        says(&ran, &[&line, "adopt #true"]);
    }
    must_be_as_before();

    fleet.declare(
        "service \"rosey-bot\" {",
        "service \"rosey-bot\" {\n        adopt #true",
    );
    fleet.declare("fault \"\"", "fault \"exit\"");
    rosey.apply().exits(7);
    must_be_as_before();

    fleet.declare("fault \"exit\"", "fault \"\"");
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    rosey.drift().exits(0);
    // From now on it is rosey's own, and no word is needed.
    fleet.declare("adopt #true", "");
    rosey.apply().exits(0);
    rosey
        .run(&["remove", "lab", "--yes", "--with-data"])
        .exits(0);
    must_be_as_before();
}

#[test]
fn a_host_that_is_down_stops_a_run_before_it_begins() {
    let fleet = Fleet::deployed(2);
    let before = fleet.snapshots();
    fleet.version("2.0.0");
    fleet.lab.cut(2);
    let ran = fleet.rosey().apply().exits(4);
    says(&ran, &["h2", "no answer within", "Is the server up"]);
    fleet.must_be(&before);
}
