//! What a run leaves behind once it is settled: nothing.

use std::collections::BTreeSet;
use std::path::Path;

use super::journal::Journal;
use super::record::Record;
use super::site::Site;
use super::step::TakeError;
use crate::host::{EntryType, HostError, HostErrorKind, WriteHost};
use crate::model::ResourceId;
use crate::step::kind::StepError;

/// Removes what a settled run put aside for the steps that it began, and its staging directory.
/// `wanted` is left: a person may need what was put aside of a resource that isn't back.
///
/// # Errors
/// The first thing that couldn't be removed; the others are. Before the next run it is tried again.
pub fn sweep(
    site: &Site<'_>,
    journal: &Journal<'_>,
    wanted: &BTreeSet<ResourceId>,
) -> Result<(), TakeError> {
    let told = journal.told();
    if told.swept {
        return Ok(());
    }
    let known = told.known();
    let mut first = Ok(());
    for step in told.back.values().chain(told.begun_steps()) {
        if wanted.contains(&step.resource) {
            continue;
        }
        let kind = site.kind(&step.resource).map_err(StepError::from)?;
        let swept = site.acting(journal, &known, |context| kind.sweep(context, step));
        first = first.and(swept);
    }
    if !wanted.is_empty() {
        return Ok(first?);
    }
    let staging = site.places.staging(site.run);
    first.and(remove_tree(site.host, &staging).map_err(StepError::from))?;
    Ok(journal.append(&Record::Swept)?)
}

/// Removes whatever is at a path and below it; nothing there is no error.
///
/// # Errors
/// When something can't be removed.
pub fn remove_tree(host: &dyn WriteHost, path: &Path) -> Result<(), HostError> {
    let Some(entry) = host.entry(path)? else {
        return Ok(());
    };
    let result = if entry.kind == EntryType::Directory {
        for name in host.list(path)? {
            remove_tree(host, &path.join(name))?;
        }
        host.remove_directory(path)
    } else {
        host.remove_file(path)
    };
    match result {
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(()),
        other => other,
    }
}
