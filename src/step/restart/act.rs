//! Taking a step of a service: the short list of acts of law 7, then reading back.

use std::path::Path;
use std::time::Duration;

use crate::host::{
    Activity, HostError, HostErrorKind, Manager, ServiceAct, ServiceStatus, UNITS, Unit, WriteHost,
};
use crate::model::{Action, Moment, Step};
use crate::step::kind::StepError;
use crate::step::tail::{LINES, tail};

use super::settings::ServiceSettings;
use super::status::{self, is_active, settled, starts_at_boot, until};

/// Takes the step. Every act of the list does nothing when it was done already.
pub(super) fn take(host: &dyn WriteHost, step: &Step) -> Result<(), StepError> {
    let settings = ServiceSettings::of(&step.resource, step.to.as_ref().or(step.from.as_ref()));
    let service = Acts {
        host,
        settings: &settings,
    };
    let found = host.service(&settings.unit)?;
    let runs = step.to.as_ref().is_some_and(|to| to.is("active"));
    let begins = runs && matches!(step.action, Action::Start | Action::Restart);
    let renews = begins || step.action == Action::Reload;
    if service.is_unread(&found) || renews && service.has_definition() {
        // Not only when systemd says so: it compares modification times, and a definition that is put back is older
        // than the one that it has read (systemd's `fragment_mtime_newer`). A service that only reloads may be started
        // by systemd later, with whatever that has read.
        service.act(&ServiceAct::DaemonReload, settings.start_timeout)?;
    }
    if begins {
        service.reset_failed()?;
    }
    match &step.to {
        Some(to) if !settings.external => service.enable(to.is("enabled"))?,
        _ => {}
    }
    match step.action {
        Action::Start => service.start(&ServiceAct::Start),
        Action::Restart => service.start(&ServiceAct::Restart),
        Action::Reload => service.reload(),
        Action::Stop => service.stop(),
        Action::Remove => {
            service.stop()?;
            service.enable(false)?;
            service.reset_failed()
        }
        _ => Ok(()),
    }
}

/// Has the manager read again what it remembers of a service that no longer runs, once the run is
/// settled: its unit was put back, or removed, after its last act. A unit that was put back is older, and the
/// manager doesn't say that it needs that. Of what runs a new definition is a difference, and is left to be seen.
pub(super) fn settle(host: &dyn WriteHost, step: &Step) -> Result<(), HostError> {
    let settings = ServiceSettings::of(&step.resource, step.to.as_ref().or(step.from.as_ref()));
    let found = host.service(&settings.unit)?;
    let is_ours = settings.unit.manager == Manager::Systemd && !settings.external;
    let may_be_old = found.needs_daemon_reload || found.exists;
    if !is_ours || found.activity != Activity::Inactive || !may_be_old {
        return Ok(());
    }
    host.manage(
        &settings.unit,
        &ServiceAct::DaemonReload,
        settings.start_timeout,
    )
}

struct Acts<'a> {
    host: &'a dyn WriteHost,
    settings: &'a ServiceSettings,
}

impl Acts<'_> {
    fn unit(&self) -> &Unit {
        &self.settings.unit
    }

    fn act(&self, act: &ServiceAct, timeout: Duration) -> Result<(), HostError> {
        self.host.manage(self.unit(), act, timeout)
    }

    /// Whether the manager's copy of the definition is old, or missing.
    fn is_unread(&self, found: &ServiceStatus) -> bool {
        found.needs_daemon_reload || (self.is_ours() && !found.exists)
    }

    /// Whether rosey writes the definition, or a part of somebody else's, and a manager keeps a copy.
    fn has_definition(&self) -> bool {
        let mut uses = self.settings.uses.iter().map(Path::new);
        let writes = self.is_ours() || uses.any(|path| path.starts_with(UNITS));
        writes && self.unit().manager == Manager::Systemd
    }

    /// Whether the definition is one that rosey writes and a manager keeps a copy of.
    fn is_ours(&self) -> bool {
        self.unit().manager == Manager::Systemd && !self.settings.external
    }

    /// Forgets a failure and the start limit, without which systemd refuses a further start. What the
    /// manager doesn't remember can't be forgotten: then it refuses, and nothing is lost.
    fn reset_failed(&self) -> Result<(), StepError> {
        let done = self.act(&ServiceAct::ResetFailed, self.settings.start_timeout);
        match done {
            Err(error) if self.host.service(self.unit())?.failed => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn enable(&self, wanted: bool) -> Result<(), StepError> {
        let found = self.host.service(self.unit())?;
        let act = match (wanted, found.enabled) {
            (true, false) => ServiceAct::Enable,
            (false, true) if starts_at_boot(self.host.as_read(), self.settings, &found)? => {
                ServiceAct::Disable
            }
            _ => return Ok(()),
        };
        Ok(self.act(&act, self.settings.start_timeout)?)
    }

    /// Starts or restarts, and reads back: active, with a main process that was started by this, and
    /// hasn't ended since.
    fn start(&self, act: &ServiceAct) -> Result<(), StepError> {
        let before = self.host.service(self.unit())?;
        let begun = self.host.moment();
        // A start of what runs does nothing; then its process is older than this step.
        let begins = *act == ServiceAct::Restart || !is_active(&before);
        self.acted(act, "didn't start", false, &begun)?;
        let timeout = self.settings.start_timeout;
        let found = until(self.host.as_read(), self.unit(), timeout, |status| {
            status.activity != Activity::Activating && (!is_active(status) || is_up(status))
        })?;
        let how = match found.activity {
            Activity::Activating => Some(format!("is still not up after {}", time(timeout))),
            Activity::Inactive => Some("ended right after its start".to_owned()),
            Activity::Active if found.restarts > before.restarts => Some(format!(
                "ended right after its start and was restarted {} times",
                found.restarts - before.restarts
            )),
            Activity::Active if !is_up(&found) => Some("ended right after its start".to_owned()),
            Activity::Active if begins && is_older(&found, &begun) => {
                Some("runs on in a process from before".to_owned())
            }
            Activity::Active => None,
        };
        match how {
            Some(how) => Err(self.failure(&how, &found.words, &begun)),
            None => Ok(()),
        }
    }

    fn reload(&self) -> Result<(), StepError> {
        let begun = self.host.moment();
        self.acted(&ServiceAct::Reload, "couldn't be reloaded", true, &begun)?;
        let found = settled(
            self.host.as_read(),
            self.unit(),
            self.settings.start_timeout,
        )?;
        if is_active(&found) {
            return Ok(());
        }
        Err(self.failure("ended when it was reloaded", &found.words, &begun))
    }

    fn stop(&self) -> Result<(), StepError> {
        let timeout = self.settings.stop_timeout;
        let begun = self.host.moment();
        let found = self.host.service(self.unit())?;
        if found.activity != Activity::Inactive || found.main_process.is_some() {
            self.act(&ServiceAct::Stop, timeout)?;
        }
        let found = status::until(self.host.as_read(), self.unit(), timeout, |status| {
            status.activity == Activity::Inactive && status.main_process.is_none()
        })?;
        if found.activity == Activity::Inactive && found.main_process.is_none() {
            return Ok(());
        }
        let how = format!("is still running {} after it was stopped", time(timeout));
        Err(self.failure(&how, &found.words, &begun))
    }

    /// An act whose failure says something about the service rather than about the host.
    fn acted(
        &self,
        act: &ServiceAct,
        how: &str,
        may_run: bool,
        begun: &Moment,
    ) -> Result<(), StepError> {
        let timeout = self.settings.start_timeout.max(match act {
            ServiceAct::Restart => self.settings.stop_timeout + self.settings.start_timeout,
            _ => Duration::ZERO,
        });
        let Err(error) = self.act(act, timeout) else {
            return Ok(());
        };
        let of_host = !matches!(
            error.kind,
            HostErrorKind::Other(_) | HostErrorKind::Missing(_) | HostErrorKind::TimedOut
        );
        // A manager that can't be asked says nothing about the service.
        let Ok(found) = self.host.service(self.unit()) else {
            return Err(error.into());
        };
        // What its definition names and isn't there is found before the old process is ended.
        let of_service = may_run || matches!(error.kind, HostErrorKind::Missing(_));
        if of_host || is_up(&found) && !of_service {
            return Err(error.into());
        }
        let words = match &error.kind {
            HostErrorKind::TimedOut => format!("{}, after {}", found.words, time(timeout)),
            kind => format!("{}: {kind}", found.words),
        };
        Err(self.failure(how, &words, begun))
    }

    /// With what the service has logged since the act that failed was begun.
    fn failure(&self, how: &str, words: &str, begun: &Moment) -> StepError {
        let log = self.host.service_log(self.unit(), LINES, Some(begun));
        StepError::Service {
            unit: self.unit().name.clone(),
            how: format!("{how} ({words})"),
            tail: tail(log.iter().map(String::as_str)),
        }
    }
}

/// Whether it runs now, rather than waiting for an automatic restart. Not every unit that is up has
/// a main process (systemd.service(5), `RemainAfterExit=`, `Type=forking` without `PIDFile=`).
fn is_up(status: &ServiceStatus) -> bool {
    is_active(status) && (status.main_process.is_some() || !status.words.contains("auto-restart"))
}

fn is_older(status: &ServiceStatus, begun: &Moment) -> bool {
    let started = status.started.as_ref();
    started.is_some_and(|started| !started.is_after(begun))
}

fn time(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
