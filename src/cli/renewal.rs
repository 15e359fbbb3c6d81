//! Which files of a new release are others than in the one that stands: what a changed source, a
//! changed variable or a rotated secret comes down to.

use std::collections::{BTreeMap, BTreeSet};

use crate::content::{EntryPath, Manifest, PathChange, Patterns};
use crate::fleet::prospect::{Prospect, Seen};
use crate::model::{Member, ResourceId, ResourceKind};

use super::deployment::{Declaration, Deployment, asking};
use super::error::CommandError;

/// The attribute of a release that names its manifest.
const TREE: &str = "tree";

/// The files of each new release that differ from those of the release that stands there.
///
/// # Errors
/// Exit code 4 with every host that is lost.
pub(super) async fn renewed(
    deployment: &Deployment,
    declaration: &Declaration,
    prospect: &Prospect,
) -> Result<BTreeMap<ResourceId, Vec<PathChange>>, CommandError> {
    let mut renewed = BTreeMap::new();
    let mut errors = Vec::new();
    // By their digests: hosts that stand on the same tree need be asked for it once.
    let mut known = BTreeMap::new();
    for step in &prospect.plan.steps {
        let id = &step.resource;
        let new = step.to.as_ref().and_then(|to| to.text(TREE));
        let (Some(new), None) = (new, &step.from) else {
            continue;
        };
        let member = Member::new(&id.host, &id.app);
        let (Some(seen), Some(address), Some(connection)) = (
            prospect.members.get(&member),
            deployment.addresses.get(&member),
            deployment.fleet.get(&id.host),
        ) else {
            continue;
        };
        let Some(old) = standing_tree(declaration, &member) else {
            continue;
        };
        if !known.contains_key(&old) {
            let told = connection.manifests(address.clone(), BTreeSet::from([old.clone()]));
            match told.await {
                Ok(told) => known.extend(told),
                Err(error) => errors.push(error),
            }
        }
        if let (Some(new), Some(old)) = (manifest(seen, new), known.get(&old)) {
            renewed.insert(id.clone(), differences(new, old));
        }
    }
    if !errors.is_empty() {
        return Err(asking(&errors));
    }
    Ok(renewed)
}

/// The tree of the release that stands, by its digest.
fn standing_tree(declaration: &Declaration, member: &Member) -> Option<String> {
    let surveyed = declaration.survey.members.get(member)?;
    let current = surveyed.ledger.as_ref()?.current()?;
    let name = current.release.as_ref()?;
    let mut releases = current.state.resources.iter().filter(|(id, _)| {
        id.kind == ResourceKind::RELEASE && id.name.rsplit('/').next() == Some(name)
    });
    let (_, release) = releases.next()?;
    release.text(TREE).map(str::to_owned)
}

fn manifest<'a>(seen: &'a Seen, tree: &str) -> Option<&'a Manifest> {
    seen.wanted.manifests.get(tree)
}

fn differences(new: &Manifest, old: &Manifest) -> Vec<PathChange> {
    let changes = new.compare(old, &Patterns::lenient(&[]));
    let change = |(path, change, detail): (_, _, _)| PathChange {
        path: EntryPath::shown(&path),
        change,
        detail,
        owner: None,
        modified_at: None,
    };
    changes.into_iter().map(change).collect()
}
