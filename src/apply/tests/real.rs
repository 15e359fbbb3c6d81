//! The laws over the kinds that rosey has, on the host in memory: a whole app with a release, what is
//! built for it, a migration, a link, units and services, one of which is renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::toy::owner;
use crate::apply::{
    Back, Batch, Cancel, Cause, Journal, JournalError, Opened, Record, Returned, Settled, Site,
    Way, go_back, record, sweep::sweep, take_all,
};
use crate::content::{EntryPath, Manifest, ManifestEntry, Store};
use crate::host::memory::{Fault, ServiceSnapshot, SnapshotEntry};
use crate::host::{Activity, CommandOutput, HostErrorKind, Manager, MemoryHost, Unit};
use crate::model::{
    AppName, Author, Digest, EnvironmentName, Gates, HostName, Moment, Places, Plan, Resource,
    ResourceId, ResourceKind, RunId, State,
};
use crate::plan::states::to_be;
use crate::plan::{PlanInput, plan};
use crate::step::registry::registry;

const ROOT: &str = "/opt/bot";
const STATE: &str = "/var/lib/rosey/apps/bot";
const UNITS: &str = "/etc/systemd/system";
const SEAL: [u8; 32] = [7; 32];

fn id(kind: ResourceKind, name: &str) -> ResourceId {
    ResourceId {
        host: HostName::new("a").unwrap(),
        app: AppName::new("bot").unwrap(),
        kind,
        name: name.to_owned(),
    }
}

fn below(name: &str) -> String {
    format!("{ROOT}/{name}")
}

/// The tree of a release: what its task needs, a program, and the link to what the task makes.
fn tree(version: &str) -> (Manifest, Vec<Vec<u8>>) {
    let contents = vec![
        format!("flask=={version}").into_bytes(),
        format!("print({version})").into_bytes(),
    ];
    let mut manifest = Manifest::default();
    for (name, content) in ["requirements.txt", "server.py"].iter().zip(&contents) {
        let entry = ManifestEntry::File {
            mode: 0o644,
            size: content.len() as u64,
            digest: Digest::of(content),
        };
        manifest
            .entries
            .insert(EntryPath::new(*name).unwrap(), entry);
    }
    (manifest, contents)
}

fn unit_text(name: &str, version: &str) -> Vec<u8> {
    format!(
        "[Service]\nWorkingDirectory={ROOT}/current\nExecStart=/bin/{name} {version}\n[Install]\n"
    )
    .into_bytes()
}

/// Services of a version: one keeps its name, one doesn't.
fn services(version: &str) -> [String; 2] {
    ["bot.service".to_owned(), format!("side-{version}.service")]
}

/// The app as it is declared in a version.
fn declared(version: &str) -> State {
    let mut state = State::default();
    let mut want = |kind: ResourceKind, name: &str, resource: Resource| {
        state.resources.insert(id(kind, name), resource);
    };
    let owned = |resource: Resource| resource.with("owner", "root").with("group", "root");
    for name in ["", "/releases", "/built", "/shared"] {
        let directory = owned(Resource::new().with("mode", "0755"));
        want(ResourceKind::DIRECTORY, &format!("{ROOT}{name}"), directory);
    }
    let release = below(&format!("releases/{version}"));
    let digest = tree(version).0.digest();
    let resource = owned(Resource::new().with("tree", digest));
    want(ResourceKind::RELEASE, &release, resource);
    let built = below(&format!("built/venv-{version}"));
    let task = Resource::new()
        .with("stamp", Digest::of(version.as_bytes()))
        .setting("run", "venv")
        .setting("inputs", vec!["requirements.txt"])
        .setting("output", ".venv")
        .setting("built", built.as_str())
        .setting("release", release.as_str())
        .setting("user", "rosey")
        .setting("uses", vec![release.as_str()]);
    want(ResourceKind::TASK, &built, task);
    let migrate = Resource::new()
        .with("stamp", version)
        .setting("run", "up")
        .setting("undo", "down")
        .setting("once", true)
        .setting("release", release.as_str())
        .setting("uses", vec![release.as_str()]);
    want(ResourceKind::TASK, "migrate", migrate);
    let link = Resource::new()
        .with("target", format!("releases/{version}"))
        .setting("tree", digest)
        .setting("stamps", vec!["migrate"])
        .setting("uses", vec![built.as_str()]);
    want(ResourceKind::LINK, &below("current"), link);
    for name in services(version) {
        let path = format!("{UNITS}/{name}");
        let file = owned(Resource::new())
            .with("content", Digest::of(&unit_text(&name, version)))
            .with("mode", "0644")
            .setting("unit", name.as_str());
        want(ResourceKind::FILE, &path, file);
        let service = Resource::new()
            .with("enabled", true)
            .with("active", true)
            .with("fresh", true)
            .setting("manager", "systemd")
            .setting("turn", "bot")
            .setting("start_timeout", 20)
            .setting("stop_timeout", 20)
            .setting("uses", vec![below("current"), path]);
        want(ResourceKind::SERVICE, &name, service);
    }
    state
}

/// The app on one host.
struct App {
    places: Places,
    changes: BTreeMap<ResourceId, Moment>,
    last: State,
    runs: u32,
}

impl App {
    fn new() -> Self {
        Self {
            places: Places {
                root: ROOT.into(),
                state: STATE.into(),
            },
            changes: BTreeMap::new(),
            last: State::default(),
            runs: 0,
        }
    }

    fn run(&self) -> RunId {
        RunId(format!("20260101T000000Z-{:06}", self.runs))
    }

    fn journal(&self) -> PathBuf {
        self.places.state.join("journal")
    }

    fn site<T>(&self, host: &MemoryHost, act: impl FnOnce(&Site<'_>) -> T) -> T {
        let store = Store::new(host, &self.places, &SEAL).with_workers(1);
        let manifest = |tree: &str| store.manifest(&tree.parse().ok()?).ok()?;
        act(&Site {
            host,
            kinds: registry(),
            places: &self.places,
            run: &self.run(),
            owner: &owner(),
            ignore: &[],
            seal: &SEAL,
            content: &store,
            manifest: &manifest,
            changes: &self.changes,
        })
    }

    /// Makes all content known on the host, as packs do.
    fn supply(&self, host: &MemoryHost) {
        let store = Store::new(host, &self.places, &SEAL).with_workers(1);
        let mut contents = BTreeMap::new();
        for version in ["1", "2"] {
            let (manifest, files) = tree(version);
            store.keep_manifest(&manifest).unwrap();
            let units = services(version).map(|name| unit_text(&name, version));
            for content in files.into_iter().chain(units) {
                contents.insert(Digest::of(&content), content);
            }
        }
        store.keep(&contents).unwrap();
    }

    /// Everything that is wanted or was left here, as it is.
    fn observe(&self, host: &MemoryHost, wanted: &State) -> State {
        let mut known = self.last.clone();
        known.extend(wanted.clone());
        let known: Vec<_> = known.resources.into_iter().collect();
        let opened = self.opened(Plan::default(), State::default());
        let scratch = MemoryHost::new();
        scratch.put_directory("/tmp");
        let journal = Journal::create(&scratch, Path::new("/tmp/journal"), opened, &owner());
        let journal = journal.unwrap();
        let mut state = State::default();
        self.site(host, |site| {
            for (id, resource) in &known {
                let found = site.observe(&journal, &known, id, Some(resource)).unwrap();
                if let Some(found) = found.resource {
                    state.resources.insert(id.clone(), found);
                }
            }
        });
        state
    }

    fn difference(&self, from: &State, wanted: &State) -> Plan {
        let to = if wanted.resources.is_empty() {
            State::default()
        } else {
            to_be(wanted, from, &self.last, registry()).unwrap()
        };
        plan(&PlanInput {
            from,
            to: &to,
            kinds: registry(),
            attendants: &[],
            waves: &BTreeMap::new(),
        })
        .unwrap()
    }

    fn opened(&self, plan: Plan, before: State) -> Opened {
        Opened {
            format: record::FORMAT.to_owned(),
            run: self.run(),
            environment: EnvironmentName::new("test").unwrap(),
            host: HostName::new("a").unwrap(),
            app: AppName::new("bot").unwrap(),
            root: ROOT.into(),
            above: Vec::new(),
            owner: owner(),
            ignore: Vec::new(),
            manager: Manager::Systemd,
            author: Author::default(),
            command: "apply".to_owned(),
            guard: 60_000,
            at: "2026-01-01T00:00:00Z".to_owned(),
            plan,
            before,
            known: self.last.clone(),
            gates: Gates::default(),
            baseline: Vec::new(),
        }
    }

    /// Takes a whole plan; says what failed.
    fn take(&self, host: &MemoryHost, plan: &Plan, before: &State) -> Result<App, String> {
        let opened = self.opened(plan.clone(), before.clone());
        let journal = Journal::create(host, &self.journal(), opened, &owner());
        let journal = journal.map_err(|error| error.to_string())?;
        let known = journal.told().known();
        let outcome = self.site(host, |site| {
            take_all(
                site,
                &journal,
                &Batch {
                    steps: plan.steps.iter().collect(),
                    way: Way::Forward,
                    known: &known,
                    workers: 1,
                    cancel: &Cancel::new(),
                    tell: &|_| {},
                },
            )
        });
        if let Some((id, error)) = outcome.failed.first() {
            return Err(format!("{id}: {error}"));
        }
        let mut changes = self.changes.clone();
        changes.extend(journal.told().changes);
        Ok(Self {
            places: self.places.clone(),
            changes,
            last: State::default(),
            runs: self.runs + 1,
        })
    }

    /// Brings the host to a state, reads it back, and is then empty of differences.
    fn bring(self, host: &MemoryHost, wanted: &State) -> Self {
        let from = self.observe(host, wanted);
        let plan = self.difference(&from, wanted);
        let mut next = self.take(host, &plan, &from).unwrap();
        let journal = Journal::open(host, &self.journal()).unwrap().unwrap();
        journal
            .append(&Record::Settled(Settled::Committed))
            .unwrap();
        self.site(host, |site| {
            sweep(site, &journal, &BTreeSet::new()).unwrap();
        });
        drop(journal);
        host.take_away(self.journal());
        next.last = wanted.clone();
        let now = next.observe(host, wanted);
        next.last = now.clone();
        let again = next.difference(&now, wanted);
        assert!(again.is_empty(), "{:#?}", again.steps);
        next
    }

    fn recover(&self, host: &MemoryHost) -> Result<Returned, JournalError> {
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
                    },
                    all_back: true,
                    workers: 1,
                    tell: &|_| {},
                    judge: &|_| Vec::new(),
                    keep: &|_, _| Ok(()),
                },
            )
        })
    }
}

fn host() -> MemoryHost {
    let host = MemoryHost::new();
    host.put_directory(STATE);
    host.on_command(|command, view| {
        let done = match command.shell.as_str() {
            "venv" => view.write(".venv/bin/python3", b"made"),
            _ => Ok(()),
        };
        CommandOutput {
            status: Some(i32::from(done.is_err())),
            output: String::new(),
            timed_out: false,
        }
    });
    host
}

/// All that has to be the same again.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    paths: BTreeMap<PathBuf, SnapshotEntry>,
    services: BTreeMap<Unit, ServiceSnapshot>,
}

fn seen(host: &MemoryHost) -> Seen {
    let mut paths = host.snapshot(&[ROOT, UNITS]);
    let own = Path::new(ROOT).join(".rosey");
    paths.retain(|path, _| !path.starts_with(&own));
    for (path, entry) in &mut paths {
        // When it was built, and how long that took.
        if path.ends_with(".rosey-stamp") {
            entry.content.clear();
        }
    }
    let mut services = host.service_snapshot();
    // That a start failed once is told by the manager until somebody forgets it.
    services
        .values_mut()
        .for_each(|service| service.failed = false);
    // Of what doesn't run, isn't enabled and has no file any more a manager unloads all that it knew
    // (systemd.unit(5), `CollectMode=`).
    services.retain(|unit, service| {
        let has_file = paths.contains_key(&Path::new(UNITS).join(&unit.name));
        has_file || service.enabled || service.activity != Activity::Inactive
    });
    Seen { paths, services }
}

fn assert_same(now: &Seen, before: &Seen, what: &str) {
    for (path, entry) in &before.paths {
        assert_eq!(
            now.paths.get(path),
            Some(entry),
            "{what}: {}",
            path.display()
        );
    }
    for path in now.paths.keys() {
        assert!(
            before.paths.contains_key(path),
            "{what}: {} is left",
            path.display()
        );
    }
    assert_eq!(now.services, before.services, "{what}");
}

/// Each pair of states that a run goes between, with the host as it is before.
fn ways() -> Vec<(&'static str, App, MemoryHost, State)> {
    let fresh = || {
        let (app, host) = (App::new(), host());
        app.supply(&host);
        (app, host)
    };
    let nothing = State::default();
    let mut ways = Vec::new();
    let (app, host) = fresh();
    ways.push(("a first deploy", app, host, declared("1")));
    let (app, host) = fresh();
    let app = app.bring(&host, &declared("1"));
    ways.push(("a new version", app, host, declared("2")));
    let (app, host) = fresh();
    let app = app
        .bring(&host, &declared("1"))
        .bring(&host, &declared("2"));
    ways.push(("a rollback", app, host, declared("1")));
    let (app, host) = fresh();
    let app = app.bring(&host, &declared("1"));
    ways.push(("a removal", app, host, nothing));
    ways
}

#[test]
fn every_way_ends_where_it_should_and_then_there_is_nothing_to_do() {
    for (what, app, host, to) in ways() {
        let before = app.observe(&host, &to);
        let plan = app.difference(&before, &to);
        assert!(!plan.is_empty(), "{what}");
        app.bring(&host, &to);
        if to.resources.is_empty() {
            let left = seen(&host);
            assert_eq!(left.services, BTreeMap::new(), "{what}");
        }
    }
}

#[test]
fn stopped_inside_any_step_everything_is_as_it_was() {
    let faults = [
        Fault::CrashBefore,
        Fault::Error(HostErrorKind::Other("broken".to_owned())),
        Fault::CrashMiddle,
        Fault::Error(HostErrorKind::NoSpace),
        Fault::CrashAfter,
    ];
    for (what, app, prepared, to) in ways() {
        let from = app.observe(&prepared, &to);
        let plan = app.difference(&from, &to);
        prepared.settle();
        let before = seen(&prepared);
        let whole = prepared.fork();
        let first = whole.primitives();
        drop(app.take(&whole, &plan, &from));
        let count = whole.primitives() - first;
        for at in 1..=count {
            let fault = &faults[(at % 5) as usize];
            let host = prepared.fork();
            host.fault_at(at, fault.clone());
            drop(app.take(&host, &plan, &from));
            host.revive();
            let told = format!("{what}, {fault:?} at {at} of {count}");
            for power_cut in [false, true] {
                let host = host.fork();
                let told = format!("{told}, power cut {power_cut}");
                if power_cut {
                    host.crash(at);
                    host.reboot();
                }
                let returned = app.recover(&host);
                let returned = returned.unwrap_or_else(|error| panic!("{told}: {error}"));
                assert_eq!(returned.problems, Vec::<String>::new(), "{told}");
                assert_same(&seen(&host), &before, &told);
            }
        }
    }
}
