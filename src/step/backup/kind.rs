//! The backup of an app as a kind: never part of a state, only of plans.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use crate::config::{Declaration, Word};
use crate::content::{make_own, own_owner, remove_tree};
use crate::host::{EntryType, HostError};
use crate::model::{Action, Resource, ResourceKind, RunId, Step, StepKind, Value};
use crate::step::attendant::Act;
use crate::step::desired::Desired;
use crate::step::kind::{StepContext, StepError};

use super::copy::copy;
use super::manifest::{BackupManifest, Item, MANIFEST};
use super::{declare, desire, restore};

/// The run whose backup is put back, where it isn't the one that goes back.
pub const FROM: &str = "from";

/// Backups.
pub struct Backups;

impl Act for Backups {
    const RESOURCE: ResourceKind = desire::BACKUP;
    const STEP: StepKind = StepKind::BACKUP;
    const WORD: Word = declare::BACKUP;

    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::desire(declaration, desired);
    }

    fn act(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        let none = Resource::new();
        let with = step.to.as_ref().unwrap_or(&none);
        if step.action == Action::Restore {
            return put_back(context, with);
        }
        Ok(take(context, with)?)
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        if step.action == Action::Restore {
            for path in step.to.iter().flat_map(covered).map(|(path, _)| path) {
                let aside = restore::aside(context.observe.places, context.run, &path);
                let removed = remove_tree(context.host, &aside)?;
                if let Some(parent) = aside.parent().filter(|_| removed.count > 0) {
                    context.host.sync(parent)?;
                }
            }
        }
        Ok(())
    }
}

/// What a backup covers, each with whether it is an SQLite database.
fn covered(with: &Resource) -> Vec<(PathBuf, bool)> {
    let paths = |setting: &str, sqlite: bool| {
        let paths = with
            .settings
            .get(setting)
            .into_iter()
            .flat_map(Value::texts);
        paths
            .map(move |path| (PathBuf::from(path), sqlite))
            .collect::<Vec<_>>()
    };
    [paths("sqlite", true), paths("paths", false)].concat()
}

fn directory(context: &StepContext<'_>, run: &RunId) -> PathBuf {
    context.observe.places.backups().join(&run.0)
}

/// Takes the backup of the run, once.
fn take(context: &StepContext<'_>, with: &Resource) -> Result<(), HostError> {
    let host = context.host;
    let backup = directory(context, context.run);
    if BackupManifest::read(host.as_read(), &backup)?.is_some() {
        return Ok(());
    }
    remove_tree(host, &backup)?;
    make_own(host, context.observe.places, &backup)?;
    let mut items = Vec::new();
    for (index, (path, sqlite)) in covered(with).into_iter().enumerate() {
        let name = format!(
            "{index}-{}",
            path.file_name().unwrap_or_default().to_string_lossy()
        );
        let stored = store(context, &path, sqlite, &backup.join(&name))?;
        let path = path.to_string_lossy().into_owned();
        items.push(Item {
            path,
            sqlite,
            stored: stored.then_some(name),
        });
    }
    host.sync_tree(&backup)?;
    commit(context, &backup, &BackupManifest::new(items))
}

/// Copies one thing; whether it was there.
fn store(
    context: &StepContext<'_>,
    path: &Path,
    sqlite: bool,
    to: &Path,
) -> Result<bool, HostError> {
    let host = context.host;
    let Some(entry) = host.entry(path)? else {
        return Ok(false);
    };
    // An app may make its database's file before anything is in it.
    if sqlite && entry.kind == EntryType::File && entry.size > 0 {
        host.copy_database(path, to, entry.mode, &entry.owner)?;
    } else {
        copy(host, path, to)?;
    }
    Ok(true)
}

/// Makes the backup one: its manifest appears, whole.
fn commit(
    context: &StepContext<'_>,
    backup: &Path,
    manifest: &BackupManifest,
) -> Result<(), HostError> {
    let host = context.host;
    let owner = own_owner(host.as_read())?;
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| HostError {
        doing: "write the manifest of".to_owned(),
        path: backup.display().to_string(),
        kind: crate::host::HostErrorKind::Other(error.to_string()),
    })?;
    let new = backup.join(format!("{MANIFEST}.new"));
    host.write_file(&new, &mut Cursor::new(text), 0o600, &owner)?;
    host.sync(&new)?;
    host.rename(&new, &backup.join(MANIFEST))?;
    host.sync(backup)?;
    match backup.parent() {
        Some(parent) => host.sync(parent),
        None => Ok(()),
    }
}

/// Puts the backup of a run back.
fn put_back(context: &StepContext<'_>, with: &Resource) -> Result<(), StepError> {
    let from = with.settings.get(FROM).and_then(Value::as_text);
    let from = from.map_or_else(|| context.run.clone(), |run| RunId(run.to_owned()));
    let backup = directory(context, &from);
    let Some(manifest) = BackupManifest::read(context.host.as_read(), &backup)? else {
        let path = backup.display().to_string();
        let kind = crate::host::HostErrorKind::NotFound;
        return Err(HostError {
            doing: "put back the backup".to_owned(),
            path,
            kind,
        }
        .into());
    };
    Ok(restore::restore(
        context.host,
        context.observe.places,
        context.run,
        &backup,
        &manifest,
    )?)
}
