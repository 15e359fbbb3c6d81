//! Two kinds that are easy to see through, and a small model made of them.
//!
//! A `note` is a file with a content. A `bell` rings while its file is there; it is fresh when it
//! began after the last change of the notes that it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use crate::apply::{
    Back, Batch, BatchOutcome, Cancel, Cause, Journal, Opened, Returned, Site, Way,
};
use crate::apply::{go_back, record, take_all};
use crate::content::{Content, ContentError};
use crate::host::{HostError, HostErrorKind, Manager, MemoryHost, Owner, ReadHost, WriteHost};
use crate::model::{
    Action, AppName, Author, EnvironmentName, Gates, HostName, Moment, Places, Plan, Reason,
    Resource, ResourceId, ResourceKind, RunId, State, Step, StepId, StepKind, Thing,
};
use crate::plan::{PlanInput, plan};
use crate::step::kind::{
    Change, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
};

pub struct Note;
pub struct Bell;

pub const KINDS: [&dyn Kind; 2] = [&Note, &Bell];

impl Kind for Note {
    fn resource(&self) -> ResourceKind {
        ResourceKind::new("note")
    }

    fn step(&self) -> StepKind {
        StepKind::new("write")
    }

    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        vec![Thing::Path(it.id.name.clone())]
    }

    fn uses(&self, _it: Named<'_>) -> Vec<Thing> {
        Vec::new()
    }

    fn parts(&self, change: Change<'_>, _reasons: &[Reason], _disturbed: bool) -> Vec<Part> {
        vec![part("", change)]
    }

    fn is_inert(&self, _change: Change<'_>) -> bool {
        false
    }

    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        _wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        let resource = read(context.host, Path::new(&id.name))?
            .map(|content| Resource::new().with("content", content));
        Ok(Observed {
            resource,
            changes: Vec::new(),
        })
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        let path = Path::new(&step.resource.name);
        match &step.to {
            Some(to) => {
                let content = to.text("content").unwrap_or_default();
                write(context.host, path, content, context.owner)?;
            }
            None => remove(context.host, path)?,
        }
        Ok(())
    }

    fn shows_all(&self) -> bool {
        true
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        Ok(remove(
            context.host,
            &Path::new(&step.resource.name).with_extension("new"),
        )?)
    }
}

impl Kind for Bell {
    fn resource(&self) -> ResourceKind {
        ResourceKind::new("bell")
    }

    fn step(&self) -> StepKind {
        StepKind::new("ring")
    }

    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        vec![Thing::Unit(it.id.name.clone())]
    }

    fn uses(&self, it: Named<'_>) -> Vec<Thing> {
        let uses = it.resource.settings.get("uses");
        uses.into_iter()
            .flat_map(|uses| uses.texts())
            .map(|path| Thing::Path(path.to_owned()))
            .collect()
    }

    fn freshness(&self, _it: Named<'_>) -> Option<&'static str> {
        Some("fresh")
    }

    fn parts(&self, change: Change<'_>, _reasons: &[Reason], _disturbed: bool) -> Vec<Part> {
        vec![part("", change)]
    }

    fn is_inert(&self, _change: Change<'_>) -> bool {
        false
    }

    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        let began = read(context.host, Path::new(&id.name))?;
        let known = context.known.iter().find(|(known, _)| known == id);
        let uses = wanted
            .or(known.map(|(_, resource)| resource))
            .and_then(|resource| resource.settings.get("uses"));
        let fresh = |began: &str| {
            let (boot, monotonic) = began.split_once(' ').unwrap_or_default();
            let began = Moment {
                boot: boot.to_owned(),
                monotonic: monotonic.parse().unwrap_or_default(),
            };
            let paths: Vec<&str> = uses.iter().flat_map(|uses| uses.texts()).collect();
            let used = context
                .known
                .iter()
                .filter(|(id, _)| paths.contains(&id.name.as_str()));
            used.filter_map(|(id, _)| (context.changed)(id))
                .all(|changed| !changed.is_after(&began))
        };
        let resource = began.map(|began| Resource::new().with("fresh", fresh(&began)));
        Ok(Observed {
            resource,
            changes: Vec::new(),
        })
    }

    fn is_between(&self, _step: &Step, found: Option<&Resource>) -> bool {
        found.is_none()
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        let path = Path::new(&step.resource.name);
        remove(context.host, path)?;
        if step.to.is_some() {
            let Moment { boot, monotonic } = context.host.moment();
            write(
                context.host,
                path,
                &format!("{boot} {monotonic}"),
                context.owner,
            )?;
        }
        Ok(())
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        Note.sweep(context, step)
    }
}

fn part(name: &'static str, change: Change<'_>) -> Part {
    Part {
        name,
        action: match (change.from, change.to) {
            (None, _) => Action::Create,
            (_, None) => Action::Remove,
            _ => Action::Update,
        },
        from: change.from.cloned(),
        to: change.to.cloned(),
    }
}

fn read(host: &dyn ReadHost, path: &Path) -> Result<Option<String>, HostError> {
    match host.read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(host: &dyn WriteHost, path: &Path, text: &str, owner: &Owner) -> Result<(), HostError> {
    let new = path.with_extension("new");
    remove(host, &new)?;
    host.write_file(&new, &mut Cursor::new(text.as_bytes()), 0o644, owner)?;
    host.sync(&new)?;
    host.replace(&new, path)?;
    host.sync(path.parent().unwrap_or(path))
}

fn remove(host: &dyn WriteHost, path: &Path) -> Result<(), HostError> {
    match host.remove_file(path) {
        Err(error) if error.kind != HostErrorKind::NotFound => return Err(error),
        _ => {}
    }
    host.sync(path.parent().unwrap_or(path))
}

/// No kind here asks for content.
pub struct NoContent;

impl Content for NoContent {
    fn bytes(&self, _digest: &str) -> Result<Option<Vec<u8>>, ContentError> {
        Ok(None)
    }

    fn stage(&self, tree: &str, _at: &Path, _owner: &Owner) -> Result<(), ContentError> {
        Err(ContentError::UnknownTree {
            tree: tree.to_owned(),
        })
    }
}

pub const STATE: &str = "/var/lib/rosey/apps/toy";
pub const ROOT: &str = "/opt/toy";

pub fn journal_path() -> PathBuf {
    Path::new(STATE).join("journal")
}

pub fn owner() -> Owner {
    Owner {
        user: "root".to_owned(),
        group: "root".to_owned(),
    }
}

pub fn id(kind: &'static str, name: &str) -> ResourceId {
    ResourceId {
        host: HostName::new("a").unwrap(),
        app: AppName::new("toy").unwrap(),
        kind: ResourceKind::new(kind),
        name: format!("{ROOT}/{name}"),
    }
}

pub fn note(name: &str, content: &str) -> (ResourceId, Resource) {
    (id("note", name), Resource::new().with("content", content))
}

pub fn bell(name: &str, uses: &[&str]) -> (ResourceId, Resource) {
    let uses: Vec<String> = uses.iter().map(|used| format!("{ROOT}/{used}")).collect();
    let resource = Resource::new().with("fresh", true).setting("uses", uses);
    (id("bell", name), resource)
}

pub fn state(resources: impl IntoIterator<Item = (ResourceId, Resource)>) -> State {
    State {
        resources: resources.into_iter().collect(),
    }
}

pub fn difference(from: &State, to: &State) -> Plan {
    plan(&PlanInput {
        from,
        to,
        kinds: &KINDS,
        attendants: &[],
        waves: &BTreeMap::new(),
    })
    .unwrap()
}

/// A note, before which something happens.
pub struct After(pub Box<Happens>);

/// What happens; an error is the step's.
pub type Happens = dyn Fn(&StepContext<'_>, &Step) -> Result<(), StepError> + Send + Sync;

/// The toy kinds with another in the place of its like.
#[must_use]
pub fn with(kind: After) -> &'static [&'static dyn Kind] {
    let kind: &'static dyn Kind = Box::leak(Box::new(kind));
    let mut kinds = KINDS.to_vec();
    let like = kinds.iter_mut().find(|it| it.resource() == kind.resource());
    *like.expect("there is a toy kind of each") = kind;
    kinds.leak()
}

impl Kind for After {
    fn resource(&self) -> ResourceKind {
        Note.resource()
    }
    fn step(&self) -> StepKind {
        Note.step()
    }
    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        Note.makes(it)
    }
    fn uses(&self, it: Named<'_>) -> Vec<Thing> {
        Note.uses(it)
    }
    fn parts(&self, change: Change<'_>, reasons: &[Reason], disturbed: bool) -> Vec<Part> {
        Note.parts(change, reasons, disturbed)
    }
    fn is_inert(&self, change: Change<'_>) -> bool {
        Note.is_inert(change)
    }
    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        Note.observe(context, id, wanted)
    }
    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        (self.0)(context, step)?;
        Note.apply(context, step)
    }
    fn shows_all(&self) -> bool {
        Note.shows_all()
    }
    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        Note.sweep(context, step)
    }
}

/// A run of the toy app.
pub struct Run {
    pub kinds: &'static [&'static dyn Kind],
    pub places: Places,
    pub run: RunId,
    pub changes: BTreeMap<ResourceId, Moment>,
}

impl Run {
    pub fn new() -> Self {
        Self {
            kinds: &KINDS,
            places: Places {
                root: ROOT.into(),
                state: STATE.into(),
            },
            run: RunId("20260101T000000Z-000001".to_owned()),
            changes: BTreeMap::new(),
        }
    }

    pub fn site<T>(&self, host: &MemoryHost, act: impl FnOnce(&Site<'_>) -> T) -> T {
        act(&Site {
            host,
            kinds: self.kinds,
            places: &self.places,
            run: &self.run,
            owner: &owner(),
            ignore: &[],
            seal: &[7; 32],
            content: &NoContent,
            manifest: &|_| None,
            changes: &self.changes,
            mask: &str::to_owned,
        })
    }

    pub fn opened(&self, plan: Plan, before: State) -> Opened {
        Opened {
            format: record::FORMAT.to_owned(),
            run: self.run.clone(),
            environment: EnvironmentName::new("test").unwrap(),
            host: HostName::new("a").unwrap(),
            app: AppName::new("toy").unwrap(),
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
            plan,
            before,
            known: State::default(),
            gates: Gates::default(),
            baseline: Vec::new(),
        }
    }

    /// Takes some steps of a plan, one at a time.
    pub fn take(
        &self,
        host: &MemoryHost,
        journal: &Journal<'_>,
        plan: &Plan,
        which: impl Fn(&StepId) -> bool,
        workers: usize,
    ) -> BatchOutcome {
        let known = journal.told().known();
        self.site(host, |site| {
            take_all(
                site,
                journal,
                &Batch {
                    steps: plan.steps.iter().filter(|step| which(&step.id)).collect(),
                    way: Way::Forward,
                    known: &known,
                    workers,
                    cancel: &Cancel::new(),
                    tell: &|_| {},
                },
            )
        })
    }

    /// Opens the journal and goes back, as a helper does that was just started.
    pub fn recover(&self, host: &MemoryHost) -> Result<Returned, crate::apply::JournalError> {
        let Some(journal) = Journal::open(host, &journal_path())? else {
            return Ok(Returned::default());
        };
        self.back(host, &journal)
    }

    pub fn back(
        &self,
        host: &MemoryHost,
        journal: &Journal<'_>,
    ) -> Result<Returned, crate::apply::JournalError> {
        self.site(host, |site| {
            go_back(
                site,
                journal,
                &Back {
                    cause: Cause {
                        reason: "the test says so".to_owned(),
                        hold: None,
                        ..Cause::default()
                    },
                    once: crate::model::Once::Undone,
                    workers: 1,
                    tell: &|_| {},
                    judge: &|_| Vec::new(),
                    keep: &|_, _| Ok(()),
                },
            )
        })
    }
}

/// A host on which a state stands.
pub fn host_with(state: &State) -> MemoryHost {
    let host = MemoryHost::new();
    host.put_directory(ROOT);
    host.put_directory(STATE);
    for (id, resource) in &state.resources {
        if let Some(content) = resource.text("content") {
            host.put_file(&id.name, content);
        } else {
            let Moment { boot, monotonic } = host.moment();
            host.put_file(&id.name, format!("{boot} {}", monotonic + 1));
        }
    }
    host.settle();
    host
}

/// What is to be the same again: every note byte for byte, and which bells ring.
pub fn seen(host: &MemoryHost) -> BTreeMap<PathBuf, String> {
    let all = host.snapshot(&[ROOT]);
    all.into_iter()
        .map(|(path, entry)| {
            let rings = path.extension().is_some_and(|end| end == "bell");
            let content = if rings {
                "rings".to_owned()
            } else {
                format!("{} {:o} {}", entry.kind, entry.mode, entry.content)
            };
            (path, content)
        })
        .collect()
}
