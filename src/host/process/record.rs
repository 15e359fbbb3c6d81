//! What is remembered of a running service, so that another rosey finds exactly this process again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::clock;
use crate::host::port::HostErrorKind;
use crate::model::Moment;

use super::Service;

/// One start of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The main process's number.
    pub(super) process: u32,
    /// When /proc says that it was started: with the number and the boot it names it.
    pub(super) ticks: u64,
    /// Just before it was started.
    pub(super) started: Moment,
    /// Where in the log it begins.
    #[serde(default)]
    pub(super) log: u64,
}

impl Record {
    /// The record; none when nothing was started, or what is there isn't whole, which only a power
    /// cut leaves, and then nothing runs.
    pub(super) fn read(service: &Service) -> Result<Option<Self>, HostErrorKind> {
        match fs::read(service.beside("run")) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes it down, durably.
    pub(super) fn write(&self, service: &Service) -> Result<(), HostErrorKind> {
        let text = serde_json::to_vec(self)
            .map_err(|error| HostErrorKind::Other(format!("can't be written down: {error}")))?;
        let new = service.beside("run.new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(new, service.beside("run"))?;
        sync(&service.directory)
    }

    /// Whether the process can still be there.
    pub(super) fn is_of_this_boot(&self) -> bool {
        self.started.boot == clock::boot()
    }
}

/// Removes a file, durably; none there is fine.
pub(super) fn forget(service: &Service, extension: &str) -> Result<(), HostErrorKind> {
    match fs::remove_file(service.beside(extension)) {
        Ok(()) => sync(&service.directory),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a mark, durably.
pub(super) fn mark(service: &Service, extension: &str) -> Result<(), HostErrorKind> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(service.beside(extension))?
        .sync_all()?;
    sync(&service.directory)
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn sync(directory: &Path) -> Result<(), HostErrorKind> {
    Ok(File::open(directory)?.sync_all()?)
}
