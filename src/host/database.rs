//! The port to SQLite databases, which are more than the bytes of their files.

use std::path::Path;
use std::time::Duration;

use super::port::HostError;

/// A host's SQLite databases.
pub trait Databases {
    /// What is wrong with a database, in SQLite's words (`PRAGMA quick_check`); nothing when it is
    /// whole. Reads it beside whoever else uses it, and makes no file.
    ///
    /// # Errors
    /// When it can't be read: it isn't there, somebody keeps it locked, or the time runs out.
    fn check_database(&self, path: &Path, timeout: Duration) -> Result<Vec<String>, HostError>;
}
