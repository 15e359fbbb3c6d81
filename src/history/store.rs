//! The file, and its tables brought up to date.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::HistoryError;

mod embedded {
    refinery::embed_migrations!("src/history/migrations");
}

/// How long another program that writes is waited for. Nobody waits for us meanwhile.
const BUSY: Duration = Duration::from_secs(5);

/// The past, as it was seen from here.
#[derive(Debug)]
pub struct History {
    pub(super) connection: Connection,
    path: PathBuf,
}

impl History {
    /// Opens the history, making file and directory where they are missing.
    ///
    /// # Errors
    /// When it can't be made, is damaged, or was written by a later version. A caller says so as a
    /// warning and goes on.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        if let Some(directory) = path.parent() {
            make_private(directory).map_err(|cause| HistoryError::Directory {
                path: directory.to_owned(),
                cause,
            })?;
        }
        keep_private(path);
        Self::with(path, OpenFlags::default())
    }

    /// Opens the history where there is one; none where nothing was ever recorded.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub fn find(path: &Path) -> Result<Option<Self>, HistoryError> {
        if !path.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE;
        Self::with(path, flags).map(Some)
    }

    fn with(path: &Path, flags: OpenFlags) -> Result<Self, HistoryError> {
        let open = |cause| HistoryError::Open {
            path: path.to_owned(),
            cause,
        };
        let mut connection = Connection::open_with_flags(path, flags).map_err(open)?;
        connection.busy_timeout(BUSY).map_err(open)?;
        // Readers and one writer don't wait for each other; a power cut may cost the last rows, never the file.
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(open)?;
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(open)?;
        connection
            .pragma_update(None, "foreign_keys", true)
            .map_err(open)?;
        embedded::migrations::runner()
            .set_grouped(true)
            .run(&mut connection)
            .map_err(|cause| HistoryError::Version {
                path: path.to_owned(),
                cause: Box::new(cause),
            })?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(&self, cause: rusqlite::Error) -> HistoryError {
        HistoryError::Read {
            path: self.path.clone(),
            cause,
        }
    }

    pub(super) fn write(&self, cause: rusqlite::Error) -> HistoryError {
        HistoryError::Write {
            path: self.path.clone(),
            cause,
        }
    }
}

/// Makes a directory that is nobody else's: what commands and logs say may be anything. What is there already is made
/// so where it is rosey's own by its name; of one that somebody else has chosen only the file is.
fn make_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    if directory.ends_with(".rosey") {
        // A directory of another user's may serve all the same.
        fs::set_permissions(directory, Permissions::from_mode(0o700)).ok();
    }
    Ok(())
}

/// The same for the file, before SQLite makes it: what SQLite puts beside it gets the modes that it has. What can't be
/// made is told when it is opened.
fn keep_private(path: &Path) {
    let mut options = OpenOptions::new();
    let made = options.write(true).create(true).truncate(false).mode(0o600);
    if made.open(path).is_ok() {
        fs::set_permissions(path, Permissions::from_mode(0o600)).ok();
    }
}
