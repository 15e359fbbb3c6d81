//! What a command of the user's can do to a host in memory.

use std::path::{Path, PathBuf};

use crate::host::port::{Command, HostErrorKind, Owner};

use super::fault::Extent;
use super::tree::{Node, Tree};
use super::world::World;

/// The file system in the hands of a command: it follows links, and nothing that it writes is synced.
#[derive(Debug)]
pub struct View<'a> {
    world: &'a mut World,
    directory: PathBuf,
    owner: Owner,
}

impl<'a> View<'a> {
    pub(super) fn new(world: &'a mut World, command: &Command) -> Self {
        let owner = command
            .user
            .as_ref()
            .and_then(|user| world.accounts.get(user))
            .map_or_else(super::tree::root_owner, |account| Owner {
                user: account.name.clone(),
                group: account.group_name.clone(),
            });
        Self {
            world,
            directory: command.directory.clone(),
            owner,
        }
    }

    /// The tree, for reading.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.world.disk.now
    }

    /// A path, relative to the command's directory or absolute, with its links resolved.
    ///
    /// # Errors
    /// When links lead round in a circle.
    pub fn path(&self, path: impl AsRef<Path>) -> Result<PathBuf, HostErrorKind> {
        self.tree().real_path(self.directory.join(path))
    }

    /// Makes or overwrites a file, with the directories above it.
    ///
    /// # Errors
    /// As a program's write would fail.
    pub fn write(&mut self, path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), HostErrorKind> {
        let path = self.path(path)?;
        if let Some(parent) = path.parent() {
            self.make_directories(parent)?;
        }
        let owner = self.owner.clone();
        if self.world.disk.now.find(&path)?.is_some() {
            self.world.remove(&path, false)?;
        }
        self.world
            .write_new(&path, bytes, 0o644, &owner, Extent::Whole)
    }

    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// As a program's call would fail.
    pub fn make_directories(&mut self, path: impl AsRef<Path>) -> Result<(), HostErrorKind> {
        let path = self.path(path)?;
        if self.world.disk.now.find(&path)?.is_some() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make_directories(parent)?;
        }
        let owner = self.owner.clone();
        self.world
            .create(&path, Node::Directory([].into()), 0o755, &owner)
    }

    /// Makes a link.
    ///
    /// # Errors
    /// As a program's call would fail.
    pub fn link(
        &mut self,
        path: impl AsRef<Path>,
        target: impl AsRef<Path>,
    ) -> Result<(), HostErrorKind> {
        let path = self.path(path)?;
        let owner = self.owner.clone();
        let node = Node::Link(target.as_ref().to_path_buf());
        self.world.create(&path, node, 0o777, &owner)
    }

    /// Removes what is at a path, with all below it; nothing there is no error.
    ///
    /// # Errors
    /// As a program's call would fail.
    pub fn remove(&mut self, path: impl AsRef<Path>) -> Result<(), HostErrorKind> {
        let path = self.directory.join(path);
        self.world.remove_all(&path)
    }

    /// Makes a file and its name durable, as a database does.
    ///
    /// # Errors
    /// As a program's call would fail.
    pub fn sync(&mut self, path: impl AsRef<Path>) -> Result<(), HostErrorKind> {
        let path = self.path(path)?;
        if self.world.disk.now.find(&path)?.is_some() {
            self.world.sync(&path)?;
        }
        self.world.sync(path.parent().unwrap_or(Path::new("/")))
    }
}
