//! The built-in manager: services on machines without systemd, for tours, tests and containers.
//!
//! It starts a service in a session of its own, remembers it durably, and stops all of it. It doesn't
//! watch or restart. In its directory lie, for a unit NAME: `NAME` the definition (put there by
//! others), `NAME.run` what runs, `NAME.log` what it prints, `NAME.enabled` a mark.
//!
//! Every process that it starts carries `ROSEY_SERVICE=<directory>/<NAME>` in its environment, so one
//! that was started by a rosey that died before writing it down is found again.
//!
//! Must not know of releases or plans. Start reading at `manage.rs`.

mod exits;
mod manage;
mod record;
mod start;
mod stop;
#[cfg(test)]
mod tests;
mod unit;
mod words;

use std::path::{Path, PathBuf};

use super::ending::Family;
use super::identity::Identity;
use super::port::HostErrorKind;
use super::proc::{self, Process};

use record::Record;

/// Finds out who a service runs as.
pub(super) type Identify<'a> = dyn Fn(Option<&str>) -> Result<Identity, HostErrorKind> + 'a;

/// The variable that marks a service's processes.
const MARK: &str = "ROSEY_SERVICE";

/// One service of one directory.
#[derive(Debug, Clone)]
pub(super) struct Service {
    directory: PathBuf,
    name: String,
}

/// A main process that lives, and what is remembered of it.
#[derive(Debug)]
struct Main {
    process: Process,
    record: Option<Record>,
}

impl Service {
    /// The service of a name.
    ///
    /// # Errors
    /// When the name isn't one of a file in the directory.
    pub(super) fn new(directory: &Path, name: &str) -> Result<Self, HostErrorKind> {
        if !directory.is_absolute()
            || name.is_empty()
            || name.starts_with('.')
            || name.contains('/')
        {
            return Err(HostErrorKind::other("it is no name of a unit"));
        }
        Ok(Self {
            directory: directory.to_path_buf(),
            name: name.to_owned(),
        })
    }

    fn definition(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// A file beside the definition.
    fn beside(&self, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", self.name))
    }

    /// The value of the mark.
    fn mark(&self) -> String {
        self.definition().display().to_string()
    }

    /// All processes of the service; those of the main process's session where it is known.
    fn family(&self, leader: Option<Process>) -> Family {
        Family {
            leader,
            mark: format!("{MARK}={}", self.mark()),
        }
    }

    /// Whether a process is one of the service's.
    pub(super) fn has(&self, process: u32) -> Result<bool, HostErrorKind> {
        let leader = self.main()?.map(|Main { process, .. }| process);
        let members = self.family(leader).members()?;
        Ok(members.iter().any(|member| member.id == process))
    }

    /// The main process: the one that was written down, else one that carries the mark and leads its
    /// session, which was started and not written down.
    fn main(&self) -> Result<Option<Main>, HostErrorKind> {
        let record = Record::read(self)?;
        if let Some(record) = record.filter(Record::is_of_this_boot)
            && let Some(process) = proc::alive(record.process)
            && process.started == record.ticks
        {
            return Ok(Some(Main {
                process,
                record: Some(record),
            }));
        }
        let mark = format!("{MARK}={}", self.mark());
        let unrecorded = proc::all()?
            .into_iter()
            .filter_map(proc::alive)
            .filter(|process| process.session == process.id)
            .find(|process| proc::has_in_environment(process, &mark));
        Ok(unrecorded.map(|process| Main {
            process,
            record: None,
        }))
    }
}
