//! What a run leaves behind once it is settled: nothing.

use std::collections::BTreeSet;
use std::path::Path;

use super::graph::Cancel;
use super::journal::Journal;
use super::record::{Record, Settled, Told};
use super::site::Site;
use super::step::{TakeError, Taking, Way};
use crate::content::remove_tree;
use crate::host::{HostError, HostErrorKind, WriteHost};
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
    // What is removed now can't be put back: nobody may find the run open again.
    journal.sync()?;
    let taking = Taking {
        way: Way::Back,
        known: &told.known(),
        cancel: &Cancel::new(),
        waits: &|_| {},
        gates: &|_| {},
    };
    let mut first = Ok(());
    for step in told.back_steps().chain(told.begun_steps()) {
        if wanted.contains(&step.resource) {
            continue;
        }
        let kind = site.kind(&step.resource).map_err(StepError::from)?;
        let swept = site.acting(journal, taking, |context| kind.sweep(context, step));
        first = first.and(swept);
    }
    first?;
    if !wanted.is_empty() {
        return Ok(());
    }
    let staging = site.places.staging(site.run);
    remove_durably(site.host, &staging).map_err(StepError::from)?;
    if matches!(told.settled, Some(Settled::WentBack { .. })) {
        give_up_root(site, &told).map_err(StepError::from)?;
    }
    Ok(journal.append(&Record::Swept)?)
}

/// Takes away the root that a run has made and that went back, with rosey's own in it; whatever
/// else is in it stays, and it too.
fn give_up_root(site: &Site<'_>, told: &Told) -> Result<(), HostError> {
    let made = told
        .root_step()
        .is_some_and(|step| told.begun.contains(&step.id));
    if made {
        remove_tree(site.host, &site.places.own())?;
        remove_if_empty(site.host, &site.places.root)?;
    }
    for directory in told.opened.above.iter().rev() {
        remove_if_empty(site.host, directory)?;
    }
    Ok(())
}

fn remove_durably(host: &dyn WriteHost, tree: &Path) -> Result<(), HostError> {
    if remove_tree(host, tree)?.count == 0 {
        return Ok(());
    }
    host.sync(tree.parent().unwrap_or(tree))
}

fn remove_if_empty(host: &dyn WriteHost, path: &Path) -> Result<(), HostError> {
    match host.remove_directory(path) {
        Ok(()) => host.sync(path.parent().unwrap_or(path)),
        Err(error) if matches!(error.kind, HostErrorKind::Exists | HostErrorKind::NotFound) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
