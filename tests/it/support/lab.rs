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
    /// Which of them are virtual machines, with a kernel and a clock of their own.
    pub machines: Vec<usize>,
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
        for host in &wanted.machines {
            up.extend(["--vm".into(), host.to_string()]);
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

    /// Runs a Python program on a host, from standard input, with one argument.
    ///
    /// # Panics
    /// When it fails.
    pub fn python(&self, host: usize, program: &str, argument: &str) -> String {
        let mut child = script(&self.id)
            .args(["exec", &host.to_string(), "python3", "-", argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the lab's script runs");
        let mut input = child.stdin.take().expect("it was piped");
        std::io::Write::write_all(&mut input, program.as_bytes()).expect("the program is read");
        drop(input);
        let output = child.wait_with_output().expect("the program ends");
        expect_success(&format!("a program on host {host}"), &output)
    }

    /// PID 1 of a host as this machine numbers it; none while the host is down.
    pub fn init(&self, host: usize) -> Option<u32> {
        let first = std::fs::read_to_string(self.dir.join(format!("h{host}/pid"))).ok()?;
        let first = first.split_whitespace().next()?;
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"));
        let is_init = |child: &u32| {
            std::fs::read_to_string(format!("/proc/{child}/status")).is_ok_and(|status| {
                let numbers = status.lines().find(|line| line.starts_with("NSpid:"));
                numbers.is_some_and(|line| line.ends_with("\t1"))
            })
        };
        let children = children.ok()?;
        let mut children = children.split_whitespace().filter_map(|it| it.parse().ok());
        children.find(is_init)
    }

    /// The processes of a host whose arguments `wanted` accepts, as this machine numbers them: a signal to one of these
    /// takes no way through the host.
    pub fn processes(&self, host: usize, wanted: impl Fn(&[&str]) -> bool) -> Vec<u32> {
        let namespace = |process: u32| std::fs::read_link(format!("/proc/{process}/ns/pid")).ok();
        let Some(init) = self.init(host) else {
            return Vec::new();
        };
        let own = namespace(init);
        let here = |process: &u32| {
            let arguments = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments);
            let words: Vec<&str> = arguments.trim_end_matches('\0').split('\0').collect();
            wanted(&words) && namespace(*process) == own
        };
        let all = std::fs::read_dir("/proc").expect("there is a /proc");
        let all = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.filter(here).collect()
    }

    /// A host's own file, as this machine can read it.
    pub fn file(&self, host: usize, path: &str) -> Option<PathBuf> {
        Some(PathBuf::from(format!(
            "/proc/{}/root{path}",
            self.init(host)?
        )))
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

    /// Sets the clock of a virtual machine forward, or back.
    pub fn set_clock(&self, host: usize, seconds: i64) {
        self.must(&["clock", &host.to_string(), &seconds.to_string()]);
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
