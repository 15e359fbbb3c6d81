//! What a backup consists of, as it stands beside it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::{HostError, HostErrorKind, ReadHost};

/// The file in a backup's directory that makes it one: without it, it is debris.
pub(super) const MANIFEST: &str = "manifest.json";

/// The format that this program writes and reads.
const FORMAT: &str = "rosey backup 1";

/// What a backup consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BackupManifest {
    format: String,
    /// What it covers.
    pub items: Vec<Item>,
}

/// One thing that a backup covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    /// Where it was.
    pub path: String,
    /// Whether it is an SQLite database.
    pub sqlite: bool,
    /// Its name in the backup's directory; none where nothing was there.
    pub stored: Option<String>,
}

/// Whether a backup was taken to its end.
///
/// # Errors
/// When it can't be known.
pub(in crate::step) fn is_whole(host: &dyn ReadHost, backup: &Path) -> Result<bool, HostError> {
    Ok(host.entry(&backup.join(MANIFEST))?.is_some())
}

impl BackupManifest {
    /// The manifest of these items.
    pub fn new(items: Vec<Item>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            items,
        }
    }

    /// The manifest of a backup; none where there is no whole one.
    ///
    /// # Errors
    /// When it can't be read, or has a format that this program doesn't know.
    pub fn read(host: &dyn ReadHost, backup: &Path) -> Result<Option<Self>, HostError> {
        let path = backup.join(MANIFEST);
        let bytes = match host.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind == HostErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let wrong = |words: String| HostError {
            doing: "read the backup".to_owned(),
            path: path.display().to_string(),
            kind: HostErrorKind::Other(words),
        };
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if manifest.format != FORMAT {
            let words = format!(
                "its format is {:?}; use the rosey that made it",
                manifest.format
            );
            return Err(wrong(words));
        }
        Ok(Some(manifest))
    }
}

impl Item {
    /// Where its copy lies.
    pub fn copy(&self, backup: &Path) -> Option<PathBuf> {
        self.stored.as_ref().map(|name| backup.join(name))
    }
}
