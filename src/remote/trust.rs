//! Learns a host key: adds a line to a known_hosts file, after a person has agreed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::host_key::{HostKey, HostKeyCheck, HostKeyError};
use super::known_hosts::HostNames;
use super::resolve::{self, ResolveError};
use super::target::{Surroundings, Target};

/// What learning a key changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    Added,
    /// The host was known by this key already; nothing was written.
    AlreadyKnown,
}

#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Another key is known, this one is revoked, or another is pinned.
    #[error(transparent)]
    Refused(HostKeyError),
    #[error("write the host key of {host} into {file}", file = .file.display())]
    Write {
        host: String,
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Adds the key to `file`, unless it is known; the whole file is replaced at once.
///
/// Where the declaration or the ssh configuration names known_hosts files, `file` should
/// be one of them: `known_hosts_file` gives the first.
pub async fn trust(
    target: &Target,
    around: &Surroundings,
    key: &HostKey,
    file: &Path,
) -> Result<Trusted, TrustError> {
    let to = resolve::resolve(target, around).await?;
    let check = HostKeyCheck::new(&to).map_err(TrustError::Refused)?;
    match check.judge_plain(key) {
        Ok(()) => return Ok(Trusted::AlreadyKnown),
        Err(HostKeyError::Unknown { .. }) => {}
        Err(refused) => return Err(TrustError::Refused(refused)),
    }
    let (name, port) = to.known_as();
    let line = format!("{} {}\n", HostNames::new(name, port).exact, key.line());
    append(file, &line).map_err(|source| TrustError::Write {
        host: target.name.clone(),
        file: file.to_owned(),
        source,
    })?;
    Ok(Trusted::Added)
}

/// The file into which a host's key belongs: the first one that is looked into.
pub async fn known_hosts_file(
    target: &Target,
    around: &Surroundings,
) -> Result<PathBuf, ResolveError> {
    let to = resolve::resolve(target, around).await?;
    let first = to.known_hosts.into_iter().next();
    Ok(first.unwrap_or_else(|| around.home.join(".ssh/known_hosts")))
}

/// Appends a line by replacing the file, under a lock that other rosey processes respect.
fn append(file: &Path, line: &str) -> io::Result<()> {
    // Through a link, as people who keep their dotfiles in a repository have it.
    let file = match fs::canonicalize(file) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(error),
    };
    let directory = match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::ErrorKind::InvalidInput.into()),
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    // The lock is on the directory, so that it leaves nothing behind.
    let lock = File::open(directory)?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let (mut bytes, mode) = match fs::read(&file) {
        Ok(bytes) => (bytes, fs::metadata(&file)?.permissions().mode() & 0o777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0o600),
        Err(error) => return Err(error),
    };
    if bytes.last().is_some_and(|&last| last != b'\n') {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    let part = PathBuf::from(name);
    let written = write_whole(&part, &bytes, mode).and_then(|()| fs::rename(&part, &file));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written?;
    lock.sync_all()
}

fn write_whole(part: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Debris of a process of the same number that died is written over.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(part)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN+Wjn4+4Fcvl2JlKpggT+wCRxpSvtqqpVrQrKN1/A22";

    #[tokio::test]
    async fn a_key_is_added_once_and_never_beside_another() {
        let home = tempfile::tempdir().unwrap();
        let around = Surroundings::new(home.path(), "ann");
        let file = home.path().join("new/known_hosts");
        let mut target = Target::new("bot-1", "bot.example.org");
        target.port = Some(2222);
        target.known_hosts = vec![file.clone()];
        let one = HostKey::parse(ONE).unwrap();
        assert_eq!(
            trust(&target, &around, &one, &file).await.unwrap(),
            Trusted::Added
        );
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("[bot.example.org]:2222 {ONE}\n"));
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            trust(&target, &around, &one, &file).await.unwrap(),
            Trusted::AlreadyKnown
        );
        let two = HostKey::parse(TWO).unwrap();
        let error = trust(&target, &around, &two, &file).await.unwrap_err();
        assert!(
            matches!(error, TrustError::Refused(HostKeyError::Changed { .. })),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }

    #[test]
    fn links_modes_and_unfinished_lines_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("real");
        fs::write(&real, "first").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink("real", &link).unwrap();
        append(&link, "second\n").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "first\nsecond\n");
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[test]
    fn several_at_once_lose_nothing() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("known_hosts");
        std::thread::scope(|scope| {
            for i in 0..8 {
                let file = &file;
                scope.spawn(move || append(file, &format!("host-{i} key\n")).unwrap());
            }
        });
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 8);
    }
}
