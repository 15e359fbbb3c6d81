//! The lab itself: hosts are real, alone, and lose exactly what a server would lose.

use std::time::Duration;

use crate::support::{Lab, Look, Project, Rosey, Wanted, wait_until};

#[test]
fn hosts_are_real_servers() {
    let lab = Lab::with(Wanted {
        hosts: 3,
        old: vec![3],
        ..Wanted::default()
    });
    for host in lab.hosts() {
        assert_eq!(
            lab.exec(host, "systemctl is-system-running --wait"),
            "running"
        );
        assert_eq!(lab.exec(host, "cat /etc/hostname"), format!("h{host}"));
        let sudo = |user, command| lab.ssh_exec(host, user, command).status.success();
        assert!(sudo("deploy", "sudo --non-interactive true"));
        assert!(!sudo("plain", "sudo --non-interactive true"));
        assert!(!sudo("pass", "sudo --non-interactive true"));
        assert!(sudo("pass", "echo lab-pass | sudo --stdin --prompt= true"));
        assert!(
            !lab.try_exec(host, "curl --silent --max-time 1 http://192.0.2.1/")
                .status
                .success()
        );
    }
    assert!(lab.exec(1, "cat /etc/debian_version").starts_with("12."));
    assert!(lab.exec(3, "cat /etc/debian_version").starts_with("11."));
    // A service of one host is no other host's: its processes are counted in a control group tree of its own.
    lab.exec(1, "systemctl start lab-front");
    assert_eq!(
        lab.exec(2, "systemctl is-active lab-front || true"),
        "inactive"
    );
}

#[test]
fn a_host_can_be_cut_off_and_looked_at_all_the_same() {
    let lab = Lab::up(2);
    let reached = |host| {
        let greeting = format!("head -c4 </dev/tcp/{}/22", lab.address(host));
        let connect = lab
            .command("timeout")
            .args(["1", "bash", "-c", &greeting])
            .output();
        connect.expect("bash starts").status.success()
    };
    lab.cut(2);
    assert!(!reached(2) && reached(1));
    assert_eq!(lab.exec(2, "cat /etc/hostname"), "h2");
    lab.join(2);
    wait_until(
        "host 2 to be back on the network",
        Duration::from_secs(5),
        || reached(2),
    );
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_a_kill_takes_nothing() {
    let lab = Lab::with(Wanted {
        hosts: 2,
        disks: true,
        ..Wanted::default()
    });
    let write = "mkdir /opt/app && echo old >/opt/app/synced && sync --file-system /opt \
                 && echo new >/opt/app/late && mv /opt/app/synced /opt/app/renamed";
    for host in lab.hosts() {
        lab.exec(host, write);
    }
    lab.power_cut(1);
    lab.kill(2);
    for host in lab.hosts() {
        lab.boot(host);
        assert_eq!(
            lab.exec(host, "systemctl is-system-running --wait"),
            "running"
        );
    }
    assert_eq!(lab.exec(1, "cd /opt/app && grep . *"), "old");
    assert_eq!(
        lab.exec(2, "cd /opt/app && grep . *"),
        "late:new\nrenamed:old"
    );
}

#[test]
fn a_look_sees_units_and_files_on_a_host() {
    let lab = Lab::up(1);
    let look = Look::at(["/etc/systemd/system", "/opt"])
        .unit("lab-front.service")
        .unit("absent.service");
    let before = look.on(&lab, 1);
    assert!(
        before
            .of("/etc/systemd/system/lab-front.service")
            .is_some_and(|line| line.contains("owner=root:root"))
    );
    lab.exec(1, "systemctl enable --now --quiet lab-front");
    let now = look.on(&lab, 1);
    let changed: Vec<_> = before
        .differences(&now)
        .iter()
        .map(|line| line.split(": ").next().unwrap_or("").to_owned())
        .collect();
    let link = "+ /etc/systemd/system/multi-user.target.wants/lab-front.service";
    assert_eq!(
        changed,
        ["- lab-front.service", "+ lab-front.service", link]
    );
    assert!(
        now.of("lab-front.service")
            .is_some_and(|line| line.starts_with("unit active=yes"))
    );
    assert!(
        now.of("absent.service")
            .is_some_and(|line| line.contains("LoadState=not-found"))
    );
    lab.exec(1, "systemctl disable --now --quiet lab-front");
    before.must_equal(&look.on(&lab, 1));
}

#[test]
fn rosey_runs_where_the_hosts_are_with_a_home_of_its_own() {
    let lab = Lab::up(1);
    let project = Project::with_bot();
    project.environment("lab", &lab.hosts_kdl());
    let rosey = Rosey::in_lab(&project, &lab);
    let ran = rosey.run(&["--version"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(rosey.home().join(".ssh/id_ed25519").exists());
}
