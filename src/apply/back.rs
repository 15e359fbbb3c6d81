//! The way back: the only one there is, for every cause.
//!
//! What has to be done is not derived from what was done: it is the difference between how
//! everything is now and how it was before the run, planned and taken like any other. The journal
//! says what the run began; whatever it did not begin is left as it is. Cut off anywhere and begun
//! again, it ends the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::graph::{Batch, Cancel, take_all};
use super::journal::{Journal, JournalError};
use super::record::{Cause, Record, Settled, Told};
use super::restores::restores;
use super::site::Site;
use super::step::{TakeError, Way, in_words, is_attendant, is_same, stays, without_freshness};
use super::sweep::sweep;
use crate::host::{HostError, HostErrorKind};
use crate::model::{
    Action, EventKind, GateResult, Gates, Once, Resource, ResourceId, ResourceKind, State, Step,
    StepId, Thing, Value,
};
use crate::plan::{PlanInput, looks_only, plan};
use crate::step::kind::{Change, Kind, Named, StepError};

/// What is asked of a way back.
pub struct Back<'a> {
    /// Why.
    pub cause: Cause,
    /// What becomes of what the run did once for all hosts.
    pub once: Once,
    /// How many steps at a time.
    pub workers: usize,
    /// Hears what happens.
    pub tell: &'a (dyn Fn(EventKind) + Sync),
    /// Reads gates, a short while until they pass.
    pub judge: &'a dyn Fn(&Gates) -> Vec<GateResult>,
    /// Keeps what is to be known later (the ledger), before the journal is closed.
    pub keep: &'a dyn Fn(&Told, &Returned) -> Result<(), HostError>,
}

/// How a way back ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Returned {
    /// Steps that changed something.
    pub steps: usize,
    /// What isn't as it was before the run, a sentence each.
    pub problems: Vec<String>,
    /// The gates that passed in the baseline, read again.
    pub gates: Vec<GateResult>,
    /// Why the journal is still open, where it is: the way back is to be taken again.
    pub unfinished: Option<Unfinished>,
}

impl Returned {
    /// All that a person has to know of it, a sentence each: also the gates that passed before the run.
    #[must_use]
    pub fn wrongs(&self) -> Vec<String> {
        let relapsed = self.gates.iter().filter_map(GateResult::relapse);
        self.problems.iter().cloned().chain(relapsed).collect()
    }
}

/// Why a way back is to be taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// The host refused something that it may allow later (no space, a read-only file system).
    Temporary,
    /// The host refused something until somebody puts that right.
    Host,
    /// Something that happened once waits for all other hosts to be back.
    Once,
}

/// Takes a run back to how everything was before it, and closes its journal.
///
/// # Errors
/// When the journal can't be written; nothing was changed after that.
pub fn go_back(
    site: &Site<'_>,
    journal: &Journal<'_>,
    back: &Back<'_>,
) -> Result<Returned, JournalError> {
    let told = journal.told();
    if let Some(settled) = told.settled {
        // Only what it had put aside may be left of it.
        sweep_aloud(site, journal, back, &BTreeSet::new());
        let problems = match settled {
            Settled::Committed | Settled::Stands => Vec::new(),
            Settled::WentBack { problems } => problems,
        };
        return Ok(Returned {
            problems,
            ..Returned::default()
        });
    }
    if told.going_back.is_none() {
        journal.append(&Record::GoingBack(Box::new(Cause {
            since: site.host.time(),
            ..back.cause.clone()
        })))?;
    }
    close_open(site, journal, |step| !told.back.contains_key(step))?;
    let mut way = Return {
        site,
        journal,
        back,
        known: told.known_back(),
        told,
        returned: Returned::default(),
        apart: BTreeSet::new(),
    };
    let mut ends = way.ends();
    let apart = way.apart.clone();
    let problems = way.returned.problems.clone();
    if way.take(&ends.now, &ends.target)? == Try::Again {
        // A manager may have been busy: what ran before the run is given one more chance.
        way.apart = apart;
        way.returned.problems = problems;
        way.told = journal.told();
        ends = way.ends();
        way.take(&ends.now, &ends.target)?;
    }
    way.read_back(&ends.target);
    way.finish()
}

/// Ends steps that were cut off inside or have failed. Those of the way back that are to be taken again stay open, so
/// that a way back that waits for days writes nothing more.
///
/// Nobody knows when such a step changed what: whatever uses that must take it for changed just now. Not so of what
/// renews nobody: a reload that may not have happened was none, and is taken again.
fn close_open(
    site: &Site<'_>,
    journal: &Journal<'_>,
    which: impl Fn(&StepId) -> bool,
) -> Result<(), JournalError> {
    let told = journal.told();
    for step in told.open.iter().filter(|step| which(step)) {
        let renews = told.resource(step).is_none_or(|id| site.renews(id));
        journal.append(&Record::End {
            step: step.clone(),
            changed: renews,
            moment: site.host.moment(),
            failed: true,
        })?;
    }
    Ok(())
}

/// Sweeps; what can't be removed now harms nothing but space, and is tried again before the next run.
fn sweep_aloud(
    site: &Site<'_>,
    journal: &Journal<'_>,
    back: &Back<'_>,
    wanted: &BTreeSet<ResourceId>,
) {
    if let Err(error) = sweep(site, journal, wanted) {
        (back.tell)(EventKind::Note {
            host: Some(journal.ask(|told| told.opened.host.clone())),
            text: format!("what the run had put aside is still there: {error}"),
        });
    }
}

/// Whether a way back is worth another try at once.
#[derive(PartialEq, Eq)]
enum Try {
    Again,
    Enough,
}

/// The two ends of a way back.
struct Ends {
    now: State,
    target: State,
}

/// One resource at both ends.
struct Pair {
    now: Option<Resource>,
    target: Option<Resource>,
}

struct Return<'a> {
    site: &'a Site<'a>,
    journal: &'a Journal<'a>,
    back: &'a Back<'a>,
    known: Vec<(ResourceId, Resource)>,
    told: Told,
    returned: Returned,
    /// Resources that the run began and that are not taken back now.
    apart: BTreeSet<ResourceId>,
}

impl Return<'_> {
    /// How everything is that the run began or that uses it, and how it was.
    fn ends(&mut self) -> Ends {
        let mut ends = Ends {
            now: State::default(),
            target: State::default(),
        };
        let begun = self.begun();
        let mut ids: BTreeSet<ResourceId> =
            self.told.opened.before.resources.keys().cloned().collect();
        ids.extend(begun.iter().cloned());
        for id in self.waited_for(&begun) {
            ids.remove(&id);
            self.apart.insert(id);
        }
        for id in ids {
            let before = self.told.opened.before.get(&id).cloned();
            let result = match self.site.kind(&id) {
                Ok(kind) if begun.contains(&id) => self.begun_end(kind, &id, before.as_ref()),
                Ok(kind) => self.other_end(kind, &id, before.as_ref()),
                Err(error) => Err(error),
            };
            match result {
                Ok(None) => {}
                Ok(Some(Pair { now, target })) => {
                    if let Some(now) = now {
                        ends.now.resources.insert(id.clone(), now);
                    }
                    if let Some(target) = target {
                        ends.target.resources.insert(id, target);
                    }
                }
                Err(error) => {
                    self.trouble(&error.kind);
                    self.apart_with(&id, format!("{id} can't be read: {error}"));
                }
            }
        }
        ends
    }

    /// What the run made and the undo of something that happened once still needs, which has to wait for all other
    /// hosts: the release that it was run from, and the directories above that.
    fn waited_for(&self, begun: &BTreeSet<ResourceId>) -> BTreeSet<ResourceId> {
        let mut waited_for = BTreeSet::new();
        if self.back.once != Once::Waits {
            return waited_for;
        }
        let made: Vec<_> = self
            .told
            .begun_steps()
            .filter(|step| !is_attendant(step) && begun.contains(&step.resource))
            .filter_map(|step| {
                Some((
                    self.site.kind(&step.resource).ok()?,
                    step,
                    step.to.as_ref()?,
                ))
            })
            .collect();
        let once = made.iter().filter(|(kind, step, _)| is_once(*kind, step));
        let uses = |(kind, step, resource): &(&dyn Kind, &Step, &Resource)| {
            let id = &step.resource;
            kind.uses(Named { id, resource })
        };
        let mut open: Vec<Thing> = once.flat_map(uses).collect();
        while let Some(thing) = open.pop() {
            for it in &made {
                let (kind, step, to) = it;
                let id = &step.resource;
                let makes = kind.makes(Named { id, resource: to });
                let is_new = self.told.opened.before.get(id).is_none();
                if is_new
                    && makes.iter().any(|made| thing.needs(made))
                    && waited_for.insert(id.clone())
                {
                    open.extend(uses(it));
                }
            }
        }
        waited_for
    }

    /// Resources that the run, or an earlier way back, has begun to change.
    fn begun(&self) -> BTreeSet<ResourceId> {
        let forward = self.told.begun_steps();
        forward
            .chain(self.told.back_steps())
            .filter(|step| !is_attendant(step))
            .map(|step| step.resource.clone())
            .collect()
    }

    /// A resource that was begun: as it is now and as it was, unless it isn't the run's any more.
    fn begun_end(
        &mut self,
        kind: &dyn Kind,
        id: &ResourceId,
        before: Option<&Resource>,
    ) -> Result<Option<Pair>, HostError> {
        if self.back.once != Once::Undone && self.steps_of(id).any(|step| is_once(kind, step)) {
            if self.back.once == Once::Waits {
                self.returned.unfinished.get_or_insert(Unfinished::Once);
            }
            self.apart.insert(id.clone());
            return Ok(None);
        }
        let now = self.now(id, before)?;
        if !self.is_explained(kind, id, before, now.as_ref())? {
            let found = in_words(kind, id, now.as_ref(), before);
            self.apart_with(
                id,
                format!(
                    "{id} was changed by somebody else meanwhile ({found}) and was left as it is"
                ),
            );
            return Ok(None);
        }
        let restored = before.map(|before| kind.restored(id, before));
        let target = restored.map(|before| self.reachable(kind, id, &before));
        Ok(Some(Pair { now, target }))
    }

    /// How a resource was, without what nothing can bring back: that it wasn't fresh, or that it was in spite of what
    /// it ran in being gone.
    fn reachable(&self, kind: &dyn Kind, id: &ResourceId, before: &Resource) -> Resource {
        let named = Named {
            id,
            resource: before,
        };
        let stale = kind
            .freshness(named)
            .is_some_and(|freshness| before.attributes.get(freshness) == Some(&Value::Bool(false)));
        if stale || self.ran_in_what_was_gone(kind, named) {
            without_freshness(kind, id, before)
        } else {
            before.clone()
        }
    }

    /// Whether somebody had removed the release that a service ran in: it runs on, and can't be started from there
    /// again. What the run has started elsewhere is not what ran then.
    fn ran_in_what_was_gone(&self, kind: &dyn Kind, it: Named<'_>) -> bool {
        if kind.freshness(it).is_none() || looks_only(kind, it) {
            return false;
        }
        let begun = self.begun();
        let before = &self.told.opened.before;
        let used = kind.uses(it);
        let is_gone = |shown: Thing| {
            let Thing::Path(path) = shown else {
                return false;
            };
            let release = ResourceId {
                kind: ResourceKind::RELEASE,
                name: path,
                ..it.id.clone()
            };
            let is_release =
                Path::new(&release.name).parent() == Some(self.site.places.releases().as_path());
            let was_made_again = begun.contains(&release);
            // A tree of which no ledger knows, as other tools leave it, is there all the same.
            let is_missing = || {
                let found = self.site.host.entry(Path::new(&release.name));
                matches!(found, Ok(None))
            };
            is_release
                && before.get(&release).is_none()
                && (was_made_again || !begun.contains(it.id) && is_missing())
        };
        before.resources.iter().any(|(id, resource)| {
            let named = Named { id, resource };
            let Ok(link) = self.site.kind(id) else {
                return false;
            };
            id.kind == ResourceKind::LINK
                && link
                    .makes(named)
                    .iter()
                    .any(|made| used.iter().any(|used| used.needs(made)))
                && link.uses(named).into_iter().any(is_gone)
        })
    }

    /// A resource that was begun, as it is now. What a service or a link uses can't be read from a host: it is what the run
    /// meant it to use, by which it is stopped, or leads elsewhere, before that is taken away.
    fn now(
        &self,
        id: &ResourceId,
        before: Option<&Resource>,
    ) -> Result<Option<Resource>, HostError> {
        let steps = self.told.begun_steps();
        let meant = steps.filter(|step| &step.resource == id && !is_attendant(step));
        let meant = meant.filter_map(|step| step.to.as_ref()).last();
        let mut now = self.observe(id, before.or(meant))?;
        if let (Some(now), Some(resource)) = (&mut now, meant)
            && self.site.kind(id)?.is_used_as(Named { id, resource }, now)
        {
            now.settings = resource.settings.clone();
        }
        Ok(now)
    }

    /// A resource that wasn't begun: it is known so that what uses it finds it. Only what takes
    /// freshness from others may have to change, and only if nobody else has changed it.
    fn other_end(
        &mut self,
        kind: &dyn Kind,
        id: &ResourceId,
        before: Option<&Resource>,
    ) -> Result<Option<Pair>, HostError> {
        let Some(before) = before else {
            return Ok(None);
        };
        let named = Named {
            id,
            resource: before,
        };
        if kind.freshness(named).is_none() {
            return Ok(Some(Pair {
                now: Some(before.clone()),
                target: Some(before.clone()),
            }));
        }
        let now = self.observe(id, Some(before))?;
        let steady = without_freshness(kind, id, before);
        let is_steady = is_same(kind, id, now.as_ref(), Some(&steady));
        if !is_steady && !self.may_have_died(kind, named, now.as_ref()) {
            return Ok(None);
        }
        let target = Some(self.reachable(kind, id, before));
        Ok(Some(Pair { now, target }))
    }

    /// Whether the run may have left a service so whose step it hadn't begun: it changed something that the service
    /// uses, and the service died of it before it was to be renewed.
    fn may_have_died(&self, kind: &dyn Kind, it: Named<'_>, now: Option<&Resource>) -> bool {
        let begun = self.begun();
        let uses = kind.uses(it);
        let is_used = |(id, resource): &(ResourceId, Resource)| {
            let makes = |kind: &dyn Kind| kind.makes(Named { id, resource });
            let made = self.site.kind(id).map(makes).unwrap_or_default();
            let mut uses = uses.iter();
            begun.contains(id) && uses.any(|thing| made.iter().any(|made| thing.needs(made)))
        };
        let mut steps = self.told.opened.plan.steps.iter();
        let is_between = |step: &Step| step.resource == *it.id && kind.is_between(step, now);
        steps.any(is_between) && self.known.iter().any(is_used)
    }

    /// Whether the run itself may have left a resource so.
    fn is_explained(
        &self,
        kind: &dyn Kind,
        id: &ResourceId,
        before: Option<&Resource>,
        now: Option<&Resource>,
    ) -> Result<bool, HostError> {
        let is = |found: Option<&Resource>, known: Option<&Resource>| {
            let known = known.map(|known| without_freshness(kind, id, known));
            is_same(kind, id, found, known.as_ref())
        };
        if is(now, before) {
            return Ok(true);
        }
        for step in self.steps_of(id) {
            for end in [&step.from, &step.to] {
                // Some things can only be read by who knows how they should be.
                let unknown = self.reads_as(id);
                let found = self.observe(id, end.as_ref().or(unknown.as_ref()))?;
                if is(found.as_ref(), end.as_ref()) {
                    return Ok(true);
                }
            }
            if kind.is_between(step, now) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The steps of a resource that were begun, forward and back.
    fn steps_of(&self, id: &ResourceId) -> impl Iterator<Item = &Step> {
        let forward = self.told.begun_steps();
        forward
            .chain(self.told.back_steps())
            .filter(move |step| &step.resource == id && !is_attendant(step))
    }

    fn take(&mut self, now: &State, target: &State) -> Result<Try, JournalError> {
        let attendants = restores(&self.told);
        let planned = plan(&PlanInput {
            from: now,
            to: target,
            kinds: self.site.kinds,
            attendants: &attendants,
            waves: &BTreeMap::new(),
        });
        let mut planned = match planned {
            Ok(planned) => planned,
            Err(error) => {
                self.returned
                    .problems
                    .push(format!("the way back can't be planned: {error}"));
                return Ok(Try::Enough);
            }
        };
        // What is back by now is not taken again: it ends before what uses it is renewed.
        close_open(self.site, self.journal, |step| planned.step(step).is_none())?;
        for step in &mut planned.steps {
            // What another host did once was only noted here; so is its undoing.
            let noted = |it: &Step| it.resource == step.resource && it.action == Action::Note;
            if self.told.begun_steps().any(noted) {
                step.action = Action::Note;
            }
        }
        let outcome = take_all(
            self.site,
            self.journal,
            &Batch {
                steps: planned.steps.iter().collect(),
                way: Way::Back,
                known: &self.known,
                workers: self.back.workers,
                cancel: &Cancel::new(),
                tell: self.back.tell,
            },
        );
        let changed = outcome.done.values();
        self.returned.steps += changed
            .filter(|done| **done == super::step::Done::Changed)
            .count();
        let mut failed = outcome.failed.iter();
        let refused =
            failed.any(|(_, error)| matches!(error, TakeError::Step(StepError::Service { .. })));
        for (id, error) in &outcome.failed {
            if let Some(kind) = error.host_error()
                && !is_final(error)
            {
                self.trouble(kind);
            } else if let TakeError::Unwritable { why, .. } = error {
                self.trouble(why);
            }
            self.step_problem(&planned.steps, id, error);
        }
        for id in &outcome.left {
            if let Some(step) = planned.step(id) {
                let resource = step.resource.clone();
                let what = format!("{resource} was not put back, because of the failure before it");
                self.apart_with(&resource, what);
            }
        }
        Ok(if refused { Try::Again } else { Try::Enough })
    }

    fn step_problem(&mut self, steps: &[Step], id: &StepId, error: &TakeError) {
        let step = steps.iter().find(|step| &step.id == id);
        match step {
            Some(step) => {
                let resource = step.resource.clone();
                // The last lines of a log have been told where it happened.
                let error = error.to_string();
                let error = error.lines().next().unwrap_or_default();
                self.apart_with(&resource, format!("{resource} was not put back: {error}"));
            }
            None => self.returned.problems.push(error.to_string()),
        }
    }

    /// Reads everything that was begun, and says what isn't as it was.
    ///
    /// What the run had made has gone again, after what was renewed to do without it: nobody uses it.
    fn read_back(&mut self, target: &State) {
        let before = &self.told.opened.before;
        let known = self.known.iter().filter(|(id, _)| before.get(id).is_some());
        let known: Vec<_> = known.cloned().collect();
        for id in self.begun() {
            if self.apart.contains(&id) {
                continue;
            }
            let wanted = target.get(&id);
            let read = self.site.kind(&id).and_then(|kind| {
                let reads_as = self.reads_as(&id);
                let observed = self
                    .site
                    .observe(self.journal, &known, &id, reads_as.as_ref())?;
                let found = observed.resource;
                let same = is_same(kind, &id, found.as_ref(), wanted);
                Ok((!same && !stays(self.site, &id, wanted))
                    .then(|| in_words(kind, &id, found.as_ref(), wanted)))
            });
            match read {
                Ok(None) => {}
                Ok(Some(found)) => {
                    self.apart_with(
                        &id,
                        format!("{id} is not as it was before the run: {found}"),
                    );
                }
                Err(error) => {
                    self.trouble(&error.kind);
                    self.apart_with(&id, format!("{id} can't be read: {error}"));
                }
            }
        }
    }

    /// How a resource is to be read: as it was before the run; one that wasn't there by the settings
    /// of the run, which say whose it is (the manager that a service is asked of).
    fn reads_as(&self, id: &ResourceId) -> Option<Resource> {
        if let Some(before) = self.told.opened.before.get(id) {
            return Some(before.clone());
        }
        let known = self.known.iter().find(|(known, _)| known == id);
        known.map(|(_, resource)| Resource {
            settings: resource.settings.clone(),
            ..Resource::new()
        })
    }

    fn finish(mut self) -> Result<Returned, JournalError> {
        if !self.told.begun.is_empty() {
            let gates = self.told.opened.judges();
            if !gates.gates.is_empty() {
                self.returned.gates = (self.back.judge)(&gates);
            }
        }
        if self.returned.unfinished.is_some() {
            return Ok(self.returned);
        }
        close_open(self.site, self.journal, |_| true)?;
        let told = self.journal.told();
        (self.back.keep)(&told, &self.returned)?;
        self.journal.append(&Record::Settled(Settled::WentBack {
            problems: self.returned.wrongs(),
        }))?;
        sweep_aloud(self.site, self.journal, self.back, &self.apart);
        Ok(self.returned)
    }

    fn observe(
        &self,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Option<Resource>, HostError> {
        let observed = self.site.observe(self.journal, &self.known, id, wanted)?;
        Ok(observed.resource)
    }

    fn apart_with(&mut self, id: &ResourceId, problem: String) {
        if self.apart.insert(id.clone()) {
            self.returned.problems.push(problem);
        }
    }

    /// Something of the host's is in the way. As long as some of that may pass, it is waited for.
    fn trouble(&mut self, kind: &HostErrorKind) {
        if kind.is_temporary() {
            self.returned.unfinished = Some(Unfinished::Temporary);
        } else {
            self.returned.unfinished.get_or_insert(Unfinished::Host);
        }
    }
}

/// Whether trying again changes nothing: somebody has removed what the step needs. Left open, the journal would stand in
/// the way of everything else for good; it is told, and the next run begins with what there is.
fn is_final(error: &TakeError) -> bool {
    let gone =
        |kind: &HostErrorKind| matches!(kind, HostErrorKind::NotFound | HostErrorKind::Missing(_));
    matches!(error, TakeError::Step(_)) && error.host_error().is_some_and(gone)
}

fn is_once(kind: &dyn Kind, step: &Step) -> bool {
    step.action != Action::Note
        && kind.is_once(Change {
            id: &step.resource,
            from: step.from.as_ref(),
            to: step.to.as_ref(),
        })
}
