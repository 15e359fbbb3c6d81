//! Why the past can't be read or kept.

use std::path::PathBuf;

use thiserror::Error;

/// Why the past can't be read or kept. None of it is a reason not to deploy.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The directory can't be made.
    #[error("failed to make {} for the history: {cause}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file is no database, or a damaged one.
    #[error(
        "failed to open the history {}: {cause}. It may be deleted: only the past is lost with it", path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// Its tables are of another version that can't be brought up to this one.
    #[error(
        "failed to use the history {}: {cause}. A later rosey has written it, or it is damaged; it may be deleted: only the past is lost with it", path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<refinery::Error>,
    },
    /// Something can't be written.
    #[error("failed to write the history {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// Something can't be read.
    #[error("failed to read the history {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// No run begins so.
    #[error("there is no run {run} in the history; `rosey history` lists those that there are")]
    NoSuchRun {
        /// What was asked for.
        run: String,
    },
    /// Several do.
    #[error("several runs begin with {run}: {}", .matching.join(", "))]
    Ambiguous {
        /// What was asked for.
        run: String,
        /// Those that do.
        matching: Vec<String>,
    },
    /// The thread that records couldn't be started.
    #[error("failed to start recording the history: {0}")]
    Thread(#[source] std::io::Error),
}
