//! Servers that were deployed to by other means before.

use super::fleet::{Commands as _, Fleet};

/// What rsync and Capistrano scripts leave: an absolute link into dated releases, and a unit that somebody wrote.
const LEGACY: &str = r#"set -e
useradd --system --home-dir /opt/rosey-bot rosey
mkdir -p /opt/rosey-bot/releases/20251224180000 /opt/rosey-bot/releases/20260101120000 /opt/rosey-bot/repo /opt/rosey-bot/shared/data
cd /opt/rosey-bot/releases/20260101120000
mv /tmp/server.py .
cp server.py ../20251224180000
echo 0.8.0 >../20251224180000/VERSION
echo 0.9.0 >VERSION
echo '{"port": 8000, "channel": "old"}' >config.json
touch REVISION
ln -s /opt/rosey-bot/shared/data data
echo '# from before' >/opt/rosey-bot/shared/local.env
chmod 600 /opt/rosey-bot/shared/local.env
echo 'Branch main deployed' >/opt/rosey-bot/revisions.log
ln -s /opt/rosey-bot/releases/20260101120000 /opt/rosey-bot/current
chown -R --no-dereference rosey:rosey /opt/rosey-bot
chmod 2775 /opt/rosey-bot
cat >/etc/systemd/system/rosey-bot.service <<'UNIT'
[Unit]
Description=The bot, as somebody wrote it by hand
[Service]
User=rosey
WorkingDirectory=/opt/rosey-bot/current
ExecStart=/usr/bin/python3 /opt/rosey-bot/current/server.py
[Install]
WantedBy=default.target
UNIT
mkdir /etc/systemd/system/rosey-bot.service.d
printf '[Service]\nLimitNOFILE=4321\n' >/etc/systemd/system/rosey-bot.service.d/limits.conf
touch --date 2026-01-01 /etc/systemd/system/rosey-bot.service{,.d/limits.conf}
systemctl daemon-reload
systemctl enable --now --quiet rosey-bot
until curl --silent --fail http://127.0.0.1:8000/api/health; do :; done
"#;

#[test]
fn a_root_of_other_tools_is_taken_over_only_when_told_and_is_back_when_that_fails() {
    let fleet = Fleet::up(2);
    for host in fleet.lab.hosts() {
        let server = std::fs::read_to_string(fleet.project.path("bot/server.py")).unwrap();
        fleet.lab.exec(
            host,
            &format!("cat >/tmp/server.py <<'PYTHON'\n{server}PYTHON"),
        );
        fleet.lab.exec(host, LEGACY);
    }
    // The database that was there before rosey.
    fleet.mark();
    let before = fleet.snapshots();
    // What comes with rosey, and goes with it: a file that holds a secret, beside the unit that somebody wrote.
    fleet.declare(
        "app \"rosey-bot\" {",
        "secret \"word\" env=\"BOT_SECRET\"\napp \"rosey-bot\" {",
    );
    let unit = "unit \"systemd/rosey-bot.service\"";
    fleet.declare(
        unit,
        &format!("{unit}\n        env BOT_WORD=\"{{{{ secret.word }}}}\""),
    );
    let rosey = fleet.rosey().env("BOT_SECRET", "hush");
    let refused = rosey.apply().exits(10);
    assert!(refused.stderr.contains("adopt #true"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("/opt/rosey-bot/current"),
        "{}",
        refused.stderr
    );
    fleet.must_be(&before);

    fleet.declare(
        "app \"rosey-bot\" {",
        "app \"rosey-bot\" {\n    adopt #true",
    );
    fleet.declare("fault \"\"", "fault \"exit\"");
    rosey.apply().exits(7);
    assert_eq!(fleet.served(), ["0.9.0"; 2]);
    fleet.must_be(&before);
    fleet.must_be_marked();

    fleet.declare("fault \"exit\"", "fault \"\"");
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 2]);
    fleet.must_be_marked();
    let kept = "cat /opt/rosey-bot/releases/20260101120000/VERSION /opt/rosey-bot/shared/local.env";
    assert_eq!(fleet.lab.exec(1, kept), "0.9.0\n# from before");
    // What stood beside the unit was left, and is in force.
    let limit = "cat /etc/systemd/system/rosey-bot.service.d/limits.conf && systemctl show -P LimitNOFILE rosey-bot";
    let limited = "[Service]\nLimitNOFILE=4321\n4321";
    assert_eq!(fleet.lab.exec(1, limit), limited);
    rosey.drift().exits(0);
    rosey.apply().exits(0);
    assert_eq!(fleet.lab.exec(1, limit), limited);

    rosey.run(&["remove", "lab", "--yes"]).exits(0);
    assert_eq!(fleet.served(), ["0.9.0"; 2]);
    fleet.must_be_marked();
    for host in fleet.lab.hosts() {
        let link = fleet.lab.exec(host, "readlink /opt/rosey-bot/current");
        assert_eq!(link, "/opt/rosey-bot/releases/20260101120000");
        let unit = "cat /etc/systemd/system/rosey-bot.service; systemctl is-enabled rosey-bot";
        let unit = fleet.lab.exec(host, unit);
        assert!(
            unit.contains("as somebody wrote it by hand") && unit.ends_with("enabled"),
            "{unit}"
        );
        assert_eq!(fleet.lab.exec(host, limit), limited);
    }
}
