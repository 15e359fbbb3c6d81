//! Transient units of systemd: a program that PID 1 runs, and starts again when it dies.
//!
//! See systemd-run(1), systemd.service(5).

use std::io;
use std::path::Path;
use std::time::Duration;

use super::program::ask;

/// How long PID 1 may take to start one: it can be busy with a daemon-reload.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that is to run as a transient unit.
#[derive(Debug, Clone, Copy)]
pub struct Transient<'a> {
    /// The unit's name, without `.service`.
    pub name: &'a str,
    /// What people read about it.
    pub description: &'a str,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// Whether processes that it has started live on when it ends.
    pub leave_processes: bool,
}

/// Starts it; it runs when this returns. If it dies it is started again, and what it had started is
/// killed before, unless that is to live on.
///
/// # Errors
/// In systemd's words.
pub fn start_transient(unit: &Transient<'_>) -> io::Result<()> {
    let name = format!("--unit={}", unit.name);
    let description = format!("--description={}", unit.description);
    let kill = if unit.leave_processes {
        "--property=KillMode=process"
    } else {
        "--property=KillMode=control-group"
    };
    let program = unit.program.to_string_lossy();
    let mut arguments = vec![
        "--quiet",
        "--collect",
        "--no-ask-password",
        // Started is what has become the program, not what is about to: a program that can't run is an error.
        "--service-type=exec",
        &name,
        &description,
        "--property=Restart=on-failure",
        // Which systemd takes for a clean end (systemd.service(5)).
        "--property=RestartForceExitStatus=SIGTERM SIGINT SIGHUP SIGPIPE",
        "--property=RestartSec=300ms",
        // Some minutes of dying at once; what isn't put right by then is the next contact's.
        "--property=StartLimitIntervalSec=1h",
        "--property=StartLimitBurst=500",
        kill,
        // What a dead helper left running must not hold up the way back.
        "--property=KillSignal=SIGKILL",
        "--property=TimeoutStopSec=10s",
        "--",
        &program,
    ];
    arguments.extend(unit.arguments);
    let said = ask("systemd-run", &arguments, PATIENCE)?;
    match said.status {
        Some(0) => Ok(()),
        _ if said.timed_out => Err(io::Error::other("systemd-run didn't answer in time")),
        _ => Err(io::Error::other(said.output.trim().to_owned())),
    }
}
