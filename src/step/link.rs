//! A `link` outside of releases, by its absolute path: `current`.
//!
//! Attributes: `target`, as it is written; where something else is in its place also `type`.
//! Settings: `tree`, the digest of the release that it is to show; `stamps`, tasks that come before
//! it; `adopt`.

use std::path::{Component, Path, PathBuf};

use crate::host::{EntryType, HostError};
use crate::model::{Reason, Resource, ResourceId, ResourceKind, Step, StepKind, Thing, Value};

use super::desired::Desired;
use super::kind::{
    Change, InTheWay, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
};
use super::sync::entry::{self, bring, look};
use super::sync::spot::Spot;
use super::sync::{found_tree, part};

/// Links outside of releases.
pub struct Link;

impl Kind for Link {
    fn resource(&self) -> ResourceKind {
        ResourceKind::LINK
    }

    fn step(&self) -> StepKind {
        StepKind::LINK
    }

    /// `current`, which shows the release.
    fn complete(&self, desired: &mut Desired<'_>) {
        let release = desired.release().clone();
        let stamps: Vec<String> = desired.before_shown.iter().cloned().collect();
        // What the release's own links lead to is needed once the release is shown, not before: a
        // task with output reads its inputs in the release that links to what it makes.
        let uses: Vec<String> = desired.referred.iter().cloned().collect();
        let resource = Resource::new()
            .with("target", format!("releases/{}", release.name))
            .setting("tree", release.tree)
            .setting("stamps", stamps)
            .setting("uses", uses)
            .setting("adopt", desired.site.app.adopt);
        let path = desired.below_root("current");
        desired.want(ResourceKind::LINK, path, resource);
    }

    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        vec![Thing::Path(it.id.name.clone())]
    }

    fn uses(&self, it: Named<'_>) -> Vec<Thing> {
        let target = it.resource.text("target");
        let target = target.map(|target| resolved(Path::new(&it.id.name), target));
        let target = target.map(|target| Thing::Path(target.to_string_lossy().into_owned()));
        let named = |setting: &str| {
            let names = it
                .resource
                .settings
                .get(setting)
                .into_iter()
                .flat_map(Value::texts);
            names.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let stamps = named("stamps").into_iter().map(|task| Thing::Stamp {
            app: it.id.app.clone(),
            task,
        });
        let uses = named("uses").into_iter().map(Thing::Path);
        target.into_iter().chain(stamps).chain(uses).collect()
    }

    fn occupies(&self, it: Named<'_>) -> Vec<Thing> {
        self.makes(it)
    }

    fn compare(&self, change: Change<'_>) -> Vec<Reason> {
        let Change { from, to, .. } = change;
        if to.is_none() && from.is_some_and(entry::stays) {
            return Vec::new();
        }
        entry::differing(from, to, EntryType::Link)
    }

    fn in_the_way(&self, change: Change<'_>) -> Option<InTheWay> {
        entry::in_the_way(change, EntryType::Link)
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
        let mut resource = look(context, path, EntryType::Link, wanted)?;
        if let (Some(found), Some(resource)) = (&mut resource, wanted)
            && self.is_used_as(Named { id, resource }, found)
        {
            found.settings.clone_from(&resource.settings);
        }
        Ok(Observed {
            resource,
            changes: Vec::new(),
        })
    }

    /// What is declared of a link holds for where it points, not for another target.
    fn is_used_as(&self, declared: Named<'_>, found: &Resource) -> bool {
        found.text("target") == declared.resource.text("target")
    }

    fn shows_all(&self) -> bool {
        true
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        bring(context, self, EntryType::Link, step, || {
            check_target(context, step)
        })
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        Spot::of(context, &step.resource)?.sweep()
    }
}

/// Where a link points, as an absolute path, by its words alone.
fn resolved(link: &Path, target: &str) -> PathBuf {
    let mut path = link.parent().unwrap_or(link).to_path_buf();
    for component in Path::new(target).components() {
        match component {
            Component::RootDir => path = PathBuf::from("/"),
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

/// Refuses to show what isn't there, or isn't complete. A link that is put back isn't asked: it is
/// as it was found, even if it leads nowhere.
fn check_target(context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
    let Some(to) = &step.to else { return Ok(()) };
    let Some(target) = to.text("target") else {
        return Ok(());
    };
    let at = resolved(Path::new(&step.resource.name), target);
    let observe = context.observe;
    if !at.starts_with(&observe.places.root) {
        return Ok(());
    }
    let refuse = |found: String| StepError::NotAsWritten {
        resource: format!("{} (where {} is to point)", at.display(), step.resource),
        found,
    };
    let Some(tree) = to.settings.get("tree").and_then(Value::as_text) else {
        let real = observe.host.real_path(&at)?;
        return match observe.host.entry(&real)? {
            Some(_) => Ok(()),
            None => Err(refuse("nothing is there".to_owned())),
        };
    };
    let wanted = Resource::new().with("tree", tree);
    match found_tree(observe, &at, Some(&wanted))? {
        None => Err(refuse("it is no directory".to_owned())),
        Some(found) if found.digest().to_string() == tree => Ok(()),
        Some(found) => {
            let changes = found.changes.iter().take(3);
            let words: Vec<String> = changes
                .map(|change| format!("{}: {}", change.path, change.detail))
                .collect();
            Err(refuse(words.join("; ")))
        }
    }
}
