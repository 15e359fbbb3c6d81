//! Whether a service runs on something that rosey has changed since it was started.

use std::collections::BTreeSet;

use crate::host::ServiceStatus;
use crate::model::{Moment, Resource, ResourceId, ResourceKind, Thing};
use crate::step::kind::{Kind, Named, ObserveContext};
use crate::step::registry::kind_of;

use super::declare::Restart;
use super::settings::ServiceSettings;

/// Whether anything that the service uses was changed by rosey after its main process was started,
/// in this boot. What has no main process, or no known start, can't be stale.
pub(super) fn is_stale(
    context: &ObserveContext<'_>,
    id: &ResourceId,
    settings: &ServiceSettings,
    status: &ServiceStatus,
) -> bool {
    let Some(started) = &status.started else {
        return false;
    };
    let reloaded = match settings.restart {
        Restart::Reload => (context.changed)(id),
        Restart::OnChange | Restart::Never => None,
    };
    let is_later = |change: &Moment| {
        let reload_is_older = |reload: &Moment| change.is_after(reload);
        change.is_after(started) && reloaded.as_ref().is_none_or(reload_is_older)
    };
    let things = settings.uses.iter().cloned().map(Thing::Path).collect();
    used_through(context, id, things)
        .into_iter()
        .filter(|used| kind_of(&used.kind).is_some_and(Kind::renews))
        .filter_map(|used| (context.changed)(used))
        .any(|change| is_later(&change))
}

/// The resources that are needed for some things, directly and through others.
///
/// Through a link what is used is what it shows now: what is wanted of it, or what a run that went
/// back wanted, is nobody's business here.
fn used_through<'a>(
    context: &ObserveContext<'a>,
    user: &ResourceId,
    things: Vec<Thing>,
) -> BTreeSet<&'a ResourceId> {
    let mut reached = BTreeSet::new();
    let mut open = things;
    while let Some(thing) = open.pop() {
        for (id, resource) in context.known {
            let Some(kind) = kind_of(&id.kind).filter(|_| id != user) else {
                continue;
            };
            let it = Named { id, resource };
            let made = kind.makes(it);
            if made.iter().any(|made| thing.needs(made)) && reached.insert(id) {
                open.extend(match as_it_is(context, kind, it) {
                    Some(found) => kind.uses(Named {
                        id,
                        resource: &found,
                    }),
                    None => kind.uses(it),
                });
                open.extend(made.iter().filter_map(directory_of));
            }
        }
    }
    reached
}

/// A link as it is now; none for anything else, and for one that can't be read.
fn as_it_is(context: &ObserveContext<'_>, kind: &dyn Kind, it: Named<'_>) -> Option<Resource> {
    if it.id.kind != ResourceKind::LINK {
        return None;
    }
    let found = kind.observe(context, it.id, Some(it.resource));
    found.ok().and_then(|found| found.resource)
}

/// The directory that a path lies in: it can't be there without.
fn directory_of(thing: &Thing) -> Option<Thing> {
    let Thing::Path(path) = thing else {
        return None;
    };
    let end = path.rfind('/').filter(|end| *end > 0)?;
    Some(Thing::Path(path[..end].to_owned()))
}
