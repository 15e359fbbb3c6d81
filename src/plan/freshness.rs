//! What must be renewed because something that it uses changes: restarts are derived, never notified.

use crate::model::{Reason, Resource, ResourceId, StepId, Value};
use crate::step::kind::Named;

use super::PlanInput;
use super::changes::{Changed, Changes};
use super::relations::Relations;

/// Adds, for everything that has a freshness and uses what changes, the reason to renew it; and the
/// state that its step will find: not fresh any more.
pub(super) fn add<'a>(changes: &mut Changes<'a>, input: &PlanInput<'a>, to: &Relations<'a>) {
    for (id, (resource, kind)) in &to.resources {
        let it = Named { id, resource };
        let Some(attribute) = kind.freshness(it) else {
            continue;
        };
        let Some(cause) = cause(changes, to, id, resource) else {
            continue;
        };
        let entry = changes.entry(id).or_insert_with(|| Changed {
            kind: *kind,
            from: input.from.get(id).cloned(),
            to: Some((*resource).clone()),
            reasons: Vec::new(),
            disturbed: false,
        });
        // What isn't there yet, or doesn't run, is begun afresh anyway.
        let Some(from) = entry.from.as_mut().filter(|from| from.is(attribute)) else {
            continue;
        };
        from.attributes
            .insert(attribute.to_owned(), Value::Bool(false));
        entry.reasons.push(Reason {
            attribute: attribute.to_owned(),
            old: Some(Value::Bool(false)),
            new: Some(Value::Bool(true)),
            because: Some(cause),
        });
    }
    changes.retain(|_, changed| !changed.reasons.is_empty() || changed.disturbed);
}

/// The first step, by name, that changes something that the resource uses.
fn cause(
    changes: &Changes<'_>,
    to: &Relations<'_>,
    id: &ResourceId,
    resource: &Resource,
) -> Option<StepId> {
    let (_, kind) = to.resources.get(id)?;
    let it = Named { id, resource };
    let changed = |used: &&ResourceId| changes.get(*used).is_some_and(|it| it.kind.renews());
    // What is used directly explains more than what is used through it.
    let direct = to.used_by(*kind, it).into_iter().find(|used| changed(used));
    let used = direct.or_else(|| {
        to.used_through(*kind, it)
            .into_iter()
            .find(|used| changed(used))
    })?;
    Some(StepId::of(used, ""))
}
