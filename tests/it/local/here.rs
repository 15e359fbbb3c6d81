//! The stage of a test on this machine: a project with the example bot, a port, and somebody who runs rosey there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Look, Project, Ran, Rosey, Snapshot, wait_until};

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The environment `test`, with the app `bot` deployed to `srv/` of the project.
///
/// `@PORT@` is replaced. What a test wants otherwise it replaces in the text, or adds before the marks.
const ENVIRONMENT: &str = r#"
vars {
    listen "127.0.0.1"
    port @PORT@
    channel "test"
    log_level "info"
    start_delay 0
    fault ""
    admins "ann"
    limits { burst 5; }
}
host "here" local=#true
app "bot" {
    root "../srv"
    manager "process"
    source "../bot" { exclude "README.md"; }
    version file="VERSION"
    render "config.json" from="config.json.j2" mode="0640"
    shared {
        dir "data"
        file "local.env" seed="local.env.example"
    }
    backup {
        sqlite "data/rosey.db"
        path "data/quotes"
    }
    service "bot" { exec "python3 server.py"; }
    // more
    verify {
        within "5s"
        stable "100ms"
        process "bot"
        http "http://127.0.0.1:{{ port }}/api/health" {
            status 200
            json "status" "running"
            json "version" "{{ version }}"
        }
    }
}
// last
"#;

/// The stage. Whatever it started is ended with it, also when the test fails.
pub struct Here<'a> {
    pub project: &'a Project,
    pub rosey: Rosey<'a>,
    pub port: u16,
    _port: PortLock,
}

impl<'a> Here<'a> {
    /// The environment `test` is declared; nothing has been applied.
    pub fn at(project: &'a Project) -> Self {
        let lock = PortLock::take();
        let port = lock.port;
        project.environment("test", &ENVIRONMENT.replace("@PORT@", &port.to_string()));
        let rosey = Rosey::here(project);
        let registry = rosey.home().join("registry");
        let rosey = rosey.env(
            "ROSEY_HELPER_STATE",
            registry.to_str().expect("a temporary path is UTF-8"),
        );
        Self {
            project,
            rosey,
            port,
            _port: lock,
        }
    }

    /// The same, applied once.
    pub fn applied(project: &'a Project) -> Self {
        let here = Self::at(project);
        here.apply().exits(0);
        here
    }

    /// Replaces text in the declaration.
    pub fn declare(&self, old: &str, new: &str) {
        self.project.replace("environments/test.kdl", old, new);
    }

    /// Adds words to the app.
    pub fn add(&self, words: &str) {
        self.declare("    // more\n", &format!("    {words}\n    // more\n"));
    }

    pub fn apply(&self) -> Ran {
        self.rosey.run(&["apply", "test", "--yes"])
    }

    /// `apply --json`: its lines, of which the last and no other is the outcome.
    #[track_caller]
    pub fn apply_json(&self, more: &[&str], code: i32) -> Vec<Value> {
        let arguments = [&["apply", "test", "--yes", "--json"], more].concat();
        lines_with_one_outcome(&self.rosey.run(&arguments), code)
    }

    /// The steps that `plan` shows: `kind action resource`, in their order.
    #[track_caller]
    pub fn planned(&self) -> Vec<String> {
        let plan = self.rosey.run(&["plan", "test", "--json"]).exits(0).json();
        let steps = plan["steps"].as_array().expect("a plan has steps");
        let word = |step: &Value, name: &str| step[name].as_str().unwrap_or("?").to_owned();
        let line = |step| {
            format!(
                "{} {} {}",
                word(step, "kind"),
                word(step, "action"),
                word(step, "resource")
            )
        };
        let root = format!("{}/", self.project.root().display());
        steps
            .iter()
            .map(|step| line(step).replace(&root, ""))
            .collect()
    }

    /// The app's root on this machine.
    pub fn root(&self) -> PathBuf {
        self.project.path("srv")
    }

    /// The bot's unit, as the built-in manager keeps it.
    pub fn unit(&self) -> PathBuf {
        let apps = std::fs::read_dir(self.rosey.home().join("registry/apps"))
            .expect("something was applied");
        let units = apps.map(|app| {
            app.expect("a directory can be read")
                .path()
                .join("process/bot.service")
        });
        units.last().expect("one app was applied")
    }

    /// Everything about the root but `.rosey` and what the bot writes.
    pub fn look(&self) -> Snapshot {
        let data = format!("{}/shared/data/*", self.root().display());
        Look::at([self.root()]).except(&data).here()
    }

    /// What the bot says at a path.
    pub fn get(&self, path: &str) -> Option<Value> {
        get(self.port, path)
    }

    /// What the bot answers to something that is sent to a path.
    pub fn post(&self, path: &str, body: &str) -> Option<Value> {
        ask(self.port, ("POST", path), body)
    }

    /// The version that serves; none when nothing does.
    pub fn serving(&self) -> Option<String> {
        let health = self.get("/api/health")?;
        Some(
            health["version"]
                .as_str()
                .expect("the bot says its version")
                .to_owned(),
        )
    }

    /// The bot's process.
    #[track_caller]
    pub fn process(&self) -> u32 {
        let found = self.processes("server.py");
        assert_eq!(found.len(), 1, "there should be one bot: {found:?}");
        found[0]
    }

    /// Processes that belong to this stage and have a word in their command line.
    pub fn processes(&self, word: &str) -> Vec<u32> {
        let mine = [self.project.root(), self.rosey.home()];
        processes()
            .filter(|process| belongs(*process, &mine) && command_line(*process).contains(word))
            .collect()
    }

    /// Waits until nothing of this stage runs. A helper ends on its own once nobody talks to it, a moment after the
    /// command.
    pub fn rests(&self) {
        wait_until("everything to have ended", PATIENCE, || {
            self.processes("").is_empty()
        });
    }

    /// Waits until no helper of this stage runs.
    pub fn is_left_alone(&self) {
        wait_until("every helper to have ended", PATIENCE, || {
            self.processes("rosey helper").is_empty()
        });
    }

    /// Ends a process and waits until it is gone.
    pub fn kill(&self, process: u32) {
        signal(process, Signal::KILL);
        wait_until("a killed process to be gone", PATIENCE, || {
            command_line(process).is_empty()
        });
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        // What a failed test left may itself start things while it is going back, so: until nothing is left.
        let began = std::time::Instant::now();
        while began.elapsed() < PATIENCE {
            let left = self.processes("");
            if left.is_empty() {
                return;
            }
            left.into_iter()
                .for_each(|process| signal(process, Signal::KILL));
            std::thread::yield_now();
        }
    }
}

/// The lines of a command with `--json`, of which the last and no other is the outcome.
#[track_caller]
pub fn lines_with_one_outcome(ran: &Ran, code: i32) -> Vec<Value> {
    let ran = ran.clone().exits(code);
    let lines = ran.json_lines();
    let outcomes: Vec<_> = lines.iter().map(|line| line["type"] == "outcome").collect();
    assert_eq!(
        outcomes.iter().filter(|is| **is).count(),
        1,
        "one outcome: {lines:#?}"
    );
    assert_eq!(
        outcomes.last(),
        Some(&true),
        "the outcome is last: {lines:#?}"
    );
    for line in &lines {
        assert!(
            line["time"].is_string() && line["message"].is_string(),
            "{line:#?}"
        );
    }
    assert_eq!(lines.last().unwrap()["exit_code"], code);
    lines
}

/// Asks for a path on this machine as the simplest of clients.
pub fn get(port: u16, path: &str) -> Option<Value> {
    ask(port, ("GET", path), "")
}

/// The same for what is no JSON.
pub fn get_text(port: u16, path: &str) -> Option<String> {
    ask_text(port, ("GET", path), "")
}

fn ask(port: u16, how: (&str, &str), body: &str) -> Option<Value> {
    serde_json::from_str(&ask_text(port, how, body)?).ok()
}

fn ask_text(port: u16, (method, path): (&str, &str), body: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

pub fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    // It may have ended by itself meanwhile.
    process.map(|process| kill_process(process, signal).ok());
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").expect("Linux has /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// A process's command line; empty when it is gone, or only not yet waited for.
fn command_line(process: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Whether a process was started with one of these directories in its environment, or runs in one.
fn belongs(process: u32, directories: &[&Path]) -> bool {
    if process == std::process::id() {
        return false;
    }
    let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment);
    let cwd = std::fs::read_link(format!("/proc/{process}/cwd")).unwrap_or_default();
    let inside = |directory: &&Path| {
        cwd.starts_with(directory) || environment.contains(&*directory.to_string_lossy())
    };
    !command_line(process).is_empty() && directories.iter().any(inside)
}

/// A port that no other test takes while this is held, below those that the kernel gives to clients.
struct PortLock {
    port: u16,
    _file: File,
}

impl PortLock {
    fn take() -> Self {
        let directory = std::env::temp_dir().join("rosey-test-ports");
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let first = u16::try_from(std::process::id() * 7 % 12000).expect("it is below 12000");
        for port in (0..12000).map(|next| 20000 + (first + next) % 12000) {
            let Ok(file) = File::create(directory.join(port.to_string())) else {
                continue;
            };
            let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if file.try_lock().is_ok() && free() {
                return Self { port, _file: file };
            }
        }
        panic!("no port is free");
    }
}
