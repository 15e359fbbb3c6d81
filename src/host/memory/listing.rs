//! All that is on a disk, for saying what differs between two moments: cheap to take, since contents are shared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::MemoryHost;
use super::tree::{Inode, Node, Number, ROOT, Tree};

/// Every path that counts, with its type, content, mode, owner and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing(BTreeMap<PathBuf, Inode>);

impl Listing {
    /// What differs, a line each. `explained` is asked about two contents of one path.
    pub fn differences(
        &self,
        other: &Self,
        explained: impl Fn(&Path, &[u8], &[u8]) -> bool,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, one) in &self.0 {
            let path_text = path.display();
            let Some(two) = other.0.get(path) else {
                lines.push(format!("{path_text} is not there any more"));
                continue;
            };
            let same = match (&one.node, &two.node) {
                (Node::File(one), Node::File(two)) => one == two || explained(path, one, two),
                (Node::Directory(_), Node::Directory(_)) => true,
                (one, two) => one == two,
            };
            if !same {
                lines.push(format!(
                    "{path_text} is {}, was {}",
                    words(&two.node),
                    words(&one.node)
                ));
            }
            if (one.mode, &one.owner) != (two.mode, &two.owner) {
                lines.push(format!(
                    "{path_text} is {:04o} {}, was {:04o} {}",
                    two.mode, two.owner, one.mode, one.owner
                ));
            }
            if one.attributes != two.attributes {
                lines.push(format!("{path_text} has other extended attributes"));
            }
        }
        for path in other.0.keys().filter(|path| !self.0.contains_key(*path)) {
            lines.push(format!("{} is left", path.display()));
        }
        lines
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

fn words(node: &Node) -> String {
    match node {
        Node::File(bytes) => {
            let start = &bytes[..bytes.len().min(200)];
            format!("a file {:?}", String::from_utf8_lossy(start))
        }
        Node::Directory(_) => "a directory".to_owned(),
        Node::Link(target) => format!("a link to {}", target.display()),
        Node::Other => "a socket".to_owned(),
    }
}

impl MemoryHost {
    /// Every path that counts.
    #[must_use]
    pub fn listing(&self, counts: impl Fn(&Path) -> bool) -> Listing {
        let world = self.world();
        let mut all = BTreeMap::new();
        collect(&world.disk.now, ROOT, &mut PathBuf::from("/"), &mut all);
        all.retain(|path, _| counts(path));
        Listing(all)
    }

    /// Whether two disks have become the same.
    #[must_use]
    pub fn has_disk_of(&self, other: &Self) -> bool {
        let one = self.world().disk.now.inodes.clone();
        one == other.world().disk.now.inodes
    }
}

fn collect(tree: &Tree, number: Number, path: &mut PathBuf, all: &mut BTreeMap<PathBuf, Inode>) {
    let Some(inode) = tree.inodes.get(&number) else {
        return;
    };
    if let Node::Directory(names) = &inode.node {
        for (name, number) in names {
            path.push(name);
            collect(tree, *number, path, all);
            path.pop();
        }
    }
    all.insert(path.clone(), inode.clone());
}
