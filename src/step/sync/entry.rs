//! One file or link at a path: reading it, and making it aside. What [`super::file`] and
//! [`crate::step::link`] share, since either may find, take over and put back the other's.

use std::path::Path;

use crate::content::{ContentError, hash_file};
use crate::host::{Entry, EntryType, HostError, HostErrorKind, Owner};
use crate::model::{Reason, Resource, Step, Value};
use crate::step::kind::{
    Change, InTheWay, Kind, ObserveContext, StepContext, StepError, differing_attributes,
};

use super::spot::Spot;

/// The attribute that is there where something else than the kind's own type of entry is.
pub(crate) const TYPE: &str = "type";

const FILE: &str = "file";
const DIRECTORY: &str = "directory";
const LINK: &str = "link";
const OTHER: &str = "other";

/// Whether bytes of a resource are only ever to be known by a sealed digest.
fn is_secret(resource: &Resource) -> bool {
    let sealed = resource
        .text("content")
        .is_some_and(|content| content.starts_with("sealed:"));
    let declared = resource.settings.get("secret").and_then(Value::as_bool);
    sealed || declared == Some(true)
}

/// Reads what is at a path. `own` is the type that it should have; anything else gets the attribute `type`.
pub(crate) fn look(
    context: &ObserveContext<'_>,
    path: &Path,
    own: EntryType,
    wanted: Option<&Resource>,
) -> Result<Option<Resource>, HostError> {
    let Some(entry) = entry(context, path)? else {
        return Ok(None);
    };
    let mut resource = Resource::new()
        .with("owner", entry.owner.user.as_str())
        .with("group", entry.owner.group.as_str());
    if entry.kind != EntryType::Link {
        resource = resource.with("mode", format!("{:04o}", entry.mode));
    }
    match entry.kind {
        EntryType::File => {
            resource = resource.with("content", content(context, path, wanted)?);
        }
        EntryType::Link => {
            let target = context.host.link_target(path)?;
            resource = resource.with("target", target.to_string_lossy().into_owned());
        }
        EntryType::Directory | EntryType::Other => {}
    }
    if entry.kind != own {
        resource = resource.with(TYPE, word(entry.kind));
    }
    Ok(Some(resource))
}

fn word(kind: EntryType) -> &'static str {
    match kind {
        EntryType::File => FILE,
        EntryType::Link => LINK,
        EntryType::Directory => DIRECTORY,
        EntryType::Other => OTHER,
    }
}

fn type_of(resource: &Resource, own: EntryType) -> &str {
    resource.text(TYPE).unwrap_or(word(own))
}

/// What differs, the type of entry too: its attribute is only there where it isn't the kind's own.
pub(crate) fn differing(
    from: Option<&Resource>,
    to: Option<&Resource>,
    own: EntryType,
) -> Vec<Reason> {
    let mut reasons = differing_attributes(from, to);
    let (Some(from), Some(to)) = (from, to) else {
        return reasons;
    };
    reasons.retain(|reason| reason.attribute != TYPE);
    let (old, new) = (type_of(from, own), type_of(to, own));
    if old != new {
        reasons.push(Reason {
            attribute: TYPE.to_owned(),
            old: Some(old.into()),
            new: Some(new.into()),
            because: None,
        });
    }
    reasons
}

/// Whether something is neither a file nor a link: what is in it could not be kept, so it never gives way.
pub(crate) fn stays(found: &Resource) -> bool {
    matches!(found.text(TYPE), Some(DIRECTORY | OTHER))
}

/// What lies where something of another type belongs, or a link elsewhere.
pub(crate) fn misplaced(change: Change<'_>, own: EntryType) -> Option<InTheWay> {
    let lies = in_a_word(change.from?, own);
    let belongs = in_a_word(change.to?, own);
    (lies != belongs).then_some(InTheWay { lies, belongs })
}

/// The same for a file or a link. Such a thing gives way to what was there before it, and where that is declared.
pub(crate) fn in_the_way(change: Change<'_>, own: EntryType) -> Option<InTheWay> {
    let (found, to) = (change.from?, change.to?);
    let adopted = to.settings.get("adopt").and_then(Value::as_bool) == Some(true);
    let gives_way = !stays(found) && (adopted || to.text(TYPE).is_some());
    if type_of(found, own) == type_of(to, own) || gives_way {
        return None;
    }
    misplaced(change, own)
}

/// `a file`, `a link to shared`.
fn in_a_word(resource: &Resource, own: EntryType) -> String {
    match (type_of(resource, own), resource.text("target")) {
        (LINK, Some(target)) => format!("a link to {target}"),
        (OTHER, _) => "a device, pipe or socket".to_owned(),
        (word, _) => format!("a {word}"),
    }
}

/// What is at a path. Nothing is where the way there ends early, or goes through something that is no directory.
pub(crate) fn entry(context: &ObserveContext<'_>, path: &Path) -> Result<Option<Entry>, HostError> {
    match context.host.entry(path) {
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(None),
        other => other,
    }
}

/// The digest of a file as text; sealed where it holds a secret, or is known to have held one.
fn content(
    context: &ObserveContext<'_>,
    path: &Path,
    wanted: Option<&Resource>,
) -> Result<String, HostError> {
    let sealed = || {
        Ok(hash_file(context.host, path, Some(context.seal))?
            .0
            .to_string())
    };
    if wanted.is_some_and(is_secret) {
        return sealed();
    }
    let plain = hash_file(context.host, path, None)?.0.to_string();
    let as_wanted = wanted.and_then(|wanted| wanted.text("content")) == Some(&plain);
    // It may still hold the secret of an earlier declaration, whose plain digest nobody is to see.
    let name = path.to_string_lossy();
    let held_a_secret = || {
        let mut known = context.known.iter().filter(|(id, _)| id.name == name);
        known.any(|(_, resource)| is_secret(resource))
    };
    if as_wanted || !held_a_secret() {
        return Ok(plain);
    }
    sealed()
}

/// Whether what is at a path is some state, by the kind's own measure.
pub(crate) fn is(
    context: &StepContext<'_>,
    kind: &dyn Kind,
    own: EntryType,
    step: &Step,
    path: &Path,
    state: Option<&Resource>,
) -> Result<bool, HostError> {
    let found = look(context.observe, path, own, state)?;
    let change = Change {
        id: &step.resource,
        from: found.as_ref(),
        to: state,
    };
    Ok(found.is_some() == state.is_some() && kind.compare(change).is_empty())
}

/// Says what a state is, in a few words.
pub(crate) fn in_words(found: Option<&Resource>) -> String {
    match found {
        None => "nothing is there".to_owned(),
        Some(found) => match found.text(TYPE) {
            Some(other) => format!("a {other} is there"),
            None => {
                let attributes = found.attributes.iter();
                attributes
                    .map(|(name, value)| format!("{name} {value}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            }
        },
    }
}

/// A change that would overwrite what nobody planned with.
pub(crate) fn conflict(step: &Step, found: Option<&Resource>) -> StepError {
    StepError::Conflict {
        resource: step.resource.to_string(),
        found: in_words(found),
    }
}

/// Brings a file or link to its state by one rename or exchange. `check` is asked before something
/// new, not something put back, is shown.
pub(crate) fn bring(
    context: &StepContext<'_>,
    kind: &dyn Kind,
    own: EntryType,
    step: &Step,
    check: impl FnOnce() -> Result<(), StepError>,
) -> Result<(), StepError> {
    let spot = Spot::of(context, &step.resource)?;
    let to = step.to.as_ref();
    let is = |path: &Path, state| is(context, kind, own, step, path, state);
    if is(&spot.path, to)? {
        return Ok(spot.sync()?);
    }
    let found = look(context.observe, &spot.path, own, to)?;
    if !is(&spot.path, step.from.as_ref())? {
        return Err(conflict(step, found.as_ref()));
    }
    let change = Change {
        id: &step.resource,
        from: found.as_ref(),
        to,
    };
    let is_foreign = to.is_none() && found.as_ref().is_some_and(stays);
    if is_foreign || in_the_way(change, own).is_some() {
        return Err(conflict(step, found.as_ref()));
    }
    let Some(to) = to else {
        return Ok(spot.put_away()?);
    };
    spot.prepare()?;
    if !is(&spot.aside, Some(to))? {
        check()?;
        spot.clear()?;
        stage(context, &spot, own, to, found.as_ref())?;
        if !is(&spot.aside, Some(to))? {
            let found = look(context.observe, &spot.aside, own, Some(to))?;
            return Err(StepError::NotAsWritten {
                resource: step.resource.to_string(),
                found: in_words(found.as_ref()),
            });
        }
    }
    let staged = entry(context.observe, &spot.aside)?.map(|entry| entry.kind);
    if staged == Some(EntryType::File) {
        context.host.sync(&spot.aside)?;
    }
    Ok(spot.show()?)
}

/// Makes the new file or link aside.
fn stage(
    context: &StepContext<'_>,
    spot: &Spot<'_>,
    own: EntryType,
    to: &Resource,
    found: Option<&Resource>,
) -> Result<(), StepError> {
    let text = |name: &str, default: &str| to.text(name).unwrap_or(default).to_owned();
    let owner = Owner {
        user: text("owner", &context.owner.user),
        group: text("group", &context.owner.group),
    };
    let host = context.host;
    let kind = match (to.text(TYPE), own) {
        (None, own) => own,
        (Some(FILE), _) => EntryType::File,
        (Some(LINK), _) => EntryType::Link,
        _ => EntryType::Other,
    };
    match kind {
        EntryType::Link => {
            let target = text("target", "");
            host.make_link(&spot.aside, Path::new(&target), &owner)?;
        }
        EntryType::File => {
            let mode = u32::from_str_radix(&text("mode", "0644"), 8).unwrap_or(0o644);
            let digest = text("content", "");
            let there = found.filter(|found| found.text("content") == Some(&digest));
            if there.is_some() {
                host.clone_file(&spot.path, &spot.aside, mode, &owner)?;
            } else {
                let bytes = context.content.bytes(&digest)?;
                let bytes = bytes.ok_or_else(|| ContentError::MissingContent {
                    path: spot.path.display().to_string(),
                    digest,
                })?;
                host.write_file(&spot.aside, &mut &bytes[..], mode, &owner)?;
            }
        }
        EntryType::Directory | EntryType::Other => {
            return Err(StepError::Host(HostError {
                doing: "make".to_owned(),
                path: spot.path.display().to_string(),
                kind: HostErrorKind::Other(
                    "what was there before was neither a file nor a link, and isn't kept any more"
                        .to_owned(),
                ),
            }));
        }
    }
    Ok(())
}
