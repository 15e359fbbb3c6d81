//! When each step's turn comes, and on which host something happens that happens once.

use std::collections::BTreeMap;

use crate::model::{Action, AppName, Label, Resource, ResourceId, ResourceKind, Wave};
use crate::step::kind::Change;

use super::{Edges, Node, PlanInput};

/// Gives every step its wave: inert work and what it waits for first, everything else in the wave
/// of its host. Removals are never inert: what they remove may be in use until their host's wave.
pub(super) fn assign(steps: &mut [Node<'_>], edges: &Edges, input: &PlanInput<'_>) {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (first, second) in edges {
        before[*second].push(*first);
    }
    let mut early = vec![false; steps.len()];
    for index in 0..steps.len() {
        let ancestors = ancestors(index, &before);
        if is_inert(&steps[index]) && ancestors.iter().all(|it| may_be_inert(&steps[*it])) {
            early[index] = true;
            ancestors.into_iter().for_each(|it| early[it] = true);
        }
    }
    for (node, early) in steps.iter_mut().zip(early) {
        let of_host = || {
            input
                .waves
                .get(&node.step.resource.host)
                .copied()
                .unwrap_or(Wave(1))
        };
        node.step.wave = if early { Wave::INERT } else { of_host() };
    }
}

/// Whether the running system can't see a step.
pub(super) fn is_inert(node: &Node<'_>) -> bool {
    let step = &node.step;
    let change = Change {
        id: &step.resource,
        from: step.from.as_ref(),
        to: step.to.as_ref(),
    };
    step.to.is_some() && node.kind.is_some_and(|kind| kind.is_inert(change))
}

/// Whether a step that inert work waits for may come early: it is inert itself, or makes something
/// that nobody can be using yet and that renews nobody (a directory).
pub(super) fn may_be_inert(node: &Node<'_>) -> bool {
    let makes_directory = node.step.from.is_none() && node.kind.is_some_and(|kind| !kind.renews());
    is_inert(node) || makes_directory
}

fn ancestors(index: usize, before: &[Vec<usize>]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut seen = vec![false; before.len()];
    let mut open = before[index].clone();
    while let Some(next) = open.pop() {
        if !std::mem::replace(&mut seen[next], true) {
            found.push(next);
            open.extend(&before[next]);
        }
    }
    found
}

/// Chooses the host for each change that is made once a run; the others note that it was made, and
/// wait for it. Where a host of the app has it from an earlier run, all others only note it.
pub(super) fn elect(steps: &mut [Node<'_>], edges: &mut Edges, input: &PlanInput<'_>) {
    let mut groups: BTreeMap<(AppName, ResourceKind, String), Vec<usize>> = BTreeMap::new();
    for (index, node) in steps.iter().enumerate() {
        let step = &node.step;
        let change = Change {
            id: &step.resource,
            from: step.from.as_ref(),
            to: step.to.as_ref(),
        };
        // What is undone is undone where it was made, and noted where that was noted.
        let is_made = step.to.is_some() && step.action != Action::Undo;
        if is_made && node.kind.is_some_and(|kind| kind.is_once(change)) {
            let id = &step.resource;
            let key = (id.app.clone(), id.kind.clone(), id.name.clone());
            groups.entry(key).or_default().push(index);
        }
    }
    for group in groups.values() {
        if group
            .iter()
            .all(|index| is_made_elsewhere(&steps[*index], input))
        {
            for index in group {
                steps[*index].step.action = Action::Note;
                // Nothing is made but the note.
                steps[*index].step.label = Label::Reversible;
            }
            continue;
        }
        let wave = |host| input.waves.get(host).copied().unwrap_or(Wave(1));
        let first = group.iter().copied().min_by_key(|index| {
            let host = &steps[*index].step.resource.host;
            (wave(host), host.clone())
        });
        let Some(first) = first else { continue };
        for other in group.iter().copied().filter(|other| *other != first) {
            steps[other].step.action = Action::Note;
            edges.insert((first, other));
        }
    }
}

/// Whether another host has what a step makes, and keeps it.
fn is_made_elsewhere(node: &Node<'_>, input: &PlanInput<'_>) -> bool {
    let Some(kind) = node.kind else {
        return false;
    };
    let id = &node.step.resource;
    let has_it = |host: &ResourceId, found: &Resource| {
        let same = |to: Option<&Resource>| {
            let change = Change {
                id: host,
                from: Some(found),
                to,
            };
            to.is_some() && kind.compare(change).is_empty()
        };
        same(node.step.to.as_ref()) && same(input.to.get(host))
    };
    let mut others = input.from.resources.iter().filter(|(other, _)| {
        other.host != id.host
            && (&other.app, &other.kind, &other.name) == (&id.app, &id.kind, &id.name)
    });
    others.any(|(other, found)| has_it(other, found))
}
