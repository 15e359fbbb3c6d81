//! Opening a run for an app: from here on the helper answers for its host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::app::App;
use super::gates::When;
use super::ledger;
use super::protocol::{Begin, Refusal, RefusalKind, Reply};
use super::refuse::refusal;
use super::session::{Answer, OpenRun, Session, journal_path, manifest};
use crate::apply::record::FORMAT;
use crate::apply::step::{TakeError, is_attendant, is_found_as_planned, take};
use crate::apply::{Cancel, Journal, Opened, Taking, Way, sweep};
use crate::content::{Store, make_own};
use crate::host::{EntryType, HostError, HostErrorKind};
use crate::model::{Digest, EventKind, Ledger, Resource, ResourceId, ResourceKind, State};
use crate::step::kind::{ObserveContext, StepError};

impl<'h> Session<'h> {
    pub(super) fn begin(&mut self, id: u64, begin: Begin) -> Answer {
        let app = self.locked_by(&begin.app.app, &begin.run)?;
        if let Some(begun) = self.has_begun(&begin) {
            return Ok(begun);
        }
        // The root may have come to be, or be led elsewhere, since the lock was taken.
        if self.app(&begin.app)?.places != app.places {
            let words = format!(
                "{} was moved while the run waited for its lock",
                begin.app.root
            );
            return Err(refusal(RefusalKind::Stale, words));
        }
        let app = App {
            address: begin.app.clone(),
            ..app
        };
        self.refuse_open_journal(&app)?;
        let ledger = self.ledger(&app)?;
        let head = ledger.as_ref().and_then(|ledger| ledger.head.clone());
        if head != begin.head {
            let word = |head: &Option<crate::model::RunId>| {
                head.as_ref()
                    .map_or("no run".to_owned(), ToString::to_string)
            };
            let words = format!(
                "since the plan was made the last run of {} on {} became {}, and was {}; plan again",
                begin.app.app,
                begin.app.host,
                word(&head),
                word(&begin.head)
            );
            return Err(refusal(RefusalKind::Stale, words));
        }
        if !begin.plan.is_empty() {
            self.make_owner(&app)?;
        }
        let before = self.before(&app, &begin, ledger.as_ref())?;
        let gates = ledger
            .as_ref()
            .and_then(|ledger| ledger.current())
            .map(|current| current.gates.clone())
            .unwrap_or_default();
        self.cancels.renew(&begin.app.app);
        self.remember_environment(&app);
        let baseline = self.read_gates(&app, &gates, false);
        for result in &baseline {
            self.tell_gate(id, &app, result, When::Before);
        }
        let known = ledger.as_ref().and_then(ledger::applied).cloned();
        let opened = Opened {
            format: FORMAT.to_owned(),
            run: begin.run.clone(),
            environment: begin.app.environment.clone(),
            host: begin.app.host.clone(),
            app: begin.app.app.clone(),
            members: begin.members,
            root: app.places.root.clone(),
            above: self.above(&app)?,
            owner: app.owner.clone(),
            ignore: begin.app.ignore.clone(),
            manager: app.service_manager(),
            author: begin.author,
            command: begin.command,
            guard: begin.guard,
            at: self.host.time(),
            plan: begin.plan,
            before: before.clone(),
            known: known.unwrap_or_default(),
            gates,
            baseline: baseline.clone(),
        };
        let open = self.open(&app, opened, ledger.as_ref())?;
        self.runs.insert(app.address.app.clone(), open);
        if let Err(refused) = self.prepare(id, &app, ledger) {
            self.give_up(id, &app, &refused)?;
            return Err(refused);
        }
        Ok(Reply::Begun { before, baseline })
    }

    /// The answer to a request that came a second time.
    fn has_begun(&self, begin: &Begin) -> Option<Reply> {
        let open = self.runs.get(&begin.app.app).filter(|open| open.here)?;
        open.journal.ask(|told| {
            let opened = &told.opened;
            let same = opened.run == begin.run && opened.plan == begin.plan;
            (same && told.goes_on()).then(|| Reply::Begun {
                before: opened.before.clone(),
                baseline: opened.baseline.clone(),
            })
        })
    }

    fn refuse_open_journal(&mut self, app: &App) -> Result<(), Refusal> {
        let open = self.runs.get(&app.address.app);
        if let Some(open) = open.filter(|open| open.here)
            && open.journal.ask(|told| told.settled.is_none())
        {
            // It stays this session's: should the controller be lost, somebody has to take it back.
            let run = open.journal.ask(|told| told.opened.run.clone());
            let words = format!("the run {run} of {} is open here", app.address.app);
            return Err(refusal(RefusalKind::Stale, words));
        }
        self.runs.remove(&app.address.app);
        let Some(journal) = Journal::open(self.host, &journal_path(app))? else {
            return Ok(());
        };
        let told = journal.told();
        if told.settled.is_none() && !self.close_committed(app, &journal)? {
            let words = format!(
                "the run {} of {} was cut off here; it is settled first",
                told.opened.run, app.address.app
            );
            return Err(refusal(RefusalKind::Stale, words));
        }
        // What an earlier run could not remove goes now, or nothing begins: it would be lost sight of.
        let run = told.opened.run.clone();
        let swept = self.with_site(app, &run, |site| {
            sweep::sweep(site, &journal, &std::collections::BTreeSet::new())
        })?;
        match swept {
            // Pruning looks for it there, after each run.
            Err(error) if in_staging(app, &error) => Ok(()),
            swept => Ok(swept?),
        }
    }

    /// How everything is that the plan changes or that the standing generation has, read under the lock.
    fn before(&self, app: &App, begin: &Begin, ledger: Option<&Ledger>) -> Result<State, Refusal> {
        let standing = ledger.and_then(Ledger::current).map(|it| &it.state);
        let empty = State::default();
        let standing = standing.unwrap_or(&empty);
        let mut firsts: BTreeMap<&ResourceId, &crate::model::Step> = BTreeMap::new();
        for step in &begin.plan.steps {
            if !is_attendant(step) {
                firsts.entry(&step.resource).or_insert(step);
            }
        }
        let mut ids: Vec<&ResourceId> = firsts.keys().copied().collect();
        let others = standing.resources.keys();
        ids.extend(others.filter(|id| !firsts.contains_key(*id)));
        let mut known: BTreeMap<ResourceId, Resource> = standing.resources.clone();
        for (id, step) in &firsts {
            let wanted = step.to.as_ref().or(step.from.as_ref());
            known.extend(wanted.map(|wanted| ((*id).clone(), wanted.clone())));
        }
        let known: Vec<_> = known.into_iter().collect();
        let mut before = State::default();
        self.reading(app, ledger, &known, |context| {
            for id in ids {
                let stood = standing.get(id);
                let step = firsts.get(id);
                let planned = step.and_then(|step| step.to.as_ref().or(step.from.as_ref()));
                let kind = crate::apply::site::kind_of(self.options.kinds, id)?;
                let mut found = kind.observe(context, id, planned.or(stood))?.resource;
                if let Some(step) = step
                    && !is_found_as_planned(kind, step, found.as_ref())
                {
                    let words = format!("{id} is not as it was when the plan was made; plan again");
                    return Err(refusal(RefusalKind::Stale, words));
                }
                // The way back acts on a resource by what was declared of it then.
                if let Some(stood) = stood
                    && planned.is_some_and(|planned| planned != stood)
                {
                    found = kind.observe(context, id, Some(stood))?.resource;
                }
                if let Some(found) = found {
                    before.resources.insert(id.clone(), found);
                }
            }
            Ok(())
        })?;
        Ok(before)
    }

    /// Directories that the root needs and that aren't there, top first.
    fn above(&self, app: &App) -> Result<Vec<PathBuf>, Refusal> {
        let mut missing = Vec::new();
        for path in app.places.root.ancestors().skip(1) {
            match self.host.entry(path) {
                Ok(Some(_)) => break,
                Ok(None) => {}
                Err(error) if error.kind == HostErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            missing.push(path.to_owned());
        }
        missing.reverse();
        Ok(missing)
    }

    /// Makes what a run needs of rosey's own in the registry, and opens the journal.
    fn open(
        &self,
        app: &App,
        opened: Opened,
        ledger: Option<&Ledger>,
    ) -> Result<OpenRun<'h>, Refusal> {
        self.registry.make(self.host, &app.places)?;
        let size = ledger::size_at_end(ledger, &opened)
            .map_err(|error| refusal(RefusalKind::Internal, error.to_string()))?;
        let owner = self.registry.user();
        ledger::reserve(self.host, &app.places.state, size, owner)?;
        let path = journal_path(app);
        let journal = match Journal::create(self.host, &path, opened, self.registry.user()) {
            Ok(journal) => journal,
            Err(error) => {
                // No run keeps it, and the disk may be full.
                drop(ledger::give_up_reserve(self.host, &app.places.state));
                return Err(error.into());
            }
        };
        let here = true;
        Ok(OpenRun { journal, here })
    }

    /// What comes before the first step that is asked for: the ledger that names this run, the root
    /// with rosey's own place in it, and the bytes of what was there before rosey came.
    fn prepare(&self, id: u64, app: &App, ledger: Option<Ledger>) -> Result<(), Refusal> {
        let Some(open) = self.runs.get(&app.address.app) else {
            return Ok(());
        };
        let told = open.journal.told();
        let first = ledger.as_ref().is_none_or(|ledger| {
            let runs = ledger.generations.iter();
            runs.filter(|it| it.run.is_some()).count() == 0
        });
        // As long as no run has come to its end, what was there before is what is there now.
        let mut ledger = match ledger {
            Some(known) if !first => known,
            Some(known) => Ledger {
                generations: ledger::begin(&told).generations,
                ..known
            },
            None => ledger::begin(&told),
        };
        ledger::take_in(&mut ledger, &told);
        ledger::store(self.host, &app.places.state, &ledger, self.registry.user())?;
        for directory in &told.opened.above {
            self.make_directory(directory)?;
        }
        self.make_root(id, app, open)?;
        let found = if first {
            told.opened.before.clone()
        } else {
            ledger::taken_over(&told)
        };
        self.keep_found(app, &found)
    }

    fn make_directory(&self, path: &Path) -> Result<(), HostError> {
        match self.host.make_directory(path, 0o755, self.registry.user()) {
            Err(error) if error.kind != HostErrorKind::Exists => return Err(error),
            _ => {}
        }
        self.host.sync(path.parent().unwrap_or(path))
    }

    /// Takes the step that makes the root at once: content lies in the root, and comes first.
    fn make_root(&self, id: u64, app: &App, open: &OpenRun<'_>) -> Result<(), Refusal> {
        let told = open.journal.told();
        let Some(step) = told.root_step() else {
            return Ok(());
        };
        let known = told.known();
        let taken = self.with_site(app, &told.opened.run, |site| {
            let taking = Taking {
                way: Way::Forward,
                known: &known,
                cancel: &Cancel::new(),
                waits: &|_| {},
                gates: &|_| {},
            };
            take(site, &open.journal, taking, step)
        })?;
        match taken {
            Ok(_) => Ok(()),
            Err(error) => {
                self.out.event(
                    id,
                    EventKind::StepFailed {
                        host: app.address.host.clone(),
                        app: app.address.app.clone(),
                        step: step.id.clone(),
                        error: error.to_string(),
                        elapsed: 0,
                    },
                );
                Err(refusal(RefusalKind::Host, error.to_string()))
            }
        }
    }

    /// Keeps the bytes of files that rosey didn't make, before it changes them: generation 0 can be had again.
    pub(super) fn keep_found(&self, app: &App, before: &State) -> Result<(), Refusal> {
        let mut contents = BTreeMap::new();
        for (id, resource) in &before.resources {
            // A file may stand where a link is wanted.
            if id.kind != ResourceKind::FILE && id.kind != ResourceKind::LINK {
                continue;
            }
            let path = std::path::Path::new(&id.name);
            let entry = self.host.entry(path)?;
            if entry.is_none_or(|entry| entry.kind != EntryType::File) {
                continue;
            }
            let bytes = self.host.read(path)?;
            let key = self.registry.seal();
            let digest = match resource.text("content").map(str::parse::<Digest>) {
                Some(Ok(digest)) if digest.is_sealed() => Digest::sealed(key, &bytes),
                _ => Digest::of(&bytes),
            };
            contents.insert(digest, bytes);
        }
        if contents.is_empty() {
            return Ok(());
        }
        make_own(self.host, &app.places, &app.places.objects())?;
        let store = Store::new(self.host, &app.places, self.registry.seal());
        Ok(store.keep(&contents)?)
    }

    /// Does something that needs what reading an app's resources needs.
    pub(super) fn reading<T>(
        &self,
        app: &App,
        ledger: Option<&Ledger>,
        known: &[(ResourceId, Resource)],
        act: impl FnOnce(&ObserveContext<'_>) -> T,
    ) -> T {
        let changed = |id: &ResourceId| ledger.and_then(|ledger| ledger.changes.get(id).cloned());
        let (host, told) = (self.host.as_read(), &self.manifests);
        act(&ObserveContext {
            host,
            places: &app.places,
            ignore: &app.address.ignore,
            seal: self.registry.seal(),
            manifest: &|tree| manifest(host, &app.places, told, tree),
            changed: &changed,
            known,
        })
    }
}

/// Whether something in staging couldn't be removed because a live process refers to it.
fn in_staging(app: &App, error: &TakeError) -> bool {
    let TakeError::Step(StepError::Host(error)) = error else {
        return false;
    };
    let is_there = Path::new(&error.path).starts_with(app.places.all_staging());
    is_there && matches!(error.kind, HostErrorKind::InUse(_))
}
