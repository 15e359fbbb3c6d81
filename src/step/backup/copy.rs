//! Copies of files and trees with their modes and owners.

use std::path::Path;

use crate::host::{EntryType, HostError, WriteHost};

/// Copies whatever is at a path to where nothing is; sockets and the like are left out. A file that
/// goes while it is copied is left out too: it was on its way.
pub(super) fn copy(host: &dyn WriteHost, from: &Path, to: &Path) -> Result<(), HostError> {
    let Some(entry) = host.entry(from)? else {
        return Ok(());
    };
    match entry.kind {
        EntryType::File => host.clone_file(from, to, entry.mode, &entry.owner),
        EntryType::Link => host.make_link(to, &host.link_target(from)?, &entry.owner),
        EntryType::Directory => {
            host.make_directory(to, entry.mode | 0o700, &entry.owner)?;
            for name in host.list(from)? {
                copy(host, &from.join(&name), &to.join(&name))?;
            }
            if entry.mode & 0o700 != 0o700 {
                host.set_mode(to, entry.mode)?;
            }
            Ok(())
        }
        EntryType::Other => Ok(()),
    }
}
