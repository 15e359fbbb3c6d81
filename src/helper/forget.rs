//! Taking an app's ledger and all of rosey's own away, once everything that it had is removed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::app::App;
use super::protocol::{Refusal, RefusalKind, RegistryEntry, Reply};
use super::refuse::refusal;
use super::registry::{read_if_there, write_durably};
use super::session::{Answer, OpenRun, Session};
use crate::content::remove_tree;
use crate::host::{HostError, HostErrorKind};
use crate::model::{AppName, EnvironmentName, Ledger, Places, RunId};

/// In the app's directory of the registry, where a remove has left data.
const TRACE: &str = "left.json";

/// Says that what lies in the root was the app's, so that it can still be taken away.
#[derive(Serialize, Deserialize)]
struct Trace {
    environment: EnvironmentName,
    app: AppName,
    /// Its root; an older helper has not written that down.
    root: Option<PathBuf>,
    /// Whether the root was there before rosey came.
    was_there: bool,
}

/// Whether something was there before rosey came.
fn was_found(ledger: &Ledger, path: &Path) -> bool {
    ledger.found().is_some_and(|found| {
        let mut names = found.state.resources.keys().map(|id| Path::new(&id.name));
        names.any(|name| name == path)
    })
}

impl Session<'_> {
    /// Takes it away. What can't be removed yet is waited for: afterwards nobody knows that it is rosey's.
    pub(super) fn forget(&mut self, id: u64, run: &RunId, name: &AppName, data: bool) -> Answer {
        let app = self.locked_by(name, run)?;
        let what = "forgotten";
        let was_there = self.in_the_end(id, name, what, |session| session.had_root(&app, run))?;
        self.in_the_end(id, name, what, |session| {
            session.take_away(&app, data, was_there)
        })
    }

    /// Whether an app's root was there before rosey came, for a run that may forget the app.
    fn had_root(&self, app: &App, run: &RunId) -> Result<bool, Refusal> {
        let name = &app.address.app;
        if let Some(open) = self.runs.get(name)
            && open.journal.ask(|told| told.settled.is_none())
            && !self.close_committed(app, &open.journal)?
        {
            let words = format!("the run {run} of {name} is still open");
            return Err(refusal(RefusalKind::Internal, words));
        }
        let root = &app.places.root;
        let ledger = self.ledger(app)?;
        // Only the run that removed an app may forget what is known of it. Any other takes away what was left, and
        // read that before it had the lock: the app may have been deployed again since.
        let is_own = |open: &OpenRun<'_>| open.journal.ask(|told| &told.opened.run == run);
        let is_own = self.runs.get(name).is_some_and(is_own);
        let is_anothers = |ledger: &Ledger| !is_own && ledger.head.as_ref() != Some(run);
        if ledger.as_ref().is_some_and(is_anothers) {
            let words = format!("{name} was deployed again meanwhile; look again");
            return Err(refusal(RefusalKind::Stale, words));
        }
        match (ledger, self.trace(app)?) {
            (Some(ledger), _) => Ok(was_found(&ledger, root)),
            (None, Some(trace)) => Ok(trace.was_there),
            // A directory of this name may be anybody's.
            (None, None) => {
                let words = format!("nothing is known of {name} on this host");
                Err(refusal(RefusalKind::NoSuchRun, words))
            }
        }
    }

    /// Removes all that is rosey's own. After a part of it, too.
    fn take_away(&mut self, app: &App, data: bool, was_there: bool) -> Answer {
        let name = &app.address.app;
        let (root, state) = (&app.places.root, &app.places.state);
        let trace = state.join(TRACE);
        self.try_sweep(app)?;
        if data {
            remove_tree(self.host, &root.join("shared"))?;
            remove_tree(self.host, &app.places.own())?;
        } else {
            self.forget_own(&app.places)?;
        }
        // What a task made that is declared no more was kept in it, for as long as a generation needed that.
        let built = root.join("built");
        let ledger = self.ledger(app)?;
        if ledger.is_some_and(|ledger| !was_found(&ledger, &built)) {
            self.remove_if_empty(&built)?;
        }
        if !was_there {
            self.remove_if_empty(root)?;
        }
        self.runs.remove(name);
        let left = self.left_below(&app.places)?;
        if !left.is_empty() {
            let text = Trace {
                environment: app.address.environment.clone(),
                app: name.clone(),
                root: Some(root.clone()),
                was_there,
            };
            let text = serde_json::to_vec(&text).unwrap_or_default();
            write_durably(self.host, &trace, &text, self.registry.user())?;
        }
        // The lock's own file last: until then nobody else begins here.
        for entry in self.host.list(state)? {
            let stays = entry == TRACE && !left.is_empty();
            if entry != "lock" && entry != "holder.json" && !stays {
                remove_tree(self.host, &state.join(entry))?;
            }
        }
        self.host.sync(state)?;
        if left.is_empty() {
            remove_tree(self.host, state)?;
        }
        self.held.remove(name);
        Ok(Reply::Forgotten(left))
    }

    /// What a remove has left of an app that has no ledger any more; nothing where it never was here.
    pub(super) fn left(&self, app: &App) -> Result<Vec<String>, Refusal> {
        match self.trace(app)? {
            Some(_) => Ok(self.left_below(&app.places)?),
            None => Ok(Vec::new()),
        }
    }

    /// Every app that a remove has taken away here, and left something of.
    pub(super) fn all_left(&self) -> Result<Vec<RegistryEntry>, HostError> {
        let mut all = Vec::new();
        for state in self.registry.states(self.host.as_read())? {
            let Some(trace) = self.trace_in(&state)? else {
                continue;
            };
            let Some(root) = trace.root else { continue };
            let places = Places { root, state };
            if !self.left_below(&places)?.is_empty() {
                all.push(RegistryEntry {
                    environment: trace.environment,
                    app: trace.app,
                    root: places.root.to_string_lossy().into_owned(),
                    manager: None,
                    left: true,
                });
            }
        }
        Ok(all)
    }

    fn trace_in(&self, state: &Path) -> Result<Option<Trace>, HostError> {
        let text = read_if_there(self.host.as_read(), &state.join(TRACE))?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// What a remove of this very app has written down, where it left something.
    fn trace(&self, app: &App) -> Result<Option<Trace>, HostError> {
        let trace = self.trace_in(&app.places.state)?;
        Ok(trace.filter(|trace| {
            (&trace.environment, &trace.app) == (&app.address.environment, &app.address.app)
        }))
    }

    /// What lies below the root of that which `--with-data` takes away.
    fn left_below(&self, places: &Places) -> Result<Vec<String>, HostError> {
        let mut left = Vec::new();
        for path in [places.root.join("shared"), places.backups()] {
            if self.host.entry(&path)?.is_some() {
                left.push(path.to_string_lossy().into_owned());
            }
        }
        Ok(left)
    }

    /// Everything of rosey's own below the root but backups.
    fn forget_own(&self, places: &Places) -> Result<(), Refusal> {
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
