//! A run under way: its steps, and its end when all is well.

use std::collections::BTreeMap;

use super::app::App;
use super::ledger;
use super::protocol::{AppAddress, Marks, Refusal, RefusalKind, Reply, StepFailure};
use super::refuse::refusal;
use super::session::{Answer, Session};
use crate::apply::step::is_same;
use crate::apply::{Batch, Promise, Record, Settled, Way, take_all};
use crate::model::{AppName, EventKind, Resource, ResourceId, RunId, State, StepId};

impl Session<'_> {
    pub(super) fn steps(
        &mut self,
        id: u64,
        run: &RunId,
        name: &AppName,
        steps: &[StepId],
    ) -> Answer {
        let app = self.locked_by(name, run)?;
        let cancel = self.cancels.of(name);
        let open = self.open_run(&app, run)?;
        let told = open.journal.told();
        if !open.here || told.going_back.is_some() || told.ready {
            let words = format!("the run {run} of {name} takes no further steps");
            return Err(refusal(RefusalKind::NoSuchRun, words));
        }
        let plan = &told.opened.plan;
        let batch: Option<Vec<_>> = steps.iter().map(|id| plan.step(id)).collect();
        let Some(batch) = batch else {
            let words = format!("a step that was asked for isn't in the plan of {name}");
            return Err(refusal(RefusalKind::Internal, words));
        };
        for step in &batch {
            let missing = step.after.iter().find(|before| {
                plan.step(before).is_some()
                    && !told.done.contains(before)
                    && !steps.contains(before)
            });
            if let Some(missing) = missing {
                let words = format!("{} waits for {missing}, which isn't done", step.id);
                return Err(refusal(RefusalKind::Internal, words));
            }
        }
        let known = told.known();
        let out = self.out.clone();
        let journal = &self.runs[name].journal;
        let outcome = self.with_site(&app, run, |site| {
            take_all(
                site,
                journal,
                &Batch {
                    steps: batch,
                    way: Way::Forward,
                    known: &known,
                    workers: self.options.workers,
                    cancel: &cancel,
                    tell: &|event| out.event(id, event),
                },
            )
        })?;
        let failed = outcome.failed.into_iter().next();
        let has_begun = |step: &StepId| self.runs[name].journal.ask(|told| told.has_begun(step));
        let failed = failed.map(|(step, error)| StepFailure {
            begun: has_begun(&step),
            step,
            error: error.to_string(),
            verdict: error.is_verdict(),
            conflict: error.is_conflict(),
            inconclusive: error.is_inconclusive(),
        });
        let cancelled = outcome.left.into_iter().next().map(|step| StepFailure {
            begun: false,
            step,
            error: "the run was asked to go back before this step".to_owned(),
            verdict: false,
            conflict: false,
            inconclusive: false,
        });
        Ok(Reply::Steps {
            failed: failed.or(cancelled),
        })
    }

    pub(super) fn ready(&mut self, run: &RunId, name: &AppName, promise: Promise) -> Answer {
        let app = self.locked_by(name, run)?;
        let open = self.open_run(&app, run)?;
        let told = open.journal.told();
        if !open.here || told.going_back.is_some() {
            let words = format!("the run {run} of {name} is going back");
            return Err(refusal(RefusalKind::NoSuchRun, words));
        }
        let missing = told
            .opened
            .plan
            .steps
            .iter()
            .find(|step| !told.done.contains(&step.id));
        if let Some(missing) = missing {
            let words = format!("{} isn't done", missing.id);
            return Err(refusal(RefusalKind::Internal, words));
        }
        if told.promise.as_deref() != Some(&promise) {
            open.journal.append(&Record::Promise(Box::new(promise)))?;
        }
        if !told.ready {
            open.journal.append(&Record::Ready)?;
        }
        Ok(Reply::Done)
    }

    /// Makes the generation stand. The other hosts may have committed already, and everybody was
    /// ready, so there is no way back from here.
    pub(super) fn commit(&mut self, id: u64, run: &RunId, name: &AppName) -> Answer {
        self.in_the_end(id, name, "committed", |session| {
            session.try_commit(id, run, name)
        })
    }

    /// Does something from which there is no way back: while the host refuses for now, it is tried again.
    pub(super) fn in_the_end<T>(
        &mut self,
        id: u64,
        name: &AppName,
        what: &str,
        mut act: impl FnMut(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        loop {
            match act(self) {
                Err(refused) if refused.kind == RefusalKind::ForNow => {
                    let host = self.locked(name)?.app.address.host.clone();
                    let reason = format!("{name} to be {what}: {}", refused.message);
                    let host = Some(host);
                    self.out.event(id, EventKind::Waiting { host, reason });
                    std::thread::sleep(self.options.retry);
                }
                answer => return answer,
            }
        }
    }

    fn try_commit(&mut self, id: u64, run: &RunId, name: &AppName) -> Answer {
        let app = self.locked(name)?.app.clone();
        let mut ledger = self.ledger(&app)?;
        let told = match self.open_run(&app, run) {
            Ok(open) => open.journal.told(),
            // Asked again because the answer was lost.
            Err(refused) => match ledger {
                Some(ledger)
                    if ledger
                        .current()
                        .is_some_and(|it| it.run.as_ref() == Some(run)) =>
                {
                    return Ok(Reply::Committed(Box::new(ledger)));
                }
                _ => return Err(refused),
            },
        };
        let promise = told.promise.clone().filter(|_| told.ready);
        let Some(promise) = promise else {
            let words = format!("the run {run} of {name} isn't ready to be committed");
            return Err(refusal(RefusalKind::Internal, words));
        };
        let Promise {
            mut generation,
            marks,
            ..
        } = *promise;
        let mut ledger = ledger.take().unwrap_or_else(|| ledger::begin(&told));
        ledger::take_in(&mut ledger, &told);
        generation.state = self.as_read(&app, run, &generation.state)?;
        let mut found = ledger::taken_over(&told);
        let met = ledger::met(&ledger, &told, &generation.state);
        self.keep_found(&app, &met)?;
        found.extend(met);
        ledger::find(&mut ledger, found, &told, &generation);
        ledger::append(&mut ledger, generation);
        ledger::mark(&mut ledger, &marks);
        ledger::store(self.host, &app.places.state, &ledger, self.registry.user())?;
        // From here on it has committed, whatever becomes of the journal: who opens that next finds
        // the generation in the ledger.
        if let Err(refused) = self.close(id, &app, run) {
            let text = format!("the journal of {name} is still open: {}", refused.message);
            let host = Some(app.address.host.clone());
            self.out.event(id, EventKind::Note { host, text });
        }
        Ok(Reply::Committed(Box::new(ledger)))
    }

    fn close(&mut self, id: u64, app: &App, run: &RunId) -> Result<(), Refusal> {
        let open = self.open_run(app, run)?;
        open.journal.append(&Record::Settled(Settled::Committed))?;
        ledger::give_up_reserve(self.host, &app.places.state)?;
        self.sweep(id, app);
        Ok(())
    }

    /// A state as it is read now. Where it isn't as it should be, what it should be stands: drift tells.
    fn as_read(&self, app: &App, run: &RunId, wanted: &State) -> Result<State, Refusal> {
        let Some(open) = self.runs.get(&app.address.app) else {
            return Ok(wanted.clone());
        };
        let known: Vec<(ResourceId, Resource)> = wanted.resources.clone().into_iter().collect();
        let read = self.with_site(app, run, |site| {
            let mut read = BTreeMap::new();
            for (id, resource) in &wanted.resources {
                let kind = site.kind(id)?;
                let found = site
                    .observe(&open.journal, &known, id, Some(resource))?
                    .resource;
                let mut kept = resource.clone();
                if let Some(found) = found
                    && is_same(kind, id, Some(&found), Some(resource))
                {
                    kept.attributes = found.attributes;
                }
                read.insert(id.clone(), kept);
            }
            Ok::<_, crate::host::HostError>(State { resources: read })
        })?;
        Ok(read?)
    }

    pub(super) fn mark(&mut self, address: &AppAddress, marks: &Marks) -> Answer {
        let app = self.locked(&address.app)?.app.clone();
        let Some(mut ledger) = self.ledger(&app)? else {
            let words = format!("nothing is known of {} on this host yet", address.app);
            return Err(refusal(RefusalKind::NoSuchRun, words));
        };
        let standing = ledger.current().map(|current| &current.run);
        if let Some(restated) = &marks.restate
            && standing != Some(&restated.run)
        {
            let words = format!("another generation of {} stands by now", address.app);
            return Err(refusal(RefusalKind::Stale, words));
        }
        ledger::mark(&mut ledger, marks);
        ledger::store(self.host, &app.places.state, &ledger, self.registry.user())?;
        Ok(Reply::Done)
    }
}
