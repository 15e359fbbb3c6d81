//! Opening what a path names without following a link to anywhere else.
//!
//! An app's user may own directories under the app's root and swap one for a link at any moment. So
//! the directory that something is in is opened from `/` with RESOLVE_NO_SYMLINKS in one system call,
//! and what is in it is reached only through that descriptor. See openat2(2).

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use crate::host::path::components;
use crate::host::port::HostErrorKind;

/// A name in a directory that is held open.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The directory; good for at-calls only (O_PATH).
    pub(super) directory: OwnedFd,
    /// The name in it; `.` for the root directory.
    pub(super) name: &'a OsStr,
}

impl<'a> Place<'a> {
    /// The place of a path. Its parent directory is there.
    pub(super) fn of(path: &'a Path) -> Result<Self, HostErrorKind> {
        let name = components(path)?.pop();
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok(Self {
            directory: beneath(parent, OFlags::PATH | OFlags::DIRECTORY)?,
            name: name.unwrap_or(OsStr::new(".")),
        })
    }

    /// Opens what is there, if it is no link.
    pub(super) fn open(&self, flags: OFlags, mode: Mode) -> Result<OwnedFd, HostErrorKind> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.directory, self.name, flags, mode) {
            Err(Errno::LOOP) => Err(HostErrorKind::other(
                "it is a symbolic link, which rosey doesn't follow",
            )),
            other => Ok(other?),
        }
    }

    /// Opens a regular file. Never waits for the other end of a pipe.
    pub(super) fn open_file(&self, flags: OFlags) -> Result<OwnedFd, HostErrorKind> {
        let file = self.open(flags | OFlags::NONBLOCK, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file),
            FileType::Directory => Err(HostErrorKind::other("it is a directory")),
            _ => Err(HostErrorKind::other("it is no regular file")),
        }
    }
}

/// Opens a directory for listing or syncing.
pub(super) fn directory(path: &Path) -> Result<OwnedFd, HostErrorKind> {
    Place::of(path)?.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

fn beneath(path: &Path, flags: OFlags) -> Result<OwnedFd, HostErrorKind> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Err(Errno::NOSYS) => Err(HostErrorKind::other(
            "this kernel has no openat2, without which paths can't be opened safely: Linux 5.6 or later is needed",
        )),
        other => Ok(other?),
    }
}
