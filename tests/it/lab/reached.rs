//! How a host is reached as its person's own ssh configuration says, and what stands in the way on one that is.

use super::fleet::{Commands as _, Fleet};

#[test]
fn a_host_is_reached_as_the_ssh_configuration_says() {
    let fleet = Fleet::up(1);
    let (lab, rosey) = (&fleet.lab, fleet.rosey());
    let address = lab.address(1);
    // Nothing but the configuration leads there: neither the address, nor the port, nor the user, nor the key.
    lab.exec(
        1,
        "systemctl stop --quiet ssh && mkdir --parents /run/sshd \
         && systemd-run --quiet --unit other-sshd /usr/sbin/sshd -D -p 2222 \
         && until (: </dev/tcp/127.0.0.1/2222) 2>/dev/null; do :; done",
    );
    let ssh = rosey.home().join(".ssh");
    std::fs::rename(ssh.join("id_ed25519"), ssh.join("other")).unwrap();
    let known = std::fs::read_to_string(ssh.join("known_hosts")).unwrap();
    let known = known.replace(&format!("{address} "), &format!("[{address}]:2222 "));
    std::fs::write(ssh.join("known_hosts"), known).unwrap();
    let usual = format!("address=\"{address}\" user=\"deploy\"");
    fleet.declare(&usual, "address=\"box-1\"");
    let unreached = rosey.apply().exits(4);
    assert!(unreached.stderr.contains("box-1"), "{}", unreached.stderr);

    let config = format!(
        "Host box-*\n    HostName {address}\n    Port 2222\n    User deploy\n    IdentityFile ~/.ssh/other\n"
    );
    let without = |word: &str| {
        let lines = config.lines().filter(|line| !line.contains(word));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    // Each of them is needed; without a user it is the one here, who may be known there.
    for word in ["HostName", "Port", "IdentityFile"] {
        std::fs::write(ssh.join("config"), without(word)).unwrap();
        rosey.apply().exits(4);
    }
    std::fs::write(ssh.join("config"), &config).unwrap();
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["1.0.0"]);
    let accepted = lab.exec(
        1,
        "journalctl --quiet --output cat --unit other-sshd | grep Accepted",
    );
    let users: Vec<_> = accepted
        .lines()
        .map(|line| line.contains("publickey for deploy from"))
        .collect();
    assert!(
        !users.is_empty() && users.iter().all(|is| *is),
        "{accepted}"
    );
}

#[test]
fn a_doctor_finds_too_few_inodes_and_rights() {
    let fleet = Fleet::up(2);
    let lab = &fleet.lab;
    lab.exec(
        1,
        "mkdir /opt/rosey-bot && mount -t tmpfs -o nr_inodes=3 tmpfs /opt/rosey-bot",
    );
    let address = lab.address(2);
    fleet.declare(
        &format!("address=\"{address}\" user=\"deploy\" {{ become \"sudo\"; "),
        &format!("address=\"{address}\" user=\"plain\" {{ "),
    );
    let rosey = fleet.rosey();
    let before = fleet.snapshots();
    for command in [&["doctor", "lab"][..], &["apply", "lab", "--yes"]] {
        let ran = rosey.run(command).exits(10);
        let said = ran.stdout + &ran.stderr;
        for words in [
            " inodes are needed on the file system of /opt/rosey-bot, 2 are free",
            "df -h /opt/rosey-bot",
            "plain may not write in /opt",
            "the app belongs to rosey, and the helper runs as plain",
            "add `become \"sudo\"` to the host",
        ] {
            assert!(said.contains(words), "{words:?} is missing in:\n{said}");
        }
        fleet.must_be(&before);
    }
}
