//! What differs, resource by resource, and the steps that this makes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Reason, Resource, ResourceId, Step, StepId, Wave};
use crate::step::kind::{Change, Kind, Named};

use super::relations::Relations;
use super::{Node, PlanInput};

/// One resource that has to change, and why.
pub(super) struct Changed<'a> {
    pub kind: &'a dyn Kind,
    pub from: Option<Resource>,
    pub to: Option<Resource>,
    pub reasons: Vec<Reason>,
    pub disturbed: bool,
}

impl Changed<'_> {
    pub fn change<'b>(&'b self, id: &'b ResourceId) -> Change<'b> {
        Change {
            id,
            from: self.from.as_ref(),
            to: self.to.as_ref(),
        }
    }
}

pub(super) type Changes<'a> = BTreeMap<&'a ResourceId, Changed<'a>>;

/// Compares every resource that either state has.
pub(super) fn of<'a>(
    input: &PlanInput<'a>,
    from: &Relations<'a>,
    to: &Relations<'a>,
) -> Changes<'a> {
    let mut changes = Changes::new();
    let ids: BTreeSet<&ResourceId> = from
        .resources
        .keys()
        .chain(to.resources.keys())
        .copied()
        .collect();
    for id in ids {
        let old = from.resources.get(id);
        let new = to.resources.get(id);
        let Some((_, kind)) = new.or(old) else {
            continue;
        };
        let from = old.map(|(resource, _)| (*resource).clone());
        let to = new.map(|(resource, _)| (*resource).clone());
        let reasons = kind.compare(Change {
            id,
            from: from.as_ref(),
            to: to.as_ref(),
        });
        if !reasons.is_empty() {
            changes.insert(
                id,
                Changed {
                    kind: *kind,
                    from,
                    to,
                    reasons,
                    disturbed: false,
                },
            );
        }
    }
    disturb(&mut changes, input, from);
    changes
}

/// Marks what may not run while something else changes, and adds it where it isn't changed itself.
fn disturb<'a>(changes: &mut Changes<'a>, input: &PlanInput<'a>, from: &Relations<'a>) {
    let mut disturbed: BTreeSet<_> = changes
        .iter()
        .flat_map(|(id, changed)| {
            let things = changed.kind.disturbs(changed.change(id));
            things.into_iter().map(|thing| (id.host.clone(), thing))
        })
        .collect();
    for attendant in input.attendants {
        let host = &attendant.resource.host;
        disturbed.extend(
            attendant
                .disturbs
                .iter()
                .map(|thing| (host.clone(), thing.clone())),
        );
    }
    if disturbed.is_empty() {
        return;
    }
    for (id, (resource, kind)) in &from.resources {
        let occupied = kind.occupies(Named { id, resource });
        if !occupied
            .into_iter()
            .any(|thing| disturbed.contains(&(id.host.clone(), thing)))
        {
            continue;
        }
        let entry = changes.entry(id).or_insert_with(|| Changed {
            kind: *kind,
            from: Some((*resource).clone()),
            to: input.to.get(id).cloned(),
            reasons: Vec::new(),
            disturbed: false,
        });
        entry.disturbed = true;
    }
}

/// Makes the steps; a kind says how many parts each change has.
pub(super) fn into_steps<'a>(changes: &Changes<'a>) -> Vec<Node<'a>> {
    let mut steps = Vec::new();
    for (id, changed) in changes {
        let change = changed.change(id);
        let label = changed.kind.label(change);
        for part in changed
            .kind
            .parts(change, &changed.reasons, changed.disturbed)
        {
            let step = Step {
                id: StepId::of(id, part.name),
                kind: changed.kind.step(),
                resource: (*id).clone(),
                action: part.action,
                from: part.from,
                to: part.to,
                reasons: changed.reasons.clone(),
                label,
                wave: Wave::INERT,
                after: Vec::new(),
            };
            steps.push(Node {
                step,
                kind: Some(changed.kind),
            });
        }
    }
    steps
}
