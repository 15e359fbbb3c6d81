//! A handle on a lab of real hosts (see `tests/lab/lab`), which ends with the handle.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::checkout;

/// What a test wants to stand on. Hosts are numbered from 1.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// How many hosts.
    pub hosts: usize,
    /// Which of them run the older Debian.
    pub old: Vec<usize>,
    /// Whether `/opt`, `/etc/systemd/system` and `/var/lib/rosey` are disks that [`Lab::power_cut`] can take away.
    pub disks: bool,
}

/// Some running hosts, seen by nobody but the test that made them.
#[derive(Debug)]
pub struct Lab {
    id: String,
    dir: PathBuf,
    namespace: String,
    hosts: usize,
}

impl Lab {
    /// Boots `hosts` ordinary hosts and waits until people can log in to them.
    pub fn up(hosts: usize) -> Self {
        Self::with(Wanted {
            hosts,
            ..Wanted::default()
        })
    }

    /// Boots what is wanted. What earlier tests left because they were killed is cleared away first.
    pub fn with(wanted: Wanted) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let process = std::process::id();
        let id = format!("t{process}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut up: Vec<String> = vec![
            "up".into(),
            wanted.hosts.to_string(),
            "--owner".into(),
            process.to_string(),
        ];
        for host in &wanted.old {
            up.extend(["--old".into(), host.to_string()]);
        }
        if wanted.disks {
            up.push("--disks".into());
        }
        expect_success("lab sweep", &output(script(&id).arg("sweep")));
        expect_success("lab up", &output(script(&id).args(up)));
        let say = |word| expect_success(word, &output(script(&id).arg(word)));
        Self {
            dir: PathBuf::from(say("dir")),
            namespace: say("ns"),
            hosts: wanted.hosts,
            id,
        }
    }

    /// The numbers of all hosts.
    pub fn hosts(&self) -> std::ops::RangeInclusive<usize> {
        1..=self.hosts
    }

    pub fn address(&self, host: usize) -> String {
        self.must(&["ip", &host.to_string()])
    }

    /// The private key that root, `deploy`, `plain` and `pass` accept on every host.
    pub fn key(&self) -> PathBuf {
        self.dir.join("key")
    }

    /// The host keys, one line a host.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    /// The KDL of all hosts: named `h1`, `h2`… with the tag `lab`, reached as `deploy` with sudo.
    pub fn hosts_kdl(&self) -> String {
        self.hosts()
            .map(|host| {
                let address = self.address(host);
                format!("host \"h{host}\" address=\"{address}\" user=\"deploy\" {{ become \"sudo\"; tags \"lab\"; }}\n")
            })
            .collect()
    }

    /// A command that will run where the hosts can be reached; its process is the program's own, so it can be killed.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program.as_ref());
        command
    }

    /// Runs a shell script as root on a host, without its network, and returns what came of it.
    pub fn try_exec(&self, host: usize, shell: &str) -> Output {
        output(script(&self.id).args(["exec", &host.to_string(), shell]))
    }

    /// Runs a shell script as root on a host, without its network, and returns its standard output without the last newline.
    ///
    /// # Panics
    /// When it fails.
    pub fn exec(&self, host: usize, shell: &str) -> String {
        expect_success(
            &format!("{shell} (on host {host})"),
            &self.try_exec(host, shell),
        )
    }

    /// Runs a command on a host through ssh, as a person would.
    pub fn ssh_exec(&self, host: usize, user: &str, command: &str) -> Output {
        output(script(&self.id).args(["ssh", &host.to_string(), user, command]))
    }

    /// Takes a host off the network. It goes on running.
    pub fn cut(&self, host: usize) {
        self.must(&["cut", &host.to_string()]);
    }

    pub fn join(&self, host: usize) {
        self.must(&["join", &host.to_string()]);
    }

    /// Ends a host at once. What its programs wrote is still there.
    pub fn kill(&self, host: usize) {
        self.must(&["kill", &host.to_string()]);
    }

    /// Ends a host at once. What was not synced to its disks is lost.
    pub fn power_cut(&self, host: usize) {
        self.must(&["power-cut", &host.to_string()]);
    }

    /// Starts a host that was ended, and waits until people can log in to it.
    pub fn boot(&self, host: usize) {
        self.must(&["boot", &host.to_string()]);
    }

    pub fn reboot(&self, host: usize) {
        self.kill(host);
        self.boot(host);
    }

    pub(super) fn script(&self) -> Command {
        script(&self.id)
    }

    fn must(&self, arguments: &[&str]) -> String {
        expect_success(
            &format!("lab {}", arguments.join(" ")),
            &output(script(&self.id).args(arguments)),
        )
    }
}

impl Drop for Lab {
    #[allow(
        clippy::print_stderr,
        reason = "whoever keeps a lab must be told how to end it"
    )]
    fn drop(&mut self) {
        if std::env::var_os("ROSEY_LAB_KEEP").is_some() {
            eprintln!(
                "the lab is kept; to end it: LAB_ID={} tests/lab/lab down",
                self.id
            );
            return;
        }
        let down = output(script(&self.id).arg("down"));
        // A second panic would hide the first, which is the one that says what went wrong.
        if !std::thread::panicking() {
            expect_success("lab down", &down);
        }
    }
}

fn script(id: &str) -> Command {
    let mut command = Command::new(checkout().join("tests/lab/lab"));
    command.env("LAB_ID", id);
    command
}

fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .expect("the lab's script runs")
}

fn expect_success(what: &str, output: &Output) -> String {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{what}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout.trim_end_matches('\n').to_owned()
}
