//! One app on one host in memory, applied and taken back as a helper does it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::toy::owner;
use super::declared::{Declared, ROOT, SEAL, STATE, tree};
use crate::apply::step::is_attendant;
use crate::apply::{
    Back, Batch, Cancel, Cause, Journal, JournalError, Opened, Record, Returned, Settled, Site,
    Taking, Way, go_back, record, sweep::sweep, take_all,
};
use crate::content::Store;
use crate::host::memory::View;
use crate::host::{Command, CommandOutput, Manager, MemoryHost};
use crate::model::{
    AppName, Author, EnvironmentName, EventKind, Gates, Generation, HostName, Ledger, Moment,
    Places, Plan, Resource, ResourceId, ResourceKind, RunId, State, Step, Value,
};
use crate::plan::states::to_be;
use crate::plan::{Attendant, PlanInput, plan};
use crate::step::kind::Kind;
use crate::step::registry::registry;
use crate::step::restart::beside;

/// The app on one host: what the ledger would know of it.
#[derive(Clone)]
pub struct App {
    pub places: Places,
    pub kinds: &'static [&'static dyn Kind],
    changes: BTreeMap<ResourceId, Moment>,
    last: State,
    runs: u32,
    /// A bug for testing tests: each step is done before it is announced.
    pub is_hasty: bool,
}

/// A run that is about to begin.
pub struct Prospect {
    pub plan: Plan,
    pub before: State,
    /// What was found when it was planned.
    pub found: State,
}

impl App {
    pub fn new() -> Self {
        Self {
            places: Places {
                root: ROOT.into(),
                state: STATE.into(),
            },
            kinds: registry(),
            changes: BTreeMap::new(),
            last: State::default(),
            runs: 0,
            is_hasty: false,
        }
    }

    /// The next run.
    pub fn run(&self) -> RunId {
        RunId(format!("20260101T000000Z-{:06}", self.runs))
    }

    /// The ledger as it would lie on the host; none before the first run.
    pub fn ledger(&self) -> Option<Ledger> {
        let last = self.runs.checked_sub(1)?;
        let environment = EnvironmentName::new("test").unwrap();
        let app = AppName::new("bot").unwrap();
        let mut ledger = Ledger::new(environment, app, ROOT.to_owned());
        let run = RunId(format!("20260101T000000Z-{last:06}"));
        ledger.head = Some(run.clone());
        ledger.changes.clone_from(&self.changes);
        ledger.generations = vec![Generation {
            run: Some(run),
            number: 1,
            parent: None,
            release: Some("1".to_owned()),
            version: Some("1".to_owned()),
            content: None,
            declared: None,
            state: self.last.clone(),
            gates: Gates::default(),
            backup: None,
            author: Author::default(),
            at: "2026-01-01T00:00:00Z".to_owned(),
            verified: true,
            left: false,
            variables: None,
        }];
        Some(ledger)
    }

    pub fn journal(&self) -> PathBuf {
        self.places.state.join("journal")
    }

    pub fn site<T>(&self, host: &MemoryHost, act: impl FnOnce(&Site<'_>) -> T) -> T {
        let store = Store::new(host, &self.places, &SEAL).with_workers(1);
        let manifest = |tree: &str| store.manifest(&tree.parse().ok()?).ok()?;
        act(&Site {
            host,
            kinds: self.kinds,
            places: &self.places,
            run: &self.run(),
            owner: &owner(),
            ignore: &[],
            seal: &SEAL,
            content: &store,
            manifest: &manifest,
            changes: &self.changes,
            mask: &str::to_owned,
        })
    }

    /// Makes all content known on the host, as packs do.
    pub fn supply(&self, host: &MemoryHost, declared: &Declared) {
        let store = Store::new(host, &self.places, &SEAL).with_workers(1);
        store.keep_manifest(&tree(declared.version).0).unwrap();
        store.keep(&declared.contents()).unwrap();
    }

    /// Reads some resources as they are, each by how it should be.
    fn read(
        &self,
        host: &MemoryHost,
        known: &State,
        wanted: impl Fn(&ResourceId) -> Vec<Resource>,
    ) -> State {
        self.read_among(host, known, known, wanted)
    }

    fn read_among(
        &self,
        host: &MemoryHost,
        which: &State,
        known: &State,
        wanted: impl Fn(&ResourceId) -> Vec<Resource>,
    ) -> State {
        let known: Vec<_> = known.clone().resources.into_iter().collect();
        let scratch = MemoryHost::new();
        scratch.put_directory("/tmp");
        let opened = self.opened(&Prospect {
            plan: Plan::default(),
            before: State::default(),
            found: State::default(),
        });
        let journal = Journal::create(&scratch, Path::new("/tmp/journal"), opened, &owner());
        let journal = journal.unwrap();
        let mut state = State::default();
        self.site(host, |site| {
            for id in which.resources.keys() {
                let mut found = None;
                for wanted in wanted(id) {
                    found = site
                        .observe(&journal, &known, id, Some(&wanted))
                        .unwrap()
                        .resource;
                }
                if let Some(found) = found {
                    state.resources.insert(id.clone(), found);
                }
            }
        });
        state
    }

    /// Everything that is wanted or was left here, as it is.
    pub fn observe(&self, host: &MemoryHost, wanted: &State) -> State {
        let mut known = self.last.clone();
        known.extend(wanted.clone());
        known.extend(beside(host, wanted, Some(&self.last)).unwrap());
        self.read(host, &known, |id| {
            known.get(id).cloned().into_iter().collect()
        })
    }

    /// The plan of a change, and how everything is before it, read as a helper reads it that begins.
    pub fn prospect(&self, host: &MemoryHost, to: Option<&Declared>) -> Prospect {
        let wanted = to.map(Declared::state).unwrap_or_default();
        let from = self.observe(host, &wanted);
        let attendants = to.map(Declared::attendants).unwrap_or_default();
        let plan = self.difference_twice(&from, &wanted, &attendants);
        let before = self.as_it_stands(host, &plan);
        Prospect {
            plan,
            before,
            found: from,
        }
    }

    /// All that a plan or the ledger names, as it is now, each read by how it may be.
    fn as_it_stands(&self, host: &MemoryHost, plan: &Plan) -> State {
        let mut known = self.last.clone();
        let mut planned: BTreeMap<&ResourceId, &Resource> = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| !is_attendant(step)) {
            if let Some(resource) = step.to.as_ref().or(step.from.as_ref()) {
                planned.entry(&step.resource).or_insert(resource);
            }
        }
        let planned_too = planned.iter();
        known.extend(State {
            resources: planned_too
                .map(|(id, resource)| ((*id).clone(), (*resource).clone()))
                .collect(),
        });
        self.read(host, &known, |id| {
            let (stood, planned) = (self.last.get(id), planned.get(id).copied());
            let mut ways: Vec<Resource> = planned.or(stood).cloned().into_iter().collect();
            if let (Some(stood), Some(planned)) = (stood, planned)
                && stood.settings != planned.settings
            {
                ways.push(stood.clone());
            }
            ways
        })
    }

    pub fn difference(&self, from: &State, wanted: &State, attendants: &[Attendant]) -> Plan {
        let to = if wanted.resources.is_empty() {
            State::default()
        } else {
            to_be(wanted, from, &self.last, self.kinds).unwrap()
        };
        self.plan(from, &to, attendants)
    }

    fn plan(&self, from: &State, to: &State, attendants: &[Attendant]) -> Plan {
        plan(&PlanInput {
            from,
            to,
            kinds: self.kinds,
            attendants,
            waves: &BTreeMap::new(),
        })
        .unwrap()
    }

    fn opened(&self, prospect: &Prospect) -> Opened {
        Opened {
            format: record::FORMAT.to_owned(),
            run: self.run(),
            environment: EnvironmentName::new("test").unwrap(),
            host: HostName::new("a").unwrap(),
            app: AppName::new("bot").unwrap(),
            members: BTreeSet::new(),
            root: ROOT.into(),
            above: Vec::new(),
            owner: owner(),
            ignore: Vec::new(),
            manager: Manager::Systemd,
            author: Author::default(),
            command: "apply".to_owned(),
            guard: 60_000,
            at: "2026-01-01T00:00:00Z".to_owned(),
            plan: prospect.plan.clone(),
            before: prospect.before.clone(),
            known: self.last.clone(),
            gates: Gates::default(),
            baseline: Vec::new(),
        }
    }

    /// Opens the journal of a run.
    pub fn open<'h>(
        &self,
        host: &'h MemoryHost,
        prospect: &Prospect,
    ) -> Result<Journal<'h>, JournalError> {
        Journal::create(host, &self.journal(), self.opened(prospect), &owner())
    }

    /// Takes some steps of the plan; says what failed.
    pub fn take(
        &self,
        host: &MemoryHost,
        journal: &Journal<'_>,
        prospect: &Prospect,
        which: impl Fn(&str) -> bool,
        tell: &(dyn Fn(EventKind) + Sync),
    ) -> Result<(), String> {
        let known = journal.told().known();
        let steps = prospect.plan.steps.iter();
        let outcome = self.site(host, |site| {
            let taking = Taking {
                way: Way::Forward,
                known: &known,
                cancel: &Cancel::new(),
                waits: &|_| {},
                gates: &|_| {},
            };
            let is_begun = |event: &EventKind, it: &Step| matches!(event, EventKind::StepStarted { step, .. } if *step == it.id);
            let tell = |event: EventKind| {
                let begun = prospect.plan.steps.iter().find(|it| is_begun(&event, it));
                if let (true, Some(step)) = (self.is_hasty, begun) {
                    let kind = site.kind(&step.resource).unwrap();
                    drop(site.acting(journal, taking, |context| kind.apply(context, step)));
                }
                tell(event);
            };
            take_all(
                site,
                journal,
                &Batch {
                    steps: steps.filter(|step| which(&step.id.0)).collect(),
                    way: Way::Forward,
                    known: &known,
                    workers: 1,
                    cancel: &Cancel::new(),
                    tell: &tell,
                },
            )
        });
        match outcome.failed.first() {
            Some((id, error)) => Err(format!("{id}: {error}")),
            None => Ok(()),
        }
    }

    /// Makes the new state stand.
    pub fn commit(&self, host: &MemoryHost, journal: &Journal<'_>) -> Result<(), JournalError> {
        journal.append(&Record::Ready)?;
        journal.append(&Record::Settled(Settled::Committed))?;
        self.site(host, |site| {
            // What can't be removed is removed before the next run.
            drop(sweep(site, journal, &BTreeSet::new()));
        });
        Ok(())
    }

    /// Brings the host to what is declared; then nothing differs.
    pub fn bring(self, host: &MemoryHost, to: &Declared) -> Self {
        self.supply(host, to);
        let prospect = self.prospect(host, Some(to));
        let journal = self.open(host, &prospect).unwrap();
        self.take(host, &journal, &prospect, |_| true, &|_| {})
            .unwrap();
        self.commit(host, &journal).unwrap();
        let next = self.after(&journal, to);
        drop(journal);
        host.take_away(self.journal());
        let wanted = to.state();
        let now = next.observe(host, &wanted);
        let again = next.difference(&now, &wanted, &to.attendants());
        assert!(again.is_empty(), "{:#?}", again.steps);
        let next = Self { last: now, ..next };
        host.settle();
        next
    }

    /// What the ledger knows after a run.
    fn after(&self, journal: &Journal<'_>, to: &Declared) -> Self {
        let mut changes = self.changes.clone();
        changes.extend(journal.told().changes);
        Self {
            changes,
            last: to.state(),
            runs: self.runs + 1,
            ..self.clone()
        }
    }

    /// What is left to be done after a run that stands: laws 1 and 2 say nothing, whatever it began from. What was
    /// there before is looked at too, so that what had to leave has left.
    pub fn left_to_do(
        &self,
        host: &MemoryHost,
        prospect: &Prospect,
        to: Option<&Declared>,
    ) -> Plan {
        let mut next = self.with_changes(host);
        let wanted = to.map(Declared::state).unwrap_or_default();
        let attendants = to.map(Declared::attendants).unwrap_or_default();
        let mut left = {
            let from = next.observe(host, &wanted);
            next.difference_twice(&from, &wanted, &attendants)
        };
        left.steps.retain(|step| {
            // A directory goes only when it is empty; no ledger knows it any more then.
            let inside = |path: &Path| path.parent() == Some(Path::new(&step.resource.name));
            let holds_something = host.listing(inside).paths().next().is_some();
            let stays = step.resource.kind == ResourceKind::DIRECTORY && holds_something;
            step.to.is_none() && !is_attendant(step) && !stays
        });
        if to.is_some() {
            // As the ledger has it: with what was there before the run, and was taken as it was.
            next.last = to_be(&wanted, &prospect.found, &self.last, self.kinds).unwrap();
            let from = next.observe(host, &wanted);
            let plan = next.difference_twice(&from, &wanted, &attendants);
            left.steps.extend(plan.steps);
        }
        left
    }

    /// What is left to be done after a run was taken back, to how everything was before it: nothing, by law 3.
    pub fn left_to_undo(&self, host: &MemoryHost, prospect: &Prospect) -> Plan {
        let mut next = self.with_changes(host);
        // What only came with the run nothing used before it.
        next.changes
            .retain(|id, _| prospect.before.get(id).is_some());
        let now = next.as_it_stands(host, &prospect.plan);
        let mut before = prospect.before.clone();
        for resource in before.resources.values_mut() {
            // What was stale can't be made so again.
            if resource.attributes.get("fresh") == Some(&Value::Bool(false)) {
                resource.attributes.remove("fresh");
            }
        }
        let plan = next.plan(&now, &before, &[]);
        assert_eq!(plan, next.plan(&now, &before, &[]));
        plan
    }

    /// The same app, with what the last run changed when.
    fn with_changes(&self, host: &MemoryHost) -> Self {
        let mut next = self.clone();
        let journal = Journal::open(host, &self.journal()).unwrap();
        let told = journal.map(|journal| journal.told().changes);
        next.changes.extend(told.into_iter().flatten());
        next
    }

    /// A difference; the same states give the same one once more.
    fn difference_twice(&self, from: &State, wanted: &State, attendants: &[Attendant]) -> Plan {
        let plan = self.difference(from, wanted, attendants);
        assert_eq!(plan, self.difference(from, wanted, attendants));
        plan
    }

    /// Services that were fresh and, after a run that was settled, are not.
    pub fn stale(&self, host: &MemoryHost, were: &State) -> Vec<String> {
        let next = self.with_changes(host);
        let mut services = were.clone();
        let mut known = next.last.clone();
        known.extend(were.clone());
        services
            .resources
            .retain(|id, resource| id.kind == ResourceKind::SERVICE && resource.is("fresh"));
        let now = next.read_among(host, &services, &known, |id| {
            were.get(id).cloned().into_iter().collect()
        });
        let stale = services.resources.keys();
        stale
            .filter(|id| !now.get(id).is_some_and(|now| now.is("fresh")))
            .map(ToString::to_string)
            .collect()
    }

    /// Settles a run as a helper does that was just started.
    pub fn recover(
        &self,
        host: &MemoryHost,
        tell: &(dyn Fn(EventKind) + Sync),
    ) -> Result<Returned, JournalError> {
        let Some(journal) = Journal::open(host, &self.journal())? else {
            return Ok(Returned::default());
        };
        self.site(host, |site| {
            go_back(
                site,
                &journal,
                &Back {
                    cause: Cause {
                        reason: "the test says so".to_owned(),
                        hold: None,
                        ..Cause::default()
                    },
                    once: crate::model::Once::Undone,
                    workers: 1,
                    tell,
                    judge: &|_| Vec::new(),
                    keep: &|_, _| Ok(()),
                },
            )
        })
    }
}

/// A host whose commands are the app's: a build, and two that change its data and take that back. An undo finds its
/// command not begun, cut off or done.
pub fn host() -> MemoryHost {
    let host = MemoryHost::new();
    host.put_directory(STATE);
    host.put_directory(format!("{STATE}/services"));
    host.put_file(
        "/usr/lib/systemd/system/nginx.service",
        "[Service]\nExecStart=/usr/sbin/nginx\nExecReload=/bin/true\n[Install]\n",
    );
    host.put_link(
        "/etc/systemd/system/multi-user.target.wants/nginx.service",
        "/usr/lib/systemd/system/nginx.service",
    );
    host.reboot();
    host.on_command(act);
    host
}

/// What the app's commands do.
pub fn act(command: &Command, view: &mut View<'_>) -> CommandOutput {
    let done = match command.shell.split_once(' ') {
        None => view.write(".venv/bin/python3", b"made"),
        Some((name, version)) => {
            let (name, doing) = match name.strip_prefix("un") {
                Some(name) => (name, false),
                None => (name, true),
            };
            // Where it is whether the app is there or not, as a database would be.
            let path = format!("/home/{name}.log");
            let log = view.tree().read(&path).unwrap_or_default();
            let log = String::from_utf8(log).unwrap();
            let line = format!("{version}\n");
            let log = match (doing, log.strip_suffix(&line)) {
                (true, None) => format!("{log}{line}"),
                (false, Some(before)) => before.to_owned(),
                _ => log,
            };
            let written = if log.is_empty() {
                view.remove(&path)
            } else {
                view.write(&path, log.as_bytes())
            };
            written.and_then(|()| view.sync(&path))
        }
    };
    CommandOutput {
        status: Some(i32::from(done.is_err())),
        output: String::new(),
        timed_out: false,
    }
}
