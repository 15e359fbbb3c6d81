//! Running the program as a person at a shell would, with nothing of this machine's in its way.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::{Lab, Project};

/// Somebody who runs rosey in a project: with a home directory and a state directory of their own.
#[derive(Debug)]
pub struct Rosey<'a> {
    project: &'a Project,
    lab: Option<&'a Lab>,
    home: TempDir,
    environment: Vec<(String, String)>,
}

impl<'a> Rosey<'a> {
    /// On this machine.
    pub fn here(project: &'a Project) -> Self {
        let home = tempfile::Builder::new()
            .prefix("rosey-home-")
            .tempdir()
            .expect("a temporary directory");
        Self {
            project,
            lab: None,
            home,
            environment: Vec::new(),
        }
    }

    /// Where the lab's hosts can be reached, with the lab's key and host keys in `~/.ssh`.
    pub fn in_lab(project: &'a Project, lab: &'a Lab) -> Self {
        let rosey = Self {
            lab: Some(lab),
            ..Self::here(project)
        };
        let ssh = rosey.home().join(".ssh");
        std::fs::create_dir(&ssh).expect("a home is writable");
        // Both keep their modes: an ssh client refuses a key that others may read.
        std::fs::copy(lab.key(), ssh.join("id_ed25519")).expect("the lab has a key");
        std::fs::copy(lab.known_hosts(), ssh.join("known_hosts")).expect("the lab has host keys");
        rosey
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Sets an environment variable for every run from here on.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// The same of somebody who is at it already.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The program, ready to be started, in the project's directory, without a terminal and with no input.
    ///
    /// The process that it becomes is rosey's own, in the lab too, so a test may send it signals.
    pub fn command(&self, arguments: &[&str]) -> Command {
        // A campaign of hours names a copy, which no build replaces underneath it.
        let program =
            std::env::var_os("CHAOS_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_rosey").into());
        let mut command = match self.lab {
            Some(lab) => lab.command(&program),
            None => Command::new(program),
        };
        command
            .args(arguments)
            .current_dir(self.project.root())
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LANG", "C.UTF-8")
            .env("HOME", self.home())
            .env("ROSEY_STATE", self.home().join("state"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs it on a terminal, where each question gets its answer; what the terminal showed is its standard output.
    pub fn on_terminal(&self, arguments: &[&str], answers: &[(&str, &str)]) -> Ran {
        let command = self.command(arguments);
        let mut terminal = Command::new("python3");
        terminal
            .arg(super::checkout().join("tests/it/support/terminal.py"))
            .arg(serde_json::to_string(answers).expect("words are JSON"))
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(self.project.root())
            .env_clear()
            .env("TERM", "dumb")
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        let output = terminal.output().expect("python3 starts");
        Ran::new(
            format!("rosey {} (on a terminal)", arguments.join(" ")),
            &output,
        )
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("rosey starts");
        Ran::new(format!("rosey {}", arguments.join(" ")), &output)
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Ran {
    what: String,
    /// The exit status; none when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// From the output of a process that a test started by itself.
    pub fn new(what: String, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            what,
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Passes itself on if it ended with `code`, and shows all that it said otherwise.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "{} should have ended with {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.what,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The document on its standard output.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: no JSON: {error}\n{}", self.what, self.stdout))
    }

    /// The documents on its standard output, one a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: no JSON: {error}\n{line}", self.what))
        };
        self.stdout.lines().map(parse).collect()
    }
}
