//! Data that a way back puts back, from which backups.

use std::collections::BTreeSet;

use super::record::Told;
use crate::model::{Action, Step, StepId, StepKind, Value};
use crate::plan::Attendant;
use crate::step::backup::desire::restoring;

/// Whether a step waits for another, through whichever.
fn waits_for(told: &Told, step: &Step, other: &StepId) -> bool {
    let mut open: Vec<&StepId> = step.after.iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if id == other {
            return true;
        }
        if seen.insert(id) {
            let step = told.opened.plan.step(id);
            open.extend(step.into_iter().flat_map(|step| &step.after));
        }
    }
    false
}

/// Data that is put back: from backups of this run that say so, once, where something was begun that waited for the
/// backup. Before that nothing of the run can have changed the data, but the app that runs on may have.
pub(super) fn restores(told: &Told) -> Vec<Attendant> {
    let taken = told.begun_steps().filter(|step| {
        let restore = step.to.as_ref().and_then(|to| to.settings.get("restore"));
        step.kind == StepKind::BACKUP
            && step.action == Action::Take
            && told.done.contains(&step.id)
            && told
                .begun_steps()
                .any(|other| waits_for(told, other, &step.id))
            && restore.and_then(Value::as_text) == Some("undo")
    });
    taken
        .filter(|step| {
            let restore = StepId::of(&step.resource, Action::Restore.as_str());
            !(told.back.contains_key(&restore) && told.done.contains(&restore))
        })
        .map(|step| restoring(step.resource.clone(), step.to.clone().unwrap_or_default()))
        .collect()
}
