//! Reads a tree on a host, and tells how it differs from what it should be.

use std::collections::BTreeMap;
use std::path::Path;

use super::compare::modes;
use super::hashing::{HashingReader, in_parallel, threads};
use super::manifest::{EntryPath, LinkTarget, Manifest, ManifestEntry, PathChange, PathChangeKind};
use super::patterns::Patterns;
use crate::host::{Entry, EntryType, HostError, HostErrorKind, Owner, ReadHost};
use crate::model::Digest;

/// The mode of the top directory of every tree; it is in no manifest.
pub const TOP_MODE: u32 = 0o755;

/// Which tree is read, and what is known of it.
#[derive(Clone, Copy)]
pub struct TreeQuery<'a> {
    /// The tree's top directory.
    pub root: &'a Path,
    /// The key for files that hold a secret; which ones they are says `wanted`.
    pub seal: &'a [u8; 32],
    /// What may be extra. It counts only where `wanted` is known, since without it nothing is extra.
    pub ignore: &'a Patterns,
    /// The tree as it should be.
    pub wanted: Option<&'a Manifest>,
    /// Whose all of it should be; without it the top directory says.
    pub owner: Option<&'a Owner>,
}

/// A tree as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTree {
    /// What it consists of, without what may be extra.
    pub manifest: Manifest,
    /// Whose all of it is, but for what is extra. Where it isn't all of one owner, the user is
    /// `several`, and the group tells one mixture from another.
    pub owner: Owner,
    /// How it differs from what it should be.
    pub changes: Vec<PathChange>,
    /// Permission bits of the top directory.
    pub mode: u32,
    /// Sockets, pipes and devices.
    pub others: Vec<EntryPath>,
}

impl FoundTree {
    /// The digest of all that was found: that of the manifest, if the tree is nothing but a tree.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let digest = self.manifest.digest();
        if self.others.is_empty() && self.mode == TOP_MODE {
            return digest;
        }
        let others: String = self.others.iter().map(|path| format!("{path}\n")).collect();
        Digest::of(format!("{digest}\n{:o}\n{others}", self.mode).as_bytes())
    }
}

/// Reads a tree; none when there is no directory at its place. A file that goes away while the tree
/// is read isn't in it.
///
/// # Errors
/// When something in it can't be read.
pub fn read_tree(
    host: &dyn ReadHost,
    query: TreeQuery<'_>,
) -> Result<Option<FoundTree>, HostError> {
    let top = match host.entry(query.root)? {
        Some(top) if top.kind == EntryType::Directory => top,
        _ => return Ok(None),
    };
    let mut walk = Walk {
        host,
        query,
        found: BTreeMap::new(),
    };
    walk.enter(None)?;
    let found = walk.found;
    let manifest = read_entries(host, query, &found)?;
    let expected = query.owner.unwrap_or(&top.owner);
    let owner = owner_of_all(query, &top, &found);
    let others = found
        .iter()
        .filter(|(_, entry)| entry.kind == EntryType::Other)
        .map(|(path, _)| path.clone())
        .collect();
    let changes = changes(query, &top, &found, &manifest, expected);
    Ok(Some(FoundTree {
        manifest,
        owner,
        changes,
        mode: top.mode,
        others,
    }))
}

fn owner_of_all(query: TreeQuery<'_>, top: &Entry, found: &BTreeMap<EntryPath, Entry>) -> Owner {
    let belongs = |path: &EntryPath| {
        query
            .wanted
            .is_none_or(|wanted| wanted.entries.contains_key(path))
    };
    let below = found.iter().filter(|(path, _)| belongs(path));
    if below.clone().all(|(_, entry)| entry.owner == top.owner) {
        return top.owner.clone();
    }
    let mixture: String = below
        .map(|(path, entry)| format!("{path} {}\n", entry.owner))
        .collect();
    let mixture = Digest::of(format!("{}\n{mixture}", top.owner).as_bytes());
    Owner {
        user: "several".to_owned(),
        group: format!("several ({})", mixture.short()),
    }
}

struct Walk<'a> {
    host: &'a dyn ReadHost,
    query: TreeQuery<'a>,
    found: BTreeMap<EntryPath, Entry>,
}

impl Walk<'_> {
    fn enter(&mut self, directory: Option<&EntryPath>) -> Result<(), HostError> {
        use std::os::unix::ffi::OsStrExt;
        let at = directory.map_or_else(
            || self.query.root.to_owned(),
            |path| path.below(self.query.root),
        );
        let names = match self.host.list(&at) {
            Ok(names) => names,
            Err(error) if error.kind == HostErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in names {
            let mut bytes = Vec::new();
            if let Some(directory) = directory {
                bytes.extend_from_slice(directory.as_bytes());
                bytes.push(b'/');
            }
            bytes.extend_from_slice(name.as_bytes());
            let path = EntryPath::new(bytes)
                .expect("BUG: a directory lists no name that is empty, '.', '..' or has a slash");
            let Some(entry) = self.host.entry(&path.below(self.query.root))? else {
                continue;
            };
            let is_directory = entry.kind == EntryType::Directory;
            let may_be_extra = self.query.wanted.is_some_and(|wanted| {
                !wanted.entries.contains_key(&path) && self.query.ignore.cover(&path, is_directory)
            });
            if may_be_extra {
                continue;
            }
            self.found.insert(path.clone(), entry);
            if is_directory {
                self.enter(Some(&path))?;
            }
        }
        Ok(())
    }
}

fn read_entries(
    host: &dyn ReadHost,
    query: TreeQuery<'_>,
    found: &BTreeMap<EntryPath, Entry>,
) -> Result<Manifest, HostError> {
    use std::os::unix::ffi::OsStrExt;
    let items: Vec<(&EntryPath, &Entry)> = found.iter().collect();
    let entries = in_parallel(threads(), &items, |(path, entry)| {
        let at = path.below(query.root);
        let mode = entry.mode;
        let read = match entry.kind {
            EntryType::Directory => Ok(Some(ManifestEntry::Directory { mode })),
            EntryType::Other => Ok(None),
            EntryType::Link => host.link_target(&at).map(|target| {
                let target = LinkTarget(target.as_os_str().as_bytes().to_vec());
                Some(ManifestEntry::Link { target })
            }),
            EntryType::File => {
                let seal = query.wanted.is_some_and(|wanted| is_sealed(wanted, path));
                hash_file(host, &at, seal.then_some(query.seal))
                    .map(|(digest, size)| Some(ManifestEntry::File { mode, size, digest }))
            }
        };
        match read {
            Err(error) if error.kind == HostErrorKind::NotFound => Ok(None),
            other => other,
        }
    });
    let mut manifest = Manifest::default();
    for ((path, _), entry) in items.into_iter().zip(entries) {
        if let Some(entry) = entry? {
            manifest.entries.insert(path.clone(), entry);
        }
    }
    Ok(manifest)
}

fn is_sealed(wanted: &Manifest, path: &EntryPath) -> bool {
    matches!(
        wanted.entries.get(path),
        Some(ManifestEntry::File { digest, .. }) if digest.is_sealed()
    )
}

/// The digest and size of a file on a host, sealed where a key is given.
///
/// # Errors
/// When it can't be read.
pub fn hash_file(
    host: &dyn ReadHost,
    path: &Path,
    seal: Option<&[u8; 32]>,
) -> Result<(Digest, u64), HostError> {
    let file = host.open(path)?;
    HashingReader::new(file, seal)
        .drain()
        .map_err(|error| HostError {
            doing: "read".to_owned(),
            path: path.display().to_string(),
            kind: HostErrorKind::Other(error.to_string()),
        })
}

fn changes(
    query: TreeQuery<'_>,
    top: &Entry,
    found: &BTreeMap<EntryPath, Entry>,
    manifest: &Manifest,
    expected: &Owner,
) -> Vec<PathChange> {
    let mut words: BTreeMap<Option<&EntryPath>, (PathChangeKind, Vec<String>)> = BTreeMap::new();
    let compared = query
        .wanted
        .map(|wanted| wanted.compare(manifest, query.ignore))
        .unwrap_or_default();
    for (path, change, detail) in &compared {
        words.insert(Some(path), (*change, vec![detail.clone()]));
    }
    for (path, entry) in found {
        if entry.kind == EntryType::Other {
            let detail = vec!["socket, pipe or device".to_owned()];
            words.insert(Some(path), (PathChangeKind::Extra, detail));
        }
    }
    if let Some(detail) = modes(TOP_MODE, top.mode) {
        words.insert(None, (PathChangeKind::Modified, vec![detail]));
    }
    let all =
        std::iter::once((None, top)).chain(found.iter().map(|(path, entry)| (Some(path), entry)));
    for (path, entry) in all {
        if entry.owner != *expected {
            let detail = format!("owner {}, expected {expected}", entry.owner);
            let (change, details) = words
                .entry(path)
                .or_insert_with(|| (PathChangeKind::Modified, Vec::new()));
            // Whose something is that shouldn't be there at all is no difference of its own.
            if *change != PathChangeKind::Extra {
                details.push(detail);
            }
        }
    }
    words
        .into_iter()
        .map(|(path, (change, details))| {
            let entry = path.map_or(Some(top), |path| found.get(path));
            let root = query.root.display();
            PathChange {
                path: path.map_or_else(
                    || root.to_string(),
                    |path| format!("{root}/{}", path.shown()),
                ),
                change,
                detail: details.join(", "),
                owner: entry.map(|entry| entry.owner.to_string()),
                modified_at: entry.and_then(modified_at),
            }
        })
        .collect()
}

/// When an entry was last modified, as RFC 3339; none for a time that no calendar knows.
#[must_use]
pub fn modified_at(entry: &Entry) -> Option<String> {
    let time = jiff::Timestamp::from_second(entry.modified).ok()?;
    Some(time.to_string())
}
