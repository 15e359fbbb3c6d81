//! What a run does once for all hosts.

use serde::{Deserialize, Serialize};

/// What becomes of what a run did once for all hosts (a migration), on the way back of the host that did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Once {
    /// It waits: other hosts aren't back yet, or nobody knows. The journal stays open until it is asked again.
    Waits,
    /// It is undone: all other hosts are back.
    Undone,
    /// It stays done: others are new for good, and need it.
    Stays,
}
