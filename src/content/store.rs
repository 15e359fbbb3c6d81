//! Where the bytes of a digest come from on a host.

use std::path::Path;

use thiserror::Error;

use crate::host::{HostError, Owner};
use crate::model::digest::InvalidDigest;

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
