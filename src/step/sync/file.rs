//! A `file` outside of releases, by its absolute path.
//!
//! Attributes: `content` (a digest), `mode`, `owner`, `group`; where something else is in its place
//! also `type`. Settings: `secret`, `adopt`, and `seed`: then the content is only what the file
//! begins as, and whatever is in it later is the app's. A file without attributes is only expected; with `left`, which
//! names the unit that it stands beside, it was there before rosey, and is left. `extra` names the unit in the same way:
//! somebody has put it there since, and nobody wants it.

use std::path::Path;

use crate::config::{Declaration, Word};
use crate::content::{PathChange, PathChangeKind, modified_at};
use crate::host::{EntryType, HostError, Owner};
use crate::model::{Reason, Resource, ResourceId, ResourceKind, Step, StepKind, Thing, Value};
use crate::step::desired::Desired;
use crate::step::kind::{
    Change, InTheWay, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
};

use super::entry::{self, TYPE, bring, look};
use super::part;
use super::spot::Spot;
use super::{declare, desire};

/// Whether a seeded file still is what it began as: read, never declared.
const PRISTINE: &str = "pristine";

/// Says of a file beside which unit it was when rosey came to that.
pub(crate) const LEFT: &str = "left";

/// Says of a file beside which unit of ours somebody has put it.
const EXTRA: &str = "extra";

/// Files outside of releases.
pub struct File;

/// A file that stood beside a unit before rosey, and that is left there whatever it holds.
pub(crate) fn left(unit: &str) -> Resource {
    Resource::new().setting(LEFT, unit)
}

/// A file that somebody has put beside a unit of ours, to be read. What it holds is nobody's business, and may be a secret.
pub(crate) fn extra(unit: &str) -> Resource {
    let resource = Resource::new().setting(EXTRA, unit);
    resource.setting("secret", true)
}

fn is_seed(resource: &Resource) -> bool {
    resource.settings.get("seed").and_then(Value::as_bool) == Some(true)
}

fn is_file(resource: &Resource) -> bool {
    resource.text(TYPE).is_none()
}

/// Whether the change keeps the file that is there and only its mode and owner change. The app may
/// have it open, so another file must not take its place.
fn is_in_place(from: Option<&Resource>, to: Option<&Resource>) -> bool {
    match (from, to) {
        (Some(from), Some(to)) => is_seed(to) && is_file(from) && is_file(to),
        _ => false,
    }
}

impl Kind for File {
    fn resource(&self) -> ResourceKind {
        ResourceKind::FILE
    }

    fn step(&self) -> StepKind {
        StepKind::SYNC
    }

    fn words(&self) -> Vec<Word> {
        vec![declare::FILE]
    }

    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::file_outside(declaration, desired);
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

    /// What was left is known for as long as it is there.
    fn is_retained(&self, it: Named<'_>) -> bool {
        it.resource.settings.contains_key(LEFT)
    }

    /// A seeded file that is there is the app's, and is taken as it is, whatever it is.
    fn met(&self, wanted: &Resource, found: &Resource) -> Resource {
        let mut met = wanted.clone();
        if is_seed(wanted) {
            met.attributes.clone_from(&found.attributes);
            met.attributes.remove(PRISTINE);
        }
        met
    }

    fn compare(&self, change: Change<'_>) -> Vec<Reason> {
        let Change { from, to, .. } = change;
        let kept = from.is_some_and(|from| is_seed(from) && !from.is(PRISTINE));
        if to.is_none() && (kept || from.is_some_and(entry::stays)) {
            return Vec::new();
        }
        let in_place = is_in_place(from, to);
        let mut reasons = entry::differing(from, to, EntryType::File);
        reasons.retain(|reason| {
            reason.attribute != PRISTINE && !(in_place && reason.attribute == "content")
        });
        reasons
    }

    fn in_the_way(&self, change: Change<'_>) -> Option<InTheWay> {
        entry::in_the_way(change, EntryType::File)
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
        let is_extra = |wanted: &Resource| wanted.settings.contains_key(EXTRA);
        if wanted.is_some_and(|wanted| wanted.attributes.is_empty() && !is_extra(wanted)) {
            let there = entry::entry(context, path)?.is_some();
            let resource = there.then(|| wanted.cloned()).flatten();
            return Ok(Observed {
                resource,
                changes: Vec::new(),
            });
        }
        let mut resource = look(context, path, EntryType::File, wanted)?;
        if let (Some(found), Some(wanted)) = (&mut resource, wanted) {
            for name in ["seed", "secret", EXTRA] {
                if let Some(value) = wanted.settings.get(name) {
                    found.settings.insert(name.to_owned(), value.clone());
                }
            }
            if is_seed(wanted) {
                let pristine = found.text("content") == wanted.text("content");
                found
                    .attributes
                    .insert(PRISTINE.to_owned(), pristine.into());
            }
        }
        let changes = self.changed_by_whom(context, id, resource.as_ref(), wanted)?;
        Ok(Observed { resource, changes })
    }

    fn shows_all(&self) -> bool {
        true
    }

    fn is_between(&self, step: &Step, found: Option<&Resource>) -> bool {
        is_in_place(step.from.as_ref(), step.to.as_ref()) && super::mixes(step, found)
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        let wanted = step.to.as_ref().or(step.from.as_ref());
        let found = self
            .observe(context.observe, &step.resource, wanted)?
            .resource;
        if let Some(to) = &step.to
            && is_in_place(found.as_ref(), Some(to))
        {
            return super::set_in_place(context, step, found.as_ref(), to);
        }
        if step.to.is_none() && found.as_ref().is_some_and(is_seed) {
            // What somebody has written into it since the plan was made stays.
            let change = Change {
                id: &step.resource,
                from: found.as_ref(),
                to: None,
            };
            if self.compare(change).is_empty() {
                return Ok(());
            }
        }
        bring(context, self, EntryType::File, step, || Ok(()))
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        Spot::of(context, &step.resource)?.sweep()
    }
}

impl File {
    /// What differs from what is wanted, with who has it now and since when.
    fn changed_by_whom(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        found: Option<&Resource>,
        wanted: Option<&Resource>,
    ) -> Result<Vec<PathChange>, HostError> {
        let (Some(from), Some(to)) = (found, wanted) else {
            return Ok(Vec::new());
        };
        let (change, detail) = match from.settings.get(EXTRA) {
            Some(unit) => (PathChangeKind::Extra, format!("beside {unit}")),
            None => (PathChangeKind::Modified, self.difference(id, from, to)),
        };
        if detail.is_empty() {
            return Ok(Vec::new());
        }
        let entry = entry::entry(context, Path::new(&id.name))?;
        Ok(vec![PathChange {
            path: id.name.clone(),
            change,
            detail,
            owner: entry.as_ref().map(|entry| entry.owner.to_string()),
            modified_at: entry.as_ref().and_then(modified_at),
        }])
    }

    /// What differs, in words; nothing where nothing does.
    fn difference(&self, id: &ResourceId, from: &Resource, to: &Resource) -> String {
        let (from, to) = (Some(from), Some(to));
        let reasons = self.compare(Change { id, from, to });
        let word = |value: Option<&Value>| value.map_or("absent".to_owned(), ToString::to_string);
        let detail = reasons.iter().map(|reason| match &*reason.attribute {
            "content" => "content".to_owned(),
            name => format!(
                "{name} {}, expected {}",
                word(reason.old.as_ref()),
                word(reason.new.as_ref())
            ),
        });
        detail.collect::<Vec<String>>().join(", ")
    }
}

/// The owner that a resource's attributes name; where they name none, a given one.
pub(super) fn owner_of(resource: &Resource, default: &Owner) -> Owner {
    let text = |name: &str, default: &str| resource.text(name).unwrap_or(default).to_owned();
    Owner {
        user: text("owner", &default.user),
        group: text("group", &default.group),
    }
}
