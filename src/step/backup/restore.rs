//! Putting a backup's data back: staged beside, exchanged, and what was there kept until the run is settled.

use std::path::{Path, PathBuf};

use crate::content::remove_tree;
use crate::host::{EntryType, HostError, WriteHost};
use crate::model::{Places, RunId};

use super::copy::copy;
use super::manifest::{BackupManifest, Item};

/// What an SQLite database has beside its file while it is used, and what belongs to that file only.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Puts everything back that a backup holds. Data that wasn't there when it was taken stays: it is not rosey's.
///
/// # Errors
/// When something can't be put back; everything else that was put back by then stays so.
pub(super) fn restore(
    host: &dyn WriteHost,
    places: &Places,
    run: &RunId,
    backup: &Path,
    manifest: &BackupManifest,
) -> Result<(), HostError> {
    for item in &manifest.items {
        let Some(stored) = item.copy(backup) else {
            continue;
        };
        put_back(host, places, run, item, &stored)?;
    }
    Ok(())
}

fn put_back(
    host: &dyn WriteHost,
    places: &Places,
    run: &RunId,
    item: &Item,
    stored: &Path,
) -> Result<(), HostError> {
    let path = PathBuf::from(&item.path);
    let aside = aside(places, run, &path);
    if let Some(parent) = aside.parent() {
        crate::content::make_own(host, places, parent)?;
    }
    // What a try that was cut off has left there is a copy like the one that is made now, or what that has replaced: of
    // this the run has taken a backup before.
    remove_tree(host, &aside)?;
    copy(host, stored, &aside)?;
    host.sync_tree(&aside)?;
    let there = host.entry(&path)?;
    match there {
        Some(_) => host.exchange(&aside, &path)?,
        None => host.rename(&aside, &path)?,
    }
    if item.sqlite {
        // The journal of the other database must never be played into this one.
        for suffix in BESIDE {
            let mut beside = path.clone().into_os_string();
            beside.push(suffix);
            let beside = PathBuf::from(beside);
            if host
                .entry(&beside)?
                .is_some_and(|entry| entry.kind == EntryType::File)
            {
                host.remove_file(&beside)?;
            }
        }
    }
    match path.parent() {
        Some(parent) => host.sync(parent),
        None => Ok(()),
    }
}

/// Where the data lies that was replaced, until the run is settled.
pub(super) fn aside(places: &Places, run: &RunId, path: &Path) -> PathBuf {
    let mut name = places.aside(path, run).into_os_string();
    name.push("-restore");
    name.into()
}
