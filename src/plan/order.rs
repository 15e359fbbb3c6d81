//! Edges by rule, and the one order that a plan is written in.
//!
//! The rules, whatever the kinds are:
//! 1. what makes or changes a thing comes before what uses it;
//! 2. what stops using a thing comes before what removes it, and what only looks at it or heeds it after that;
//! 3. what gives up a turn comes before what takes it.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use petgraph::algo::kosaraju_scc;
use petgraph::algo::tred::{dag_to_toposorted_adjacency_list, dag_transitive_reduction_closure};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{IntoNeighbors, NodeIndexable};

use crate::model::{HostName, Plan, Resource, ResourceId, Thing};
use crate::step::kind::{Kind, Named};

use super::relations::Relations;
use super::{Edges, Node, PlanError};

/// The edges among steps on one host; only steps of one host make and use the same things.
pub(super) fn edges(steps: &[Node<'_>], from: &Relations<'_>, to: &Relations<'_>) -> Edges {
    let mut by_resource: BTreeMap<&ResourceId, Vec<usize>> = BTreeMap::new();
    for (index, node) in steps.iter().enumerate() {
        by_resource
            .entry(&node.step.resource)
            .or_default()
            .push(index);
    }
    let mut edges = Edges::new();
    for (index, node) in steps.iter().enumerate() {
        let id = &node.step.resource;
        let Some(kind) = node.kind else { continue };
        // Two parts of one resource follow each other as the kind named them.
        for other in &by_resource[id] {
            if *other < index {
                edges.insert((*other, index));
            }
        }
        // Rule 1.
        if let Some(resource) = &node.step.to {
            for used in to.used_through(kind, Named { id, resource }) {
                for maker in by_resource.get(used).into_iter().flatten() {
                    if steps[*maker].step.to.is_some() {
                        edges.insert((*maker, index));
                    }
                }
            }
        }
        // What comes, or comes up again, must not find what it would heed and what leaves.
        if let (None, Some(resource)) = (&node.step.from, &node.step.to) {
            for used in from.heeded_by(kind, Named { id, resource }) {
                for remover in by_resource.get(used).into_iter().flatten() {
                    if steps[*remover].step.to.is_none() {
                        edges.insert((*remover, index));
                    }
                }
            }
        }
        // Rule 2. Through others too: a server that runs in a tree uses it through a link, and goes
        // on using it, whatever the link says by then, until it is restarted.
        if let Some(resource) = &node.step.from {
            let still = match &node.step.to {
                Some(resource) => to.used_through(kind, Named { id, resource }),
                None => BTreeSet::new(),
            };
            // What only looks at things (a web server at its sites) and goes on naming what leaves has to see that it
            // is gone.
            let mut missed = match &node.step.to {
                Some(resource) if looks_only(kind, Named { id, resource }) => {
                    from.used_by(kind, Named { id, resource })
                }
                _ => BTreeSet::new(),
            };
            if node.step.to.is_some() {
                missed.extend(from.heeded_by(kind, Named { id, resource }));
            }
            for used in from.used_through(kind, Named { id, resource }) {
                if still.contains(used) {
                    continue;
                }
                for remover in by_resource.get(used).into_iter().flatten() {
                    if steps[*remover].step.to.is_some() {
                        continue;
                    }
                    edges.insert(if missed.contains(used) {
                        (*remover, index)
                    } else {
                        (index, *remover)
                    });
                }
            }
        }
    }
    turns(steps, &mut edges);
    edges
}

/// Whether something is renewed by what it uses, and nothing is there because of it.
pub(crate) fn looks_only(kind: &dyn Kind, it: Named<'_>) -> bool {
    kind.freshness(it).is_some() && kind.makes(it).is_empty() && kind.occupies(it).is_empty()
}

/// Rule 3.
fn turns(steps: &[Node<'_>], edges: &mut Edges) {
    let mut given: BTreeMap<(&HostName, Thing), Vec<usize>> = BTreeMap::new();
    let mut taken: BTreeMap<(&HostName, Thing), Vec<usize>> = BTreeMap::new();
    for (index, node) in steps.iter().enumerate() {
        let occupied = |resource: &Option<Resource>| -> BTreeSet<Thing> {
            match (node.kind, resource) {
                (Some(kind), Some(resource)) => {
                    let it = Named {
                        id: &node.step.resource,
                        resource,
                    };
                    kind.occupies(it).into_iter().collect()
                }
                _ => BTreeSet::new(),
            }
        };
        let (before, after) = (occupied(&node.step.from), occupied(&node.step.to));
        let host = &node.step.resource.host;
        for thing in before.difference(&after) {
            given.entry((host, thing.clone())).or_default().push(index);
        }
        for thing in after.difference(&before) {
            taken.entry((host, thing.clone())).or_default().push(index);
        }
    }
    for (thing, givers) in &given {
        for taker in taken.get(thing).into_iter().flatten() {
            edges.extend(
                givers
                    .iter()
                    .filter(|giver| *giver != taker)
                    .map(|giver| (*giver, *taker)),
            );
        }
    }
}

/// Puts the steps into their order, by wave, then by name wherever the edges leave a choice, and
/// leaves out edges that others imply.
pub(super) fn sorted(steps: Vec<Node<'_>>, edges: Edges) -> Result<Plan, PlanError> {
    let mut graph = DiGraph::<(), ()>::new();
    for _ in &steps {
        graph.add_node(());
    }
    for (before, after) in &edges {
        graph.add_edge(NodeIndex::new(*before), NodeIndex::new(*after), ());
    }
    // Not `is_cyclic_directed` or `tarjan_scc`: those recurse once for each step of a chain.
    if let Some(circle) = kosaraju_scc(&graph)
        .into_iter()
        .find(|circle| circle.len() > 1)
    {
        let mut steps: Vec<_> = circle
            .into_iter()
            .map(|node| steps[node.index()].step.id.clone())
            .collect();
        steps.sort();
        return Err(PlanError::Cycle { steps });
    }
    let order = ordered(&steps, &edges);
    let needed = reduced(&graph, &order);
    let mut plan = Plan::default();
    for index in order {
        let mut step = steps[index].step.clone();
        step.after = needed
            .iter()
            .filter(|(_, after)| *after == index)
            .map(|(before, _)| steps[*before].step.id.clone())
            .collect();
        step.after.sort();
        plan.steps.push(step);
    }
    Ok(plan)
}

fn ordered(steps: &[Node<'_>], edges: &Edges) -> Vec<usize> {
    let mut waiting = vec![0usize; steps.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (before, after) in edges {
        waiting[*after] += 1;
        followers[*before].push(*after);
    }
    let key = |index: usize| {
        let step = &steps[index].step;
        std::cmp::Reverse((step.wave, step.id.clone(), index))
    };
    let mut free: BinaryHeap<_> = (0..steps.len())
        .filter(|index| waiting[*index] == 0)
        .map(key)
        .collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(std::cmp::Reverse((_, _, index))) = free.pop() {
        order.push(index);
        for follower in &followers[index] {
            waiting[*follower] -= 1;
            if waiting[*follower] == 0 {
                free.push(key(*follower));
            }
        }
    }
    order
}

/// The edges that no others imply.
fn reduced(graph: &DiGraph<(), ()>, order: &[usize]) -> Edges {
    let topological: Vec<NodeIndex> = order.iter().map(|index| NodeIndex::new(*index)).collect();
    let (adjacency, _) = dag_to_toposorted_adjacency_list::<_, u32>(graph, &topological);
    let (reduction, _) = dag_transitive_reduction_closure(&adjacency);
    let mut edges = Edges::new();
    for position in 0..reduction.node_bound() {
        let from = reduction.from_index(position);
        for to in reduction.neighbors(from) {
            edges.insert((order[position], order[reduction.to_index(to)]));
        }
    }
    edges
}
