//! What must be renewed because something that it uses changes: restarts are derived, never notified.

use crate::model::{Reason, Resource, ResourceId, StepId, Value};
use crate::step::kind::{Change, Named};

use super::PlanInput;
use super::changes::{Changed, Changes};
use super::order::looks_only;
use super::relations::Relations;

/// Adds, for everything that has a freshness and uses what changes, the reason to renew it; and the
/// state that its step will find: not fresh any more.
pub(super) fn add<'a>(
    changes: &mut Changes<'a>,
    input: &PlanInput<'a>,
    from: &Relations<'a>,
    to: &Relations<'a>,
) {
    for (id, (resource, kind)) in &to.resources {
        let it = Named { id, resource };
        let Some(attribute) = kind.freshness(it) else {
            continue;
        };
        let Some(cause) = cause(changes, from, to, id, resource) else {
            continue;
        };
        let entry = changes.entry(id).or_insert_with(|| Changed {
            kind: *kind,
            from: input.from.get(id).cloned(),
            to: Some((*resource).clone()),
            reasons: Vec::new(),
            disturbed: false,
        });
        // What isn't there yet is begun afresh anyway.
        let (Some(from), Some(to)) = (&mut entry.from, &mut entry.to) else {
            continue;
        };
        let value = |resource: &Resource, value| {
            let mut resource = resource.clone();
            let value = Value::Bool(value);
            resource.attributes.insert(attribute.to_owned(), value);
            resource
        };
        let (stale, renewed) = (value(from, false), value(to, true));
        if to.is(attribute) {
            // What was stale before is compared, and what doesn't run is begun afresh anyway.
            if !from.is(attribute) {
                continue;
            }
        } else {
            // Nothing can be made stale again: on the way back of a run that found it so, and where a service that was
            // found so is given back. If it runs, it mustn't run on what is about to go.
            let compared = kind.compare(Change {
                id,
                from: Some(&stale),
                to: Some(&renewed),
            });
            if !compared.iter().any(|reason| reason.attribute == attribute) {
                continue;
            }
            *to = renewed;
        }
        *from = stale;
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
    from: &Relations<'_>,
    to: &Relations<'_>,
    id: &ResourceId,
    resource: &Resource,
) -> Option<StepId> {
    let (_, kind) = to.resources.get(id)?;
    let it = Named { id, resource };
    let changed = |used: &&ResourceId| changes.get(*used).is_some_and(|it| it.kind.renews());
    // What is used directly explains more than what is used through it.
    let direct = to.used_by(*kind, it).into_iter().find(|used| changed(used));
    let through = || {
        let mut used = to.used_through(*kind, it).into_iter();
        used.find(|used| changed(used))
    };
    // What it names and what leaves: a site that a web server has read.
    let gone = || {
        let mut used = from.used_by(*kind, it).into_iter();
        used.find(|used| looks_only(*kind, it) && changed(used))
    };
    // What stood beside it and leaves: a part of its definition.
    let heeded = || {
        let (resource, kind) = from.resources.get(id)?;
        let heeded = from.heeded_by(*kind, Named { id, resource });
        heeded.into_iter().find(|used| changed(used))
    };
    let used = direct.or_else(through).or_else(gone).or_else(heeded)?;
    Some(StepId::of(used, ""))
}
