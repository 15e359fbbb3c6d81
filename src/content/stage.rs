//! Makes a complete tree at a path, or goes on making one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::hashing::in_parallel;
use super::kept::{Kept, NewFile, clone_checked};
use super::manifest::{EntryPath, Manifest, ManifestEntry};
use super::observe::{TOP_MODE, hash_file};
use super::own::{make_own, own_owner, remove_tree};
use super::pack::{PackError, PackReader};
use super::packs::{PackId, Packs};
use super::store::{ContentError, Store};
use crate::host::{Entry, EntryType, HostError, Owner};
use crate::model::Digest;

/// Makes the tree of a manifest. In this order, so that a try that is cut off leaves only what the
/// next one can go on from: what is wrong goes; directories, links and files come; owners and modes
/// of directories are set from the deepest up, since a mode may forbid what comes before; all is synced.
pub(super) fn stage(
    store: &Store<'_>,
    manifest: &Manifest,
    at: &Path,
    owner: &Owner,
) -> Result<(), ContentError> {
    if let Some(parent) = at.parent() {
        make_own(store.host, store.places, parent)?;
    }
    let staging = Staging {
        store,
        manifest,
        at,
        owner,
        own: own_owner(store.host.as_read())?,
    };
    let there = staging.clean()?;
    let files = staging.make_skeleton(&there)?;
    staging.make_files(files)?;
    staging.finish_directories()?;
    store.host.sync_tree(at)?;
    if let Some(parent) = at.parent() {
        store.host.sync(parent)?;
    }
    Ok(())
}

struct Staging<'a> {
    store: &'a Store<'a>,
    manifest: &'a Manifest,
    at: &'a Path,
    owner: &'a Owner,
    own: Owner,
}

/// Files that are to be made, by what they contain.
type Wanted<'a> = BTreeMap<Digest, Vec<(&'a EntryPath, u32, u64)>>;

impl<'a> Staging<'a> {
    /// Removes what is there and wrong; returns what is there and right.
    fn clean(&self) -> Result<BTreeSet<EntryPath>, ContentError> {
        let host = self.store.host;
        let mut right = BTreeSet::new();
        match host.entry(self.at)? {
            Some(entry) if entry.kind == EntryType::Directory => self.open_up(self.at, &entry)?,
            Some(_) => {
                host.remove_file(self.at)?;
                host.make_directory(self.at, 0o700, &self.own)?;
            }
            None => host.make_directory(self.at, 0o700, &self.own)?,
        }
        let mut files = Vec::new();
        self.clean_directory(None, &mut right, &mut files)?;
        let kept = in_parallel(self.store.workers, &files, |(path, entry)| {
            self.keep_file(path, entry)
        });
        for ((path, _), kept) in files.into_iter().zip(kept) {
            if kept? {
                right.insert(path);
            }
        }
        Ok(right)
    }

    /// Lets rosey change a directory that has its final mode already.
    fn open_up(&self, path: &Path, entry: &Entry) -> Result<(), HostError> {
        if entry.mode & 0o700 != 0o700 {
            self.store.host.set_mode(path, 0o700)?;
        }
        Ok(())
    }

    fn clean_directory(
        &self,
        directory: Option<&EntryPath>,
        right: &mut BTreeSet<EntryPath>,
        files: &mut Vec<(EntryPath, Entry)>,
    ) -> Result<(), ContentError> {
        let host = self.store.host;
        let place = directory.map_or_else(|| self.at.to_owned(), |path| path.below(self.at));
        for name in host.list(&place)? {
            let mut bytes = Vec::new();
            if let Some(directory) = directory {
                bytes.extend_from_slice(directory.as_bytes());
                bytes.push(b'/');
            }
            bytes.extend_from_slice(name.as_bytes());
            let path = EntryPath::new(bytes)
                .expect("BUG: a directory lists no name that is empty, '.', '..' or has a slash");
            let at = path.below(self.at);
            let Some(entry) = host.entry(&at)? else {
                continue;
            };
            match (self.manifest.entries.get(&path), entry.kind) {
                (Some(ManifestEntry::Directory { .. }), EntryType::Directory) => {
                    self.open_up(&at, &entry)?;
                    self.clean_directory(Some(&path), right, files)?;
                    right.insert(path);
                }
                (Some(ManifestEntry::File { size, .. }), EntryType::File)
                    if *size == entry.size =>
                {
                    files.push((path, entry));
                }
                (Some(ManifestEntry::Link { target }), EntryType::Link)
                    if host.link_target(&at)?.as_os_str().as_bytes() == target.0
                        && entry.owner == *self.owner =>
                {
                    right.insert(path);
                }
                _ => {
                    remove_tree(host, &at)?;
                }
            }
        }
        Ok(())
    }

    /// Keeps a file if it has the right content, and puts mode and owner right; else removes it.
    fn keep_file(&self, path: &EntryPath, entry: &Entry) -> Result<bool, ContentError> {
        let Some(ManifestEntry::File { mode, digest, .. }) = self.manifest.entries.get(path) else {
            return Ok(false);
        };
        let host = self.store.host;
        let at = path.below(self.at);
        let seal = digest.is_sealed().then_some(self.store.seal);
        if hash_file(host.as_read(), &at, seal)?.0 != *digest {
            host.remove_file(&at)?;
            return Ok(false);
        }
        if entry.owner != *self.owner {
            host.set_owner(&at, self.owner)?;
        }
        // A change of owner may have cleared the set-user-id bit (chown(2)).
        if entry.mode != *mode || (entry.owner != *self.owner && mode & 0o6000 != 0) {
            host.set_mode(&at, *mode)?;
        }
        Ok(true)
    }

    /// Makes directories and links; returns the files that are still to be made.
    fn make_skeleton(&self, there: &BTreeSet<EntryPath>) -> Result<Wanted<'a>, ContentError> {
        let host = self.store.host;
        let mut wanted = Wanted::new();
        for (path, entry) in &self.manifest.entries {
            if there.contains(path) {
                continue;
            }
            let at = path.below(self.at);
            match entry {
                ManifestEntry::Directory { .. } => host.make_directory(&at, 0o700, &self.own)?,
                ManifestEntry::Link { target } => {
                    let target = Path::new(std::ffi::OsStr::from_bytes(&target.0));
                    host.make_link(&at, target, self.owner)?;
                }
                ManifestEntry::File { mode, size, digest } => {
                    wanted
                        .entry(*digest)
                        .or_default()
                        .push((path, *mode, *size));
                }
            }
        }
        Ok(wanted)
    }

    fn make_files(&self, wanted: Wanted<'a>) -> Result<(), ContentError> {
        let kept = self.store.kept()?;
        let groups: Vec<_> = wanted.into_iter().collect();
        let made = in_parallel(self.store.workers, &groups, |(digest, files)| {
            self.make_from_here(&kept, digest, files)
        });
        let mut lacking = Wanted::new();
        for ((digest, files), made) in groups.into_iter().zip(made) {
            if !made? {
                lacking.insert(digest, files);
            }
        }
        self.make_from_packs(lacking)
    }

    fn new_file<'b>(&'b self, at: &'b Path, mode: u32, digest: Digest, size: u64) -> NewFile<'b> {
        NewFile {
            at,
            mode,
            owner: self.owner,
            digest,
            size,
            seal: self.store.seal,
        }
    }

    /// Makes the files of one content from kept releases, or from nothing when they are empty.
    fn make_from_here(
        &self,
        kept: &Kept,
        digest: &Digest,
        files: &[(&EntryPath, u32, u64)],
    ) -> Result<bool, ContentError> {
        let host = self.store.host;
        let (path, mode, size) = files[0];
        let first = path.below(self.at);
        if *digest == Digest::of(b"") {
            host.write_file(&first, &mut std::io::empty(), mode, self.owner)?;
        } else if !kept.clone_into(host, self.new_file(&first, mode, *digest, size))? {
            return Ok(false);
        }
        self.repeat(&first, digest, &files[1..])?;
        Ok(true)
    }

    /// Makes further files of the same content.
    fn repeat(
        &self,
        first: &Path,
        digest: &Digest,
        files: &[(&EntryPath, u32, u64)],
    ) -> Result<(), ContentError> {
        for (path, mode, size) in files {
            let at = path.below(self.at);
            if !clone_checked(
                self.store.host,
                first,
                self.new_file(&at, *mode, *digest, *size),
            )? {
                return Err(missing(path, digest));
            }
        }
        Ok(())
    }

    /// Makes files from packs, each pack read once; from a further pack where one is damaged.
    fn make_from_packs(&self, mut lacking: Wanted<'a>) -> Result<(), ContentError> {
        if lacking.is_empty() {
            return Ok(());
        }
        let host = self.store.host;
        let packs = Packs::open(host.as_read(), self.store.places, self.store.seal)?;
        let mut read = BTreeSet::new();
        while !lacking.is_empty() {
            let mut chosen: BTreeMap<PackId, BTreeSet<Digest>> = BTreeMap::new();
            for (digest, files) in &lacking {
                let id = packs
                    .find_outside(digest, &read)
                    .ok_or_else(|| missing(files[0].0, digest))?;
                chosen.entry(id.clone()).or_default().insert(*digest);
            }
            let chosen: Vec<_> = chosen.into_iter().collect();
            let lacked = &lacking;
            let made = in_parallel(self.store.workers, &chosen, |(id, digests)| {
                self.make_from_pack(id, digests, lacked)
            });
            for made in made {
                for digest in made? {
                    lacking.remove(&digest);
                }
            }
            read.extend(chosen.into_iter().map(|(id, _)| id));
        }
        Ok(())
    }

    /// Makes the files whose content is in one pack; returns what was made. A damaged pack gives
    /// what stands before the damage.
    fn make_from_pack(
        &self,
        id: &PackId,
        digests: &BTreeSet<Digest>,
        wanted: &Wanted<'a>,
    ) -> Result<BTreeSet<Digest>, ContentError> {
        let host = self.store.host;
        let mut made = BTreeSet::new();
        let file = host.open(&id.pack(self.store.places))?;
        let Ok(mut reader) = PackReader::new(file, self.store.seal) else {
            return Ok(made);
        };
        while made.len() < digests.len() {
            let mut begun = None;
            let next = reader.next(|digest, _, content| {
                if digests.contains(digest) && !made.contains(digest) {
                    begun = Some(*digest);
                    self.write_first(digest, &wanted[digest], content)?;
                }
                Ok::<(), ContentError>(())
            });
            let first = |digest: &Digest| wanted[digest][0].0.below(self.at);
            match next {
                Ok(true) => {}
                Ok(false) => break,
                // What was written last isn't known to be right.
                Err(error) => {
                    if let Some(digest) = &begun
                        && host.entry(&first(digest))?.is_some()
                    {
                        host.remove_file(&first(digest))?;
                    }
                    match error {
                        ContentError::Pack(PackError::Truncated | PackError::Damaged(_)) => break,
                        error => return Err(error),
                    }
                }
            }
            if let Some(digest) = begun {
                self.repeat(&first(&digest), &digest, &wanted[&digest][1..])?;
                made.insert(digest);
            }
        }
        Ok(made)
    }

    fn write_first(
        &self,
        digest: &Digest,
        files: &[(&EntryPath, u32, u64)],
        content: &mut dyn Read,
    ) -> Result<(), ContentError> {
        let (path, mode, _) = files[0];
        let at = path.below(self.at);
        let mut watched = Watched {
            content,
            failed: false,
        };
        let written = self
            .store
            .host
            .write_file(&at, &mut watched, mode, self.owner);
        match written {
            // The pack failed, not the file system: another pack may have it.
            Err(_) if watched.failed => {
                let words = format!("{digest} can't be read from it");
                Err(PackError::Damaged(words).into())
            }
            other => Ok(other?),
        }
    }

    fn finish_directories(&self) -> Result<(), ContentError> {
        let host = self.store.host;
        let below = self.manifest.entries.iter().rev();
        let directories = below.filter_map(|(path, entry)| match entry {
            ManifestEntry::Directory { mode } => Some((path.below(self.at), *mode)),
            _ => None,
        });
        let top = std::iter::once((self.at.to_owned(), TOP_MODE));
        for (at, mode) in directories.chain(top) {
            let Some(entry) = host.entry(&at)? else {
                continue;
            };
            if entry.owner != *self.owner {
                host.set_owner(&at, self.owner)?;
            }
            if entry.mode != mode || (entry.owner != *self.owner && mode & 0o6000 != 0) {
                host.set_mode(&at, mode)?;
            }
        }
        Ok(())
    }
}

fn missing(path: &EntryPath, digest: &Digest) -> ContentError {
    ContentError::MissingContent {
        path: path.to_string(),
        digest: digest.to_string(),
    }
}

/// Remembers whether reading failed, for telling that from writing that failed.
struct Watched<'a> {
    content: &'a mut dyn Read,
    failed: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let result = self.content.read(buffer);
        if let Err(error) = &result {
            self.failed |= error.kind() != std::io::ErrorKind::Interrupted;
        }
        result
    }
}
