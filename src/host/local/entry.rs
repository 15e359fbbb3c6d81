//! What `lstat` says of a path, in the port's words.

use std::path::Path;

use rustix::fs::{AtFlags, FileType, Stat, statat};
use rustix::io::Errno;

use crate::host::port::{Entry, EntryType, HostErrorKind};

use super::LocalHost;
use super::open::Place;

/// The stat of a path; none when nothing is there, or nothing that could hold it.
pub(super) fn stat(path: &Path) -> Result<Option<Stat>, HostErrorKind> {
    let place = match Place::of(path) {
        Ok(place) => place,
        Err(error) if error == HostErrorKind::NotFound || error == Errno::NOTDIR.into() => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    match statat(&place.directory, place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// What kind of entry it is.
pub(super) fn kind(stat: &Stat) -> EntryType {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryType::File,
        FileType::Directory => EntryType::Directory,
        FileType::Symlink => EntryType::Link,
        _ => EntryType::Other,
    }
}

impl LocalHost {
    /// A stat in the port's words.
    pub(super) fn describe(&self, stat: &Stat) -> Result<Entry, HostErrorKind> {
        Ok(Entry {
            kind: kind(stat),
            mode: stat.st_mode & 0o7777,
            owner: self.accounts.owner(stat.st_uid, stat.st_gid)?,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: stat.st_mtime,
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}
