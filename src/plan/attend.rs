//! Where attendants stand among the steps.

use crate::model::{Resource, Step, StepId, Wave};
use crate::step::attendant::{Attendant, Turn};
use crate::step::kind::Named;

use super::{Edges, Node, PlanInput, waves};

/// Adds each attendant where its app changes on its host, and those that come by themselves.
pub(super) fn add(steps: &mut Vec<Node<'_>>, edges: &mut Edges, input: &PlanInput<'_>) {
    let mut attendants: Vec<_> = input.attendants.iter().collect();
    // The last ones wait for the others too.
    attendants.sort_by_key(|attendant| attendant.turn == Turn::Last);
    for attendant in attendants {
        let id = &attendant.resource;
        let index = steps.len();
        let accompanied: Vec<usize> = (0..index)
            .filter(|it| {
                let step = &steps[*it];
                let same = step.step.resource.host == id.host && step.step.resource.app == id.app;
                same && (attendant.turn != Turn::First || !waves::may_be_inert(step))
            })
            .collect();
        if accompanied.is_empty() && !attendant.lone {
            continue;
        }
        for other in accompanied {
            match attendant.turn {
                Turn::First => drop(edges.insert((index, other))),
                Turn::Last => drop(edges.insert((other, index))),
                Turn::Quiet => {
                    let has =
                        |resource: &Option<Resource>| occupies(&steps[other], resource, attendant);
                    match (has(&steps[other].step.from), has(&steps[other].step.to)) {
                        (true, false) => drop(edges.insert((other, index))),
                        (false, true) => drop(edges.insert((index, other))),
                        _ => {}
                    }
                }
            }
        }
        let step = Step {
            id: StepId::of(id, attendant.action.as_str()),
            kind: attendant.kind.clone(),
            resource: id.clone(),
            action: attendant.action,
            from: None,
            to: Some(attendant.with.clone()),
            reasons: Vec::new(),
            label: attendant.label,
            wave: Wave::INERT,
            after: Vec::new(),
        };
        steps.push(Node { step, kind: None });
    }
}

/// Whether a resource in a state has something that an attendant disturbs.
fn occupies(node: &Node<'_>, resource: &Option<Resource>, attendant: &Attendant) -> bool {
    let (Some(kind), Some(resource)) = (node.kind, resource) else {
        return false;
    };
    let it = Named {
        id: &node.step.resource,
        resource,
    };
    kind.occupies(it)
        .iter()
        .any(|thing| attendant.disturbs.contains(thing))
}
