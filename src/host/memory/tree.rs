//! A file system as a value: inodes with their owner, mode and extended attributes, and the one
//! function that changes it.
//!
//! Must not know what is durable; [`super::durable`] keeps two trees apart and moves changes from
//! one to the other.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::host::path::{Found, components, resolve};
use crate::host::port::{HostErrorKind, Owner};

/// The number of an inode.
pub(super) type Number = u64;

/// The root directory's number.
pub(super) const ROOT: Number = 1;

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A regular file with its content.
    File(Arc<Vec<u8>>),
    /// A directory with its names.
    Directory(BTreeMap<OsString, Number>),
    /// A symbolic link with its target.
    Link(PathBuf),
    /// A socket or pipe.
    Other,
}

/// One inode. Extended attributes and owner are its own, so a rename keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) node: Node,
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
    /// Microseconds of the last change of content.
    pub(super) modified: u64,
}

/// Sets or removes one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameChange {
    pub(super) directory: Number,
    pub(super) name: OsString,
    pub(super) inode: Option<Number>,
}

/// A change that a file system makes whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Names of one or two directories.
    Names(Vec<NameChange>),
    /// Bytes of a file from an offset on.
    Bytes {
        inode: Number,
        offset: usize,
        bytes: Arc<Vec<u8>>,
        modified: u64,
    },
    /// A file's length.
    Length { inode: Number, length: usize },
    /// Permission bits.
    Mode { inode: Number, mode: u32 },
    /// User and group.
    Owner { inode: Number, owner: Owner },
    /// An extended attribute.
    Attribute {
        inode: Number,
        name: String,
        value: Vec<u8>,
    },
}

/// A whole file system.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(super) inodes: BTreeMap<Number, Inode>,
    next: Number,
}

impl Tree {
    /// Nothing but a root directory.
    pub(super) fn new() -> Self {
        let root = Inode {
            node: Node::Directory(BTreeMap::new()),
            mode: 0o755,
            owner: root_owner(),
            attributes: BTreeMap::new(),
            modified: 0,
        };
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
        }
    }

    /// The number that the next inode gets.
    pub(super) fn next_number(&mut self) -> Number {
        self.next += 1;
        self.next - 1
    }

    /// Adds an inode that no name leads to yet.
    pub(super) fn insert(&mut self, number: Number, inode: Inode) {
        self.inodes.insert(number, inode);
    }

    /// What is at a path; only the last component may be a link, which isn't followed.
    pub(super) fn find(&self, path: &Path) -> Result<Option<(Number, &Inode)>, HostErrorKind> {
        let parts = components(path)?;
        let mut number = ROOT;
        for (index, part) in parts.iter().enumerate() {
            let Some(Node::Directory(names)) = self.inodes.get(&number).map(|inode| &inode.node)
            else {
                return Ok(None);
            };
            let Some(next) = names.get(*part) else {
                return Ok(None);
            };
            number = *next;
            let last = index + 1 == parts.len();
            if !last && matches!(self.get(number)?.node, Node::Link(_)) {
                return Err(HostErrorKind::LinkOnTheWay);
            }
        }
        Ok(Some((number, self.get(number)?)))
    }

    /// What must be at a path.
    pub(super) fn at(&self, path: &Path) -> Result<(Number, &Inode), HostErrorKind> {
        self.find(path)?.ok_or(HostErrorKind::NotFound)
    }

    /// The directory that a path is in, and the path's last name.
    pub(super) fn parent<'a>(&self, path: &'a Path) -> Result<(Number, &'a OsStr), HostErrorKind> {
        let name = components(path)?
            .pop()
            .ok_or_else(|| HostErrorKind::other("the root directory can't be changed"))?;
        let (number, inode) = self.at(path.parent().unwrap_or(Path::new("/")))?;
        match inode.node {
            Node::Directory(_) => Ok((number, name)),
            Node::Link(_) => Err(HostErrorKind::LinkOnTheWay),
            _ => Err(HostErrorKind::other("a part of the path is no directory")),
        }
    }

    /// The content of a file.
    pub(super) fn content(&self, path: &Path) -> Result<(Number, &Arc<Vec<u8>>), HostErrorKind> {
        match self.at(path)? {
            (
                number,
                Inode {
                    node: Node::File(content),
                    ..
                },
            ) => Ok((number, content)),
            (
                _,
                Inode {
                    node: Node::Link(_),
                    ..
                },
            ) => Err(HostErrorKind::other(
                "it is a symbolic link, which rosey doesn't follow",
            )),
            _ => Err(HostErrorKind::other("it is no regular file")),
        }
    }

    /// The names in a directory.
    pub(super) fn names(&self, path: &Path) -> Result<&BTreeMap<OsString, Number>, HostErrorKind> {
        match &self.at(path)?.1.node {
            Node::Directory(names) => Ok(names),
            Node::Link(_) => Err(HostErrorKind::other(
                "it is a symbolic link, which rosey doesn't follow",
            )),
            _ => Err(HostErrorKind::other("it is no directory")),
        }
    }

    fn get(&self, number: Number) -> Result<&Inode, HostErrorKind> {
        self.inodes
            .get(&number)
            .ok_or_else(|| HostErrorKind::other("the inode is lost"))
    }

    /// Makes a change; what it would change and isn't there is left out, as after a crash.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Names(names) => {
                for change in names {
                    let Some(Inode {
                        node: Node::Directory(entries),
                        ..
                    }) = self.inodes.get_mut(&change.directory)
                    else {
                        continue;
                    };
                    match change.inode {
                        Some(inode) => entries.insert(change.name.clone(), inode),
                        None => entries.remove(&change.name),
                    };
                }
            }
            Change::Bytes {
                inode,
                offset,
                bytes,
                modified,
            } => {
                let Some(inode) = self.inodes.get_mut(inode) else {
                    return;
                };
                inode.modified = *modified;
                if let Node::File(content) = &mut inode.node {
                    let content = Arc::make_mut(content);
                    let end = offset + bytes.len();
                    if content.len() < end {
                        content.resize(end, 0);
                    }
                    content[*offset..end].copy_from_slice(bytes);
                }
            }
            Change::Length { inode, length } => {
                if let Some(Inode {
                    node: Node::File(content),
                    ..
                }) = self.inodes.get_mut(inode)
                {
                    Arc::make_mut(content).resize(*length, 0);
                }
            }
            Change::Mode { inode, mode } => {
                if let Some(inode) = self.inodes.get_mut(inode) {
                    inode.mode = *mode;
                }
            }
            Change::Owner { inode, owner } => {
                if let Some(inode) = self.inodes.get_mut(inode) {
                    inode.owner = owner.clone();
                }
            }
            Change::Attribute { inode, name, value } => {
                if let Some(inode) = self.inodes.get_mut(inode) {
                    inode.attributes.insert(name.clone(), value.clone());
                }
            }
        }
    }

    /// Whether an inode is a directory.
    pub(super) fn is_directory(&self, number: Number) -> bool {
        matches!(
            self.inodes.get(&number),
            Some(Inode {
                node: Node::Directory(_),
                ..
            })
        )
    }

    /// The inode under a name of a directory.
    pub(super) fn entry(&self, directory: Number, name: &OsStr) -> Option<Number> {
        match &self.inodes.get(&directory)?.node {
            Node::Directory(names) => names.get(name).copied(),
            _ => None,
        }
    }

    /// Gives no number again that another tree has given.
    pub(super) fn continue_numbers(&mut self, other: &Self) {
        self.next = self.next.max(other.next);
    }

    /// Numbers at and below an inode.
    pub(super) fn below(&self, number: Number) -> Vec<Number> {
        let mut all = vec![number];
        let mut next = 0;
        while next < all.len() {
            if let Some(Inode {
                node: Node::Directory(names),
                ..
            }) = self.inodes.get(&all[next])
            {
                all.extend(names.values());
            }
            next += 1;
        }
        all
    }

    /// Forgets inodes that no name leads to.
    pub(super) fn collect_garbage(&mut self) {
        let live: std::collections::BTreeSet<Number> = self.below(ROOT).into_iter().collect();
        self.inodes.retain(|number, _| live.contains(number));
    }

    /// Bytes of all files, and how many inodes there are.
    pub(super) fn used(&self) -> (u64, u64) {
        let live = self.below(ROOT);
        let bytes = live
            .iter()
            .filter_map(|number| match &self.inodes.get(number)?.node {
                Node::File(content) => Some(content.len() as u64),
                _ => None,
            })
            .sum();
        (bytes, live.len() as u64)
    }
}

/// What a hook or a test may ask of the tree; links are followed, as a program would.
impl Tree {
    /// A file's content without a copy, by a path that goes through no links.
    #[must_use]
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        let (_, content) = self.content(path.as_ref()).ok()?;
        Some(content)
    }

    /// A file's content, by a path that may go through links.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let path = self.real_path(path).ok()?;
        self.content(&path)
            .ok()
            .map(|(_, content)| content.to_vec())
    }

    /// A file's content as text.
    #[must_use]
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether something is at a path when links are followed: not for a dangling link.
    #[must_use]
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.real_path(path)
            .is_ok_and(|path| matches!(self.find(&path), Ok(Some(_))))
    }

    /// Where a link points, as it is written; none when there is no link.
    #[must_use]
    pub fn link(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        match &self.find(path.as_ref()).ok()??.1.node {
            Node::Link(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// The names in a directory; none when there is no directory.
    #[must_use]
    pub fn list(&self, path: impl AsRef<Path>) -> Option<Vec<OsString>> {
        let path = self.real_path(path).ok()?;
        Some(self.names(&path).ok()?.keys().cloned().collect())
    }

    /// A path with every link resolved, as far as it is there.
    ///
    /// # Errors
    /// When links lead round in a circle.
    pub fn real_path(&self, path: impl AsRef<Path>) -> Result<PathBuf, HostErrorKind> {
        resolve(path.as_ref(), |path| {
            Ok(match self.find(path)? {
                None => Found::Nothing,
                Some((
                    _,
                    Inode {
                        node: Node::Link(target),
                        ..
                    },
                )) => Found::Link(target.clone()),
                Some(_) => Found::Thing,
            })
        })
    }
}

/// root, of group root.
pub(super) fn root_owner() -> Owner {
    Owner {
        user: "root".to_owned(),
        group: "root".to_owned(),
    }
}
