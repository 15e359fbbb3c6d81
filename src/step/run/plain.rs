//! Tasks that only have an effect: they run in the release, and a stamp in rosey's own directory
//! says that they did.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::content::{Manifest, Patterns, TreeQuery, read_tree};
use crate::host::{HostError, HostErrorKind, ReadHost};
use crate::model::{Action, Resource, ResourceId, Step, Value};
use crate::step::kind::{ObserveContext, StepContext, StepError};

use super::command;
use super::settings::TaskSettings;
use super::stamp::{self, Stamp, sync_parent};

/// The setting of what was read that names the stamps before this one, newest first.
const EARLIER: &str = "earlier";

/// The setting of what was read that says that other hosts did it, each time: it is only noted here.
const NOTED: &str = "noted";

/// What is read of a task that was begun and of which nobody knows how far it came.
const UNFINISHED: &str = "unfinished";

pub(super) fn observe(
    context: &ObserveContext<'_>,
    id: &ResourceId,
) -> Result<Option<Resource>, HostError> {
    let path = stamp::path(context.places, &id.name);
    let Some(stamp) = stamp::read(context.host, &path)? else {
        return Ok(None);
    };
    let earlier: Vec<&str> = stamp
        .chain()
        .skip(1)
        .map(|stamp| stamp.stamp.as_str())
        .collect();
    let word = if stamp.unfinished {
        UNFINISHED
    } else {
        stamp.stamp.as_str()
    };
    let mut resource = Resource::new().with("stamp", word);
    resource.settings = stamp.settings.clone();
    if stamp.chain().all(|stamp| stamp.noted) {
        resource = resource.setting(NOTED, true);
    }
    Ok(Some(resource.setting(EARLIER, earlier)))
}

/// Whether the way from one stamp to another, or to none, leads back: then what was done is undone.
pub(super) fn is_undone(from: &Resource, to: Option<&Resource>) -> bool {
    match to {
        Some(to) => earlier(from).any(|stamp| Some(stamp) == to.text("stamp")),
        None => from.settings.contains_key("undo"),
    }
}

/// Whether it was read of a host that has only noted it.
pub(super) fn is_noted(resource: &Resource) -> bool {
    resource.settings.get(NOTED).and_then(Value::as_bool) == Some(true)
}

/// Whether the way back from a stamp is declared: by a command, or by a promise that none is needed.
pub(super) fn can_be_undone(settings: &BTreeMap<String, Value>) -> bool {
    settings.contains_key("undo")
        || settings.get("compatible").and_then(Value::as_bool) == Some(true)
}

fn earlier(resource: &Resource) -> impl Iterator<Item = &str> {
    let earlier = resource.settings.get(EARLIER);
    earlier.into_iter().flat_map(Value::texts)
}

/// A task that was cut off is found unfinished, and on a way back over several stamps each one between.
pub(super) fn is_between(step: &Step, found: Option<&Resource>) -> bool {
    let Some(found) = found else {
        return false;
    };
    if found.text("stamp") == Some(UNFINISHED) {
        return true;
    }
    let Some(from) = &step.from else {
        return false;
    };
    step.action == Action::Undo && earlier(from).any(|stamp| Some(stamp) == found.text("stamp"))
}

pub(super) fn apply(context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
    let name = &step.resource.name;
    let places = context.observe.places;
    let wanted = step.to.as_ref().and_then(|to| to.text("stamp"));
    let found = stamp::read(context.host.as_read(), &stamp::path(places, name))?;
    match (&step.to, found) {
        (None, None) => Ok(()),
        (None, Some(found)) if !may_be_undone(context, &step.resource, &found)? => {
            Ok(put_away(context, name)?)
        }
        (None, Some(found)) => go_back(context, step, found, None),
        (Some(_), Some(found)) if leads_back(&found, wanted) => {
            go_back(context, step, found, wanted)
        }
        (Some(to), found) => {
            if put_back(context, name, wanted)? {
                return Ok(());
            }
            forward(context, step, to, found.as_ref())
        }
    }
}

/// Whether there is something to undo, and a release to undo it from. Where all goes, what can't be undone any more is
/// forgotten with the rest; until then its stamp is kept, since nobody could do it again either.
fn may_be_undone(
    context: &StepContext<'_>,
    id: &ResourceId,
    found: &Stamp,
) -> Result<bool, HostError> {
    if !found.settings.contains_key("undo") {
        return Ok(false);
    }
    let release = TaskSettings::of(id, &found.settings).release;
    Ok(found.noted || found.unfinished || is_there(context.host.as_read(), &release)?)
}

fn leads_back(found: &Stamp, wanted: Option<&str>) -> bool {
    let mut earlier = found.chain().skip(1);
    earlier.any(|stamp| Some(stamp.stamp.as_str()) == wanted)
}

/// Runs the task in its release, which must stay as it was.
fn forward(
    context: &StepContext<'_>,
    step: &Step,
    to: &Resource,
    found: Option<&Stamp>,
) -> Result<(), StepError> {
    let task = TaskSettings::of(&step.resource, &to.settings);
    let began = Instant::now();
    let places = context.observe.places;
    let name = &step.resource.name;
    // What a try that was cut off has left is no stamp to go back to.
    let found = match found {
        Some(stamp) if stamp.unfinished => stamp.before.as_deref(),
        found => found,
    };
    let mut stamp = Stamp {
        stamp: to.text("stamp").unwrap_or_default().to_owned(),
        run: context.run.clone(),
        at: context.host.time(),
        elapsed: 0,
        noted: step.action == Action::Note,
        settings: to.settings.clone(),
        before: None,
        unfinished: true,
    }
    .on(found);
    // What was only read of a stamp that is brought back.
    for read in [EARLIER, NOTED] {
        stamp.settings.remove(read);
    }
    // Another host has done it for all: here it is only noted.
    if step.action != Action::Note {
        // Cut off from here on nobody knows how far the command came: then it is undone.
        stamp::keep(context.host, places, name, &stamp)?;
        if let Err(error) = run_in_release(context, &task, &task.what, &task.run) {
            if command::is_known(&error) {
                forget(context, name, found)?;
            }
            return Err(error);
        }
    }
    stamp.unfinished = false;
    stamp.elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(stamp::keep(context.host, places, name, &stamp)?)
}

/// Has the stamp before stand again.
fn forget(context: &StepContext<'_>, name: &str, before: Option<&Stamp>) -> Result<(), HostError> {
    let places = context.observe.places;
    match before {
        Some(before) => stamp::keep(context.host, places, name, before),
        None => {
            let path = stamp::path(places, name);
            context.host.remove_file(&path)?;
            sync_parent(context.host, &path)
        }
    }
}

/// Undoes one stamp after the other, newest first, until the wanted one stands. Only the host that
/// did it undoes it.
fn go_back(
    context: &StepContext<'_>,
    step: &Step,
    found: Stamp,
    wanted: Option<&str>,
) -> Result<(), StepError> {
    let name = &step.resource.name;
    let mut top = Some(Box::new(found));
    while let Some(mut stamp) = top.take_if(|stamp| Some(stamp.stamp.as_str()) != wanted) {
        if !stamp.noted {
            let places = context.observe.places;
            let was = std::mem::replace(&mut stamp.unfinished, true);
            if !was {
                // Cut off from here on nobody knows how far the undo came: then it is done again, or the task is.
                stamp::keep(context.host, places, name, &stamp)?;
            }
            if let Err(error) = undo(context, &step.resource, &stamp, wanted) {
                if !was && command::is_known(&error) {
                    stamp.unfinished = false;
                    stamp::keep(context.host, places, name, &stamp)?;
                }
                return Err(error);
            }
        }
        forget(context, name, stamp.before.as_deref())?;
        top = stamp.before;
    }
    Ok(())
}

fn undo(
    context: &StepContext<'_>,
    id: &ResourceId,
    stamp: &Stamp,
    wanted: Option<&str>,
) -> Result<(), StepError> {
    let task = TaskSettings::of(id, &stamp.settings);
    let what = format!("undo of {}", task.what);
    let failed = |how: &str| StepError::Command {
        what: what.clone(),
        how: how.to_owned(),
        tail: String::new(),
    };
    let Some(undo) = &task.undo else {
        // What was declared to do no harm to the release before stays done.
        return if task.compatible {
            Ok(())
        } else {
            Err(failed(
                "isn't possible: it is declared with neither `undo` nor `compatible`",
            ))
        };
    };
    if !is_there(context.host.as_read(), &task.release)? {
        // When everything goes, what can't be undone any more is forgotten with the rest.
        if wanted.is_none() {
            return Ok(());
        }
        return Err(failed(
            "isn't possible: the release that it was run from is gone",
        ));
    }
    run_in_release(context, &task, &what, undo)
}

fn run_in_release(
    context: &StepContext<'_>,
    task: &TaskSettings,
    what: &str,
    shell: &str,
) -> Result<(), StepError> {
    let before = manifest(context, task)?;
    let ran = command::run(context, task, what, shell, &task.release);
    let after = manifest(context, task);
    ran?;
    let after = after.map_err(|error| StepError::Command {
        what: what.to_owned(),
        how: format!("was run in a release that can't be read any more: {error}"),
        tail: String::new(),
    })?;
    let ignore = Patterns::lenient(context.observe.ignore);
    let changes = before.compare(&after, &ignore);
    if changes.is_empty() {
        return Ok(());
    }
    let paths: Vec<String> = changes
        .iter()
        .take(5)
        .map(|(path, _, detail)| format!("\n  {path}: {detail}"))
        .collect();
    Err(StepError::Command {
        what: what.to_owned(),
        how: format!(
            "changed {} path(s) of the release, which must stay as it is; declare what it makes as `output`, or write to `shared`",
            changes.len()
        ),
        tail: paths.concat(),
    })
}

fn manifest(context: &StepContext<'_>, task: &TaskSettings) -> Result<Manifest, HostError> {
    let ignore = Patterns::lenient(context.observe.ignore);
    let query = TreeQuery {
        root: &task.release,
        seal: context.observe.seal,
        ignore: &ignore,
        wanted: None,
        owner: None,
    };
    let found = read_tree(context.host.as_read(), query)?;
    Ok(found.map(|found| found.manifest).unwrap_or_default())
}

/// Takes a stamp away that needs no undoing; it is kept for the way back.
fn put_away(context: &StepContext<'_>, name: &str) -> Result<(), HostError> {
    let places = context.observe.places;
    let path = stamp::path(places, name);
    let aside = stamp::removed_path(places, name, context.run);
    context.host.replace(&path, &aside)?;
    sync_parent(context.host, &path)
}

/// Puts back a stamp that this run has taken away; says whether there was one.
fn put_back(
    context: &StepContext<'_>,
    name: &str,
    wanted: Option<&str>,
) -> Result<bool, HostError> {
    let places = context.observe.places;
    let aside = stamp::removed_path(places, name, context.run);
    let kept = stamp::read(context.host.as_read(), &aside)?;
    if kept.is_none_or(|kept| Some(kept.stamp.as_str()) != wanted) {
        return Ok(false);
    }
    let path = stamp::path(places, name);
    context.host.replace(&aside, &path)?;
    sync_parent(context.host, &path)?;
    Ok(true)
}

pub(super) fn sweep(context: &StepContext<'_>, step: &Step) -> Result<(), HostError> {
    let places = context.observe.places;
    let aside = stamp::removed_path(places, &step.resource.name, context.run);
    let host = context.host;
    if is_there(host.as_read(), &aside)? {
        host.remove_file(&aside)?;
        sync_parent(host, &aside)?;
    }
    Ok(())
}

fn is_there(host: &dyn ReadHost, path: &Path) -> Result<bool, HostError> {
    match host.entry(path) {
        Ok(entry) => Ok(entry.is_some()),
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
