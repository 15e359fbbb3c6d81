//! `rosey doctor` and `rosey trust`: all that a first server lacks is told at once, and typing what they say puts it right.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Lab, Rosey};

use super::fleet::{Commands as _, Fleet};
use super::refused::new_key;

/// What `apt` does on a host that reaches no archive: it brings back what was put away, and nothing else.
const APT: &str = r#"#!/bin/sh -e
[ "$*" = "install python3-venv" ]
mv /opt/ensurepip /usr/lib/python3.11/ensurepip
"#;

/// The dependencies' task of the declaration in this repository, without its packages.
const TASK: &str = r#"    task "dependencies" {
        run "python3 -m venv .venv"
        output ".venv"
    }
    service "rosey-bot" {
"#;

/// Five servers, each with a reason of its own for which nothing can be deployed to it.
fn newcomers() -> Fleet {
    let fleet = Fleet::up(5);
    let lab = &fleet.lab;
    fleet.declare(" create=#true", "");
    fleet.declare("dir \"data\";", "dir \"data\"; file \"token\";");
    fleet.declare("    service \"rosey-bot\" {\n", TASK);
    fleet.declare("waves 1 \"100%\"", "waves \"100%\"");
    for host in [1, 2, 4, 5] {
        lab.exec(
            host,
            "useradd --system --user-group rosey && install -D -o rosey /dev/null /opt/rosey-bot/shared/token",
        );
    }
    lab.exec(3, "mv /usr/lib/python3.11/ensurepip /opt/ensurepip");
    lab.exec(
        3,
        &format!("install /dev/stdin /usr/local/bin/apt <<'END'\n{APT}END"),
    );
    host(&fleet, 2, "user=\"pass\" { ");
    host(&fleet, 4, "user=\"deploy\" { identity \"../locked\"; ");
    host(&fleet, 5, "user=\"deploy\" { identity \"../stranger\"; ");
    let locked = fleet.project.path("locked");
    std::fs::copy(lab.key(), &locked).unwrap();
    succeeds(
        Command::new("ssh-keygen")
            .args(["-q", "-p", "-N", "secret", "-f"])
            .arg(locked),
    );
    new_key(&fleet.project.path("stranger"));
    fleet
}

/// Declares how a host is reached.
fn host(fleet: &Fleet, host: usize, how: &str) {
    let address = fleet.lab.address(host);
    let usual = format!("address=\"{address}\" user=\"deploy\" {{ ");
    fleet.declare(&usual, &format!("address=\"{address}\" {how}"));
}

/// Somebody who has never seen the first host, and whose only keys are those that the declaration names.
fn person(fleet: &Fleet) -> Rosey<'_> {
    let rosey = fleet.rosey();
    let known = rosey.home().join(".ssh/known_hosts");
    let text = std::fs::read_to_string(&known).unwrap();
    let (_, others) = text.split_once('\n').expect("a line a host");
    std::fs::write(&known, others).unwrap();
    rosey
}

fn succeeds(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status();
    assert!(status.expect("it starts").success(), "{command:?}");
}

/// What stands behind `mark` on the line of `said` that has it, up to a comment.
fn line(said: &str, mark: &str) -> String {
    let found = said.lines().find_map(|line| line.split_once(mark));
    let (_, rest) = found.unwrap_or_else(|| panic!("{mark:?} is missing in:\n{said}"));
    rest.split("   #")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The part of what was said that is about one host.
fn about<'a>(said: &'a str, host: &str) -> &'a str {
    let from = said.find(&format!("{host}: "));
    let said = &said[from.unwrap_or_else(|| panic!("{host} is missing in:\n{said}"))..];
    let others = ["h1: ", "h2: ", "h3: ", "h4: ", "h5: "];
    let ends = others
        .iter()
        .filter(|other| !other.starts_with(host))
        .filter_map(|other| said.find(&format!("\n{other}")));
    &said[..ends.min().unwrap_or(said.len())]
}

/// An agent that holds the key whose passphrase a person has typed into `ssh-add`.
struct Agent {
    process: std::process::Child,
    socket: String,
}

impl Agent {
    fn start(home: &Path) -> Self {
        let socket = home.join("agent");
        let process = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent starts");
        crate::support::wait_until("the agent", std::time::Duration::from_secs(10), || {
            socket.exists()
        });
        let socket = socket
            .to_str()
            .expect("a temporary path is UTF-8")
            .to_owned();
        Self { process, socket }
    }

    /// Types a line of the shell, and the passphrase when it is asked for.
    fn type_in(&self, home: &Path, words: &str) {
        let asks = home.join("asks");
        std::fs::write(&asks, "#!/bin/sh\necho secret\n").unwrap();
        succeeds(Command::new("chmod").arg("+x").arg(&asks));
        succeeds(
            Command::new("sh")
                .args(["-c", words])
                .env("SSH_AUTH_SOCK", &self.socket)
                .env("SSH_ASKPASS", asks)
                .env("SSH_ASKPASS_REQUIRE", "force"),
        );
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn fingerprint(lab: &Lab, host: usize) -> String {
    let keygen = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f2";
    lab.exec(host, keygen)
}

#[test]
fn all_that_a_first_server_lacks_is_told_at_once_and_typing_it_puts_it_right() {
    let fleet = newcomers();
    let lab = &fleet.lab;
    let rosey = person(&fleet);
    let doctor = rosey.run(&["doctor", "lab"]).exits(4);
    let plan = rosey.run(&["plan", "lab"]).exits(4);
    let told = doctor.stdout + &doctor.stderr;
    let planned = plan.stdout + &plan.stderr;
    let token = "/opt/rosey-bot/shared/token";
    for (host, words) in [
        ("h1", &[&*fingerprint(lab, 1), "rosey trust h1"][..]),
        ("h2", &["pass ALL=(root) NOPASSWD: ALL"]),
        (
            "h3",
            &["there is no user rosey", "useradd", token, "python3-venv"],
        ),
        ("h4", &["/locked", "it is encrypted", "ssh-add"]),
        (
            "h5",
            &["/stranger", "the server refused it", "authorized_keys"],
        ),
    ] {
        for word in words {
            let said = about(&told, host);
            assert!(said.contains(word), "{word:?} is missing in:\n{told}");
            assert!(planned.contains(word), "{word:?} is missing in:\n{planned}");
        }
    }

    // The host key: a wrong answer changes nothing, and so does nobody's.
    rosey.run(&["trust", "h1"]).exits(9);
    let no = rosey
        .on_terminal(&["trust", "h1"], &[("Is it the same?", "n")])
        .exits(9);
    assert!(no.stdout.contains(&fingerprint(lab, 1)), "{}", no.stdout);
    rosey
        .on_terminal(&["trust", "h1"], &[("Is it the same?", "y")])
        .exits(0);
    // On the servers, as root.
    let typed = |host, said: &str| drop(lab.exec(host, said));
    typed(2, &line(about(&told, "h2"), "as root, type: "));
    let h3 = about(&told, "h3");
    for mark in ["sudo useradd", "sudo apt"] {
        typed(3, &format!("{mark} {}", line(h3, mark)));
    }
    for directory in h3.lines().map(str::trim) {
        if directory.starts_with("sudo install -d ") {
            typed(3, directory);
        }
    }
    let install = line(h3, "sudo install -m");
    typed(3, &format!("echo secret | sudo install -m {install}"));
    typed(5, &line(about(&told, "h5"), "as root, type: "));
    // The encrypted key is asked for where somebody is there to answer, once whatever it opens.
    let asked = [("Passphrase of", "wrong"), ("Passphrase of", "secret")];
    let well = rosey.on_terminal(&["doctor", "lab"], &asked).exits(0);
    assert!(
        well.stdout.contains("lab: nothing is missing"),
        "{}",
        well.stdout
    );

    // Where nobody is, an agent has it.
    let agent = Agent::start(rosey.home());
    agent.type_in(rosey.home(), &line(about(&told, "h4"), "ssh-add first: "));
    let rosey = rosey.env("SSH_AUTH_SOCK", &agent.socket);
    rosey.run(&["doctor", "lab"]).exits(0);
    rosey.apply().exits(0);
    assert_eq!(fleet.served(), ["1.0.0"; 5]);
    assert_eq!(lab.exec(3, &format!("cat {token}")), "secret");
}
