//! Reading a service until it has settled.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{Activity, HostError, HostErrorKind, ReadHost, ServiceStatus, Unit};

use super::settings::ServiceSettings;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Whether a service runs. One that is still on its way up when its time is over does not.
pub(super) fn is_active(status: &ServiceStatus) -> bool {
    status.activity == Activity::Active
}

/// What the manager says once the service is no longer on its way up, or its time is over.
pub(super) fn settled(
    host: &dyn ReadHost,
    unit: &Unit,
    timeout: Duration,
) -> Result<ServiceStatus, HostError> {
    until(host, unit, timeout, |status| {
        status.activity != Activity::Activating
    })
}

/// What the manager says once a condition holds, or when the time is over.
pub(super) fn until(
    host: &dyn ReadHost,
    unit: &Unit,
    timeout: Duration,
    holds: impl Fn(&ServiceStatus) -> bool,
) -> Result<ServiceStatus, HostError> {
    let end = Instant::now() + timeout;
    let mut pause = FIRST_PAUSE;
    loop {
        let status = host.service(unit)?;
        let left = end.saturating_duration_since(Instant::now());
        if holds(&status) || left.is_zero() {
            return Ok(status);
        }
        thread::park_timeout(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether somebody has enabled the service. A unit without `[Install]` counts as enabled for its
/// manager, but nobody can have enabled it (systemctl(1), `is-enabled`).
pub(super) fn starts_at_boot(
    host: &dyn ReadHost,
    settings: &ServiceSettings,
    status: &ServiceStatus,
) -> Result<bool, HostError> {
    if !status.enabled {
        return Ok(false);
    }
    // A manager that hasn't read the unit yet can't say where it is; its declaration can.
    let declared = settings.uses.iter().map(Path::new);
    let mut declared = declared.filter(|path| path.ends_with(&settings.unit.name));
    match status.definition.as_deref().or_else(|| declared.next()) {
        Some(definition) => can_be_enabled(host, definition),
        None => Ok(true),
    }
}

fn can_be_enabled(host: &dyn ReadHost, definition: &Path) -> Result<bool, HostError> {
    let real = host.real_path(definition)?;
    match host.read(&real) {
        Ok(text) => Ok(String::from_utf8_lossy(&text)
            .lines()
            .any(|line| line.trim() == "[Install]")),
        // The manager remembers a file that is gone: what was enabled stays enabled.
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
