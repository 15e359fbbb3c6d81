//! Hands acts on services to their managers.

use std::path::Path;
use std::time::Duration;

use crate::host::error::Context;
use crate::host::port::{HostError, Manager, ServiceAct, Unit};
use crate::host::{process, systemd};

use super::LocalHost;

impl LocalHost {
    pub(super) fn manage_service(
        &self,
        unit: &Unit,
        act: &ServiceAct,
        timeout: Duration,
    ) -> Result<(), HostError> {
        let done = match &unit.manager {
            Manager::Systemd => systemd::manage(&unit.name, act, timeout),
            Manager::Process { directory } => {
                let identity = |user: Option<&str>| self.identity(user);
                process::Service::new(Path::new(directory), &unit.name)
                    .and_then(|service| service.manage(act, timeout, &identity))
            }
        };
        let doing = match act {
            ServiceAct::DaemonReload => "have the service manager read again",
            ServiceAct::ResetFailed => "reset",
            ServiceAct::Enable => "enable",
            ServiceAct::Disable => "disable",
            ServiceAct::Start => "start",
            ServiceAct::Restart => "restart",
            ServiceAct::Reload => "reload",
            ServiceAct::Stop => "stop",
        };
        done.context(doing, Path::new(&unit.name))
    }
}
