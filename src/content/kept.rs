//! Content that kept releases have: where it should be, and taking it from there.
//!
//! A release may have been edited by hand, so what it has is only a hope: whoever takes a file from
//! one looks at the digest of what was taken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::manifest::{EntryPath, Manifest};
use super::observe::hash_file;
use crate::host::{EntryType, HostError, HostErrorKind, Owner, ReadHost, WriteHost};
use crate::model::{Digest, Places};

/// Where kept releases should have content.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    releases: Vec<PathBuf>,
    paths: BTreeMap<Digest, Vec<EntryPath>>,
}

/// A new file.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewFile<'a> {
    pub(super) at: &'a Path,
    pub(super) mode: u32,
    pub(super) owner: &'a Owner,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) seal: &'a [u8; 32],
}

impl Kept {
    /// All releases that stand, and all paths at which a known tree has some content.
    pub(super) fn open(
        host: &dyn ReadHost,
        places: &Places,
        manifests: &[Manifest],
    ) -> Result<Self, HostError> {
        let directory = places.releases();
        let names = match host.list(&directory) {
            Ok(names) => names,
            Err(error) if absent(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        // The newest is most like what is wanted, and versions mostly sort by age.
        let releases = names
            .iter()
            .rev()
            .map(|name| directory.join(name))
            .collect();
        let mut paths: BTreeMap<Digest, Vec<EntryPath>> = BTreeMap::new();
        for manifest in manifests {
            for (path, digest, _) in manifest.files() {
                let known = paths.entry(digest).or_default();
                if !known.contains(path) {
                    known.push(path.clone());
                }
            }
        }
        Ok(Self { releases, paths })
    }

    /// Files that should have this content, by their place and size.
    pub(super) fn candidates<'a>(
        &'a self,
        host: &'a dyn ReadHost,
        digest: &Digest,
    ) -> impl Iterator<Item = (PathBuf, u64)> + 'a {
        let paths = self
            .paths
            .get(digest)
            .map(Vec::as_slice)
            .unwrap_or_default();
        self.releases.iter().flat_map(move |release| {
            paths.iter().filter_map(move |path| {
                let at = path.below(release);
                match host.entry(&at) {
                    Ok(Some(entry)) if entry.kind == EntryType::File => Some((at, entry.size)),
                    // Whatever is wrong with a candidate, the next place may have the content.
                    _ => None,
                }
            })
        })
    }

    /// Whether a release really has this content.
    pub(super) fn has(&self, host: &dyn ReadHost, digest: &Digest, seal: &[u8; 32]) -> bool {
        let seal = digest.is_sealed().then_some(seal);
        self.candidates(host, digest)
            .any(|(at, _)| hash_file(host, &at, seal).is_ok_and(|(found, _)| found == *digest))
    }

    /// Makes a file of what a release has; false when none has it.
    pub(super) fn clone_into(
        &self,
        host: &dyn WriteHost,
        new: NewFile<'_>,
    ) -> Result<bool, HostError> {
        for (from, size) in self.candidates(host.as_read(), &new.digest) {
            if size == new.size && clone_checked(host, &from, new)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Makes a file of another one if that has the content; else nothing is there afterwards.
pub(super) fn clone_checked(
    host: &dyn WriteHost,
    from: &Path,
    new: NewFile<'_>,
) -> Result<bool, HostError> {
    match host.clone_file(from, new.at, new.mode, new.owner) {
        Ok(()) => {}
        Err(error) if matches!(error.kind, HostErrorKind::NotFound | HostErrorKind::Denied) => {
            if host.entry(new.at)?.is_some() {
                host.remove_file(new.at)?;
            }
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    let seal = new.digest.is_sealed().then_some(new.seal);
    if hash_file(host.as_read(), new.at, seal)?.0 == new.digest {
        return Ok(true);
    }
    host.remove_file(new.at)?;
    Ok(false)
}

/// Whether there simply is nothing.
pub(super) fn absent(error: &HostError) -> bool {
    error.kind == HostErrorKind::NotFound
}
