//! A `release`: an immutable tree, by the absolute path of its directory.
//!
//! Attributes: `tree` (the digest of its manifest), `owner`, `group`; where something else is in its
//! place also `type`. Settings: `uses` (what its links lead to: built directories, shared paths),
//! `version`, and, of one that was found edited, `read_as`.

use std::path::Path;

use crate::config::{Declaration, Word};
use crate::content::{FoundTree, Patterns, TreeQuery, read_tree};
use crate::host::{EntryType, HostError, Owner};
use crate::model::{Reason, Resource, ResourceId, ResourceKind, Step, StepKind, Thing, Value};
use crate::step::desired::Desired;
use crate::step::kind::{
    Change, InTheWay, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
};

use super::entry::{self, TYPE, conflict, look};
use super::file::owner_of;
use super::part;
use super::spot::Spot;
use super::{declare, desire};

/// The setting that says as which tree an edited one was read.
const READ_AS: &str = "read_as";

/// Releases.
pub struct Release;

impl Kind for Release {
    fn resource(&self) -> ResourceKind {
        ResourceKind::RELEASE
    }

    fn step(&self) -> StepKind {
        StepKind::SYNC
    }

    fn words(&self) -> Vec<Word> {
        vec![declare::RENDER]
    }

    fn shape(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::shape_render(declaration, desired);
    }

    fn complete(&self, desired: &mut Desired<'_>) {
        desire::release(desired);
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

    fn is_retained(&self, _it: Named<'_>) -> bool {
        true
    }

    fn compare(&self, change: Change<'_>) -> Vec<Reason> {
        entry::differing(change.from, change.to, EntryType::Directory)
    }

    fn in_the_way(&self, change: Change<'_>) -> Option<InTheWay> {
        entry::misplaced(change, EntryType::Directory)
    }

    fn parts(&self, change: Change<'_>, _reasons: &[Reason], _disturbed: bool) -> Vec<Part> {
        vec![part(change)]
    }

    /// A tree under a new name is seen by nobody; one that is put right in its place is.
    fn is_inert(&self, change: Change<'_>) -> bool {
        change.from.is_none() || change.to.is_none()
    }

    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        observe_at(context, Path::new(&id.name), wanted)
    }

    fn shows_all(&self) -> bool {
        true
    }

    /// A release that a run has made is the run's own until it is committed, whatever a task or the
    /// app itself has put into it meanwhile: on the way back it goes as a whole.
    fn is_between(&self, step: &Step, found: Option<&Resource>) -> bool {
        let made = step.from.is_none() && step.to.is_some();
        made && found.is_some_and(|found| found.text(TYPE).is_none())
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        let spot = Spot::of(context, &step.resource)?;
        let is = |path: &Path, state: Option<&Resource>| -> Result<bool, HostError> {
            let found = observe_at(context.observe, path, state)?.resource;
            let change = Change {
                id: &step.resource,
                from: found.as_ref(),
                to: state,
            };
            Ok(found.is_some() == state.is_some() && self.compare(change).is_empty())
        };
        if is(&spot.path, step.to.as_ref())? {
            return Ok(spot.sync()?);
        }
        let found = observe_at(context.observe, &spot.path, step.to.as_ref())?.resource;
        let foreign = found
            .as_ref()
            .is_some_and(|found| found.text(TYPE).is_some());
        if foreign || !is(&spot.path, step.from.as_ref())? {
            return Err(conflict(step, found.as_ref()));
        }
        let Some(to) = &step.to else {
            return Ok(spot.put_away()?);
        };
        spot.prepare()?;
        if is(&spot.aside, Some(to))? {
            // Cut off, it may be complete without being durable.
            context.host.sync_tree(&spot.aside)?;
        } else {
            let owner = owner_of(to, context.owner);
            let tree = to.text("tree").unwrap_or_default();
            context.content.stage(tree, &spot.aside, &owner)?;
            if !is(&spot.aside, Some(to))? {
                let staged = observe_at(context.observe, &spot.aside, Some(to))?;
                let changes = staged.changes.iter().take(3);
                let words: Vec<String> = changes
                    .map(|change| format!("{}: {}", change.path, change.detail))
                    .collect();
                return Err(StepError::NotAsWritten {
                    resource: step.resource.to_string(),
                    found: words.join("; "),
                });
            }
        }
        Ok(spot.show()?)
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        Spot::of(context, &step.resource)?.sweep()
    }
}

fn observe_at(
    context: &ObserveContext<'_>,
    path: &Path,
    wanted: Option<&Resource>,
) -> Result<Observed, HostError> {
    let Some(found) = found_tree(context, path, wanted)? else {
        let resource = look(context, path, EntryType::Directory, None)?;
        return Ok(Observed {
            resource,
            changes: Vec::new(),
        });
    };
    let tree = found.digest().to_string();
    let mut resource = Resource::new()
        .with("tree", tree.as_str())
        .with("owner", found.owner.user)
        .with("group", found.owner.group);
    if let Some(wanted) = wanted {
        resource.settings.clone_from(&wanted.settings);
        resource.settings.remove(READ_AS);
    }
    if let Some(as_tree) = wanted.and_then(read_as).filter(|as_tree| *as_tree != tree) {
        resource = resource.setting(READ_AS, as_tree);
    }
    Ok(Observed {
        resource: Some(resource),
        changes: found.changes,
    })
}

/// The tree that a tree is read as: which of its files are sealed, and what may be extra in it,
/// follows from that. One that was found edited is later known again only if it is read as before.
fn read_as(wanted: &Resource) -> Option<&str> {
    let setting = wanted.settings.get(READ_AS).and_then(Value::as_text);
    setting.or_else(|| wanted.text("tree"))
}

/// The tree at a path, read as one that should be like `wanted`.
pub(crate) fn found_tree(
    context: &ObserveContext<'_>,
    path: &Path,
    wanted: Option<&Resource>,
) -> Result<Option<FoundTree>, HostError> {
    let ignore = Patterns::lenient(context.ignore);
    let manifest = wanted
        .and_then(read_as)
        .and_then(|tree| (context.manifest)(tree));
    let owner = wanted.and_then(|wanted| {
        let text = |name: &str| wanted.text(name).map(str::to_owned);
        Some(Owner {
            user: text("owner")?,
            group: text("group")?,
        })
    });
    let query = TreeQuery {
        root: path,
        seal: context.seal,
        ignore: &ignore,
        wanted: manifest.as_ref(),
        owner: owner.as_ref(),
    };
    read_tree(context.host, query)
}
