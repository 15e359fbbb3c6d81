//! Reading one gate once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{Command, HostErrorKind, WriteHost};
use crate::model::gate::GateClass;
use crate::model::{Gate, GateKind, GateResult, Gates, Verdict};
use crate::step::tail::tail;

use super::pace::{Pace, RealPace};
use super::process::{Running, unit};
use super::{http, process};

/// How long SQLite may read a database.
const CHECK: Duration = Duration::from_secs(60);
/// What a shell exits with when it can't find or can't run a command (POSIX, "Exit Status for Commands").
const NOT_RUN: [i32; 2] = [126, 127];
/// What a shell says of a program that was killed (SIGKILL, as by the kernel without memory) or ended.
const KILLED: [i32; 2] = [128 + 9, 128 + 15];

/// What a look at a gate showed.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub class: GateClass,
    pub verdict: Verdict,
    pub detail: String,
    /// Which process runs, of a service that does.
    pub running: Option<Running>,
    /// Whether waiting won't help.
    pub hopeless: bool,
}

impl Seen {
    pub fn new(class: GateClass, verdict: Verdict, detail: String) -> Self {
        Self {
            class,
            verdict,
            detail,
            running: None,
            hopeless: false,
        }
    }

    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Passed
    }

    /// The result, in the name of its gate.
    pub fn result(self, gate: &Gate, elapsed: Duration) -> GateResult {
        GateResult {
            gate: gate.name.clone(),
            verdict: self.verdict,
            class: self.class,
            detail: self.detail,
            elapsed: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

pub(super) fn inconclusive(class: GateClass, detail: String) -> Seen {
    Seen::new(class, Verdict::Inconclusive, detail)
}

/// Reads every gate once, whole, in their order; one result each.
#[must_use]
pub fn read(host: &dyn WriteHost, gates: &Gates, cancelled: &dyn Fn() -> bool) -> Vec<GateResult> {
    let pace = RealPace::new();
    let read = |gate: &Gate| {
        let begin = pace.now();
        let seen = if cancelled() {
            unread(gate)
        } else {
            whole(host, gate, cancelled)
        };
        seen.result(gate, pace.now().saturating_sub(begin))
    };
    gates.gates.iter().map(read).collect()
}

/// What is said of a gate that wasn't read because nobody waits for it any more.
pub(super) fn unread(gate: &Gate) -> Seen {
    inconclusive(class_of(&gate.kind), "it was cancelled".to_owned())
}

/// Reads a gate as far as that costs next to nothing; none where there is no such thing.
pub(super) fn light(host: &dyn WriteHost, gate: &Gate) -> Option<Seen> {
    Some(match &gate.kind {
        GateKind::Process {
            unit: name,
            process_directory,
        } => process::look(host.as_read(), &unit(name, process_directory.as_deref())),
        GateKind::Http(gate) => http::look(host, gate),
        GateKind::Tcp { address, timeout } => {
            match host.tcp(address, Duration::from_millis(*timeout)) {
                Ok(()) => {
                    let detail = "it takes connections".to_owned();
                    Seen::new(GateClass::Connection, Verdict::Passed, detail)
                }
                Err(crate::host::ProbeError::Unable(detail)) => {
                    inconclusive(GateClass::Connection, detail)
                }
                Err(error) => Seen::new(GateClass::Connection, Verdict::Failed, error.to_string()),
            }
        }
        GateKind::Sqlite { .. } | GateKind::Command { .. } => return None,
    })
}

/// Reads the rest of a gate, what costs something: nobody wants that many times a second. None
/// where there is no rest.
pub(super) fn costly(
    host: &dyn WriteHost,
    gate: &Gate,
    cancelled: &dyn Fn() -> bool,
) -> Option<Seen> {
    match &gate.kind {
        GateKind::Process { .. } | GateKind::Tcp { .. } => None,
        GateKind::Http(gate) => http::look_at_times(host, gate, cancelled),
        GateKind::Sqlite { path } => Some(database(host, Path::new(path))),
        GateKind::Command {
            run,
            directory,
            user,
            env,
            timeout,
        } => Some(command(
            host,
            &Command {
                shell: run.clone(),
                directory: PathBuf::from(directory),
                user: user.clone(),
                env: env.clone(),
                timeout: Duration::from_millis(*timeout),
            },
            cancelled,
        )),
    }
}

/// Both: what is said is what doesn't pass, or all of it.
fn whole(host: &dyn WriteHost, gate: &Gate, cancelled: &dyn Fn() -> bool) -> Seen {
    let first = light(host, gate);
    if let Some(first) = &first
        && !first.passed()
    {
        return first.clone();
    }
    let second = costly(host, gate, cancelled);
    joined(first, second).unwrap_or_else(|| unread(gate))
}

/// A gate that was read in two parts, of which the first passed.
pub(super) fn joined(first: Option<Seen>, second: Option<Seen>) -> Option<Seen> {
    match (first, second) {
        (Some(first), Some(second)) if second.passed() => Some(Seen {
            detail: format!("{}, {}", first.detail, second.detail),
            ..first
        }),
        (first, second) => second.or(first),
    }
}

/// What kind of failure a gate stands for that wasn't read.
pub(super) fn class_of(kind: &GateKind) -> GateClass {
    match kind {
        GateKind::Process { .. } => GateClass::Process,
        GateKind::Http(_) => GateClass::Health,
        GateKind::Tcp { .. } => GateClass::Connection,
        GateKind::Sqlite { .. } => GateClass::Database,
        GateKind::Command { .. } => GateClass::Command,
    }
}

fn database(host: &dyn WriteHost, path: &Path) -> Seen {
    let whole = |detail: &str| Seen::new(GateClass::Database, Verdict::Passed, detail.to_owned());
    let missing = "not there yet";
    match host.entry(path) {
        Ok(None) => return whole(missing),
        Ok(Some(_)) => {}
        Err(error) => return inconclusive(GateClass::Database, error.to_string()),
    }
    match host.check_database(path, CHECK) {
        Ok(problems) if problems.is_empty() => whole("it is whole"),
        Ok(problems) => {
            let detail = format!("it is damaged: {}", problems.join("; "));
            Seen::new(GateClass::Database, Verdict::Failed, detail)
        }
        Err(error) if error.kind == HostErrorKind::NotFound => whole(missing),
        Err(error) => inconclusive(GateClass::Database, error.to_string()),
    }
}

fn command(host: &dyn WriteHost, command: &Command, cancelled: &dyn Fn() -> bool) -> Seen {
    let output = match host.run_while(command, &|| !cancelled()) {
        Ok(output) => output,
        Err(error) => return inconclusive(GateClass::Command, error.to_string()),
    };
    let how = match output.status {
        _ if output.timed_out => {
            let limit = command.timeout.as_secs_f64();
            format!("it took longer than {limit} s")
        }
        Some(0) => {
            let detail = "it exited with 0".to_owned();
            return Seen::new(GateClass::Command, Verdict::Passed, detail);
        }
        Some(status) => format!("it exited with {status}"),
        None if cancelled() => "it was ended, since nobody waits for it any more".to_owned(),
        None => "it was killed".to_owned(),
    };
    let verdict = match output.status {
        Some(status) if NOT_RUN.contains(&status) || KILLED.contains(&status) => {
            Verdict::Inconclusive
        }
        None if !output.timed_out => Verdict::Inconclusive,
        _ => Verdict::Failed,
    };
    let detail = format!("{how}{}", tail(output.output.lines()));
    Seen::new(GateClass::Command, verdict, detail)
}
