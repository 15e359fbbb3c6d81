//! What the manager does and says.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::host::clock;
use crate::host::ending;
use crate::host::port::{Activity, HostErrorKind, ServiceAct, ServiceStatus};
use crate::model::Moment;

use super::record::{self, Record};
use super::unit::Definition;
use super::{Identify, Main, Service, exits};

/// How much of a log is looked at for its last lines.
const LOG: u64 = 64 * 1024;

impl Service {
    /// Does something. The same again is fine.
    pub(in crate::host) fn manage(
        &self,
        act: &ServiceAct,
        timeout: Duration,
        identify: &Identify<'_>,
    ) -> Result<(), HostErrorKind> {
        let deadline = Instant::now() + timeout;
        match act {
            // Definitions are read at each start.
            ServiceAct::DaemonReload => Ok(()),
            ServiceAct::ResetFailed => match self.main()? {
                Some(_) => Ok(()),
                None => record::forget(self, "run"),
            },
            ServiceAct::Enable => {
                if !self.definition().is_file() {
                    return Err(self.unknown());
                }
                record::mark(self, "enabled")
            }
            ServiceAct::Disable => record::forget(self, "enabled"),
            ServiceAct::Start => self.start(identify),
            ServiceAct::Restart => {
                // Found out before the old one is gone.
                let prepared = self.prepare(identify)?;
                self.stop(deadline)?;
                self.spawn(prepared)
            }
            ServiceAct::Reload => self.reload(),
            ServiceAct::Stop => self.stop(deadline),
        }
    }

    /// How it is.
    pub(in crate::host) fn status(&self) -> Result<ServiceStatus, HostErrorKind> {
        let definition = Some(self.definition()).filter(|path| path.is_file());
        let mut status = ServiceStatus {
            exists: definition.is_some(),
            activity: Activity::Inactive,
            failed: false,
            enabled: self.beside("enabled").exists(),
            needs_daemon_reload: false,
            main_process: None,
            started: None,
            definition,
            restarts: 0,
            words: "inactive (dead)".to_owned(),
        };
        if let Some(Main { process, record }) = self.main()? {
            status.activity = Activity::Active;
            status.main_process = Some(process.id);
            status.started = Some(match record {
                Some(record) => record.started,
                None => clock::moment_of_ticks(process.started),
            });
            status.words = "active (running)".to_owned();
            return Ok(status);
        }
        // A record that no stop has removed is of a process that ended by itself.
        if let Some(record) = Record::read(self)?.filter(Record::is_of_this_boot) {
            match exits::of(&record) {
                Some(exit) if exit.success() => {
                    status.words = format!("inactive ({})", exits::words(exit));
                }
                Some(exit) => {
                    status.failed = true;
                    status.words = format!("failed ({})", exits::words(exit));
                }
                None => {
                    status.failed = true;
                    status.words = "failed (its process is gone)".to_owned();
                }
            }
        }
        Ok(status)
    }

    /// The last lines that it printed, oldest first; where it was started since a moment, only those
    /// of that start.
    pub(in crate::host) fn log(&self, lines: usize, since: Option<&Moment>) -> Vec<String> {
        let record = Record::read(self).ok().flatten();
        let begun = record
            .filter(|record| since.is_some_and(|since| !since.is_after(&record.started)))
            .map_or(0, |record| record.log);
        let tail = || -> std::io::Result<Vec<u8>> {
            let mut file = fs::File::open(self.beside("log"))?;
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(size.saturating_sub(LOG).max(begun)))?;
            let mut tail = Vec::new();
            file.take(LOG).read_to_end(&mut tail)?;
            Ok(tail)
        };
        // The log only illustrates an error that is told anyway.
        let tail = tail().unwrap_or_default();
        let text = String::from_utf8_lossy(&tail);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    }

    fn reload(&self) -> Result<(), HostErrorKind> {
        let Some(main) = self.main()? else {
            let words = format!("{} is not running, so it can't reload", self.name);
            return Err(HostErrorKind::Other(words));
        };
        if !Definition::read(self)?.reloads_by_hangup {
            let words = format!(
                "{} has no `ExecReload=kill -HUP $MAINPID`, the only one that the built-in manager knows, so it can't reload",
                self.name
            );
            return Err(HostErrorKind::Other(words));
        }
        if ending::signal(&main.process, Signal::HUP)? {
            return Ok(());
        }
        Err(HostErrorKind::other("it ended meanwhile"))
    }

    pub(super) fn unknown(&self) -> HostErrorKind {
        HostErrorKind::Other(format!("there is no unit {}", self.definition().display()))
    }
}
