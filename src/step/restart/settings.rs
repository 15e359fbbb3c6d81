//! How to act on a service: what its declaration says beside what is compared.

use std::time::Duration;

use crate::host::{Manager, Unit};
use crate::model::{Resource, ResourceId, Value};

use super::declare::Restart;

/// A time limit for who hasn't declared one, in milliseconds; systemd's own default.
const TIMEOUT: i64 = 90_000;

/// How to act on one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceSettings {
    /// The service, as its manager knows it.
    pub unit: Unit,
    /// What is done when something that it uses has changed.
    pub restart: Restart,
    /// How long it may take to be active.
    pub start_timeout: Duration,
    /// How long it may take to end.
    pub stop_timeout: Duration,
    /// Whether it is somebody else's, so that it is only restarted or reloaded.
    pub external: bool,
    /// Whether somebody else's that is down is started again.
    pub restores: bool,
    /// Whose right to run it takes while it is active.
    pub turn: Option<String>,
    /// Absolute paths that it uses.
    pub uses: Vec<String>,
}

impl ServiceSettings {
    /// Reads them from a resource; what isn't said is as for a unit of systemd that nobody declared.
    pub fn of(id: &ResourceId, resource: Option<&Resource>) -> Self {
        let nothing = Resource::new();
        let resource = resource.unwrap_or(&nothing);
        let text = |name: &str| resource.settings.get(name).and_then(Value::as_text);
        let time = |name: &str| {
            let declared = resource.settings.get(name).and_then(Value::as_int);
            Duration::from_millis(u64::try_from(declared.unwrap_or(TIMEOUT)).unwrap_or(0))
        };
        let flag = |name: &str| {
            let said = resource.settings.get(name).and_then(Value::as_bool);
            said == Some(true)
        };
        let uses = resource.settings.get("uses");
        Self {
            unit: unit_of(id, resource),
            restart: match text("restart") {
                Some("reload") => Restart::Reload,
                Some("never") => Restart::Never,
                _ => Restart::OnChange,
            },
            start_timeout: time("start_timeout"),
            stop_timeout: time("stop_timeout"),
            external: flag("external"),
            restores: flag("restores"),
            turn: text("turn").map(str::to_owned),
            uses: uses
                .into_iter()
                .flat_map(Value::texts)
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// The unit of a service's resource, with who runs it.
#[must_use]
pub fn unit_of(id: &ResourceId, resource: &Resource) -> Unit {
    let text = |name: &str| resource.settings.get(name).and_then(Value::as_text);
    let manager = match (text("manager"), text("process_directory")) {
        (Some("process"), Some(directory)) => Manager::Process {
            directory: directory.to_owned(),
        },
        _ => Manager::Systemd,
    };
    Unit {
        manager,
        name: id.name.clone(),
    }
}
