//! Removing what no kept generation needs, after the commit.
//!
//! What is to go is written down before the ledger forgets it, so that a prune that is cut off is
//! ended by the next one and nothing is lost sight of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::app::App;
use super::ledger;
use super::protocol::{Refusal, Reply};
use super::registry::{read_if_there, write_durably};
use super::session::{Answer, Session};
use crate::content::{Removed, Store, remove_tree};
use crate::host::{EntryType, HostError, HostErrorKind};
use crate::model::{AppName, Digest, Ledger, Resource, ResourceKind, RunId, Value};

impl Session<'_> {
    pub(super) fn prune(
        &mut self,
        run: &RunId,
        name: &AppName,
        releases: u32,
        backups: u32,
    ) -> Answer {
        let app = self.locked_by(name, run)?;
        let Some(mut ledger) = self.ledger(&app)? else {
            return Ok(Reply::Pruned { count: 0, bytes: 0 });
        };
        let list = app.places.state.join("prune.json");
        let mut going: BTreeSet<PathBuf> = read_if_there(self.host.as_read(), &list)?
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        going.extend(forget(&mut ledger, &app.places.releases(), releases));
        // A release that came back, by a rollback or the same content again, stays.
        going.retain(|path| !needs(&ledger, path));
        let mut removed = Removed::default();
        if !going.is_empty() {
            let text = serde_json::to_vec(&going).unwrap_or_default();
            write_durably(self.host, &list, &text, self.registry.user())?;
            ledger::store(self.host, &app.places.state, &ledger, self.registry.user())?;
            let mut left = BTreeSet::new();
            for path in going {
                match self.remove_unused(&app, run, &path)? {
                    Some(gone) => removed += gone,
                    None => drop(left.insert(path)),
                }
            }
            let text = serde_json::to_vec(&left).unwrap_or_default();
            write_durably(self.host, &list, &text, self.registry.user())?;
        }
        removed += self.prune_backups(&app, backups)?;
        removed += self.prune_content(&app, &ledger)?;
        removed += crate::step::run::prune_unused(self.host, &app.places)?;
        Ok(Reply::Pruned {
            count: removed.count,
            bytes: removed.bytes,
        })
    }

    /// Removes a tree; none when a link or a live process refers to it.
    fn remove_unused(
        &self,
        app: &App,
        run: &RunId,
        path: &Path,
    ) -> Result<Option<Removed>, Refusal> {
        if self.host.entry(path)?.is_none() {
            return Ok(Some(Removed::default()));
        }
        if self.is_linked(app, path)? || !self.host.processes_in(path)?.is_empty() {
            return Ok(None);
        }
        // Out of sight in one act: what is half removed must not be taken for a release.
        let staging = app.places.staging(run);
        crate::content::make_own(self.host, &app.places, &staging)?;
        let name = path.file_name().unwrap_or_default();
        let aside = staging.join(name);
        remove_tree(self.host, &aside)?;
        self.host.rename(path, &aside)?;
        self.host.sync(path.parent().unwrap_or(path))?;
        let removed = remove_tree(self.host, &aside)?;
        remove_tree(self.host, &staging)?;
        Ok(Some(removed))
    }

    /// Whether a link at the top of the root leads into a path.
    fn is_linked(&self, app: &App, path: &Path) -> Result<bool, HostError> {
        for name in self.host.list(&app.places.root)? {
            let link = app.places.root.join(name);
            let entry = self.host.entry(&link)?;
            if entry.is_some_and(|entry| entry.kind == EntryType::Link)
                && self.host.real_path(&link)?.starts_with(path)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Backups beyond the last ones: they are named by their runs, and so sort by time.
    fn prune_backups(&self, app: &App, keep: u32) -> Result<Removed, HostError> {
        let directory = app.places.backups();
        let names = match self.host.list(&directory) {
            Ok(names) => names,
            Err(error) if error.kind == HostErrorKind::NotFound => return Ok(Removed::default()),
            Err(error) => return Err(error),
        };
        let surplus = names.len().saturating_sub(keep as usize);
        let mut removed = Removed::default();
        for name in &names[..surplus] {
            removed += remove_tree(self.host, &directory.join(name))?;
        }
        Ok(removed)
    }

    /// Content that no kept generation names.
    fn prune_content(&self, app: &App, ledger: &Ledger) -> Result<Removed, HostError> {
        let mut named = BTreeSet::new();
        for generation in &ledger.generations {
            for resource in generation.state.resources.values() {
                named.extend(digests(resource));
            }
        }
        let store = Store::new(self.host, &app.places, self.registry.seal());
        store
            .collect_garbage(&named, &named)
            .map_err(|error| HostError {
                doing: "collect content of".to_owned(),
                path: app.places.root.display().to_string(),
                kind: HostErrorKind::Other(error.to_string()),
            })
    }
}

/// Drops the generations whose releases aren't among the last distinct ones that were live, the
/// standing one among them; the paths of what only they had.
fn forget(ledger: &mut Ledger, releases: &Path, keep: u32) -> BTreeSet<PathBuf> {
    let mut live: Vec<&str> = Vec::new();
    for generation in ledger.generations.iter().rev() {
        if let Some(release) = generation.release.as_deref()
            && !live.contains(&release)
        {
            live.push(release);
        }
    }
    let kept: BTreeSet<String> = live
        .into_iter()
        .take((keep as usize).max(1))
        .map(str::to_owned)
        .collect();
    let mut dropped = Vec::new();
    let generations = std::mem::take(&mut ledger.generations);
    for generation in generations {
        let release = generation.release.as_ref();
        if release.is_some_and(|release| !kept.contains(release)) {
            dropped.push(generation);
        } else {
            ledger.generations.push(generation);
        }
    }
    let mut going = BTreeSet::new();
    for generation in dropped {
        going.extend(generation.release.map(|release| releases.join(release)));
        for (id, resource) in generation.state.resources {
            going.extend(path_of(&id.kind, &id.name, &resource));
        }
    }
    going
}

/// Whether a kept generation has something at a path.
fn needs(ledger: &Ledger, path: &Path) -> bool {
    // What stands retains every release that is still there: only its own counts.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ledger.generations.iter().any(|generation| {
        let own = generation.release.as_deref() == Some(&*name);
        let tasks = generation.state.resources.iter();
        let built = tasks
            .filter(|(id, _)| id.kind == ResourceKind::TASK)
            .any(|(id, task)| {
                path_of(&id.kind, &id.name, task).as_deref() == Some(path)
                    && is_declared_with(generation.release.as_deref(), task)
            });
        own || built
    })
}

/// Whether a task belongs to a generation's own release, not to one that it retains.
fn is_declared_with(release: Option<&str>, task: &Resource) -> bool {
    let of = task.settings.get("release").and_then(Value::as_text);
    of.is_none_or(|of| release.is_some_and(|release| of.ends_with(release)))
}

/// The path of a tree that only pruning removes.
fn path_of(kind: &ResourceKind, name: &str, resource: &Resource) -> Option<PathBuf> {
    let built = resource.settings.get("built").and_then(Value::as_text);
    match kind {
        kind if *kind == ResourceKind::RELEASE => Some(PathBuf::from(name)),
        kind if *kind == ResourceKind::TASK => built.map(PathBuf::from),
        _ => None,
    }
}

/// Every digest that a resource's attributes name.
fn digests(resource: &Resource) -> Vec<Digest> {
    let texts = resource.attributes.values().filter_map(Value::as_text);
    texts.filter_map(|text| text.parse().ok()).collect()
}
