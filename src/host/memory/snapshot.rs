//! All of a host at one moment, for comparing with another moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::host::port::{Activity, Owner, Unit};

use super::MemoryHost;
use super::tree::{Node, Number, ROOT, Tree};

/// Every path with what is there.
pub type Snapshot = BTreeMap<PathBuf, SnapshotEntry>;

/// What is at a path; times and inodes aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// `file`, `directory`, `link` or `other`.
    pub kind: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Whose it is.
    pub owner: Owner,
    /// Extended attributes.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// A file's content or a link's target, as text where it is text.
    pub content: String,
}

/// How a service is; process ids and times aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSnapshot {
    /// Whether the manager knows it.
    pub exists: bool,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// Whether it runs.
    pub activity: Activity,
    /// Whether it failed.
    pub failed: bool,
    /// Whether the manager's copy is old.
    pub needs_daemon_reload: bool,
    /// The definition that the manager knows.
    pub definition: Option<String>,
}

impl MemoryHost {
    /// What is at and below some paths, or everywhere when none are given.
    #[must_use]
    pub fn snapshot<P: AsRef<Path>>(&self, prefixes: &[P]) -> Snapshot {
        let world = self.world();
        let mut all = Snapshot::new();
        collect(&world.disk.now, ROOT, Path::new("/"), &mut all);
        if !prefixes.is_empty() {
            all.retain(|path, _| prefixes.iter().any(|prefix| path.starts_with(prefix)));
        }
        all
    }

    /// How all services are that the host has or had.
    #[must_use]
    pub fn service_snapshot(&self) -> BTreeMap<Unit, ServiceSnapshot> {
        let world = self.world();
        world
            .services
            .iter()
            .map(|(unit, service)| {
                let status = world.service_status(unit);
                let snapshot = ServiceSnapshot {
                    exists: status.exists,
                    enabled: status.enabled,
                    activity: status.activity,
                    failed: status.failed,
                    needs_daemon_reload: status.needs_daemon_reload,
                    definition: service.definition().map(str::to_owned),
                };
                (unit.clone(), snapshot)
            })
            .filter(|(_, snapshot)| {
                snapshot.exists || snapshot.enabled || snapshot.activity != Activity::Inactive
            })
            .collect()
    }
}

fn collect(tree: &Tree, number: Number, path: &Path, all: &mut Snapshot) {
    let Some(inode) = tree.inodes.get(&number) else {
        return;
    };
    let (kind, content) = match &inode.node {
        Node::File(bytes) => ("file", bytes.escape_ascii().to_string()),
        Node::Directory(_) => ("directory", String::new()),
        Node::Link(target) => ("link", target.display().to_string()),
        Node::Other => ("other", String::new()),
    };
    all.insert(
        path.to_path_buf(),
        SnapshotEntry {
            kind,
            mode: inode.mode,
            owner: inode.owner.clone(),
            attributes: inode.attributes.clone(),
            content,
        },
    );
    if let Node::Directory(names) = &inode.node {
        for (name, number) in names {
            collect(tree, *number, &path.join(name), all);
        }
    }
}
