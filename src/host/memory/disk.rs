//! A disk: what programs see, what survives a power cut, and the changes between the two.
//!
//! What a power cut may leave is what a file system promises without barriers: a change of names
//! happens whole or not at all and never before one that it builds on, but in any order with others
//! and with content; unsynced content may be missing, cut short, zeroes or torn. See rename(2) and
//! fsync(2), and "All File Systems Are Not Created Equal" (Pillai et al., OSDI 2014).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;

use super::dice::{Dice, Torn};
use super::tree::{Change, Inode, NameChange, Node, Number, Tree};

/// Both views of a file system.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// What programs see.
    pub(super) now: Tree,
    /// What is certain to survive.
    pub(super) durable: Tree,
    /// Changes that may or may not survive, oldest first.
    unsynced: Vec<Unsynced>,
}

/// A change that a power cut may undo.
#[derive(Debug, Clone)]
struct Unsynced {
    change: Change,
    /// Two changes that touch the same keep their order.
    touches: BTreeSet<Touch>,
    /// A directory that it removes, which comes after all that emptied it.
    removes: Option<Number>,
}

/// What a change of names touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    /// One name in a directory.
    Name(Number, OsString),
    /// Where directories are: two moves out of order could make a circle.
    Moves,
}

impl Unsynced {
    /// Whether it can't have happened without an earlier one.
    fn needs(&self, earlier: &Self) -> bool {
        let emptied = |touch: &Touch| match touch {
            Touch::Name(directory, _) => Some(*directory) == self.removes,
            Touch::Moves => false,
        };
        !self.touches.is_disjoint(&earlier.touches) || earlier.touches.iter().any(emptied)
    }
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            now: Tree::new(),
            durable: Tree::new(),
            unsynced: Vec::new(),
        }
    }

    /// Makes a change that a power cut may undo.
    pub(super) fn change(&mut self, change: Change) {
        let (touches, removes) = self.touched(&change);
        self.now.apply(&change);
        self.unsynced.push(Unsynced {
            change,
            touches,
            removes,
        });
    }

    /// Adds an inode under a name.
    pub(super) fn create(&mut self, directory: Number, name: OsString, inode: Inode) {
        let number = self.now.next_number();
        let mut bare = inode.clone();
        let mut content = None;
        if let Node::File(bytes) = &inode.node {
            bare.node = Node::File(Arc::new(Vec::new()));
            content = Some(Arc::clone(bytes));
        }
        self.now.insert(number, bare.clone());
        self.durable.insert(number, bare);
        self.change(Change::Names(vec![NameChange {
            directory,
            name,
            inode: Some(number),
        }]));
        if let Some(bytes) = content.filter(|bytes| !bytes.is_empty()) {
            self.change(Change::Bytes {
                inode: number,
                offset: 0,
                bytes,
                modified: inode.modified,
            });
        }
    }

    /// Makes the content, mode and owner of inodes durable, and of a directory its names.
    pub(super) fn sync(&mut self, numbers: &BTreeSet<Number>) {
        let covered = |unsynced: &Unsynced| match &unsynced.change {
            Change::Names(names) => names.iter().any(|name| numbers.contains(&name.directory)),
            Change::Bytes { inode, .. }
            | Change::Length { inode, .. }
            | Change::Mode { inode, .. }
            | Change::Owner { inode, .. }
            | Change::Attribute { inode, .. } => numbers.contains(inode),
        };
        let mut wanted: Vec<bool> = self.unsynced.iter().map(covered).collect();
        // What a wanted change builds on comes along.
        for later in (0..wanted.len()).rev() {
            if wanted[later] {
                let earlier = wanted.iter_mut().zip(&self.unsynced[..later]);
                for (wanted, earlier) in earlier {
                    *wanted |= self.unsynced[later].needs(earlier);
                }
            }
        }
        for (unsynced, wanted) in std::mem::take(&mut self.unsynced).into_iter().zip(wanted) {
            if wanted {
                self.durable.apply(&unsynced.change);
            } else {
                self.unsynced.push(unsynced);
            }
        }
    }

    /// Makes everything durable.
    pub(super) fn sync_all(&mut self) {
        for unsynced in self.unsynced.drain(..) {
            self.durable.apply(&unsynced.change);
        }
    }

    /// Makes only the latest change durable, with what it builds on.
    pub(super) fn sync_latest(&mut self) {
        if let Some(Unsynced {
            change: Change::Names(names),
            ..
        }) = self.unsynced.last()
        {
            let numbers = names.iter().map(|name| name.directory).collect();
            self.sync(&numbers);
        }
    }

    /// How many changes a power cut may undo.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Cuts the power: a number decides which of the unsynced changes survive. 0 keeps none of
    /// them, the largest number keeps all.
    pub(super) fn crash(&mut self, choice: u64) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let mut dice = Dice::new(choice);
        let mut kept: Vec<bool> = Vec::with_capacity(unsynced.len());
        for (index, later) in unsynced.iter().enumerate() {
            let possible = unsynced[..index]
                .iter()
                .zip(&kept)
                .all(|(earlier, kept)| *kept || !later.needs(earlier));
            let keep = possible && dice.keeps();
            kept.push(keep);
            if keep {
                self.durable.apply(&later.change);
            } else if let Change::Bytes { .. } = later.change {
                self.tear(&later.change, dice.torn());
            }
        }
        self.durable.collect_garbage();
        self.durable.continue_numbers(&self.now);
        self.now = self.durable.clone();
    }

    /// Makes the part of a write durable that a power cut left.
    fn tear(&mut self, change: &Change, torn: Torn) {
        let Change::Bytes {
            inode,
            offset,
            bytes,
            modified,
        } = change
        else {
            return;
        };
        let half = bytes.len() / 2;
        let part = match torn {
            Torn::Nothing => return,
            Torn::Start => (*offset, &bytes[..half]),
            Torn::End => (offset + half, &bytes[half..]),
            Torn::Length => (offset + bytes.len(), &[][..]),
        };
        self.durable.apply(&Change::Bytes {
            inode: *inode,
            offset: part.0,
            bytes: Arc::new(part.1.to_vec()),
            modified: *modified,
        });
    }

    fn touched(&self, change: &Change) -> (BTreeSet<Touch>, Option<Number>) {
        let Change::Names(names) = change else {
            return (BTreeSet::new(), None);
        };
        let mut touches: BTreeSet<Touch> = names
            .iter()
            .map(|name| Touch::Name(name.directory, name.name.clone()))
            .collect();
        let is_directory = |number: &Number| self.now.is_directory(*number);
        if names.len() > 1
            && names
                .iter()
                .any(|name| name.inode.as_ref().is_some_and(is_directory))
        {
            touches.insert(Touch::Moves);
        }
        let removes = match names.as_slice() {
            [
                NameChange {
                    directory,
                    name,
                    inode: None,
                },
            ] => self.now.entry(*directory, name).filter(is_directory),
            _ => None,
        };
        (touches, removes)
    }
}
