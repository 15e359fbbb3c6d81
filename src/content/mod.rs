//! Trees as manifests, and moving them.
//!
//! Start reading at [`manifest`]. Nothing here knows of resources, steps or SSH: trees are read and
//! written through the ports of `host`, and where things lie is told by [`crate::model::Places`].

pub mod build;
pub mod compare;
mod garbage;
pub mod git;
pub(crate) mod hashing;
mod kept;
pub mod manifest;
pub mod observe;
pub mod own;
pub mod pack;
pub mod packs;
pub mod patterns;
pub mod source;
mod stage;
pub mod store;
#[cfg(test)]
mod tests;
pub mod walk;

pub use git::{GitSource, check_out, read_git};
pub use manifest::{EntryPath, LinkTarget, Manifest, ManifestEntry, PathChange, PathChangeKind};
pub use observe::{FoundTree, TreeQuery, hash_file, modified_at, read_tree};
pub use own::{Removed, make_own, own_owner, remove_tree};
pub use pack::{PackError, PackWriter};
pub use packs::{PackId, Packs, Received, receive_pack};
pub use patterns::{InvalidPattern, Patterns};
pub use source::{SourceError, SourceProblem, SourceTree};
pub use store::{Content, ContentError, Store};
pub use walk::read_source;
