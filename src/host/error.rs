//! From what the system says to what a [`HostError`] says.
//!
//! Operations work with the bare [`HostErrorKind`]; the port's methods add what was being done to
//! which path, once.

use std::path::Path;

use rustix::io::Errno;

use super::port::{HostError, HostErrorKind};

impl HostError {
    /// An error with what was being done, and to what.
    #[must_use]
    pub fn new(doing: impl Into<String>, path: &Path, kind: HostErrorKind) -> Self {
        Self {
            doing: doing.into(),
            path: path.display().to_string(),
            kind,
        }
    }
}

/// Adds what was being done to a bare kind.
pub(super) trait Context<T> {
    /// The same result, its error saying what was being done to which path.
    fn context(self, doing: &str, path: &Path) -> Result<T, HostError>;
}

impl<T, E: Into<HostErrorKind>> Context<T> for Result<T, E> {
    fn context(self, doing: &str, path: &Path) -> Result<T, HostError> {
        self.map_err(|error| HostError::new(doing, path, error.into()))
    }
}

impl HostErrorKind {
    /// An error in words of its own.
    pub(super) fn other(words: impl Into<String>) -> Self {
        Self::Other(words.into())
    }
}

impl From<Errno> for HostErrorKind {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            Errno::EXIST | Errno::NOTEMPTY => Self::Exists,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace,
            Errno::ROFS => Self::ReadOnly,
            Errno::LOOP => Self::LinkOnTheWay,
            Errno::XDEV => Self::OtherFileSystem,
            Errno::TIMEDOUT => Self::TimedOut,
            Errno::NOTDIR => Self::other("a part of the path is no directory"),
            Errno::ISDIR => Self::other("it is a directory"),
            other => Self::Other(std::io::Error::from(other).to_string()),
        }
    }
}

impl From<std::io::Error> for HostErrorKind {
    fn from(error: std::io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => Self::Other(error.to_string()),
        }
    }
}
