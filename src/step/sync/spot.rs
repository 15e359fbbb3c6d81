//! A path, and the place aside of it: everything is made there, and shown by one rename or exchange.
//!
//! What an exchange or a removal displaces stays aside until the run is settled, so that the way
//! back is a rename that needs no space, and gives back the very same file with all that it has.

use std::path::{Path, PathBuf};

use crate::content::{make_own, remove_tree};
use crate::host::{EntryType, HostError, HostErrorKind, ReadHost};
use crate::model::{Places, ResourceId, RunId};
use crate::step::kind::{StepContext, StepError};

/// A path that a step changes.
pub(crate) struct Spot<'a> {
    context: &'a StepContext<'a>,
    pub(crate) path: PathBuf,
    pub(crate) aside: PathBuf,
}

impl<'a> Spot<'a> {
    /// The place of a resource that is named by its path.
    pub(crate) fn of(context: &'a StepContext<'a>, id: &ResourceId) -> Result<Self, HostError> {
        let places = context.observe.places;
        let aside = aside(context.host.as_read(), places, context.run, id)?;
        Ok(Self {
            context,
            path: PathBuf::from(&id.name),
            aside,
        })
    }

    /// Makes sure that something can be made aside.
    pub(crate) fn prepare(&self) -> Result<(), HostError> {
        let places = self.context.observe.places;
        match self.aside.parent() {
            Some(parent) if parent.starts_with(places.own()) => {
                make_own(self.context.host, places, parent)
            }
            _ => Ok(()),
        }
    }

    /// Removes what is aside.
    pub(crate) fn clear(&self) -> Result<(), HostError> {
        if remove_tree(self.context.host, &self.aside)?.count > 0 {
            sync_parent(self.context, &self.aside)?;
        }
        Ok(())
    }

    /// Puts what is aside, complete and synced, into its place, and what is there aside.
    pub(crate) fn show(&self) -> Result<(), HostError> {
        let host = self.context.host;
        if host.entry(&self.path)?.is_some() {
            host.exchange(&self.aside, &self.path)?;
        } else {
            host.rename(&self.aside, &self.path)?;
        }
        self.sync()
    }

    /// Puts what is in its place aside.
    pub(crate) fn put_away(&self) -> Result<(), HostError> {
        self.prepare()?;
        self.clear()?;
        self.context.host.rename(&self.path, &self.aside)?;
        self.sync()
    }

    /// Makes both names durable. Done again after a step that was cut off, since then nobody knows.
    pub(crate) fn sync(&self) -> Result<(), HostError> {
        sync_parent(self.context, &self.path)?;
        if self.aside.parent() != self.path.parent() {
            sync_parent(self.context, &self.aside)?;
        }
        Ok(())
    }

    /// Removes for good what is aside, unless a process still uses it.
    pub(crate) fn sweep(&self) -> Result<(), StepError> {
        let host = self.context.host;
        let Some(entry) = host.entry(&self.aside)? else {
            return Ok(());
        };
        // A file that is open stays for who has it open. What is looked up in a directory later doesn't.
        let users = match entry.kind {
            EntryType::Directory => host.processes_in(&self.aside)?,
            _ => Vec::new(),
        };
        if let Some(process) = users.first() {
            return Err(HostError {
                doing: "remove".to_owned(),
                path: self.aside.display().to_string(),
                kind: HostErrorKind::InUse(*process),
            }
            .into());
        }
        Ok(self.clear()?)
    }
}

fn sync_parent(context: &StepContext<'_>, path: &Path) -> Result<(), HostError> {
    match path.parent() {
        Some(parent) if context.host.entry(parent)?.is_some() => context.host.sync(parent),
        _ => Ok(()),
    }
}

/// Where the other one of a pair lies. Each kind has its own place, so that a file that leaves and a
/// link that comes to the same path don't meet there. In the root it is in staging, but for a
/// directory that is a file system of its own (a mounted `shared/`): a rename can't leave that.
fn aside(
    host: &dyn ReadHost,
    places: &Places,
    run: &RunId,
    id: &ResourceId,
) -> Result<PathBuf, HostError> {
    let path = Path::new(&id.name);
    let usual = places.aside(path, run);
    let name = |base: &Path| {
        let mut name = base.file_name().unwrap_or_default().to_owned();
        name.push(format!("-{}", id.kind));
        name
    };
    let usual = usual.with_file_name(name(&usual));
    if !usual.starts_with(places.own()) {
        return Ok(usual);
    }
    let device = |path: &Path| Ok(host.entry(path)?.map(|entry| entry.device));
    let Some(parent) = path.parent() else {
        return Ok(usual);
    };
    match (device(parent)?, device(&places.root)?) {
        (Some(here), Some(root)) if here != root => {
            let mut beside = path.file_name().unwrap_or_default().to_os_string();
            beside.push(format!(".rosey-{run}-{}", id.kind));
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(beside);
            Ok(path.with_file_name(hidden))
        }
        _ => Ok(usual),
    }
}
