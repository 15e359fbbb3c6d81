//! Trees as manifests, and moving them.
//!
//! Start reading at [`manifest`]. Nothing here knows of resources, steps or SSH: trees are read and
//! written through the ports of `host`, and where things lie is told by [`crate::model::Places`].

pub mod manifest;
pub mod store;

pub use manifest::{EntryPath, Manifest, ManifestEntry, PathChange, PathChangeKind};
pub use store::{Content, ContentError};
