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
