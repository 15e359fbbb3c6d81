//! The pure planner: the difference of two states as a graph of steps.
//!
//! [`plan`] is the whole product in one function. It is a list of named passes; each says why it
//! stands where it stands. The planner never looks at a kind's name: what it knows of a resource is
//! what [`Kind`] says. No I/O, no clock, no randomness: the same inputs give the same plan.
//!
//! Start reading at [`plan`], then at `order`, where edges come from.

mod attend;
mod changes;
mod freshness;
mod order;
mod relations;
pub mod saved;
pub mod states;
mod waves;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::model::{HostName, Plan, ResourceId, State, Step, StepId, Thing, Wave};
use crate::step::kind::Kind;

pub(crate) use order::looks_only;

pub use crate::step::attendant::{Attendant, Turn};

/// All that a plan is made of.
#[derive(Clone, Copy)]
pub struct PlanInput<'a> {
    /// How everything is.
    pub from: &'a State,
    /// How everything should be. What isn't in it should be absent.
    pub to: &'a State,
    /// Everything that is known of kinds.
    pub kinds: &'a [&'a dyn Kind],
    /// Steps to be added by rule, where there are others or one comes by itself.
    pub attendants: &'a [Attendant],
    /// The wave of each host, from 1 on; a host that isn't in it is in the first.
    pub waves: &'a BTreeMap<HostName, Wave>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// A resource has a kind that this program doesn't know.
    #[error(
        "{resource} is of a kind that this rosey doesn't know: use the version that made it, or a later one"
    )]
    UnknownKind {
        /// The resource.
        resource: ResourceId,
    },
    /// Two resources want to make the same thing.
    #[error("{one} and {other} both make {thing}: remove one of them from the declaration")]
    TwoClaims {
        /// The thing.
        thing: Thing,
        /// The one.
        one: Box<ResourceId>,
        /// The other.
        other: Box<ResourceId>,
    },
    /// What makes a thing by now, and what is to make it, are two resources.
    #[error(
        "{one} and {other} both make {thing}, of which only one is there: it can't go over from the one to the other in one plan; apply a declaration without {thing} first"
    )]
    GoesOver {
        /// The thing.
        thing: Thing,
        /// The one.
        one: Box<ResourceId>,
        /// The other.
        other: Box<ResourceId>,
    },
    /// Steps wait for each other.
    #[error("these steps wait for each other: {}", .steps.iter().map(|id| id.0.as_str()).collect::<Vec<_>>().join(", "))]
    Cycle {
        /// The steps of one circle, sorted.
        steps: Vec<StepId>,
    },
}

/// Plans the way from one state to another.
///
/// Empty when nothing differs: attendants make no plan but where one comes by itself.
///
/// # Errors
/// When the wanted state contradicts itself; see [`PlanError`].
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    // Relations first: every later pass asks who makes and who uses what.
    let from = relations::Relations::of(input.from, input.kinds).map_err(goes_over)?;
    let to = relations::Relations::of(input.to, input.kinds)?;
    // What differs by itself.
    let mut changes = changes::of(input, &from, &to);
    // What differs because of what differs: needs the changes, and adds to them once. Services renew
    // nothing themselves, so once is enough.
    freshness::add(&mut changes, input, &from, &to);
    // Steps, once all reasons are known, since a kind chooses its parts by them.
    let mut steps = changes::into_steps(&changes);
    if steps.is_empty() && !input.attendants.iter().any(|it| it.lone) {
        return Ok(Plan::default());
    }
    // Edges among the things, then attendants, whose place is relative to all of those.
    let mut edges = order::edges(&steps, &from, &to);
    attend::add(&mut steps, &mut edges, input);
    // Waves need the edges: what inert work waits for is inert too.
    waves::assign(&mut steps, &edges, input);
    // One host for what happens once: needs the waves, since the first wave's host is chosen.
    waves::elect(&mut steps, &mut edges, input);
    order::sorted(steps, edges)
}

/// No declaration says twice what is there: the one leaves it, and the other one was asked for it.
fn goes_over(error: PlanError) -> PlanError {
    match error {
        PlanError::TwoClaims { thing, one, other } => PlanError::GoesOver { thing, one, other },
        other => other,
    }
}

/// Edges as pairs of indexes: the first comes before the second.
type Edges = std::collections::BTreeSet<(usize, usize)>;

/// A step in the graph, before it has its place in the order.
struct Node<'a> {
    step: Step,
    kind: Option<&'a dyn Kind>,
}
