//! What changes files, without faults and bookkeeping.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::host::port::{HostErrorKind, Owner};

use super::fault::Extent;
use super::tree::{Change, Inode, NameChange, Node};
use super::world::World;

type Done = Result<(), HostErrorKind>;

impl World {
    /// Adds something where nothing is.
    pub(super) fn create(&mut self, path: &Path, node: Node, mode: u32, owner: &Owner) -> Done {
        self.may_write()?;
        self.check_owner(owner)?;
        if self.disk.now.find(path)?.is_some() {
            return Err(HostErrorKind::Exists);
        }
        let (directory, name) = self.disk.now.parent(path)?;
        let bytes = match &node {
            Node::File(content) => content.len(),
            _ => 0,
        };
        self.room(bytes as u64, 1)?;
        let inode = Inode {
            node,
            mode,
            owner: owner.clone(),
            attributes: BTreeMap::new(),
            modified: self.now(),
        };
        self.disk.create(directory, name.to_os_string(), inode);
        Ok(())
    }

    /// Renames; with `over` a file or link that is at `to` goes.
    pub(super) fn rename(&mut self, from: &Path, to: &Path, over: bool) -> Done {
        self.may_write()?;
        let (moved, _) = self.disk.now.at(from)?;
        if let Some((_, there)) = self.disk.now.find(to)? {
            if !over {
                return Err(HostErrorKind::Exists);
            }
            if matches!(there.node, Node::Directory(_)) {
                return Err(HostErrorKind::other("it is a directory"));
            }
            if self.disk.now.is_directory(moved) {
                return Err(HostErrorKind::other("a part of the path is no directory"));
            }
        }
        let (old, old_name) = self.disk.now.parent(from)?;
        let (new, new_name) = self.disk.now.parent(to)?;
        if self.disk.now.below(moved).contains(&new) {
            return Err(HostErrorKind::other("a directory can't go into itself"));
        }
        if (old, old_name) == (new, new_name) {
            return Ok(());
        }
        self.disk.change(Change::Names(vec![
            NameChange {
                directory: old,
                name: old_name.to_os_string(),
                inode: None,
            },
            NameChange {
                directory: new,
                name: new_name.to_os_string(),
                inode: Some(moved),
            },
        ]));
        Ok(())
    }

    pub(super) fn exchange(&mut self, one: &Path, other: &Path) -> Done {
        self.may_write()?;
        let (first, _) = self.disk.now.at(one)?;
        let (second, _) = self.disk.now.at(other)?;
        let (first_in, first_name) = self.disk.now.parent(one)?;
        let (second_in, second_name) = self.disk.now.parent(other)?;
        if self.disk.now.below(first).contains(&second_in)
            || self.disk.now.below(second).contains(&first_in)
        {
            return Err(HostErrorKind::other("a directory can't go into itself"));
        }
        self.disk.change(Change::Names(vec![
            NameChange {
                directory: first_in,
                name: first_name.to_os_string(),
                inode: Some(second),
            },
            NameChange {
                directory: second_in,
                name: second_name.to_os_string(),
                inode: Some(first),
            },
        ]));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path, directory: bool) -> Done {
        self.may_write()?;
        let (_, inode) = self.disk.now.at(path)?;
        match &inode.node {
            Node::Directory(_) if !directory => {
                return Err(HostErrorKind::other("it is a directory"));
            }
            Node::Directory(names) if !names.is_empty() => return Err(HostErrorKind::Exists),
            Node::Directory(_) => {}
            _ if directory => return Err(HostErrorKind::other("it is no directory")),
            _ => {}
        }
        let (parent, name) = self.disk.now.parent(path)?;
        self.disk.change(Change::Names(vec![NameChange {
            directory: parent,
            name: name.to_os_string(),
            inode: None,
        }]));
        Ok(())
    }

    pub(super) fn set_mode(&mut self, path: &Path, mode: u32) -> Done {
        self.may_write()?;
        let (inode, found) = self.disk.now.at(path)?;
        if matches!(found.node, Node::Link(_)) {
            return Err(HostErrorKind::other("a symbolic link has no mode"));
        }
        self.disk.change(Change::Mode { inode, mode });
        Ok(())
    }

    pub(super) fn set_owner(&mut self, path: &Path, owner: &Owner) -> Done {
        self.may_write()?;
        self.check_owner(owner)?;
        let (inode, _) = self.disk.now.at(path)?;
        self.disk.change(Change::Owner {
            inode,
            owner: owner.clone(),
        });
        Ok(())
    }

    pub(super) fn append(&mut self, path: &Path, bytes: &[u8], extent: Extent) -> Done {
        self.make_private(path)?;
        let offset = self.disk.now.content(path)?.1.len();
        self.write_at(path, offset, bytes, extent)
    }

    pub(super) fn write_at(
        &mut self,
        path: &Path,
        offset: usize,
        bytes: &[u8],
        extent: Extent,
    ) -> Done {
        self.may_write()?;
        let (inode, content) = self.disk.now.content(path)?;
        let bytes = extent.of(bytes);
        let more = (offset + bytes.len()).saturating_sub(content.len());
        self.room(more as u64, 0)?;
        let modified = self.now();
        self.disk.change(Change::Bytes {
            inode,
            offset,
            bytes: Arc::new(bytes.to_vec()),
            modified,
        });
        Ok(())
    }

    pub(super) fn allocate(&mut self, path: &Path, size: usize, extent: Extent) -> Done {
        self.make_private(path)?;
        let (inode, content) = self.disk.now.content(path)?;
        let size = match extent {
            Extent::Whole => size,
            Extent::Half => size / 2,
        };
        let more = size.saturating_sub(content.len());
        self.room(more as u64, 0)?;
        if more > 0 {
            self.disk.change(Change::Length {
                inode,
                length: size,
            });
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, path: &Path) -> Done {
        self.may_write()?;
        let (number, inode) = self.disk.now.at(path)?;
        match inode.node {
            Node::File(_) | Node::Directory(_) => {}
            _ => return Err(HostErrorKind::other("it is no regular file")),
        }
        self.disk.sync(&BTreeSet::from([number]));
        Ok(())
    }

    pub(super) fn sync_tree(&mut self, path: &Path, extent: Extent) -> Done {
        self.may_write()?;
        let (number, _) = self.disk.now.at(path)?;
        let mut below = self.disk.now.below(number);
        if extent == Extent::Half {
            below.truncate(below.len().div_ceil(2));
        }
        self.disk.sync(&below.into_iter().collect());
        Ok(())
    }

    /// Makes an empty file for rosey alone, where nothing is.
    fn make_private(&mut self, path: &Path) -> Done {
        if self.disk.now.find(path)?.is_some() {
            return self.may_write();
        }
        let owner = super::tree::root_owner();
        self.create(path, Node::File(Arc::default()), 0o600, &owner)
    }

    pub(super) fn may_write(&self) -> Done {
        if self.read_only {
            return Err(HostErrorKind::ReadOnly);
        }
        Ok(())
    }

    fn room(&self, bytes: u64, inodes: u64) -> Done {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let used = self.disk.now.used();
        let full = |used: u64, more: u64, limit: u64| more > 0 && used + more > limit;
        if full(used.0, bytes, limit.bytes) || full(used.1, inodes, limit.inodes) {
            return Err(HostErrorKind::NoSpace);
        }
        Ok(())
    }

    fn check_owner(&self, owner: &Owner) -> Done {
        let number = |name: &str| name.parse::<u32>().is_ok();
        if !self.accounts.contains_key(&owner.user) && !number(&owner.user) {
            let words = format!("this host has no user {:?}", owner.user);
            return Err(HostErrorKind::Other(words));
        }
        if !self.groups.contains(&owner.group) && !number(&owner.group) {
            let words = format!("this host has no group {:?}", owner.group);
            return Err(HostErrorKind::Other(words));
        }
        Ok(())
    }
}

impl World {
    /// Adds a file; half of its content when its writer dies, with the mode that it has until it is whole.
    pub(super) fn write_new(
        &mut self,
        path: &Path,
        bytes: &[u8],
        mode: u32,
        owner: &Owner,
        extent: Extent,
    ) -> Done {
        let mode = match extent {
            Extent::Whole => mode,
            Extent::Half => 0o600,
        };
        let content = Arc::new(extent.of(bytes).to_vec());
        self.create(path, Node::File(content), mode, owner)
    }

    /// Removes what is at a path, with all below it.
    pub(super) fn remove_all(&mut self, path: &Path) -> Done {
        let Some((_, inode)) = self.disk.now.find(path)? else {
            return Ok(());
        };
        let names: Vec<_> = match &inode.node {
            Node::Directory(names) => names.keys().cloned().collect(),
            _ => return self.remove(path, false),
        };
        for name in names {
            self.remove_all(&path.join(name))?;
        }
        self.remove(path, true)
    }
}
