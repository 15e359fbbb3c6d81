//! The states that a command compares.

use crate::model::State;
use crate::step::kind::{Change, Kind, Named};

use super::PlanError;
use super::relations::kind_of;

/// What should be, where a wanted state meets what is there.
///
/// - What is there, is not wanted and is *retained* by its kind (a kept release) stays until it is pruned.
/// - What is there is taken as far as its kind says so, as the ledger knows it or else as it is met
///   first: the mode of a directory that was there before rosey.
///
/// `last` is the last applied state.
///
/// # Errors
/// When a resource has a kind that this program doesn't know.
pub fn to_be(
    wanted: &State,
    actual: &State,
    last: &State,
    kinds: &[&dyn Kind],
) -> Result<State, PlanError> {
    let mut to = wanted.clone();
    for (id, found) in &actual.resources {
        let kind = kind_of(kinds, id)?;
        match to.resources.get_mut(id) {
            Some(wanted) => *wanted = kind.met(wanted, last.get(id).unwrap_or(found)),
            None if kind.is_retained(Named {
                id,
                resource: found,
            }) =>
            {
                to.resources.insert(id.clone(), found.clone());
            }
            None => {}
        }
    }
    Ok(to)
}

/// What the way back leads to, where a plan leads from `from` to `to`.
///
/// That is `from`; but a resource that the plan leaves alone is taken as it is wanted, since more can
/// be read of it than is declared (the owner of a link), and that makes no difference either way.
///
/// # Errors
/// When a resource has a kind that this program doesn't know.
pub fn before(from: &State, to: &State, kinds: &[&dyn Kind]) -> Result<State, PlanError> {
    let mut before = from.clone();
    for (id, found) in &mut before.resources {
        let Some(wanted) = to.get(id) else { continue };
        let change = Change {
            id,
            from: Some(found),
            to: Some(wanted),
        };
        if kind_of(kinds, id)?.compare(change).is_empty() {
            *found = wanted.clone();
        }
    }
    Ok(before)
}
