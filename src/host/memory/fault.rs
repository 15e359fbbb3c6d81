//! Faults at chosen primitives, and what was done so far.

use std::path::{Path, PathBuf};

use crate::host::port::HostErrorKind;

/// What goes wrong at a primitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing has changed.
    Error(HostErrorKind),
    /// The process dies before it.
    CrashBefore,
    /// The process dies after it, before it knows.
    CrashAfter,
    /// The process dies in the middle of it: half of a write is done; what is atomic is done or not.
    CrashMiddle,
    /// Just before it all services of systemd die and are started again by systemd itself, with the definitions that it
    /// has loaded. The primitive is done, and the process lives on.
    ServicesDie,
}

/// One primitive that was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primitive {
    /// The method's name: `rename`; of `manage` the act: `restart`.
    pub name: &'static str,
    /// Its path, or the unit's name.
    pub path: PathBuf,
    /// The other path of a rename, replacement, exchange or clone.
    pub to: Option<PathBuf>,
}

impl Primitive {
    pub(super) fn new(name: &'static str, path: impl AsRef<Path>) -> Self {
        Self {
            name,
            path: path.as_ref().to_path_buf(),
            to: None,
        }
    }

    pub(super) fn to(mut self, to: &Path) -> Self {
        self.to = Some(to.to_path_buf());
        self
    }
}

impl std::fmt::Display for Primitive {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.name, self.path.display())?;
        match &self.to {
            Some(to) => write!(formatter, " -> {}", to.display()),
            None => Ok(()),
        }
    }
}

/// How much of a primitive is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All.
    Whole,
    /// About a half, where it can be divided.
    Half,
}

impl Extent {
    /// The part of bytes that is written.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        match self {
            Self::Whole => bytes,
            Self::Half => &bytes[..bytes.len() / 2],
        }
    }
}
