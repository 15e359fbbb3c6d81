//! Tasks that make something: a directory below `built/`, with a stamp in it when it is whole.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::content::{make_own, remove_tree};
use crate::host::{EntryType, HostError, HostErrorKind, Owner, ReadHost, WriteHost};
use crate::model::{Resource, ResourceId, Step};
use crate::step::kind::{Change, InTheWay, ObserveContext, StepContext, StepError};

use super::command;
use super::settings::TaskSettings;
use super::stamp::{self, BUILT_STAMP, Stamp, cache_path, sync_parent};

/// The stamp of a directory that was begun and isn't whole.
const UNFINISHED: &str = "unfinished";
/// The stamp of something that is no directory.
const FOREIGN: &str = "no directory";

/// Whether what was found is debris of a run that was cut off.
pub(super) fn is_unfinished(found: &Resource) -> bool {
    found.text("stamp") == Some(UNFINISHED)
}

/// What lies where a task is to make its directory.
pub(super) fn in_the_way(change: Change<'_>) -> Option<InTheWay> {
    let is_foreign = |resource: &Resource| resource.text("stamp") == Some(FOREIGN);
    let is_in_the_way = change.from.is_some_and(is_foreign) && !change.to.is_none_or(is_foreign);
    is_in_the_way.then(|| InTheWay {
        lies: FOREIGN.to_owned(),
        belongs: "what a task has made".to_owned(),
    })
}

pub(super) fn observe(
    context: &ObserveContext<'_>,
    id: &ResourceId,
    wanted: Option<&Resource>,
) -> Result<Option<Resource>, HostError> {
    let settings = wanted.map(|wanted| wanted.settings.clone());
    let settings = settings.unwrap_or_default();
    let task = TaskSettings::of(id, &settings);
    let output = task.output.as_deref();
    let Some(stamp) = stamp_at(context.host, Path::new(&id.name), output)? else {
        return Ok(None);
    };
    let mut resource = Resource::new().with("stamp", stamp);
    resource.settings = settings;
    Ok(Some(resource))
}

/// What stands at the place of a built directory.
fn stamp_at(
    host: &dyn ReadHost,
    built: &Path,
    output: Option<&Path>,
) -> Result<Option<String>, HostError> {
    match there(host, built)? {
        None => return Ok(None),
        Some(EntryType::Directory) => {}
        Some(_) => return Ok(Some(FOREIGN.to_owned())),
    }
    let whole = match output {
        Some(output) => there(host, &built.join(output))?.is_some(),
        None => true,
    };
    // The task's user may write there, so anything may stand in the stamp's place.
    let stamp = match stamp::read(host, &built.join(BUILT_STAMP)) {
        Ok(stamp) => stamp.filter(|_| whole),
        Err(error) if matches!(error.kind, HostErrorKind::Other(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Some(stamp.map_or_else(
        || UNFINISHED.to_owned(),
        |stamp| stamp.stamp,
    )))
}

fn there(host: &dyn ReadHost, path: &Path) -> Result<Option<EntryType>, HostError> {
    match host.entry(path) {
        Ok(entry) => Ok(entry.map(|entry| entry.kind)),
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn apply(context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
    let host = context.host;
    let built = Path::new(&step.resource.name);
    let found = stamp_at(host.as_read(), built, None)?;
    if found.as_deref() == Some(FOREIGN) {
        return Err(StepError::Conflict {
            resource: step.resource.to_string(),
            found: "something that is no directory is in its place".to_owned(),
        });
    }
    let Some(to) = &step.to else {
        return Ok(put_away(context, built, found.as_deref())?);
    };
    if is_unfinished(to) {
        // What it was before is debris: any directory without a stamp is as good.
        put_away(context, built, found.as_deref())?;
        host.make_directory(built, 0o755, context.owner)?;
        return Ok(sync_parent(host, built)?);
    }
    let wanted = to.text("stamp").unwrap_or_default();
    let task = TaskSettings::of(&step.resource, &to.settings);
    if bring_back(context, built, &task, wanted)? {
        return Ok(());
    }
    match build(context, built, &task, wanted, to) {
        Ok(()) => Ok(()),
        Err(error) => {
            // Debris in the way harms nothing, and the next try removes it; only the task's own
            // failure is worth telling.
            let _ = clear(host, built);
            Err(error)
        }
    }
}

/// Takes what was built once and is kept; says whether there was such a thing.
fn bring_back(
    context: &StepContext<'_>,
    built: &Path,
    task: &TaskSettings,
    wanted: &str,
) -> Result<bool, HostError> {
    let host = context.host;
    let cached = cache_path(context.observe.places, built);
    if stamp_at(host.as_read(), &cached, task.output.as_deref())?.as_deref() != Some(wanted) {
        return Ok(false);
    }
    clear(host, built)?;
    host.rename(&cached, built)?;
    sync_parent(host, built)?;
    sync_parent(host, &cached)?;
    Ok(true)
}

/// Keeps what is whole for a later run, and removes what isn't.
fn put_away(context: &StepContext<'_>, built: &Path, found: Option<&str>) -> Result<(), HostError> {
    let host = context.host;
    match found {
        None => return sync_parent(host, built),
        Some(UNFINISHED) => return clear(host, built),
        Some(_) => {}
    }
    let places = context.observe.places;
    let cached = cache_path(places, built);
    make_own(host, places, &places.objects())?;
    clear(host, &cached)?;
    host.rename(built, &cached)?;
    sync_parent(host, &cached)?;
    sync_parent(host, built)
}

fn clear(host: &dyn WriteHost, path: &Path) -> Result<(), HostError> {
    if there(host.as_read(), path)?.is_none() {
        return Ok(());
    }
    remove_tree(host, path)?;
    sync_parent(host, path)
}

fn build(
    context: &StepContext<'_>,
    built: &Path,
    task: &TaskSettings,
    wanted: &str,
    to: &Resource,
) -> Result<(), StepError> {
    let host = context.host;
    let owner = owner(context, task)?;
    clear(host, built)?;
    host.make_directory(built, 0o755, &owner)?;
    for input in &task.inputs {
        copy_input(host, &task.release, built, input, &owner)?;
    }
    let began = Instant::now();
    command::run(context, task, &task.what, &task.run, built)?;
    let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Some(output) = &task.output {
        check_output(host.as_read(), task, built, output)?;
        for input in &task.inputs {
            remove_input(host, built, input, output)?;
        }
    }
    host.sync_tree(built)?;
    let stamp = Stamp {
        stamp: wanted.to_owned(),
        run: context.run.clone(),
        at: host.time(),
        elapsed,
        noted: false,
        unfinished: false,
        settings: to.settings.clone(),
        before: None,
    };
    let places = context.observe.places;
    let staging = places.staging(context.run);
    make_own(host, places, &staging)?;
    let name = built.file_name().unwrap_or_default().to_string_lossy();
    let aside = staging.join(format!("{name}.stamp"));
    stamp::write(host, &aside, &built.join(BUILT_STAMP), &stamp)?;
    sync_parent(host, built)?;
    Ok(())
}

/// Who owns what the task makes: who runs it.
fn owner(context: &StepContext<'_>, task: &TaskSettings) -> Result<Owner, HostError> {
    let Some(user) = &task.user else {
        return Ok(context.owner.clone());
    };
    let account = context.host.account(user)?;
    Ok(match account {
        Some(account) => Owner {
            user: account.name,
            group: account.group_name,
        },
        None => context.owner.clone(),
    })
}

/// Copies an input from the release, with the directories above it.
fn copy_input(
    host: &dyn WriteHost,
    release: &Path,
    built: &Path,
    input: &Path,
    owner: &Owner,
) -> Result<(), HostError> {
    let mut parent = PathBuf::new();
    for part in input.parent().into_iter().flatten() {
        parent.push(part);
        if there(host.as_read(), &built.join(&parent))?.is_none() {
            host.make_directory(&built.join(&parent), 0o755, owner)?;
        }
    }
    copy(host, &release.join(input), &built.join(input), owner)
}

fn copy(host: &dyn WriteHost, from: &Path, to: &Path, owner: &Owner) -> Result<(), HostError> {
    let Some(entry) = host.entry(from)? else {
        return Err(HostError::new("copy", from, HostErrorKind::NotFound));
    };
    match entry.kind {
        EntryType::Directory => {
            // One input may lie in another.
            if there(host.as_read(), to)?.is_none() {
                host.make_directory(to, entry.mode | 0o700, owner)?;
            }
            for name in host.list(from)? {
                copy(host, &from.join(&name), &to.join(&name), owner)?;
            }
            Ok(())
        }
        _ if there(host.as_read(), to)?.is_some() => Ok(()),
        EntryType::Link => host.make_link(to, &host.link_target(from)?, owner),
        EntryType::File => host.clone_file(from, to, entry.mode, owner),
        EntryType::Other => {
            let words = "it is neither a file nor a directory nor a link".to_owned();
            Err(HostError::new("copy", from, HostErrorKind::Other(words)))
        }
    }
}

/// The output must be there, and be inside of what the task was given to write in.
fn check_output(
    host: &dyn ReadHost,
    task: &TaskSettings,
    built: &Path,
    output: &Path,
) -> Result<(), StepError> {
    let path = built.join(output);
    let failed = |how: String| StepError::Command {
        what: task.what.clone(),
        how,
        tail: String::new(),
    };
    match there(host, &path) {
        Ok(None) => {
            let how = format!(
                "exited with 0 but has not made its output {}",
                output.display()
            );
            return Err(failed(how));
        }
        Ok(Some(EntryType::Link)) => {}
        Ok(Some(_)) => return Ok(()),
        Err(error) if error.kind == HostErrorKind::LinkOnTheWay => {}
        Err(error) => return Err(error.into()),
    }
    if host.real_path(&path)?.starts_with(host.real_path(built)?) {
        return Ok(());
    }
    let how = format!(
        "exited with 0 but its output {} is a link that leads elsewhere",
        output.display()
    );
    Err(failed(how))
}

/// Removes an input's copy, and the directories above it that hold nothing else. What lies in the
/// output belongs to it, and what the output lies in can't go.
fn remove_input(
    host: &dyn WriteHost,
    built: &Path,
    input: &Path,
    output: &Path,
) -> Result<(), HostError> {
    if input.starts_with(output) || output.starts_with(input) {
        return Ok(());
    }
    match there(host.as_read(), &built.join(input)) {
        Ok(Some(_)) => drop(remove_tree(host, &built.join(input))?),
        Ok(None) => {}
        // The task has put a link in the place of a directory of its own: there is no copy left.
        Err(error) if error.kind == HostErrorKind::LinkOnTheWay => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut above = input.parent();
    while let Some(directory) = above.filter(|directory| !directory.as_os_str().is_empty()) {
        let path = built.join(directory);
        let kind = there(host.as_read(), &path)?;
        if kind != Some(EntryType::Directory) || !host.list(&path)?.is_empty() {
            break;
        }
        host.remove_directory(&path)?;
        above = directory.parent();
    }
    Ok(())
}
