//! Rosey's own directories in an app's root, and taking trees away.

use std::path::Path;

use crate::host::{EntryType, HostError, HostErrorKind, Owner, ReadHost, WriteHost};
use crate::model::Places;

/// Who owns what rosey makes for itself: the user that it runs as.
///
/// # Errors
/// When the host can't be asked.
pub fn own_owner(host: &dyn ReadHost) -> Result<Owner, HostError> {
    let user = host.facts().user;
    let account = host.account(&user)?;
    Ok(match account {
        Some(account) => Owner {
            user: account.name,
            group: account.group_name,
        },
        None => Owner {
            group: user.clone(),
            user,
        },
    })
}

/// Makes a directory of rosey's own with all that is missing above it: only for its user what is
/// inside `.rosey`, readable by all what leads there. Called again, it does nothing.
///
/// # Errors
/// When one can't be made, or `.rosey` is somebody else's.
pub fn make_own(host: &dyn WriteHost, places: &Places, directory: &Path) -> Result<(), HostError> {
    let owner = own_owner(host.as_read())?;
    let own = places.own();
    let mut missing = Vec::new();
    let mut next = Some(directory);
    while let Some(path) = next {
        match host.entry(path) {
            Ok(Some(entry)) => {
                if path == own {
                    check_own(host, path, &owner, entry.kind, &entry.owner, entry.mode)?;
                }
                if path.starts_with(&own)
                    && let Some(parent) = path.parent()
                {
                    // Whoever made it may have been cut off before its name was durable.
                    host.sync(parent)?;
                }
                break;
            }
            Ok(None) => {
                missing.push(path);
                next = path.parent();
            }
            Err(error) if error.kind == HostErrorKind::NotFound => {
                missing.push(path);
                next = path.parent();
            }
            Err(error) => return Err(error),
        }
    }
    while let Some(path) = missing.pop() {
        let mode = if path.starts_with(&own) { 0o700 } else { 0o755 };
        match host.make_directory(path, mode, &owner) {
            Ok(()) => {}
            Err(error) if error.kind == HostErrorKind::Exists => {}
            Err(error) => return Err(error),
        }
        if let Some(parent) = path.parent() {
            host.sync(parent)?;
        }
    }
    Ok(())
}

/// Rosey's own directory may hold secrets, so nobody else may have made it or look into it.
fn check_own(
    host: &dyn WriteHost,
    path: &Path,
    owner: &Owner,
    kind: EntryType,
    found: &Owner,
    mode: u32,
) -> Result<(), HostError> {
    let refuse = |words: String| HostError {
        doing: "use".to_owned(),
        path: path.display().to_string(),
        kind: HostErrorKind::Other(words),
    };
    if kind != EntryType::Directory {
        return Err(refuse("it should be rosey's own directory".to_owned()));
    }
    if found.user != owner.user {
        return Err(refuse(format!(
            "it belongs to {}, and rosey runs as {}",
            found.user, owner.user
        )));
    }
    if mode & 0o077 != 0 {
        host.set_mode(path, 0o700)?;
    }
    Ok(())
}

/// What was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Entries.
    pub count: u64,
    /// Bytes of files.
    pub bytes: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// Removes whatever is at a path, all that it holds included; nothing there is no error. No link is
/// followed. Who needs it durable syncs the directory above.
///
/// # Errors
/// When something can't be removed; the rest below it stays.
pub fn remove_tree(host: &dyn WriteHost, path: &Path) -> Result<Removed, HostError> {
    let mut removed = Removed::default();
    let Some(entry) = host.entry(path)? else {
        return Ok(removed);
    };
    if entry.kind == EntryType::Directory {
        // A directory that its owner may not change can't be emptied without root.
        if entry.mode & 0o700 != 0o700 {
            host.set_mode(path, entry.mode | 0o700)?;
        }
        for name in host.list(path)? {
            removed += remove_tree(host, &path.join(name))?;
        }
        host.remove_directory(path)?;
    } else {
        host.remove_file(path)?;
        if entry.kind == EntryType::File {
            removed.bytes += entry.size;
        }
    }
    removed.count += 1;
    Ok(removed)
}
