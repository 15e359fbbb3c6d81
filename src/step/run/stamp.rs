//! Stamps: what says that a task's effect is there.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::content::{Removed, make_own, own_owner, remove_tree};
use crate::host::{HostError, HostErrorKind, ReadHost, WriteHost};
use crate::model::{Attributes, Places, RunId};

/// The name of the stamp in a directory that a task has made.
pub(super) const BUILT_STAMP: &str = ".rosey-stamp";
/// The names of what is kept of built directories that nobody uses.
const CACHED: &str = "built-";
/// How many stamps back a stamp remembers.
const DEPTH: usize = 16;

/// What is known of a task that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// The digest of definition and inputs.
    pub stamp: String,
    /// The run that ran it.
    pub run: RunId,
    /// When (RFC 3339).
    pub at: String,
    /// Milliseconds that it took.
    pub elapsed: u64,
    /// Whether another host did it for all.
    #[serde(default)]
    pub noted: bool,
    /// Whether nobody knows yet how it ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// How it was run, and how it is undone. Never a secret.
    pub settings: Attributes,
    /// The stamp that stood before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Stamp>>,
}

impl Stamp {
    /// This one and those before it, the newest first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |stamp| stamp.before.as_deref())
    }

    /// The same on top of another; the oldest ones are forgotten.
    pub fn on(mut self, before: Option<&Self>) -> Self {
        let mut chain: Vec<Self> = before
            .into_iter()
            .flat_map(Self::chain)
            .take(DEPTH - 1)
            .cloned()
            .collect();
        let mut below = None;
        while let Some(mut stamp) = chain.pop() {
            stamp.before = below;
            below = Some(Box::new(stamp));
        }
        self.before = below;
        self
    }
}

/// Where the stamp of a task without output lies.
pub(super) fn path(places: &Places, task: &str) -> PathBuf {
    directory(places).join(format!("{task}.json"))
}

/// Where a stamp is kept that a run has removed, for the way back of that run.
pub(super) fn removed_path(places: &Places, task: &str, run: &RunId) -> PathBuf {
    directory(places).join(format!(".{task}.{run}"))
}

fn directory(places: &Places) -> PathBuf {
    places.state.join("stamps")
}

/// Where a built directory is kept while nobody uses it.
pub(super) fn cache_path(places: &Places, built: &Path) -> PathBuf {
    let name = built.file_name().unwrap_or_default().to_string_lossy();
    places.objects().join(format!("{CACHED}{name}"))
}

/// Removes what was built once and nobody uses: it was kept only in case that it comes back soon.
///
/// # Errors
/// When something can't be removed; the rest stays for the next time.
pub fn prune_unused(host: &dyn WriteHost, places: &Places) -> Result<Removed, HostError> {
    let objects = places.objects();
    let names = match host.list(&objects) {
        Ok(names) => names,
        Err(error) if error.kind == HostErrorKind::NotFound => return Ok(Removed::default()),
        Err(error) => return Err(error),
    };
    let mut removed = Removed::default();
    for name in names {
        let path = objects.join(&name);
        // A process that was started from it may still run.
        if name.to_string_lossy().starts_with(CACHED) && host.processes_in(&path)?.is_empty() {
            removed += remove_tree(host, &path)?;
        }
    }
    Ok(removed)
}

/// Reads a stamp; none when there is none.
///
/// # Errors
/// When it can't be read, or isn't what rosey wrote.
pub(super) fn read(host: &dyn ReadHost, path: &Path) -> Result<Option<Stamp>, HostError> {
    let bytes = match host.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind == HostErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let stamp = serde_json::from_slice(&bytes).map_err(|error| {
        let words = format!("it is no stamp of rosey's ({error}); remove it to run the task again");
        HostError::new("read", path, HostErrorKind::Other(words))
    })?;
    Ok(Some(stamp))
}

/// Writes a stamp: aside first, then durable by one rename.
pub(super) fn write(
    host: &dyn WriteHost,
    aside: &Path,
    path: &Path,
    stamp: &Stamp,
) -> Result<(), HostError> {
    let bytes = serde_json::to_vec_pretty(stamp)
        .map_err(|error| HostError::new("write", path, HostErrorKind::Other(error.to_string())))?;
    let owner = own_owner(host.as_read())?;
    if host.entry(aside)?.is_some() {
        host.remove_file(aside)?;
    }
    host.write_file(aside, &mut bytes.as_slice(), 0o644, &owner)?;
    host.sync(aside)?;
    host.replace(aside, path)?;
    sync_parent(host, path)
}

/// Writes the stamp of a task without output.
pub(super) fn keep(
    host: &dyn WriteHost,
    places: &Places,
    task: &str,
    stamp: &Stamp,
) -> Result<(), HostError> {
    make_own(host, places, &directory(places))?;
    let aside = directory(places).join(format!(".{task}.new"));
    write(host, &aside, &path(places, task), stamp)
}

/// Makes the names in a path's directory durable.
pub(super) fn sync_parent(host: &dyn WriteHost, path: &Path) -> Result<(), HostError> {
    match path.parent() {
        Some(parent) => host.sync(parent),
        None => Ok(()),
    }
}
