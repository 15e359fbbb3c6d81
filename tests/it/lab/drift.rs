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
