//! What stands beside a unit and changes it: drop-ins, as `systemctl edit` and `systemctl set-property` make them.
//!
//! Only what is beside the unit itself is of interest. What changes all services, or all whose names begin alike, is
//! others' business (systemd.unit(5)), and so is everything beside a service that is declared `external`.

use std::collections::BTreeSet;
use std::path::Path;

use crate::host::{DROP_INS, EntryType, HostError, HostErrorKind, Manager, ReadHost, UNITS};
use crate::model::{Resource, ResourceId, ResourceKind, State, Thing, Value};
use crate::step::sync::file::{extra, left};

use super::settings::ServiceSettings;

/// The setting of a service that says that its ledger knows what stood beside its unit when rosey came to it.
pub const NOTED: &str = "beside";

/// The drop-ins of services' units of which neither what is wanted nor what was applied knows, each with how it is to be
/// read.
///
/// Beside a unit that rosey has applied they are somebody's change since. What stood there when rosey came is left as it
/// is; so is all that stands beside a unit whose ledger, an older one, didn't note that.
///
/// # Errors
/// When it can't be known whether there are any.
pub fn beside(
    host: &dyn ReadHost,
    wanted: &State,
    applied: Option<&State>,
) -> Result<State, HostError> {
    let last = |id: &ResourceId| applied.and_then(|state| state.get(id));
    let all = applied.into_iter().chain([wanted]);
    let all: BTreeSet<&ResourceId> = all.flat_map(|state| state.resources.keys()).collect();
    let mut found = State::default();
    for id in all.iter().filter(|id| id.kind == ResourceKind::SERVICE) {
        if !has_own_unit(id, wanted.get(id).or(last(id))) {
            continue;
        }
        let noted = |last: &Resource| {
            let noted = last.settings.get(NOTED).and_then(Value::as_bool);
            noted == Some(true) && has_own_unit(id, Some(last))
        };
        let is_noted = last(id).is_some_and(noted);
        let named = |kind, name: &str| ResourceId {
            kind,
            name: name.to_owned(),
            ..(*id).clone()
        };
        for directory in DROP_INS.map(|directory| format!("{directory}/{}.d", id.name)) {
            let drop_ins = drop_ins(host, &directory)?;
            let unknown = drop_ins.files.iter();
            let unknown = unknown.map(|path| named(ResourceKind::FILE, path));
            let unknown: Vec<_> = unknown.filter(|id| !all.contains(id)).collect();
            if is_noted && !unknown.is_empty() && unknown.len() == drop_ins.entries {
                // It was made for them, and goes with the last one.
                let directory = named(ResourceKind::DIRECTORY, &directory);
                if !all.contains(&directory) {
                    found.resources.insert(directory, Resource::new());
                }
            }
            let resource = if is_noted {
                extra(&id.name)
            } else {
                left(&id.name)
            };
            let unknown = unknown.into_iter();
            found
                .resources
                .extend(unknown.map(|id| (id, resource.clone())));
        }
    }
    Ok(found)
}

/// Whether systemd runs a service by a unit that is ours.
fn has_own_unit(id: &ResourceId, resource: Option<&Resource>) -> bool {
    let settings = ServiceSettings::of(id, resource);
    resource.is_some() && !settings.external && settings.unit.manager == Manager::Systemd
}

/// What is in a directory of drop-ins.
#[derive(Default)]
struct DropIns {
    files: Vec<String>,
    /// How many entries it has, these among them.
    entries: usize,
}

/// Lists a directory of drop-ins. What is no file and no link systemd doesn't read, and behind a link rosey doesn't look.
fn drop_ins(host: &dyn ReadHost, directory: &str) -> Result<DropIns, HostError> {
    let mut found = DropIns::default();
    if kind_at(host, directory)? != Some(EntryType::Directory) {
        return Ok(found);
    }
    let names = host.list(Path::new(directory))?;
    for name in &names {
        let name = name.to_string_lossy();
        let path = format!("{directory}/{name}");
        let may_be_read = name.ends_with(".conf") && !name.starts_with('.');
        if may_be_read && let Some(EntryType::File | EntryType::Link) = kind_at(host, &path)? {
            found.files.push(path);
        }
    }
    found.entries = names.len();
    Ok(found)
}

fn kind_at(host: &dyn ReadHost, path: &str) -> Result<Option<EntryType>, HostError> {
    match host.entry(Path::new(path)) {
        Err(error)
            if matches!(
                error.kind,
                HostErrorKind::NotFound | HostErrorKind::LinkOnTheWay
            ) =>
        {
            Ok(None)
        }
        entry => Ok(entry?.map(|entry| entry.kind)),
    }
}

/// What a service's definition consists of beside what it can't be without: its unit, and whatever stands beside it.
pub(super) fn heeded(settings: &ServiceSettings) -> Vec<Thing> {
    let name = &settings.unit.name;
    let unit = format!("{UNITS}/{name}");
    let below = format!("{unit}.d/");
    let uses = settings.uses.iter().cloned();
    let mut heeded: Vec<String> = uses
        .filter(|path| *path == unit || path.starts_with(&below))
        .collect();
    if !settings.external && settings.unit.manager == Manager::Systemd {
        heeded.extend(DROP_INS.map(|directory| format!("{directory}/{name}.d/")));
    }
    heeded.into_iter().map(Thing::Path).collect()
}
