//! The writing port of this machine.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, chmodat, fallocate, fstat, fsync,
    renameat, renameat_with, syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::host::error::Context;
use crate::host::orphans;
use crate::host::port::{
    Command, CommandOutput, EntryType, HostError, HostErrorKind, Owner, ReadHost, ServiceAct, Unit,
    WriteHost,
};

use super::copy::copy;
use super::open::Place;
use super::{LocalHost, entry, make, read, sqlite};

type Done = Result<(), HostErrorKind>;

impl WriteHost for LocalHost {
    fn as_read(&self) -> &dyn ReadHost {
        self
    }

    fn make_directory(&self, path: &Path, mode: u32, owner: &Owner) -> Result<(), HostError> {
        let owner = self.numbers(path, owner)?;
        make::directory(path, mode, owner).context("make the directory", path)
    }

    fn write_file(
        &self,
        path: &Path,
        content: &mut dyn Read,
        mode: u32,
        owner: &Owner,
    ) -> Result<(), HostError> {
        let owner = self.numbers(path, owner)?;
        let fill = |mut file: File| {
            std::io::copy(content, &mut file)?;
            Ok(file)
        };
        make::file(path, mode, owner, fill).context("write", path)
    }

    fn clone_file(
        &self,
        from: &Path,
        to: &Path,
        mode: u32,
        owner: &Owner,
    ) -> Result<(), HostError> {
        let owner = self.numbers(to, owner)?;
        let source = read::open(from).context("read", from)?;
        make::file(to, mode, owner, |file| copy(source, file)).context("write", to)
    }

    fn copy_database(
        &self,
        from: &Path,
        to: &Path,
        mode: u32,
        owner: &Owner,
    ) -> Result<(), HostError> {
        self.write_file(to, &mut std::io::empty(), mode, owner)?;
        sqlite::copy(from, to).map_err(|words| HostError {
            doing: "back up the database".to_owned(),
            path: from.display().to_string(),
            kind: HostErrorKind::Other(words),
        })
    }

    fn make_link(&self, path: &Path, target: &Path, owner: &Owner) -> Result<(), HostError> {
        let owner = self.numbers(path, owner)?;
        make::link(path, target, owner).context("make the link", path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        rename_with(from, to, RenameFlags::NOREPLACE).context("rename", &both(from, to))
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        replace(from, to).context("replace", &both(from, to))
    }

    fn exchange(&self, one: &Path, other: &Path) -> Result<(), HostError> {
        rename_with(one, other, RenameFlags::EXCHANGE).context("exchange", &both(one, other))
    }

    fn remove_file(&self, path: &Path) -> Result<(), HostError> {
        remove(path, AtFlags::empty()).context("remove", path)
    }

    fn remove_directory(&self, path: &Path) -> Result<(), HostError> {
        remove(path, AtFlags::REMOVEDIR).context("remove the directory", path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        set_mode(path, mode).context("set the mode of", path)
    }

    fn set_owner(&self, path: &Path, owner: &Owner) -> Result<(), HostError> {
        self.set_owner_at(path, owner)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> Result<(), HostError> {
        append(path, bytes).context("append to", path)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), HostError> {
        write_at(path, offset, bytes).context("write into", path)
    }

    fn allocate(&self, path: &Path, size: u64) -> Result<(), HostError> {
        allocate(path, size).context("allocate space for", path)
    }

    fn sync(&self, path: &Path) -> Result<(), HostError> {
        sync(path).context("sync", path)
    }

    fn sync_tree(&self, path: &Path) -> Result<(), HostError> {
        sync_tree(path).context("sync", path)
    }

    fn manage(&self, unit: &Unit, act: &ServiceAct, timeout: Duration) -> Result<(), HostError> {
        self.manage_service(unit, act, timeout)
    }

    fn run_while(
        &self,
        command: &Command,
        wanted: &dyn Fn() -> bool,
    ) -> Result<CommandOutput, HostError> {
        self.run_command(command, wanted)
    }

    fn end_orphans(&self, root: &Path) -> Result<usize, HostError> {
        orphans::end(root).context("end what a dead helper left running in", root)
    }
}

impl LocalHost {
    fn set_owner_at(&self, path: &Path, owner: &Owner) -> Result<(), HostError> {
        let doing = "set the owner of";
        let place = Place::of(path).context(doing, path)?;
        // What it is already is no change, even for who couldn't make it.
        let is_own = self
            .accounts
            .numbers(owner)
            .and_then(|numbers| make::is_owned(&place, numbers.into()))
            .context(doing, path)?;
        if is_own {
            return Ok(());
        }
        make::give(&place, self.numbers(path, owner)?).context(doing, path)
    }
}

fn both(from: &Path, to: &Path) -> PathBuf {
    format!("{} -> {}", from.display(), to.display()).into()
}

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> Done {
    let (old, new) = (Place::of(from)?, Place::of(to)?);
    match renameat_with(&old.directory, old.name, &new.directory, new.name, flags) {
        // Also what a file system says that doesn't know the flag. See renameat2(2).
        Err(Errno::INVAL) if to.starts_with(from) || from.starts_with(to) => {
            Err(HostErrorKind::other("a directory can't go into itself"))
        }
        Err(Errno::INVAL | Errno::NOSYS) => Err(HostErrorKind::other(
            "this file system can't rename without replacing, or exchange (renameat2)",
        )),
        other => Ok(other?),
    }
}

fn replace(from: &Path, to: &Path) -> Done {
    // The kernel would replace an empty directory by another, which isn't meant.
    if entry::stat(to)?.is_some_and(|stat| entry::kind(&stat) == EntryType::Directory) {
        return Err(Errno::ISDIR.into());
    }
    let (old, new) = (Place::of(from)?, Place::of(to)?);
    Ok(renameat(
        &old.directory,
        old.name,
        &new.directory,
        new.name,
    )?)
}

fn remove(path: &Path, flags: AtFlags) -> Done {
    let place = Place::of(path)?;
    match unlinkat(&place.directory, place.name, flags) {
        Err(Errno::NOTDIR) => Err(HostErrorKind::other("it is no directory")),
        other => Ok(other?),
    }
}

fn set_mode(path: &Path, mode: u32) -> Done {
    let place = Place::of(path)?;
    // A descriptor that needs no right to read; fchmod(2) wants more, and only Linux 6.6 has an
    // fchmodat2 that doesn't follow links. /proc/self/fd leads to what is open, nowhere else.
    let held = place.open(OFlags::PATH, Mode::empty())?;
    let found = fstat(&held)?;
    if entry::kind(&found) == EntryType::Link {
        return Err(HostErrorKind::other("a symbolic link has no mode"));
    }
    let through = format!("/proc/self/fd/{}", held.as_raw_fd());
    let mode = Mode::from_raw_mode(mode);
    Ok(chmodat(CWD, through, mode, AtFlags::empty())?)
}

fn append(path: &Path, bytes: &[u8]) -> Done {
    let mut file = File::from(open_or_make(path, OFlags::WRONLY | OFlags::APPEND)?);
    Ok(file.write_all(bytes)?)
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) -> Done {
    let file = File::from(Place::of(path)?.open_file(OFlags::WRONLY)?);
    Ok(file.write_all_at(bytes, offset)?)
}

fn allocate(path: &Path, size: u64) -> Done {
    let file = File::from(open_or_make(path, OFlags::RDWR)?);
    if size == 0 {
        return Ok(());
    }
    match fallocate(&file, FallocateFlags::empty(), 0, size) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&file, size),
        other => Ok(other?),
    }
}

/// Takes the space by writing zeroes after the end, where the file system can't reserve it.
pub(super) fn fill(file: &File, size: u64) -> Done {
    let mut end = file.metadata()?.len();
    let zeroes = [0; 64 * 1024];
    while end < size {
        let piece = usize::try_from(size - end).map_or(zeroes.len(), |left| left.min(zeroes.len()));
        file.write_all_at(&zeroes[..piece], end)?;
        end += piece as u64;
    }
    Ok(())
}

fn open_or_make(path: &Path, flags: OFlags) -> Result<OwnedFd, HostErrorKind> {
    let place = Place::of(path)?;
    loop {
        match place.open_file(flags) {
            Err(HostErrorKind::NotFound) => {}
            other => return other,
        }
        let new = flags | OFlags::CREATE | OFlags::EXCL;
        match place.open(new, Mode::from_raw_mode(0o600)) {
            // Somebody was faster; then it is opened as any other.
            Err(HostErrorKind::Exists) => {}
            other => return other,
        }
    }
}

fn sync(path: &Path) -> Done {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let held = Place::of(path)?.open(flags, Mode::empty())?;
    Ok(fsync(held)?)
}

/// One syncfs(2) instead of an fsync for each of thousands of files; since Linux 5.8 it reports
/// errors of writing back. What is below is on the same file system: rosey's trees hold no mounts.
fn sync_tree(path: &Path) -> Done {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let held = Place::of(path)?.open(flags, Mode::empty())?;
    Ok(syncfs(held)?)
}
