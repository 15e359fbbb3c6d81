//! The reading port of a host in memory. Reading is neither counted nor failed, but a dead caller
//! reads nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use crate::host::Listener;
use crate::host::error::Context;
use crate::host::port::{
    Account, Entry, EntryType, HostError, HostErrorKind, ReadHost, ServiceStatus, Space, Unit,
    UnitRemark,
};
use crate::model::{HostFacts, Moment};

use super::MemoryHost;
use super::tree::Node;
use super::world::World;

impl MemoryHost {
    fn reading<T>(
        &self,
        doing: &str,
        path: &Path,
        look: impl FnOnce(&World) -> Result<T, HostErrorKind>,
    ) -> Result<T, HostError> {
        let mut world = self.world();
        world
            .enter()
            .and_then(|()| look(&world))
            .context(doing, path)
    }
}

impl ReadHost for MemoryHost {
    fn entry(&self, path: &Path) -> Result<Option<Entry>, HostError> {
        self.reading("look at", path, |world| {
            let Some((number, inode)) = world.disk.now.find(path)? else {
                return Ok(None);
            };
            let (kind, size) = match &inode.node {
                Node::File(content) => (EntryType::File, content.len() as u64),
                Node::Directory(_) => (EntryType::Directory, 4096),
                Node::Link(target) => (EntryType::Link, target.as_os_str().len() as u64),
                Node::Other => (EntryType::Other, 0),
            };
            Ok(Some(Entry {
                kind,
                mode: inode.mode,
                owner: inode.owner.clone(),
                size,
                modified: i64::try_from(inode.modified / 1_000_000).unwrap_or(i64::MAX),
                device: 1,
                inode: number,
            }))
        })
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, HostError> {
        self.reading("read", path, |world| {
            Ok(world.disk.now.content(path)?.1.to_vec())
        })
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Read + Send>, HostError> {
        let content = self.reading("read", path, |world| {
            Ok(world.disk.now.content(path)?.1.to_vec())
        })?;
        Ok(Box::new(Cursor::new(content)))
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf, HostError> {
        self.reading("read the link", path, |world| {
            match &world.disk.now.at(path)?.1.node {
                Node::Link(target) => Ok(target.clone()),
                _ => Err(HostErrorKind::other("it is no symbolic link")),
            }
        })
    }

    fn list(&self, path: &Path) -> Result<Vec<OsString>, HostError> {
        self.reading("list", path, |world| {
            Ok(world.disk.now.names(path)?.keys().cloned().collect())
        })
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf, HostError> {
        self.reading("resolve", path, |world| world.disk.now.real_path(path))
    }

    fn service(&self, unit: &Unit) -> Result<ServiceStatus, HostError> {
        self.reading("ask for the state of", Path::new(&unit.name), |world| {
            Ok(world.service_status(unit))
        })
    }

    fn service_log(&self, unit: &Unit, lines: usize, _since: Option<&Moment>) -> Vec<String> {
        let world = self.world();
        let log = world
            .services
            .get(unit)
            .map_or(&[][..], |service| &service.log);
        log[log.len().saturating_sub(lines)..].to_vec()
    }

    /// There is no `systemd-analyze` here.
    fn verify_units(&self, _: &BTreeMap<String, String>) -> Vec<UnitRemark> {
        Vec::new()
    }

    fn processes_in(&self, path: &Path) -> Result<Vec<u32>, HostError> {
        self.reading("look for processes in", path, |world| {
            Ok(world.processes_in(path))
        })
    }

    fn listeners(&self, port: u16) -> Result<Vec<Listener>, HostError> {
        self.reading(
            "look for who listens",
            Path::new("/proc/net/tcp"),
            |world| Ok(world.listeners.get(&port).cloned().unwrap_or_default()),
        )
    }

    fn is_of_service(&self, process: u32, unit: &Unit) -> Result<bool, HostError> {
        self.reading(
            "look for the processes of",
            Path::new(&unit.name),
            |world| {
                let running = world.services.get(unit).and_then(|it| it.running.as_ref());
                Ok(running.is_some_and(|running| running.process == process))
            },
        )
    }

    fn space(&self, path: &Path) -> Result<Space, HostError> {
        self.reading("ask for space at", path, |world| {
            let used = world.disk.now.used();
            let limit = world.limit.unwrap_or(Space {
                bytes: 1 << 40,
                inodes: 1 << 30,
            });
            Ok(Space {
                bytes: limit.bytes.saturating_sub(used.0),
                inodes: limit.inodes.saturating_sub(used.1),
            })
        })
    }

    fn is_read_only(&self, path: &Path) -> Result<bool, HostError> {
        self.reading("ask for the file system of", path, |world| {
            Ok(world.read_only)
        })
    }

    fn account(&self, user: &str) -> Result<Option<Account>, HostError> {
        self.reading("look up the user", Path::new(user), |world| {
            let by_number = |account: &&Account| account.user.to_string() == user;
            Ok(world
                .accounts
                .get(user)
                .or_else(|| world.accounts.values().find(by_number))
                .cloned())
        })
    }

    fn has_group(&self, group: &str) -> Result<bool, HostError> {
        self.reading("look up the group", Path::new(group), |world| {
            let by_number = |account: &Account| account.group.to_string() == group;
            Ok(world.groups.contains(group) || world.accounts.values().any(by_number))
        })
    }

    fn moment(&self) -> Moment {
        let mut world = self.world();
        world.clock += 1000;
        world.moment()
    }

    fn time(&self) -> String {
        let now = i64::try_from(self.world().now() / 1_000_000).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(now)
            .map_or_else(|_| String::new(), |timestamp| timestamp.to_string())
    }

    fn facts(&self) -> HostFacts {
        HostFacts {
            platform: "linux-x86_64-gnu".to_owned(),
            system: "A host in memory".to_owned(),
            user: "root".to_owned(),
            root: true,
            systemd: true,
            clock: i64::try_from(self.world().now() / 1_000_000).unwrap_or(i64::MAX),
        }
    }
}
