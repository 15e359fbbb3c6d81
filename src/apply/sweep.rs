//! What a run leaves behind once it is settled: nothing.

use std::path::Path;

use super::journal::Journal;
use super::site::Site;
use crate::host::{EntryType, HostError, HostErrorKind, WriteHost};
use crate::model::{Resource, ResourceId, Step};
use crate::step::kind::StepError;

/// Removes what a run put aside for the steps that it began, as far as it is no longer wanted, and
/// the run's staging directory if all of it is.
///
/// # Errors
/// The first thing that couldn't be removed; the others are.
pub fn sweep(
    site: &Site<'_>,
    journal: &Journal<'_>,
    known: &[(ResourceId, Resource)],
    unwanted: impl Fn(&Step) -> bool,
) -> Result<(), StepError> {
    let told = journal.told();
    let mut first = Ok(());
    let mut all = true;
    // The plan's step last: it is the one that knows what was there before.
    for step in told.back.values().chain(told.begun_steps()) {
        if !unwanted(step) {
            all = false;
            continue;
        }
        let kind = site.kind(&step.resource)?;
        let swept = site.acting(journal, known, |context| kind.sweep(context, step));
        first = first.and(swept);
    }
    if all {
        let staging = site.places.staging(site.run);
        first = first.and(remove_tree(site.host, &staging).map_err(StepError::from));
    }
    first
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
