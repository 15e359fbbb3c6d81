//! Making files, directories and links with exactly the mode and owner that were asked for.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, fstat, mkdirat, statat, symlinkat,
    unlinkat,
};
use rustix::process::{getegid, geteuid, getgroups};

use crate::host::error::Context;
use crate::host::port::{HostError, HostErrorKind, Owner};

use super::LocalHost;
use super::open::Place;

type Done = Result<(), HostErrorKind>;

/// An owner by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    user: Uid,
    group: Gid,
}

impl From<(u32, u32)> for Numbers {
    fn from((user, group): (u32, u32)) -> Self {
        Self {
            user: Uid::from_raw(user),
            group: Gid::from_raw(group),
        }
    }
}

impl LocalHost {
    /// The numbers of an owner; refused where only root may give something to it.
    pub(super) fn numbers(&self, path: &Path, owner: &Owner) -> Result<Numbers, HostError> {
        let numbers: Numbers = self
            .accounts
            .numbers(owner)
            .context("set the owner of", path)?
            .into();
        if may_give(numbers) {
            return Ok(numbers);
        }
        let Owner { user, group } = owner;
        let doing = format!("give to {user}:{group}, which only root may,");
        Err(HostError::new(doing, path, HostErrorKind::Denied))
    }
}

/// Makes a file and has it filled; removes it again when that fails, so that it can be tried anew.
pub(super) fn file(
    path: &Path,
    mode: u32,
    owner: Numbers,
    fill: impl FnOnce(File) -> Result<File, HostErrorKind>,
) -> Done {
    let place = Place::of(path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    // For its maker alone until it is whole: the content may be a secret.
    let made = place.open(flags, Mode::from_raw_mode(0o600))?;
    let done = fill(File::from(made)).and_then(|made| finish(&made, mode, owner));
    if done.is_err() {
        // The first failure is the one to tell; what is left is debris for the next run.
        let _ = unlinkat(&place.directory, place.name, AtFlags::empty());
    }
    done
}

/// Makes a directory.
pub(super) fn directory(path: &Path, mode: u32, owner: Numbers) -> Done {
    let place = Place::of(path)?;
    mkdirat(&place.directory, place.name, Mode::from_raw_mode(0o700))?;
    let done = place
        .open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
        .and_then(|made| finish(&made, mode, owner));
    if done.is_err() {
        // As above.
        let _ = unlinkat(&place.directory, place.name, AtFlags::REMOVEDIR);
    }
    done
}

/// Makes a symbolic link.
pub(super) fn link(path: &Path, target: &Path, owner: Numbers) -> Done {
    let place = Place::of(path)?;
    symlinkat(target, &place.directory, place.name)?;
    let done = give(&place, owner);
    if done.is_err() {
        // As above.
        let _ = unlinkat(&place.directory, place.name, AtFlags::empty());
    }
    done
}

/// Sets the owner of what is at a place, of a link itself.
pub(super) fn give(place: &Place<'_>, owner: Numbers) -> Done {
    if is_owned(place, owner)? {
        return Ok(());
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let Numbers { user, group } = owner;
    Ok(chownat(
        &place.directory,
        place.name,
        Some(user),
        Some(group),
        flags,
    )?)
}

/// Whether what is at a place is owned so already.
pub(super) fn is_owned(place: &Place<'_>, owner: Numbers) -> Result<bool, HostErrorKind> {
    let found = statat(&place.directory, place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((found.st_uid, found.st_gid) == (owner.user.as_raw(), owner.group.as_raw()))
}

fn finish(made: impl AsFd, mode: u32, owner: Numbers) -> Done {
    let found = fstat(&made)?;
    if (found.st_uid, found.st_gid) != (owner.user.as_raw(), owner.group.as_raw()) {
        fchown(&made, Some(owner.user), Some(owner.group))?;
    }
    // After the owner, since a change of owner takes the set-user-id bit away; and by itself, since
    // the umask has no say in it. See chown(2), umask(2).
    Ok(fchmod(&made, Mode::from_raw_mode(mode))?)
}

/// Whether this process may make something that is owned so.
fn may_give(owner: Numbers) -> bool {
    let own = geteuid();
    own.is_root()
        || owner.user == own
            && (owner.group == getegid()
                || getgroups().is_ok_and(|groups| groups.contains(&owner.group)))
}
