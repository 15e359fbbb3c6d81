//! What somebody changed on the servers by hand, found and put right.

use serde_json::Value;

use super::fleet::{Commands as _, Fleet};

/// `HOST CHANGE WHAT` of each finding, sorted.
fn findings(report: &Value) -> Vec<String> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("").to_owned();
    let mut findings: Vec<_> = report["findings"]
        .as_array()
        .expect("a report has findings")
        .iter()
        .map(|finding| {
            let path = text(finding, "path");
            let what = if path.is_empty() {
                text(finding, "resource")
            } else {
                path
            };
            let what = what
                .rsplit_once("/releases/")
                .map_or(what.as_str(), |(_, inside)| {
                    inside.split_once('/').map_or(inside, |(_, inside)| inside)
                });
            format!(
                "{} {} {what}",
                text(finding, "host"),
                text(finding, "change")
            )
        })
        .collect();
    findings.sort();
    findings
}

#[test]
fn what_was_changed_by_hand_is_found_and_healed_while_the_source_is_ahead() {
    let fleet = Fleet::deployed(3);
    let before = fleet.snapshots();
    let current = "/opt/rosey-bot/current";
    fleet.lab.exec(
        1,
        &format!("echo '# by hand' >>{current}/server.py && rm {current}/bin/smoke && systemctl stop rosey-bot"),
    );
    fleet.lab.exec(
        2,
        &format!("cp -a {current}/ /opt/elsewhere && ln -sfn /opt/elsewhere {current} && echo '# by hand' >>/etc/systemd/system/rosey-bot.service"),
    );
    fleet.lab.exec(
        3,
        &format!("chmod 600 {current}/VERSION && touch {current}/extra && systemctl disable --quiet rosey-bot"),
    );
    fleet.version("2.0.0");
    let rosey = fleet.rosey();
    let report = rosey.drift().exits(2).json();
    assert_eq!(report["drifted"], true);
    assert_eq!(
        findings(&report),
        [
            "h1 missing bin/smoke",
            "h1 modified server.py",
            "h1 state service rosey-bot.service",
            "h2 modified /etc/systemd/system/rosey-bot.service",
            "h2 modified /opt/rosey-bot/current",
            "h2 state service rosey-bot.service",
            "h3 extra extra",
            "h3 modified VERSION",
            "h3 state service rosey-bot.service"
        ]
    );
    rosey.run(&["drift", "lab", "--heal", "--yes"]).exits(0);
    rosey.drift().exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 3]);
    fleet.must_be(&before);
}

const BESIDE: &str = "/etc/systemd/system/rosey-bot.service.d";

/// As `systemctl edit` leaves it, once for good and once until the next boot.
const EDIT: &str = r#"set -e
here=/etc/systemd/system/rosey-bot.service.d
run=/run/systemd/system/rosey-bot.service.d
mkdir -m 0750 $here
mkdir -p $run
printf '[Service]\nEnvironment=BY_HAND=here\n' >$here/override.conf
printf '[Service]\nEnvironment=BY_HAND_TOO=run\n' >$run/50-limit.conf
chmod 0640 $here/override.conf
chown nobody:rosey $here/override.conf
touch --date 2026-01-01 $here/override.conf
systemctl daemon-reload
systemctl restart rosey-bot
until curl --silent --fail http://127.0.0.1:8000/api/health; do :; done
"#;

/// What of it the service runs with.
fn by_hand(fleet: &Fleet) -> String {
    let environment = "tr '\\0' '\\n' </proc/$(systemctl show -P MainPID rosey-bot)/environ";
    let found = format!("{environment} | grep ^BY_HAND | sort | xargs");
    fleet.lab.exec(1, &found)
}

#[test]
fn what_somebody_has_put_beside_a_unit_is_found_is_back_when_a_run_fails_and_is_healed() {
    let fleet = Fleet::deployed(1);
    let before = fleet.snapshots();
    fleet.lab.exec(1, EDIT);
    let edited = fleet.snapshots();
    let both = "BY_HAND=here BY_HAND_TOO=run";
    assert_eq!(by_hand(&fleet), both);
    let rosey = fleet.rosey();
    let report = rosey.drift().exits(2).json();
    let path = format!("{BESIDE}/override.conf");
    assert_eq!(
        findings(&report),
        [
            format!("h1 extra {path}"),
            "h1 extra /run/systemd/system/rosey-bot.service.d/50-limit.conf".to_owned(),
        ]
    );
    let finding = &report["findings"][0];
    assert_eq!(finding["path"], path);
    assert_eq!(finding["owner"], "nobody:rosey");
    assert_eq!(finding["modified_at"], "2026-01-01T00:00:00Z");
    let plan = rosey.run(&["plan", "lab"]).exits(0).stdout;
    assert!(plan.contains(&format!("extra {path} (beside")), "{plan}");

    fleet.declare("fault \"\"", "fault \"exit\"");
    rosey.apply().exits(7);
    fleet.must_be(&edited);
    assert_eq!(by_hand(&fleet), both);
    fleet.declare("fault \"exit\"", "fault \"\"");
    assert_eq!(findings(&rosey.drift().exits(2).json()).len(), 2);

    rosey.run(&["drift", "lab", "--heal", "--yes"]).exits(0);
    fleet.must_be(&before);
    assert_eq!(by_hand(&fleet), "");
    rosey.drift().exits(0);
    assert_eq!(rosey.steps(), [""; 0]);

    // An app that goes takes it along, so that it changes no unit that comes later.
    fleet.lab.exec(1, EDIT);
    let removed = rosey.run(&["remove", "lab", "--yes"]).exits(0);
    let told = format!("{}{}", removed.stdout, removed.stderr);
    assert!(told.contains(&path), "{told}");
    let left =
        format!("ls -d {BESIDE} /run/systemd/system/rosey-bot.service.d 2>/dev/null || true");
    assert_eq!(fleet.lab.exec(1, &left), "");
}
