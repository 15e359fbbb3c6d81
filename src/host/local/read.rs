//! The reading port of this machine.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, OFlags, readlinkat};
use rustix::io::Errno;

use crate::host::clock;
use crate::host::error::Context;
use crate::host::path::{Found, resolve};
use crate::host::port::{
    Account, Entry, EntryType, HostError, HostErrorKind, Manager, ReadHost, ServiceStatus, Space,
    Unit, UnitRemark,
};
use crate::host::{Listener, cgroup, process, systemd};
use crate::model::{HostFacts, Moment};

use super::open::{Place, directory};
use super::{LocalHost, entry, facts, listeners, processes};

impl ReadHost for LocalHost {
    fn entry(&self, path: &Path) -> Result<Option<Entry>, HostError> {
        entry::stat(path)
            .and_then(|found| found.map(|stat| self.describe(&stat)).transpose())
            .context("look at", path)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, HostError> {
        let mut file = open(path).context("read", path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context("read", path)?;
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Read + Send>, HostError> {
        Ok(Box::new(open(path).context("read", path)?))
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf, HostError> {
        target(path).context("read the link", path)
    }

    fn list(&self, path: &Path) -> Result<Vec<OsString>, HostError> {
        names(path).context("list", path)
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf, HostError> {
        let look = |path: &Path| {
            Ok(match entry::stat(path)?.map(|stat| entry::kind(&stat)) {
                None => Found::Nothing,
                Some(EntryType::Link) => Found::Link(target(path)?),
                Some(_) => Found::Thing,
            })
        };
        resolve(path, look).context("resolve", path)
    }

    fn service(&self, unit: &Unit) -> Result<ServiceStatus, HostError> {
        let status = match &unit.manager {
            Manager::Systemd => systemd::status(&unit.name),
            Manager::Process { directory } => {
                process::Service::new(Path::new(directory), &unit.name)
                    .and_then(|service| service.status())
            }
        };
        status.context("ask for the state of", Path::new(&unit.name))
    }

    fn service_log(&self, unit: &Unit, lines: usize, since: Option<&Moment>) -> Vec<String> {
        match &unit.manager {
            Manager::Systemd => systemd::log(&unit.name, lines, since),
            Manager::Process { directory } => {
                process::Service::new(Path::new(directory), &unit.name)
                    .map_or_else(|_| Vec::new(), |service| service.log(lines, since))
            }
        }
    }

    fn verify_units(&self, files: &BTreeMap<String, String>) -> Vec<UnitRemark> {
        let facts = self.all_facts();
        if !facts.root || !facts.systemd {
            return Vec::new();
        }
        systemd::verify::verify(files)
    }

    fn processes_in(&self, path: &Path) -> Result<Vec<u32>, HostError> {
        processes::below(path).context("look for processes in", path)
    }

    fn listeners(&self, port: u16) -> Result<Vec<Listener>, HostError> {
        let table = Path::new("/proc/net/tcp");
        listeners::on(port).context("look for who listens in", table)
    }

    fn is_of_service(&self, process: u32, unit: &Unit) -> Result<bool, HostError> {
        let is_of = match &unit.manager {
            Manager::Systemd => Ok(cgroup::is_in(process, &unit.name)),
            Manager::Process { directory } => {
                process::Service::new(Path::new(directory), &unit.name)
                    .and_then(|service| service.has(process))
            }
        };
        is_of.context("look for the processes of", Path::new(&unit.name))
    }

    fn space(&self, path: &Path) -> Result<Space, HostError> {
        facts::space(path).context("ask for space at", path)
    }

    fn is_read_only(&self, path: &Path) -> Result<bool, HostError> {
        facts::is_read_only(path).context("ask for the file system of", path)
    }

    fn account(&self, user: &str) -> Result<Option<Account>, HostError> {
        self.accounts
            .account(user)
            .context("look up the user", Path::new(user))
    }

    fn has_group(&self, group: &str) -> Result<bool, HostError> {
        self.accounts
            .has_group(group)
            .context("look up the group", Path::new(group))
    }

    fn moment(&self) -> Moment {
        clock::moment()
    }

    fn time(&self) -> String {
        facts::time()
    }

    fn facts(&self) -> HostFacts {
        self.all_facts()
    }
}

/// Opens a regular file for reading.
pub(super) fn open(path: &Path) -> Result<File, HostErrorKind> {
    Ok(Place::of(path)?.open_file(OFlags::RDONLY)?.into())
}

fn target(path: &Path) -> Result<PathBuf, HostErrorKind> {
    let place = Place::of(path)?;
    match readlinkat(&place.directory, place.name, Vec::new()) {
        Ok(target) => Ok(OsString::from_vec(target.into_bytes()).into()),
        Err(Errno::INVAL) => Err(HostErrorKind::other("it is no symbolic link")),
        Err(errno) => Err(errno.into()),
    }
}

fn names(path: &Path) -> Result<Vec<OsString>, HostErrorKind> {
    let mut names = Vec::new();
    for entry in Dir::new(directory(path)?)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_os_string());
        }
    }
    names.sort();
    Ok(names)
}
