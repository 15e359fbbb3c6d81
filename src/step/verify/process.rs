//! The gate that a service runs, and goes on running.

use crate::host::{Activity, Manager, ReadHost, ServiceStatus, Unit};
use crate::model::Verdict;
use crate::model::gate::GateClass;

use super::look::{Seen, inconclusive};

/// By what a running service is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    process: Option<u32>,
    restarts: u32,
}

/// The service that a gate is about.
pub(super) fn unit(name: &str, process_directory: Option<&str>) -> Unit {
    let manager = match process_directory {
        Some(directory) => Manager::Process {
            directory: directory.to_owned(),
        },
        None => Manager::Systemd,
    };
    Unit {
        manager,
        name: name.to_owned(),
    }
}

/// Reads it.
pub(super) fn look(host: &dyn ReadHost, unit: &Unit) -> Seen {
    let status = match host.service(unit) {
        Ok(status) => status,
        Err(error) => return inconclusive(GateClass::Process, error.to_string()),
    };
    if !status.exists {
        let detail = format!("there is no unit {}", unit.name);
        return Seen {
            // Nothing that is under way would make it.
            hopeless: true,
            ..Seen::new(GateClass::Process, Verdict::Failed, detail)
        };
    }
    let healthy = is_up(&status);
    let verdict = if healthy {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    let detail = match status.main_process {
        Some(process) if healthy => format!("{}, process {process}", status.words),
        _ => status.words.clone(),
    };
    Seen {
        running: healthy.then_some(Running {
            process: status.main_process,
            restarts: status.restarts,
        }),
        hopeless: status.failed && status.activity == Activity::Inactive,
        ..Seen::new(GateClass::Process, verdict, detail)
    }
}

/// A service that waits for its automatic restart is active for a plan, but it isn't up.
fn is_up(status: &ServiceStatus) -> bool {
    status.activity == Activity::Active && !status.words.starts_with("activating")
}

impl Running {
    /// Why it isn't the same any more; none when it is.
    pub(super) fn differs_from(self, before: Self) -> Option<String> {
        if self == before {
            return None;
        }
        let number = |process: Option<u32>| {
            process.map_or_else(|| "none".to_owned(), |number| number.to_string())
        };
        let times = self.restarts.saturating_sub(before.restarts);
        let restarted = match times {
            0 => String::new(),
            1 => ", restarted once".to_owned(),
            times => format!(", restarted {times} times"),
        };
        Some(format!(
            "its main process changed from {} to {}{restarted}",
            number(before.process),
            number(self.process)
        ))
    }
}
