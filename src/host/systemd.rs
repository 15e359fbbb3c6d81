//! systemd, through its own programs.
//!
//! One `systemctl show` gives a unit's state; `systemctl VERB` acts on it. What they say on failure is
//! passed on in their words. See systemctl(1), org.freedesktop.systemd1(5).

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags, openat, syncfs};

use crate::model::Moment;

use super::clock::boot;
use super::port::{Activity, HostErrorKind, ServiceAct, ServiceStatus, UNITS};
use super::program::{Said, ask};

/// How long a question may take: PID 1 can be busy with a daemon-reload.
const PATIENCE: Duration = Duration::from_secs(30);
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,MainPID,\
ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic,FragmentPath,NRestarts,Result,\
ExecMainStatus";

/// What systemd says of a unit. An unknown one is no error.
pub(super) fn status(unit: &str) -> Result<ServiceStatus, HostErrorKind> {
    let arguments = ["show", "--no-pager", "-p", PROPERTIES, "--", unit];
    let said = systemctl(&arguments, PATIENCE)?;
    if said.status != Some(0) {
        return Err(refused(&said));
    }
    let mut status = parse(&said.output, &boot()).ok_or_else(|| {
        HostErrorKind::Other(format!("systemctl show said: {}", said.output.trim()))
    })?;
    status.definition = status.definition.map(real_directory);
    Ok(status)
}

/// The same file with the links above it resolved, so that it can be read: systemd says `/lib/…` where
/// `/lib` is a link. The file itself may be a link, and stays one.
fn real_directory(path: PathBuf) -> PathBuf {
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        // It isn't there any more; then what systemd says is all that is known.
        _ => path,
    }
}

/// Has systemd do something. Enabling and disabling are durable when it returns.
pub(super) fn manage(unit: &str, act: &ServiceAct, timeout: Duration) -> Result<(), HostErrorKind> {
    let verb = match act {
        ServiceAct::DaemonReload => "daemon-reload",
        ServiceAct::ResetFailed => "reset-failed",
        ServiceAct::Enable => "enable",
        ServiceAct::Disable => "disable",
        ServiceAct::Start => "start",
        ServiceAct::Restart => "restart",
        ServiceAct::Reload => "reload",
        ServiceAct::Stop => "stop",
    };
    let mut arguments = vec!["--no-ask-password", "--no-pager", verb];
    if *act != ServiceAct::DaemonReload {
        arguments.extend(["--", unit]);
    }
    let said = systemctl(&arguments, timeout)?;
    if said.status != Some(0) {
        match act {
            // Nothing is loaded: nothing runs, and nothing is remembered.
            ServiceAct::Stop | ServiceAct::ResetFailed if said.output.contains("not loaded") => {}
            // The file is gone already; what may be left are links to it.
            ServiceAct::Disable if said.output.contains("does not exist") => {
                remove_links(Path::new(UNITS), unit)?;
            }
            ServiceAct::Reload if said.output.contains("not applicable") => {
                let words = format!(
                    "{unit} has no ExecReload, so it can't reload ({})",
                    words(&said)
                );
                return Err(HostErrorKind::Other(words));
            }
            _ => return Err(refused(&said)),
        }
    }
    match act {
        ServiceAct::Enable | ServiceAct::Disable => sync_links(),
        _ => Ok(()),
    }
}

/// The last lines that a unit logged since a moment, oldest first; none where the journal can't be asked.
pub(super) fn log(unit: &str, lines: usize, since: Option<&Moment>) -> Vec<String> {
    let mut arguments = vec!["-q".to_owned(), "--no-pager".to_owned()];
    arguments.extend(["-o".to_owned(), "cat".to_owned()]);
    arguments.extend([format!("--unit={unit}"), format!("--lines={lines}")]);
    arguments.extend(since.map(|since| format!("--since=@{}", wall_clock(since))));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match ask("journalctl", &arguments, PATIENCE) {
        Ok(said) if said.status == Some(0) => said.output.lines().map(str::to_owned).collect(),
        // The log only illustrates an error that is told anyway.
        _ => Vec::new(),
    }
}

/// A moment of this boot in seconds since 1970, the only form in which journalctl takes a time.
fn wall_clock(moment: &Moment) -> f64 {
    let ago = super::clock::moment()
        .monotonic
        .saturating_sub(moment.monotonic);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(Duration::from_micros(ago)).as_secs_f64()
}

fn systemctl(arguments: &[&str], timeout: Duration) -> Result<Said, HostErrorKind> {
    ask("systemctl", arguments, timeout).map_err(|error| match error.kind() {
        ErrorKind::NotFound => HostErrorKind::other("this host has no systemctl"),
        _ => error.into(),
    })
}

fn refused(said: &Said) -> HostErrorKind {
    if said.timed_out {
        return HostErrorKind::TimedOut;
    }
    HostErrorKind::Other(words(said))
}

/// What it said, without where to read more.
fn words(said: &Said) -> String {
    let lines: Vec<&str> = said
        .output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("See ") && !line.starts_with("Hint:"))
        .collect();
    if lines.is_empty() {
        return match said.status {
            Some(status) => format!("systemctl exited with {status} and said nothing"),
            None => "systemctl was killed".to_owned(),
        };
    }
    lines.join(" ")
}

/// A unit's state from the properties as `systemctl show` prints them; none when they aren't there.
fn parse(text: &str, boot: &str) -> Option<ServiceStatus> {
    let properties: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let get = |name: &str| properties.get(name).copied().unwrap_or_default();
    let load = properties.get("LoadState")?;
    let active = *properties.get("ActiveState")?;
    let sub = get("SubState");
    let activity = match (active, sub) {
        ("active" | "reloading" | "refreshing", _) => Activity::Active,
        // A pending automatic restart counts as running; newer versions queue it first.
        ("activating", "auto-restart" | "auto-restart-queued") => Activity::Active,
        ("activating", _) => Activity::Activating,
        _ => Activity::Inactive,
    };
    let number = |name: &str| get(name).parse::<u64>().ok().filter(|number| *number > 0);
    // A unit without a main process (forking without a PID file, a target) has only the second.
    let started = number("ExecMainStartTimestampMonotonic")
        .or_else(|| number("ActiveEnterTimestampMonotonic"))
        .filter(|_| activity != Activity::Inactive);
    let words = match (active, get("Result")) {
        ("failed", "exit-code") => format!("failed (exit-code {})", get("ExecMainStatus")),
        ("failed", result) => format!("failed ({result})"),
        _ => format!("{active} ({sub})"),
    };
    Some(ServiceStatus {
        exists: *load != "not-found",
        activity,
        failed: active == "failed",
        enabled: matches!(
            get("UnitFileState"),
            "enabled" | "alias" | "static" | "indirect" | "generated" | "transient"
        ),
        needs_daemon_reload: get("NeedDaemonReload") == "yes",
        main_process: number("MainPID").and_then(|number| number.try_into().ok()),
        started: started.map(|monotonic| Moment {
            boot: boot.to_owned(),
            monotonic,
        }),
        definition: Some(get("FragmentPath"))
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        restarts: get("NRestarts").parse().unwrap_or(0),
        words,
    })
}

/// Removes links that let a unit start whose file is gone.
fn remove_links(units: &Path, unit: &str) -> Result<(), HostErrorKind> {
    for entry in std::fs::read_dir(units)? {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default();
        if extension == "wants" || extension == "requires" {
            let link = path.join(unit);
            if link.is_symlink() {
                std::fs::remove_file(link)?;
            }
        }
    }
    Ok(())
}

/// Makes the links durable that systemctl made or removed: it doesn't do so itself.
fn sync_links() -> Result<(), HostErrorKind> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(syncfs(openat(CWD, UNITS, flags, Mode::empty())?)?)
}

pub(super) mod verify;

#[cfg(test)]
mod tests;
