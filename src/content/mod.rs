//! Trees as manifests, and moving them.
//!
//! Start reading at [`manifest`]. Nothing here knows of resources, steps or SSH.

pub mod manifest;

pub use manifest::{EntryPath, Manifest, ManifestEntry, PathChange, PathChangeKind};
