//! The subset of systemd's unit files that the built-in manager knows; other keys are passed over.
//!
//! See systemd.syntax(7), systemd.service(5), systemd.exec(5), systemd.kill(5).

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::host::port::HostErrorKind;

use super::Service;
use super::words::{self, Variable};

/// A service as its file defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// The command line, not yet taken apart.
    exec_start: String,
    /// Where it runs; none for `/`.
    pub(super) working_directory: Option<PathBuf>,
    /// Values of Environment, in order.
    environment: Vec<String>,
    /// Values of EnvironmentFile, in order; a dash before says that it may be missing.
    environment_files: Vec<String>,
    /// Who runs it; none for who we are.
    pub(super) user: Option<String>,
    /// What asks it to end.
    pub(super) kill_signal: Signal,
    /// How long it may take to end.
    pub(super) stop_patience: Duration,
    /// Whether a hangup makes it reload.
    pub(super) reloads_by_hangup: bool,
}

impl Definition {
    /// What asks a service to end that says nothing else.
    pub(super) const KILL_SIGNAL: Signal = Signal::TERM;
    /// How long a service may take to end that says nothing else.
    pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(10);

    /// Reads a service's file.
    pub(super) fn read(service: &Service) -> Result<Self, HostErrorKind> {
        match std::fs::read_to_string(service.definition()) {
            Ok(text) => Self::parse(&text, &service.name),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(service.unknown()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a unit file apart.
    pub(super) fn parse(text: &str, name: &str) -> Result<Self, HostErrorKind> {
        let mut definition = Self {
            exec_start: String::new(),
            working_directory: None,
            environment: Vec::new(),
            environment_files: Vec::new(),
            user: None,
            kill_signal: Self::KILL_SIGNAL,
            stop_patience: Self::STOP_PATIENCE,
            reloads_by_hangup: false,
        };
        let mut section = "";
        let lines = logical_lines(text);
        for line in &lines {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                section = name;
            } else if section == "Service" {
                let (key, value) = line.split_once('=').ok_or_else(|| {
                    HostErrorKind::Other(format!("{name}: {line:?} is no `Key=value`"))
                })?;
                let value = specifiers(value.trim(), name);
                definition
                    .set(key.trim(), value)
                    .map_err(|why| HostErrorKind::Other(format!("{name}: {line:?}: {why}")))?;
            }
        }
        if definition.exec_start.is_empty() {
            return Err(HostErrorKind::Other(format!("{name} has no ExecStart")));
        }
        Ok(definition)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        let emptied = value.is_empty();
        match key {
            "ExecStart" => self.exec_start = value,
            "WorkingDirectory" => {
                self.working_directory = (!emptied).then(|| value.trim_start_matches('-').into());
            }
            // An empty value takes back what came before.
            "Environment" if emptied => self.environment.clear(),
            "Environment" => self.environment.push(value),
            "EnvironmentFile" if emptied => self.environment_files.clear(),
            "EnvironmentFile" => self.environment_files.push(value),
            "User" => self.user = (!emptied).then_some(value),
            "KillSignal" => {
                self.kill_signal = signal(&value).ok_or("no signal that is known here")?;
            }
            "TimeoutStopSec" => {
                self.stop_patience = time_span(&value).ok_or("no time span")?;
            }
            "ExecReload" => {
                let words: Vec<&str> = value.split_whitespace().collect();
                self.reloads_by_hangup = matches!(
                    words.as_slice(),
                    [
                        "kill" | "/bin/kill" | "/usr/bin/kill",
                        "-HUP" | "-1" | "-SIGHUP",
                        "$MAINPID" | "${MAINPID}"
                    ] | [
                        "kill" | "/bin/kill" | "/usr/bin/kill",
                        "-s",
                        "HUP",
                        "$MAINPID" | "${MAINPID}"
                    ]
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// The variables of Environment, then of the files, which win.
    pub(super) fn environment(&self) -> Result<Vec<(String, String)>, HostErrorKind> {
        let mut all = Vec::new();
        for value in &self.environment {
            for word in words::split(value).map_err(HostErrorKind::Other)? {
                let (name, value) = word.split_once('=').ok_or_else(|| {
                    HostErrorKind::Other(format!("Environment: {word:?} is no `NAME=value`"))
                })?;
                all.push((name.to_owned(), value.to_owned()));
            }
        }
        for file in &self.environment_files {
            let (path, optional) = match file.strip_prefix('-') {
                Some(path) => (path, true),
                None => (file.as_str(), false),
            };
            match std::fs::read_to_string(path) {
                Ok(text) => all.extend(words::environment_file(&text)),
                Err(error) if optional && error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    let words = format!("its EnvironmentFile {path}: {error}");
                    return Err(HostErrorKind::Other(words));
                }
            }
        }
        Ok(all)
    }

    /// The words of the command, at least one, with variables filled in.
    pub(super) fn command(&self, variable: &Variable<'_>) -> Result<Vec<String>, HostErrorKind> {
        let line = self.exec_start.trim_start_matches(['-', '+', '!']);
        let (line, filled) = match line.strip_prefix(':') {
            Some(line) => (line, false),
            None => (line, true),
        };
        let mut words = words::split(line).map_err(HostErrorKind::Other)?;
        if filled {
            words = words
                .into_iter()
                .flat_map(|word| words::fill(&word, variable))
                .collect();
        }
        if words.is_empty() {
            return Err(HostErrorKind::other("its ExecStart names no program"));
        }
        Ok(words)
    }
}

/// Lines with what was continued by a backslash at their end, without comments and empty ones.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun = String::new();
    for line in text.lines() {
        let line = line.trim();
        // A comment between continued lines is passed over, as in systemd.syntax(7).
        if line.starts_with(['#', ';']) || (line.is_empty() && begun.is_empty()) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(start) => {
                begun.push_str(start);
                begun.push(' ');
            }
            None => {
                begun.push_str(line);
                lines.push(std::mem::take(&mut begun));
            }
        }
    }
    if !begun.is_empty() {
        lines.push(begun.trim_end().to_owned());
    }
    lines
}

/// `%n`, `%N` and `%%`; other specifiers stay as they are.
fn specifiers(value: &str, name: &str) -> String {
    let short = name.strip_suffix(".service").unwrap_or(name);
    let mut plain = String::new();
    let mut rest = value.chars();
    while let Some(first) = rest.next() {
        match first {
            '%' => match rest.next() {
                Some('%') => plain.push('%'),
                Some('n') => plain.push_str(name),
                Some('N' | 'p') => plain.push_str(short),
                Some(other) => plain.extend(['%', other]),
                None => plain.push('%'),
            },
            other => plain.push(other),
        }
    }
    plain
}

fn signal(name: &str) -> Option<Signal> {
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" | "1" => Signal::HUP,
        "INT" | "2" => Signal::INT,
        "QUIT" | "3" => Signal::QUIT,
        "KILL" | "9" => Signal::KILL,
        "USR1" | "10" => Signal::USR1,
        "USR2" | "12" => Signal::USR2,
        "TERM" | "15" => Signal::TERM,
        "WINCH" | "28" => Signal::WINCH,
        _ => return None,
    })
}

/// A time span of systemd.time(7): `90`, `1min 30s`, `500ms`, `infinity`.
fn time_span(text: &str) -> Option<Duration> {
    if text == "infinity" {
        return Some(Duration::from_secs(u64::from(u32::MAX)));
    }
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let milliseconds = match &rest[..letters] {
            "ms" | "msec" => 1,
            "" | "s" | "sec" | "second" | "seconds" => 1000,
            "m" | "min" | "minute" | "minutes" => 60_000,
            "h" | "hr" | "hour" | "hours" => 3_600_000,
            _ => return None,
        };
        total += Duration::from_millis(number.checked_mul(milliseconds)?);
        rest = rest[letters..].trim_start();
    }
    Some(total)
}
