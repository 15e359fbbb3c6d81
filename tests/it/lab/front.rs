//! A service of somebody else's, which is only reloaded.

use super::fleet::{Commands as _, Fleet};

#[test]
fn a_service_of_others_is_reloaded_when_its_file_changes_and_never_restarted() {
    let fleet = Fleet::up(1);
    let lab = &fleet.lab;
    lab.exec(
        1,
        "systemctl enable --now --quiet lab-front && mkdir /etc/front",
    );
    fleet
        .project
        .write("bot/front.conf.j2", "bot on {{ port }} is {{ channel }}\n");
    fleet.declare(
        "    service \"rosey-bot\" {",
        "    file \"/etc/front/bot.conf\" from=\"front.conf.j2\" mode=\"0644\"\n    \
         service \"lab-front\" external=#true { restart \"reload\"; uses \"/etc/front/bot.conf\"; }\n    \
         service \"rosey-bot\" {",
    );
    let state = "systemctl show lab-front --property MainPID --property UnitFileState";
    let before = lab.exec(1, state);
    let reloads =
        "journalctl --quiet --output cat --unit lab-front | grep --count ^reloaded || true";
    let rosey = fleet.rosey();
    rosey.apply().exits(0);
    assert_eq!(lab.exec(1, "cat /etc/front/bot.conf"), "bot on 8000 is lab");
    assert_eq!(lab.exec(1, reloads), "1");
    assert_eq!(rosey.steps(), [""; 0]);
    fleet.version("1.1.0");
    rosey.apply().exits(0);
    assert_eq!(lab.exec(1, reloads), "1");
    fleet.declare("channel \"lab\"", "channel \"news\"");
    rosey.apply().exits(0);
    assert_eq!(lab.exec(1, reloads), "2");
    rosey.drift().exits(0);
    rosey.run(&["remove", "lab", "--yes"]).exits(0);
    assert_eq!(lab.exec(1, "ls /etc/front"), "");
    assert_eq!(lab.exec(1, state), before);
}

/// A web server that doesn't start with a site that it can't read.
const PICKY: &str = "[Service]
ExecStartPre=/bin/sh -c \"! grep --quiet broken /etc/picky.conf\"
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
";

#[test]
fn a_service_of_others_that_a_run_has_brought_down_runs_again_after_it() {
    let fleet = Fleet::up(1);
    let lab = &fleet.lab;
    lab.exec(
        1,
        &format!("cat >/etc/systemd/system/picky.service <<'END'\n{PICKY}END\ntouch /etc/picky.conf; systemctl enable --now --quiet picky; rm /etc/picky.conf"),
    );
    fleet
        .project
        .write("bot/picky.conf.j2", "bot is {{ channel }}\n");
    fleet.declare(
        "    service \"rosey-bot\" {",
        "    file \"/etc/picky.conf\" from=\"picky.conf.j2\" mode=\"0644\"\n    \
         service \"picky\" external=#true { uses \"/etc/picky.conf\"; }\n    \
         service \"rosey-bot\" {",
    );
    let rosey = fleet.rosey();
    rosey.apply().exits(0);
    let is_active = || lab.exec(1, "systemctl is-active picky || true");
    assert_eq!(is_active(), "active");
    fleet.declare("channel \"lab\"", "channel \"broken\"");
    let failed = rosey.apply().exits(7);
    assert!(failed.stderr.contains("picky.service"), "{}", failed.stderr);
    assert_eq!(is_active(), "active");
    assert_eq!(lab.exec(1, "cat /etc/picky.conf"), "bot is lab");
    rosey.drift().exits(0);
    // What somebody else stops is theirs.
    fleet.declare("channel \"broken\"", "channel \"lab\"");
    lab.exec(1, "systemctl stop picky");
    rosey.drift().exits(0);
    assert_eq!(rosey.steps(), [""; 0]);
}
