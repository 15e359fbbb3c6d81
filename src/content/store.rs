//! Where the bytes of a digest come from on a host: kept releases, then packs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use thiserror::Error;

use super::hashing::{in_parallel, threads};
use super::kept::{Kept, absent};
use super::manifest::Manifest;
use super::own::{make_own, own_owner};
use super::pack::{PackError, PackWriter};
use super::packs::{Packs, receive_pack};
use super::stage::stage;
use crate::host::{HostError, HostErrorKind, Owner, WriteHost};
use crate::model::digest::InvalidDigest;
use crate::model::{Digest, Places};

/// Content by digest on one host.
pub trait Content: Sync {
    /// The bytes; none when they are nowhere on this host.
    ///
    /// # Errors
    /// When a place that should have them can't be read.
    fn bytes(&self, digest: &str) -> Result<Option<Vec<u8>>, ContentError>;

    /// Makes a complete, synced tree of a manifest at a path. What stands there already, from a try
    /// that was cut off, is kept where it is right and removed where it isn't.
    ///
    /// # Errors
    /// When content is missing or can't be written; what was written stays for the next try.
    fn stage(&self, tree: &str, at: &Path, owner: &Owner) -> Result<(), ContentError>;
}

/// Why content is not to be had.
#[derive(Debug, Error)]
pub enum ContentError {
    /// A primitive failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A pack can't be written.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Bytes are nowhere on the host.
    #[error("the content of {path} (digest {digest}) is not on this host; apply again to send it")]
    MissingContent {
        /// What needs it.
        path: String,
        /// Its digest.
        digest: String,
    },
    /// It isn't known what a tree consists of.
    #[error("what the tree {tree} consists of is not known on this host; apply again to send it")]
    UnknownTree {
        /// The digest of its manifest.
        tree: String,
    },
    /// A text that should be a digest isn't.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// The content that one app has on its host.
pub struct Store<'a> {
    pub(super) host: &'a dyn WriteHost,
    pub(super) places: &'a Places,
    pub(super) seal: &'a [u8; 32],
    pub(super) workers: usize,
}

impl<'a> Store<'a> {
    /// The content of the app whose things lie there. The key is the host's own.
    #[must_use]
    pub fn new(host: &'a dyn WriteHost, places: &'a Places, seal: &'a [u8; 32]) -> Self {
        Self {
            host,
            places,
            seal,
            workers: threads(),
        }
    }

    /// The same with so many threads. With one, the order of all primitives is the same each time.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// What a tree consists of; none when that isn't known here, or can't be trusted any more.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn manifest(&self, tree: &Digest) -> Result<Option<Manifest>, HostError> {
        let path = self.places.manifests().join(format!("{tree}.json"));
        let text = match self.host.read(&path) {
            Ok(text) => text,
            Err(error) if absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let manifest = serde_json::from_slice::<Manifest>(&text).ok();
        Ok(manifest.filter(|manifest| manifest.digest() == *tree))
    }

    /// Remembers what a tree consists of, durably. Twice is the same as once.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep_manifest(&self, manifest: &Manifest) -> Result<Digest, HostError> {
        let tree = manifest.digest();
        if self.manifest(&tree)?.is_some() {
            return Ok(tree);
        }
        let directory = self.places.manifests();
        make_own(self.host, self.places, &directory)?;
        let path = directory.join(format!("{tree}.json"));
        let staged = directory.join(format!(".{tree}"));
        let text = serde_json::to_vec(manifest).map_err(|error| HostError {
            doing: "write".to_owned(),
            path: path.display().to_string(),
            kind: HostErrorKind::Other(error.to_string()),
        })?;
        if self.host.entry(&staged)?.is_some() {
            self.host.remove_file(&staged)?;
        }
        let owner = own_owner(self.host.as_read())?;
        self.host
            .write_file(&staged, &mut &text[..], 0o600, &owner)?;
        self.host.sync(&staged)?;
        self.host.replace(&staged, &path)?;
        self.host.sync(&directory)?;
        Ok(tree)
    }

    /// Keeps content that is at hand, durably. What holds a secret gets a pack of its own, so that
    /// it goes with the generation that needs it.
    ///
    /// # Errors
    /// When it can't be written, or isn't what its digest says.
    pub fn keep(&self, contents: &BTreeMap<Digest, Vec<u8>>) -> Result<(), PackError> {
        let there = Packs::open(self.host.as_read(), self.places, self.seal)?;
        let (sealed, plain): (Vec<_>, Vec<_>) = contents
            .iter()
            .filter(|(digest, _)| there.find(digest).is_none())
            .partition(|(digest, _)| digest.is_sealed());
        let packs = std::iter::once(plain).chain(sealed.into_iter().map(|one| vec![one]));
        for contents in packs.filter(|contents| !contents.is_empty()) {
            let mut pack = PackWriter::new(Vec::new())?;
            for (digest, bytes) in contents {
                pack.add(digest, bytes.len() as u64, &mut &bytes[..])?;
            }
            let pack = pack.finish()?;
            receive_pack(self.host, self.places, self.seal, &mut &pack[..])?;
        }
        Ok(())
    }

    /// Which content of these trees, and of these single digests, is nowhere on this host. What a
    /// kept release should have is looked at, not believed.
    ///
    /// # Errors
    /// When what a tree consists of isn't known here, or a place can't be read.
    pub fn lacking(
        &self,
        trees: &[Digest],
        digests: &BTreeSet<Digest>,
    ) -> Result<Vec<Digest>, ContentError> {
        let mut wanted = digests.clone();
        for tree in trees {
            let manifest = self.manifest(tree)?.ok_or_else(|| unknown(tree))?;
            wanted.extend(manifest.files().map(|(_, digest, _)| digest));
        }
        let packs = Packs::open(self.host.as_read(), self.places, self.seal)?;
        let nothing = Digest::of(b"");
        let wanted: Vec<Digest> = wanted
            .into_iter()
            .filter(|digest| *digest != nothing && packs.find(digest).is_none())
            .collect();
        let kept = self.kept()?;
        let found = in_parallel(self.workers, &wanted, |digest| {
            kept.has(self.host.as_read(), digest, self.seal)
        });
        let lacking = wanted.into_iter().zip(found);
        Ok(lacking
            .filter(|(_, found)| !found)
            .map(|(digest, _)| digest)
            .collect())
    }

    /// What kept releases should have.
    pub(super) fn kept(&self) -> Result<Kept, HostError> {
        let directory = self.places.manifests();
        let names = match self.host.list(&directory) {
            Ok(names) => names,
            Err(error) if absent(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut manifests = Vec::new();
        for name in names {
            let tree = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(Ok(tree)) = tree.map(str::parse) {
                manifests.extend(self.manifest(&tree)?);
            }
        }
        Kept::open(self.host.as_read(), self.places, &manifests)
    }
}

pub(super) fn unknown(tree: &Digest) -> ContentError {
    ContentError::UnknownTree {
        tree: tree.to_string(),
    }
}

impl Content for Store<'_> {
    fn bytes(&self, digest: &str) -> Result<Option<Vec<u8>>, ContentError> {
        let digest: Digest = digest.parse()?;
        if digest == Digest::of(b"") {
            return Ok(Some(Vec::new()));
        }
        let host = self.host.as_read();
        for (at, _) in self.kept()?.candidates(host, &digest) {
            let Ok(bytes) = host.read(&at) else { continue };
            let found = if digest.is_sealed() {
                Digest::sealed(self.seal, &bytes)
            } else {
                Digest::of(&bytes)
            };
            if found == digest {
                return Ok(Some(bytes));
            }
        }
        let packs = Packs::open(host, self.places, self.seal)?;
        Ok(packs.read(host, self.places, self.seal, &digest)?)
    }

    fn stage(&self, tree: &str, at: &Path, owner: &Owner) -> Result<(), ContentError> {
        let tree: Digest = tree.parse()?;
        let manifest = self.manifest(&tree)?.ok_or_else(|| unknown(&tree))?;
        stage(self, &manifest, at, owner)
    }
}
