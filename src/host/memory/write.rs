//! The writing port of a host in memory: every method is one primitive.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::host::error::Context;
use crate::host::port::{
    Command, CommandOutput, HostError, HostErrorKind, Owner, ReadHost, ServiceAct, Unit, WriteHost,
};

use super::MemoryHost;
use super::fault::{Extent, Primitive};
use super::tree::Node;
use super::view::View;
use super::world::World;

impl MemoryHost {
    fn writing<T: Default>(
        &self,
        primitive: Primitive,
        act: impl FnOnce(&mut World, Extent) -> Result<T, HostErrorKind>,
    ) -> Result<T, HostError> {
        self.world().primitive(primitive, act)
    }
}

impl WriteHost for MemoryHost {
    fn as_read(&self) -> &dyn ReadHost {
        self
    }

    fn make_directory(&self, path: &Path, mode: u32, owner: &Owner) -> Result<(), HostError> {
        self.writing(Primitive::new("make_directory", path), |world, _| {
            world.create(path, Node::Directory([].into()), mode, owner)
        })
    }

    fn write_file(
        &self,
        path: &Path,
        content: &mut dyn Read,
        mode: u32,
        owner: &Owner,
    ) -> Result<(), HostError> {
        // Read before the world is borrowed: the content may come from this very host.
        let mut bytes = Vec::new();
        content
            .read_to_end(&mut bytes)
            .context("read the content for", path)?;
        self.writing(Primitive::new("write_file", path), |world, extent| {
            world.write_new(path, &bytes, mode, owner, extent)
        })
    }

    fn clone_file(
        &self,
        from: &Path,
        to: &Path,
        mode: u32,
        owner: &Owner,
    ) -> Result<(), HostError> {
        self.writing(
            Primitive::new("clone_file", from).to(to),
            |world, extent| {
                let bytes = Arc::clone(world.disk.now.content(from)?.1);
                world.write_new(to, &bytes, mode, owner, extent)
            },
        )
    }

    /// Nobody writes to a database in memory meanwhile: its bytes are whole.
    fn copy_database(
        &self,
        from: &Path,
        to: &Path,
        mode: u32,
        owner: &Owner,
    ) -> Result<(), HostError> {
        self.clone_file(from, to, mode, owner)
    }

    fn make_link(&self, path: &Path, target: &Path, owner: &Owner) -> Result<(), HostError> {
        self.writing(Primitive::new("make_link", path), |world, _| {
            world.create(path, Node::Link(target.to_path_buf()), 0o777, owner)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        self.writing(Primitive::new("rename", from).to(to), |world, _| {
            world.rename(from, to, false)
        })
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        self.writing(Primitive::new("replace", from).to(to), |world, _| {
            world.rename(from, to, true)
        })
    }

    fn exchange(&self, one: &Path, other: &Path) -> Result<(), HostError> {
        self.writing(Primitive::new("exchange", one).to(other), |world, _| {
            world.exchange(one, other)
        })
    }

    fn remove_file(&self, path: &Path) -> Result<(), HostError> {
        self.writing(Primitive::new("remove_file", path), |world, _| {
            world.remove(path, false)
        })
    }

    fn remove_directory(&self, path: &Path) -> Result<(), HostError> {
        self.writing(Primitive::new("remove_directory", path), |world, _| {
            world.remove(path, true)
        })
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        self.writing(Primitive::new("set_mode", path), |world, _| {
            world.set_mode(path, mode)
        })
    }

    fn set_owner(&self, path: &Path, owner: &Owner) -> Result<(), HostError> {
        self.writing(Primitive::new("set_owner", path), |world, _| {
            world.set_owner(path, owner)
        })
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> Result<(), HostError> {
        self.writing(Primitive::new("append", path), |world, extent| {
            world.append(path, bytes, extent)
        })
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), HostError> {
        self.writing(Primitive::new("write_at", path), |world, extent| {
            world.write_at(path, length(offset)?, bytes, extent)
        })
    }

    fn allocate(&self, path: &Path, size: u64) -> Result<(), HostError> {
        self.writing(Primitive::new("allocate", path), |world, extent| {
            world.allocate(path, length(size)?, extent)
        })
    }

    fn sync(&self, path: &Path) -> Result<(), HostError> {
        self.writing(Primitive::new("sync", path), |world, extent| match extent {
            Extent::Whole => world.sync(path),
            Extent::Half => Ok(()),
        })
    }

    fn sync_tree(&self, path: &Path) -> Result<(), HostError> {
        self.writing(Primitive::new("sync_tree", path), |world, extent| {
            world.sync_tree(path, extent)
        })
    }

    fn manage(&self, unit: &Unit, act: &ServiceAct, _timeout: Duration) -> Result<(), HostError> {
        let name = match act {
            ServiceAct::DaemonReload => "daemon-reload",
            ServiceAct::ResetFailed => "reset-failed",
            ServiceAct::Enable => "enable",
            ServiceAct::Disable => "disable",
            ServiceAct::Start => "start",
            ServiceAct::Restart => "restart",
            ServiceAct::Reload => "reload",
            ServiceAct::Stop => "stop",
        };
        self.writing(Primitive::new(name, &unit.name), |world, extent| {
            world.manage(unit, act, extent)
        })
    }

    /// A command is over at once here, so nobody can want it no longer.
    fn run_while(
        &self,
        command: &Command,
        _wanted: &dyn Fn() -> bool,
    ) -> Result<CommandOutput, HostError> {
        self.writing(Primitive::new("run", &command.shell), |world, _| {
            if let Some(user) = &command.user
                && !world.accounts.contains_key(user)
            {
                let words = format!("this host has no user {user:?}");
                return Err(HostErrorKind::Other(words));
            }
            if !world.disk.now.exists(&command.directory) {
                let words = format!("there is no directory {}", command.directory.display());
                return Err(HostErrorKind::Other(words));
            }
            let on_command = Arc::clone(&world.on_command);
            Ok(on_command(command, &mut View::new(world, command)))
        })
    }
}

fn length(number: u64) -> Result<usize, HostErrorKind> {
    usize::try_from(number).map_err(|_| HostErrorKind::NoSpace)
}
