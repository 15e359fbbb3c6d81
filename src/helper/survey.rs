//! What is known here of some apps. Takes no lock and changes nothing.

use std::collections::BTreeMap;

use super::app::App;
use super::lock;
use super::protocol::{
    AppAddress, GoingBack, Interrupted, Refusal, RegistryEntry, Reply, SecretBytes, SurveyedApp,
};
use super::session::{Answer, Session, journal_path};
use crate::apply::{JournalError, journal};
use crate::model::{Digest, Ledger, ResourceKind, Value};

impl Session<'_> {
    pub(super) fn survey(
        &mut self,
        apps: &[AppAddress],
        seal: &BTreeMap<String, SecretBytes>,
    ) -> Answer {
        let surveyed: Result<Vec<_>, _> = apps.iter().map(|app| self.survey_one(app)).collect();
        let key = self.registry.seal();
        let sealed = seal
            .iter()
            .map(|(label, bytes)| (label.clone(), Digest::sealed(key, &bytes.0)))
            .collect();
        let ledgers = self.registry.ledgers(self.host.as_read())?;
        let ledgers = ledgers.into_iter().map(|(_, ledger)| RegistryEntry {
            manager: manager(&ledger),
            environment: ledger.environment,
            app: ledger.app,
            root: ledger.root,
            left: false,
        });
        let mut registry: Vec<_> = ledgers.collect();
        let mut left = self.all_left()?;
        // What was deployed again has its data back.
        left.retain(|entry| !registry.iter().any(|it| it.root == entry.root));
        registry.append(&mut left);
        Ok(Reply::Surveyed {
            apps: surveyed?,
            sealed,
            registry,
        })
    }

    fn survey_one(&self, address: &AppAddress) -> Result<SurveyedApp, Refusal> {
        let app = self.app(address)?;
        let there = self.ledger(&app)?;
        // Of what is another one's, the registry tells whose it is, and nothing else is this app's.
        let is_own = |ledger: &Ledger| address.is(&ledger.environment, &ledger.app);
        let is_others = !there.as_ref().is_none_or(is_own);
        let ledger = there.filter(|_| !is_others);
        let holder = lock::holder(&self.options.lock_of(&app.places.state));
        let holder = holder.filter(|_| !is_others);
        // Who holds the lock itself is told too: at the end of its run that says whether it is closed.
        let is_held = holder.is_some() && !self.held.contains_key(&address.app);
        let interrupted = if is_others || is_held {
            None
        } else {
            self.interrupted(&app, ledger.as_ref())?
        };
        let going_back = match holder {
            Some(_) => self.going_back(&app)?,
            None => None,
        };
        let left = match ledger {
            Some(_) => Vec::new(),
            None if is_others => Vec::new(),
            None => self.left(&app)?,
        };
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        Ok(SurveyedApp {
            root: text(&app.places.root),
            state: text(&app.places.state),
            manager: app.manager.to_owned(),
            owner: app.owner,
            app_owner: app.app_owner,
            releases: ledger.as_ref().map(releases).unwrap_or_default(),
            ledger,
            holder,
            interrupted,
            going_back,
            left,
        })
    }

    /// A run that somebody takes back.
    fn going_back(&self, app: &App) -> Result<Option<GoingBack>, Refusal> {
        let told = match journal::read(self.host.as_read(), &journal_path(app)) {
            // Its holder knows it, and that it is held is answer enough.
            Err(JournalError::UnknownFormat { .. }) => None,
            told => told?,
        };
        let told = told.filter(|told| told.settled.is_none());
        Ok(told.and_then(|told| {
            let cause = told.going_back?;
            Some(GoingBack {
                run: told.opened.run,
                command: told.opened.command,
                author: told.opened.author,
                reason: cause.reason,
                since: cause.since,
            })
        }))
    }

    /// A run whose journal is open, and that nobody is at.
    fn interrupted(
        &self,
        app: &App,
        ledger: Option<&Ledger>,
    ) -> Result<Option<Interrupted>, Refusal> {
        let told = journal::read(self.host.as_read(), &journal_path(app))?;
        let Some(told) = told.filter(|told| told.settled.is_none()) else {
            return Ok(None);
        };
        let run = &told.opened.run;
        let committed = ledger.is_some_and(|ledger| {
            let generations = ledger.generations.iter();
            generations
                .filter_map(|it| it.run.as_ref())
                .any(|it| it == run)
        });
        Ok((!committed).then(|| Interrupted {
            run: run.clone(),
            command: told.opened.command.clone(),
            author: told.opened.author.clone(),
            members: told.opened.members.clone(),
            at: told.opened.at.clone(),
            begun: told.begun_steps().map(|step| step.id.clone()).collect(),
            ready: told.ready,
            promised: told
                .promise
                .as_ref()
                .filter(|_| told.ready)
                .map(|promise| Box::new(promise.generation.clone())),
        }))
    }
}

/// Who runs the services of an app, as its latest generation that has one says.
fn manager(ledger: &Ledger) -> Option<String> {
    let generations = ledger.generations.iter().rev();
    let mut resources = generations.flat_map(|generation| &generation.state.resources);
    resources.find_map(|(id, resource)| {
        let manager = resource.settings.get("manager").and_then(Value::as_text)?;
        (id.kind == ResourceKind::SERVICE).then(|| manager.to_owned())
    })
}

/// The releases of kept generations: each name with the digest of its tree.
fn releases(ledger: &Ledger) -> BTreeMap<String, String> {
    let states = ledger
        .generations
        .iter()
        .map(|generation| &generation.state);
    let resources = states.flat_map(|state| &state.resources);
    resources
        .filter(|(id, _)| id.kind == ResourceKind::RELEASE)
        .filter_map(|(id, resource)| {
            let name = id.name.rsplit('/').next()?;
            Some((name.to_owned(), resource.text("tree")?.to_owned()))
        })
        .collect()
}
