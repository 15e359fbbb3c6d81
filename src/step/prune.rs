//! Removing what no kept generation needs, after the commit.
//!
//! Two halves: [`choose`] decides, from the ledger alone, what goes; the others remove it, and leave
//! what something still refers to. Between them the caller writes the ledger and the list of what
//! goes, so that a prune that is cut off is ended by the next one.
//!
//! Must not know how a ledger is written, or what a kind's things are: it asks the kinds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::content::{Removed, Store, make_own, remove_tree};
use crate::host::{EntryType, HostError, HostErrorKind, WriteHost};
use crate::model::{Digest, Generation, Ledger, Places, Resource, ResourceId, RunId, Thing, Value};

use super::backup::is_whole;
use super::kind::{Kind, Named};
use super::run::prune_unused;

/// What is to be kept, and what is known.
pub struct Choice<'a> {
    /// All kinds.
    pub kinds: &'a [&'a dyn Kind],
    /// Where the app's things lie.
    pub places: &'a Places,
    /// How many distinct releases are kept, the standing one among them.
    pub releases: u32,
}

/// Drops the generations whose releases aren't among the last distinct ones that were live, and
/// says which trees no kept generation needs: those that the ledger knew, and those of an earlier
/// list.
///
/// What goes is in no state any more, or it would be missing ever after. The standing generation
/// and what was there before rosey are always kept. Called again, it chooses nothing more.
pub fn choose(
    choice: &Choice<'_>,
    ledger: &mut Ledger,
    earlier: BTreeSet<PathBuf>,
) -> BTreeSet<PathBuf> {
    let mut trees = earlier;
    for generation in &ledger.generations {
        trees.extend(release_path(choice, generation));
        let retained = retained(choice, generation);
        trees.extend(retained.map(|it| PathBuf::from(&it.id.name)));
    }
    let kept = last_live(&ledger.generations, choice.releases);
    let is_kept = |generation: &Generation| {
        let release = generation.release.as_ref();
        release.is_none_or(|release| kept.contains(release))
    };
    ledger.generations.retain(is_kept);
    for generation in &ledger.generations {
        for needed in needed(choice, generation) {
            trees.remove(&needed);
        }
    }
    // Whatever a ledger says, nothing outside of the app's root is removed as a whole.
    let root = &choice.places.root;
    trees.retain(|path| path.starts_with(root) && path != root);
    let goes = |id: &ResourceId| trees.contains(Path::new(&id.name));
    for generation in &mut ledger.generations {
        generation.state.resources.retain(|id, _| !goes(id));
    }
    ledger.changes.retain(|id, _| !goes(id));
    trees
}

/// The releases that were live last, each once.
fn last_live(generations: &[Generation], keep: u32) -> BTreeSet<String> {
    let mut live: Vec<&String> = Vec::new();
    for release in generations
        .iter()
        .rev()
        .filter_map(|generation| generation.release.as_ref())
    {
        if !live.contains(&release) {
            live.push(release);
        }
    }
    let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
    live.into_iter().take(keep).cloned().collect()
}

fn release_path(choice: &Choice<'_>, generation: &Generation) -> Option<PathBuf> {
    let name = generation.release.as_ref()?;
    Some(choice.places.releases().join(name))
}

/// Resources of a generation that only pruning removes.
fn retained<'g>(
    choice: &'g Choice<'_>,
    generation: &'g Generation,
) -> impl Iterator<Item = Named<'g>> {
    named(generation).filter(|it| kind_of(choice, *it).is_some_and(|kind| kind.is_retained(*it)))
}

fn named(generation: &Generation) -> impl Iterator<Item = Named<'_>> {
    let resources = generation.state.resources.iter();
    resources.map(|(id, resource)| Named { id, resource })
}

fn kind_of<'k>(choice: &Choice<'k>, it: Named<'_>) -> Option<&'k dyn Kind> {
    let mut kinds = choice.kinds.iter().copied();
    kinds.find(|kind| kind.resource() == it.id.kind)
}

/// The trees that a generation needs: its release, and what its other resources use, directly or
/// through each other. Its state also has what was merely kept beside it.
fn needed(choice: &Choice<'_>, generation: &Generation) -> BTreeSet<PathBuf> {
    let mut left: Vec<Named<'_>> = retained(choice, generation).collect();
    let path = |it: &Named<'_>| PathBuf::from(&it.id.name);
    let Some(release) = release_path(choice, generation) else {
        // What was there before rosey is kept whole.
        return left.iter().map(path).collect();
    };
    let uses = |it: Named<'_>| kind_of(choice, it).map_or_else(Vec::new, |kind| kind.uses(it));
    let mut used: Vec<Thing> = named(generation)
        .filter(|it| !left.iter().any(|other| other.id == it.id))
        .flat_map(uses)
        .collect();
    used.push(Thing::Path(release.to_string_lossy().into_owned()));
    let mut needed = BTreeSet::from([release]);
    loop {
        let is_used = |it: &Named<'_>| {
            let made = kind_of(choice, *it).map_or_else(Vec::new, |kind| kind.makes(*it));
            made.iter()
                .any(|made| used.iter().any(|used| used.needs(made)))
        };
        let (more, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(is_used);
        if more.is_empty() {
            return needed;
        }
        needed.extend(more.iter().map(path));
        used.extend(more.into_iter().flat_map(uses));
        left = rest;
    }
}

/// Where something is removed, and for which run.
pub struct Pruning<'a> {
    /// The host.
    pub host: &'a dyn WriteHost,
    /// Where the app's things lie.
    pub places: &'a Places,
    /// The run that prunes.
    pub run: &'a RunId,
}

impl Pruning<'_> {
    /// Removes trees; gives back those that stay, because a link or a live process refers to them.
    ///
    /// # Errors
    /// When something can't be removed; all of it is in the caller's list still.
    pub fn remove(
        &self,
        trees: BTreeSet<PathBuf>,
    ) -> Result<(Removed, BTreeSet<PathBuf>), HostError> {
        let mut removed = Removed::default();
        let mut stay = BTreeSet::new();
        let releases = self.places.releases();
        let (first, then): (Vec<PathBuf>, Vec<PathBuf>) = trees
            .into_iter()
            .partition(|tree| tree.starts_with(&releases));
        for tree in first {
            if self.is_used(&tree)? {
                stay.insert(tree);
            } else {
                removed += self.remove_shown(&tree)?;
            }
        }
        // A release that somebody still runs in may lead to any of them.
        let in_use = !stay.is_empty();
        for tree in then {
            if in_use || self.is_used(&tree)? {
                stay.insert(tree);
            } else {
                removed += self.remove_shown(&tree)?;
            }
        }
        // Here, so that it also goes when a prune before this one was cut off.
        remove_tree(self.host, &self.places.staging(self.run))?;
        Ok((removed, stay))
    }

    /// Removes backups but for the last ones, which are named by their runs and so sort by time.
    /// What isn't a whole one counts for nothing and goes.
    ///
    /// # Errors
    /// When something can't be removed.
    pub fn remove_backups(&self, keep: u32) -> Result<Removed, HostError> {
        let directory = self.places.backups();
        let mut whole = Vec::new();
        let mut going = Vec::new();
        for name in self.names(&directory)? {
            let backup = directory.join(name);
            if is_whole(self.host.as_read(), &backup)? {
                whole.push(backup);
            } else {
                going.push(backup);
            }
        }
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let surplus = whole.len().saturating_sub(keep);
        going.extend(whole.drain(..surplus));
        self.remove_all(going)
    }

    /// Removes content that no kept generation names, and what tasks made that came to nothing.
    ///
    /// # Errors
    /// When something can't be read or removed.
    pub fn remove_content(&self, store: &Store<'_>, ledger: &Ledger) -> Result<Removed, HostError> {
        let mut digests = BTreeSet::new();
        for generation in &ledger.generations {
            digests.extend(generation.state.resources.values().flat_map(named_digests));
        }
        let mut removed = prune_unused(self.host, self.places)?;
        removed += store.collect_garbage(&digests, &digests)?;
        removed += store.collect_staging(Some(self.run))?;
        Ok(removed)
    }

    fn remove_all(&self, paths: Vec<PathBuf>) -> Result<Removed, HostError> {
        let mut removed = Removed::default();
        for path in paths {
            removed += remove_tree(self.host, &path)?;
        }
        Ok(removed)
    }

    fn names(&self, directory: &Path) -> Result<Vec<std::ffi::OsString>, HostError> {
        match self.host.list(directory) {
            Err(error) if error.kind == HostErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }

    /// Removes a tree that people can see: first out of their sight, in one act, since what is half
    /// removed must not be taken for a release.
    fn remove_shown(&self, tree: &Path) -> Result<Removed, HostError> {
        if self.host.entry(tree)?.is_none() {
            return Ok(Removed::default());
        }
        let staging = self.places.staging(self.run);
        make_own(self.host, self.places, &staging)?;
        let aside = staging.join("pruned");
        // It may be left from a prune that was cut off.
        let mut removed = remove_tree(self.host, &aside)?;
        self.host.rename(tree, &aside)?;
        self.host.sync(tree.parent().unwrap_or(tree))?;
        removed += remove_tree(self.host, &aside)?;
        Ok(removed)
    }

    /// Whether a link at the top of the root leads into a tree, or a live process refers to it.
    fn is_used(&self, tree: &Path) -> Result<bool, HostError> {
        for name in self.names(&self.places.root)? {
            let link = self.places.root.join(name);
            let entry = self.host.entry(&link)?;
            if entry.is_some_and(|entry| entry.kind == EntryType::Link)
                && self.host.real_path(&link)?.starts_with(tree)
            {
                return Ok(true);
            }
        }
        Ok(!self.host.processes_in(tree)?.is_empty())
    }
}

/// Every digest that a resource's attributes name.
fn named_digests(resource: &Resource) -> Vec<Digest> {
    let texts = resource.attributes.values().filter_map(Value::as_text);
    texts.filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
