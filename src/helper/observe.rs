//! Reading resources: what is wanted, and what rosey has applied. Takes no lock and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::app::App;
use super::findings::{self, Seen};
use super::ledger;
use super::misplaced;
use super::protocol::{ObserveApp, ObservedApp, Refusal, Reply};
use super::session::{Answer, Session};
use crate::apply::site::kind_of;
use crate::host::{HostError, HostErrorKind};
use crate::model::{Resource, ResourceId, State};
use crate::step::restart::beside;

impl Session<'_> {
    pub(super) fn observe(&mut self, apps: Vec<ObserveApp>) -> Answer {
        for app in &apps {
            self.know(&app.manifests)?;
        }
        let observed: Result<Vec<_>, _> = apps.iter().map(|app| self.observe_one(app)).collect();
        Ok(Reply::Observed(observed?))
    }

    fn observe_one(&self, asked: &ObserveApp) -> Result<ObservedApp, Refusal> {
        let app = self.app(&asked.app)?;
        let ledger = self.own_ledger(&app)?;
        let applied = ledger.as_ref().and_then(ledger::applied);
        let mut known: BTreeMap<ResourceId, Resource> = applied
            .map(|state| state.resources.clone())
            .unwrap_or_default();
        known.extend(asked.wanted.resources.clone());
        known.extend(self.beside(&app, asked, applied)?.resources);
        let known: Vec<_> = known.into_iter().collect();
        let mut actual = State::default();
        let mut changes = Vec::new();
        let mut unread = BTreeSet::new();
        let mut found = Vec::new();
        self.reading(&app, ledger.as_ref(), &known, |context| {
            for (id, wanted) in &known {
                let observed = kind_of(self.options.kinds, id)
                    .and_then(|kind| kind.observe(context, id, Some(wanted)));
                let observed = match observed {
                    Ok(observed) => observed,
                    Err(error) if asked.findings => {
                        unread.insert(id.clone());
                        let at = (&asked.app, app.places.root.as_path());
                        found.push(misplaced::unread(context.host, at, id, &error)?);
                        continue;
                    }
                    // What lies behind a link isn't what was made where a directory was.
                    Err(error) if is_missed(asked, id, &error) => continue,
                    Err(error) => return Err(Refusal::from(error)),
                };
                if !observed.changes.is_empty() {
                    changes.push((id.clone(), observed.changes));
                }
                if let Some(resource) = observed.resource {
                    actual.resources.insert(id.clone(), resource);
                }
            }
            Ok(())
        })?;
        let mut starting = Vec::new();
        if asked.findings {
            let seen = Seen {
                host: self.host.as_read(),
                kinds: self.options.kinds,
                app: &app,
                asked,
                applied,
                ledger: ledger.as_ref(),
                actual: &actual,
                unread: &unread,
                claims: &self.registry.claims(self.host.as_read())?,
            };
            found.extend(findings::find(&seen)?);
            starting = findings::find_starting(&seen)?;
        }
        Ok(ObservedApp {
            actual,
            changes,
            findings: found,
            starting,
        })
    }

    /// What stands beside the app's units, and no ledger knows.
    fn beside(
        &self,
        app: &App,
        asked: &ObserveApp,
        applied: Option<&State>,
    ) -> Result<State, Refusal> {
        let host = self.host.as_read();
        let mut beside = beside(host, &asked.wanted, applied)?;
        if !beside.resources.is_empty() {
            let mut claims = self.registry.claims(host)?;
            claims.retain(|claims| claims.root != app.places.root);
            let is_others = |id: &ResourceId| claims.iter().any(|claims| claims.has(id));
            beside.resources.retain(|id, _| !is_others(id));
        }
        Ok(beside)
    }
}

/// Whether a resource that is wanted can't be where it belongs. What is to be taken away is not said to be gone already.
fn is_missed(asked: &ObserveApp, id: &ResourceId, error: &HostError) -> bool {
    error.kind == HostErrorKind::LinkOnTheWay && asked.wanted.get(id).is_some()
}
