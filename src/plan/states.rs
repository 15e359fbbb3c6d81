//! The states that a command compares.

use crate::model::{ResourceId, ResourceKind, State};
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

/// What is there, with what it uses: that can't be read, and is what was declared when it was last renewed, whatever is
/// wanted by now. `last` is the last applied state.
///
/// # Errors
/// When a resource has a kind that this program doesn't know.
pub fn as_it_runs(actual: &State, last: &State, kinds: &[&dyn Kind]) -> Result<State, PlanError> {
    let mut from = actual.clone();
    for (id, found) in &mut from.resources {
        let Some(last) = last.get(id) else { continue };
        let last = Named { id, resource: last };
        if kind_of(kinds, id)?.is_used_as(last, found) {
            found.settings.clone_from(&last.resource.settings);
        }
    }
    Ok(from)
}

/// What a plan puts back beside what is wanted: what rosey has taken over, and what is wanted no more.
///
/// `last` is the last applied state, `found` what was there before rosey came to it. A service isn't
/// started again where another one comes in its stead: both would want the same port.
#[must_use]
pub fn given_back(wanted: &State, last: &State, found: &State) -> State {
    let is_service = |id: &ResourceId| id.kind == ResourceKind::SERVICE;
    let mut services = wanted.resources.keys().filter(|id| is_service(id));
    let replaced = services.any(|id| last.get(id).is_none());
    let resources = found.resources.iter().filter(|(id, _)| {
        last.get(id).is_some() && wanted.get(id).is_none() && !(replaced && is_service(id))
    });
    State {
        resources: resources
            .map(|(id, resource)| (id.clone(), resource.clone()))
            .collect(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppName, HostName, Resource};

    fn state(resources: &[(ResourceKind, &str, &str)]) -> State {
        let resources = resources.iter().map(|(kind, name, content)| {
            let id = ResourceId {
                host: HostName::new("a").unwrap(),
                app: AppName::new("bot").unwrap(),
                kind: kind.clone(),
                name: (*name).to_owned(),
            };
            (id, Resource::new().with("content", *content))
        });
        State {
            resources: resources.collect(),
        }
    }

    #[test]
    fn what_was_taken_over_is_given_back_but_a_service_not_beside_its_successor() {
        let (file, service) = (ResourceKind::FILE, ResourceKind::SERVICE);
        let both = |content| {
            [
                (file.clone(), "/etc/a", content),
                (service.clone(), "a", content),
            ]
        };
        let (last, found) = (state(&both("ours")), state(&both("theirs")));
        let given_back = |wanted: &State| given_back(wanted, &last, &found);
        assert_eq!(given_back(&State::default()), found);
        assert_eq!(given_back(&last), State::default());
        let renamed = state(&[(service.clone(), "b", "ours")]);
        assert_eq!(given_back(&renamed), state(&both("theirs")[..1]));
        let never = super::given_back(&State::default(), &State::default(), &found);
        assert_eq!(
            never,
            State::default(),
            "what rosey didn't take isn't its to give"
        );
    }
}
