//! Taking an app's ledger and all of rosey's own away, once everything that it had is removed.

use std::path::Path;

use super::protocol::{Refusal, RefusalKind, Reply};
use super::refuse::refusal;
use super::session::{Answer, Session};
use crate::content::remove_tree;
use crate::host::{HostError, HostErrorKind};
use crate::model::{AppName, RunId};

impl Session<'_> {
    pub(super) fn forget(&mut self, run: &RunId, name: &AppName, data: bool) -> Answer {
        let app = self.locked_by(name, run)?;
        let settled = self
            .runs
            .get(name)
            .is_none_or(|open| open.journal.ask(|told| told.settled.is_some()));
        if !settled {
            let words = format!("the run {run} of {name} is still open");
            return Err(refusal(RefusalKind::Internal, words));
        }
        let (root, state) = (&app.places.root, &app.places.state);
        let was_there = self.ledger(&app)?.is_some_and(|ledger| {
            let first = ledger.generation(0).map(|first| &first.state.resources);
            let mut names = first
                .into_iter()
                .flatten()
                .map(|(id, _)| Path::new(&id.name));
            names.any(|name| name == root)
        });
        if data {
            remove_tree(self.host, &root.join("shared"))?;
            remove_tree(self.host, &app.places.own())?;
        } else {
            self.forget_own(&app.places)?;
        }
        if !was_there {
            self.remove_if_empty(root)?;
        }
        self.runs.remove(name);
        // The lock's own file last: until then nobody else begins here.
        for entry in self.host.list(state)? {
            if entry != "lock" && entry != "holder.json" {
                remove_tree(self.host, &state.join(entry))?;
            }
        }
        self.host.sync(state)?;
        remove_tree(self.host, state)?;
        self.held.remove(name);
        Ok(Reply::Done)
    }

    /// Everything of rosey's own below the root but backups.
    fn forget_own(&self, places: &crate::model::Places) -> Result<(), Refusal> {
        let own = places.own();
        let backups = places.backups();
        let names = match self.host.list(&own) {
            Ok(names) => names,
            Err(error) if error.kind == HostErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for name in names {
            let path = own.join(name);
            if path != backups {
                remove_tree(self.host, &path)?;
            }
        }
        self.remove_if_empty(&backups)?;
        Ok(self.remove_if_empty(&own)?)
    }

    fn remove_if_empty(&self, path: &Path) -> Result<(), HostError> {
        match self.host.remove_directory(path) {
            Err(error) if matches!(error.kind, HostErrorKind::Exists | HostErrorKind::NotFound) => {
                Ok(())
            }
            other => other,
        }
    }
}
