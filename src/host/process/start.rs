//! Starting a service.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::host::clock;
use crate::host::identity::PATH;
use crate::host::port::HostErrorKind;
use crate::host::proc;

use super::record::Record;
use super::unit::Definition;
use super::{Identify, MARK, Main, Service, exits};

/// A command that only has to be started.
pub(super) struct Prepared {
    command: Command,
    program: PathBuf,
    /// Where in the log it will begin.
    log: u64,
}

impl Service {
    /// Starts it unless it runs; one that was started and not written down is adopted.
    pub(super) fn start(&self, identify: &Identify<'_>) -> Result<(), HostErrorKind> {
        match self.main()? {
            Some(Main {
                record: Some(_), ..
            }) => Ok(()),
            Some(Main { process, .. }) => Record {
                process: process.id,
                ticks: process.started,
                started: clock::moment_of_ticks(process.started),
                // Where it began isn't known any more.
                log: 0,
            }
            .write(self),
            None => {
                let prepared = self.prepare(identify)?;
                self.clear()?;
                self.spawn(prepared)
            }
        }
    }

    /// Finds out everything that can be wrong before anything is done.
    pub(super) fn prepare(&self, identify: &Identify<'_>) -> Result<Prepared, HostErrorKind> {
        let definition = Definition::read(self)?;
        let identity = identify(definition.user.as_deref())?;
        let directory = definition
            .working_directory
            .clone()
            .unwrap_or_else(|| "/".into());
        if !directory.is_dir() {
            let words = format!("its WorkingDirectory {} is not there", directory.display());
            return Err(HostErrorKind::Missing(words));
        }
        let mut environment = definition.environment()?;
        let given: std::collections::HashMap<OsString, OsString> = identity
            .environment()
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect();
        let variable = |name: &str| {
            let set = environment.iter().rev().find(|(known, _)| known == name);
            let default = given.get(std::ffi::OsStr::new(name));
            set.map(|(_, value)| value.clone())
                .or_else(|| default.map(|value| value.to_string_lossy().into_owned()))
        };
        let words = definition.command(&variable)?;
        let path = variable("PATH").unwrap_or_else(|| PATH.to_owned());
        let program = find(&words[0], &directory, &path)?;
        environment.push((MARK.to_owned(), self.mark()));
        let log = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.beside("log"))?;
        let begun = log.metadata()?.len();
        let mut command = identity.command(&program);
        command
            .args(&words[1..])
            .current_dir(&directory)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Prepared {
            command,
            program,
            log: begun,
        })
    }

    /// Starts it. Returns when its program runs.
    pub(super) fn spawn(&self, prepared: Prepared) -> Result<(), HostErrorKind> {
        let Prepared {
            mut command,
            program,
            log,
        } = prepared;
        let started = clock::moment();
        // Errors of exec in the child are told here; see std::process::Command::spawn.
        let child = command.spawn().map_err(|error| {
            HostErrorKind::Other(format!("can't run {}: {error}", program.display()))
        })?;
        let id = child.id();
        // As long as nobody has waited for it, it is there, if only as a zombie.
        let process = proc::process(id)
            .ok_or_else(|| HostErrorKind::other("its process can't be found in /proc"))?;
        exits::watch(child, process.started);
        Record {
            process: id,
            ticks: process.started,
            started,
            log,
        }
        .write(self)
    }
}

/// The program that a word names: with a slash in the working directory, else along the path.
fn find(word: &str, directory: &Path, path: &str) -> Result<PathBuf, HostErrorKind> {
    if word.contains('/') {
        return Ok(directory.join(word));
    }
    let runs = |candidate: &PathBuf| {
        candidate
            .metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    path.split(':')
        .map(|place| Path::new(place).join(word))
        .find(runs)
        .ok_or_else(|| HostErrorKind::Missing(format!("there is no program {word:?} in {path}")))
}
