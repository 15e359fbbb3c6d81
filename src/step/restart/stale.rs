//! Whether a service runs on something that rosey has changed since it was started.

use std::collections::BTreeSet;
use std::path::Path;

use crate::host::{DROP_INS, Manager, ServiceStatus};
use crate::model::{Moment, Resource, ResourceId, ResourceKind, Thing};
use crate::step::kind::{Kind, Named, ObserveContext};
use crate::step::registry::kind_of;

use super::beside::heeded;
use super::declare::Restart;
use super::settings::ServiceSettings;

/// Whether anything that the service uses was changed by rosey after its main process was started,
/// in this boot; a definition also when rosey hasn't renewed the service since. What has had no main process in this
/// boot, as a service whose `ExecStartPre=` fails again and again, was started before any change in it.
pub(super) fn is_stale(
    context: &ObserveContext<'_>,
    id: &ResourceId,
    settings: &ServiceSettings,
    status: &ServiceStatus,
) -> bool {
    let started = &status.started.clone().unwrap_or_else(|| Moment {
        monotonic: 0,
        ..context.host.moment()
    });
    let renewed = (context.changed)(id);
    // A renewal of an earlier boot is none: neither is after the other then.
    let is_since_renewal = |change: &Moment| {
        let covers = |renewal: &Moment| renewal.is_after(change);
        !renewed.as_ref().is_some_and(covers)
    };
    let is_later = |used: &ResourceId, change: &Moment| match settings.restart {
        // Others restart it, as they see fit.
        Restart::Never => change.is_after(started),
        // Systemd starts what has died by itself, with the definition that it has loaded. Which one that is it doesn't
        // say: what was put back is no change to it, and it reads all again for whichever service. So the start of the
        // process proves nothing; rosey's own step does, which has definitions read before.
        _ if is_definition(settings, used) => {
            change.boot == started.boot && is_since_renewal(change)
        }
        Restart::Reload => change.is_after(started) && is_since_renewal(change),
        Restart::OnChange => change.is_after(started),
    };
    used_through(context, id, settings)
        .into_iter()
        .filter(|used| kind_of(&used.kind).is_some_and(Kind::renews))
        .any(|used| (context.changed)(used).is_some_and(|change| is_later(used, &change)))
}

/// Whether it is a part of the definition of which systemd keeps a copy. The built-in manager reads a definition at
/// each start, and starts nothing by itself.
fn is_definition(settings: &ServiceSettings, used: &ResourceId) -> bool {
    let mut directories = DROP_INS.iter();
    settings.unit.manager == Manager::Systemd
        && directories.any(|directory| Path::new(&used.name).starts_with(directory))
}

/// The resources that a service uses, directly and through others.
///
/// Through a link what is used is what it shows now: what is wanted of it, or what a run that went
/// back wanted, is nobody's business here.
fn used_through<'a>(
    context: &ObserveContext<'a>,
    user: &ResourceId,
    settings: &ServiceSettings,
) -> BTreeSet<&'a ResourceId> {
    let mut open: Vec<Thing> = settings.uses.iter().cloned().map(Thing::Path).collect();
    let heeded = heeded(settings);
    let is_heeded = |(id, resource): &&(ResourceId, Resource)| {
        let made = kind_of(&id.kind).map(|kind| kind.makes(Named { id, resource }));
        let mut made = made.into_iter().flatten();
        made.any(|made| heeded.iter().any(|heeded| made.needs(heeded)))
    };
    let beside = context.known.iter().filter(is_heeded);
    let mut reached: BTreeSet<_> = beside.map(|(id, _)| id).collect();
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
