//! A `directory`, by its absolute path.
//!
//! Attributes: `mode`, `owner`, `group`; where something else is in its place also `type`. Settings:
//! `declared`, the attributes that are wanted even of a directory that was there before rosey; `asked`, the owner and
//! group of the declaration, also where others were met.
//! It goes only when it is empty.

use std::ffi::OsString;
use std::path::Path;

use crate::config::{Declaration, Word};
use crate::content::PathChange;
use crate::host::{EntryType, HostError, HostErrorKind};
use crate::model::{Reason, Resource, ResourceId, ResourceKind, Step, StepKind, Thing, Value};
use crate::step::desired::Desired;
use crate::step::kind::{
    Change, InTheWay, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
    differing_attributes,
};

use super::desire::ASKED;
use super::entry::{self, TYPE, conflict, look};
use super::file::owner_of;
use super::part;
use super::spot::Spot;
use super::{declare, desire};

/// Whether nothing is in it but what rosey knows, and would remove before: read, never declared.
const EMPTY: &str = "empty";

/// Directories that outlive releases.
pub struct Directory;

impl Kind for Directory {
    fn resource(&self) -> ResourceKind {
        ResourceKind::DIRECTORY
    }

    fn step(&self) -> StepKind {
        StepKind::SYNC
    }

    fn words(&self) -> Vec<Word> {
        vec![declare::SHARED]
    }

    fn shape(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::shape_shared(declaration, desired);
    }

    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::shared(declaration, desired);
    }

    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        vec![Thing::Path(it.id.name.clone())]
    }

    fn uses(&self, _it: Named<'_>) -> Vec<Thing> {
        Vec::new()
    }

    fn occupies(&self, it: Named<'_>) -> Vec<Thing> {
        self.makes(it)
    }

    /// What isn't declared of one that is there is taken as it is, even that it is a link elsewhere. Another owner than
    /// the last declaration asked for is a change like any other.
    fn met(&self, wanted: &Resource, found: &Resource) -> Resource {
        if found.text(TYPE) == Some("link") {
            let mut met = wanted.clone();
            met.attributes.clone_from(&found.attributes);
            return met;
        }
        let declared: Vec<&str> = wanted
            .settings
            .get("declared")
            .into_iter()
            .flat_map(Value::texts)
            .collect();
        // Only a ledger knows what was asked for: what is met for the first time doesn't.
        let asked = found.settings.get(ASKED);
        let has_changed = asked.is_some() && asked != wanted.settings.get(ASKED);
        let mut met = wanted.clone();
        for (name, value) in &mut met.attributes {
            let changes = has_changed && matches!(name.as_str(), "owner" | "group");
            if let Some(found) = found.attributes.get(name)
                && !changes
                && !declared.contains(&name.as_str())
            {
                value.clone_from(found);
            }
        }
        met
    }

    fn renews(&self) -> bool {
        false
    }

    fn compare(&self, change: Change<'_>) -> Vec<Reason> {
        let Change { from, to, .. } = change;
        let holds_something =
            |from: &Resource| from.attributes.get(EMPTY).and_then(Value::as_bool) == Some(false);
        // Something else in its place is no directory that rosey could remove.
        let foreign = |from: &Resource| from.text(TYPE).is_some();
        if to.is_none() && from.is_some_and(|from| holds_something(from) || foreign(from)) {
            return Vec::new();
        }
        let mut reasons = entry::differing(from, to, EntryType::Directory);
        reasons.retain(|reason| reason.attribute != EMPTY);
        reasons
    }

    fn in_the_way(&self, change: Change<'_>) -> Option<InTheWay> {
        entry::misplaced(change, EntryType::Directory)
    }

    fn parts(&self, change: Change<'_>, _reasons: &[Reason], _disturbed: bool) -> Vec<Part> {
        vec![part(change)]
    }

    fn is_inert(&self, _change: Change<'_>) -> bool {
        false
    }

    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        let path = Path::new(&id.name);
        let mut resource = look(context, path, EntryType::Directory, wanted)?;
        if let Some(found) = &mut resource
            && found.text(TYPE).is_none()
        {
            let empty = holds_only_known(context, path)?;
            found.attributes.insert(EMPTY.to_owned(), empty.into());
        }
        Ok(Observed {
            resource,
            changes: Vec::<PathChange>::new(),
        })
    }

    fn is_between(&self, step: &Step, found: Option<&Resource>) -> bool {
        step.from.is_some() && step.to.is_some() && super::mixes(step, found)
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        let spot = Spot::of(context, &step.resource)?;
        let wanted = step.to.as_ref().or(step.from.as_ref());
        let found = self
            .observe(context.observe, &step.resource, wanted)?
            .resource;
        if found
            .as_ref()
            .is_some_and(|found| found.text(TYPE).is_some())
        {
            return Err(conflict(step, found.as_ref()));
        }
        match (&found, &step.to) {
            (None, None) => Ok(spot.sync()?),
            (Some(_), None) => remove(context, &spot),
            (None, Some(_)) if step.from.is_some() => Err(conflict(step, None)),
            (None, Some(to)) => create(context, &spot, to),
            (Some(_), Some(to)) => super::set_in_place(context, step, found.as_ref(), to),
        }
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        let spot = Spot::of(context, &step.resource)?;
        match holds_something(context, &spot.aside) {
            Ok(false) => Ok(spot.clear()?),
            // Never with what somebody has written into it.
            Ok(true) => Ok(context.host.remove_directory(&spot.aside)?),
            Err(error) if error.kind == HostErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Made aside, so that it is never seen with another mode or owner.
fn create(context: &StepContext<'_>, spot: &Spot<'_>, to: &Resource) -> Result<(), StepError> {
    spot.prepare()?;
    let aside = look(context.observe, &spot.aside, EntryType::Directory, None)?;
    if aside.is_some_and(|aside| differing_attributes(Some(&aside), Some(&declared(to))).is_empty())
    {
        // It was put away by this run, so it comes back as it was.
        context.host.sync(&spot.aside)?;
        return Ok(spot.show()?);
    }
    spot.clear()?;
    let mode = u32::from_str_radix(to.text("mode").unwrap_or("0755"), 8).unwrap_or(0o755);
    let owner = owner_of(to, context.owner);
    context.host.make_directory(&spot.aside, mode, &owner)?;
    context.host.sync(&spot.aside)?;
    Ok(spot.show()?)
}

/// What of a state can be declared.
fn declared(state: &Resource) -> Resource {
    let mut declared = state.clone();
    declared.attributes.remove(EMPTY);
    declared
}

/// Puts an empty directory aside: made anew, it would need space, and lack what else it had. What this run has put
/// aside in it goes along, and comes back with it.
fn remove(context: &StepContext<'_>, spot: &Spot<'_>) -> Result<(), StepError> {
    if holds_something(context, &spot.path)? {
        // Somebody's data is in it: it stays.
        return Ok(());
    }
    spot.put_away()?;
    if holds_something(context, &spot.aside)? {
        // Somebody was quicker.
        context.host.rename(&spot.aside, &spot.path)?;
    }
    Ok(spot.sync()?)
}

/// Whether there is anything in a directory that this run hasn't put aside there.
fn holds_something(context: &StepContext<'_>, path: &Path) -> Result<bool, HostError> {
    let mark = format!(".rosey-{}-", context.run);
    let names = context.host.list(path)?;
    let is_aside = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with('.') && name.contains(&mark)
    };
    Ok(!names.iter().all(is_aside))
}

/// Whether nothing is in a directory but what is a resource itself, at any depth.
fn holds_only_known(context: &ObserveContext<'_>, path: &Path) -> Result<bool, HostError> {
    for name in context.host.list(path)? {
        let below = path.join(name);
        let text = below.to_string_lossy();
        let mut known = context.known.iter().filter(|(id, _)| id.name == text);
        let Some((id, _)) = known.next() else {
            return Ok(false);
        };
        if id.kind != ResourceKind::DIRECTORY {
            continue;
        }
        // Where something else is in its place, that stays.
        let entry = entry::entry(context, &below)?;
        let is_directory = entry.is_some_and(|entry| entry.kind == EntryType::Directory);
        if !is_directory || !holds_only_known(context, &below)? {
            return Ok(false);
        }
    }
    Ok(true)
}
