//! One session: requests in the order in which they come, each answered once.
//!
//! What a request does is in the file that is named after it. Nothing here is decided: the plan is
//! the controller's, the way back is `apply`'s.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::app::App;
use super::gates::GateReader;
use super::hidden::Hidden;
use super::link::{Cancels, Heard, Inbox, Listening, listen};
use super::lock::AppLock;
use super::out::Out;
use super::protocol::{AppAddress, Refusal, RefusalKind, Reply, Request};
use super::refuse::refusal;
use super::registry::{Place, Registry};
use crate::apply::{Journal, Promise, Site};
use crate::content::{Manifest, Store};
use crate::host::{ReadHost, WriteHost};
use crate::model::{AppName, Ledger, Places, RunId};
use crate::step::kind::Kind;

/// What a helper is started with, beside its stream and its host.
pub struct Options {
    /// blake3 of the program: a controller of another one is refused.
    pub program: String,
    /// Where the registry is, where that isn't the usual place.
    pub state: Option<PathBuf>,
    /// The home of a user whom the host has no name for: what `$HOME` says.
    pub home: Option<PathBuf>,
    /// The key that the registry gets where it has none yet.
    pub seal: [u8; 32],
    /// What rosey knows about kinds.
    pub kinds: &'static [&'static dyn Kind],
    /// Who reads gates.
    pub gates: GateReader,
    /// Steps of one app at a time.
    pub workers: usize,
    /// How long to wait before a way back is tried again that the host refuses for now.
    pub retry: Duration,
    /// Whether a run is handed over to a unit of systemd's, where systemd is PID 1 and we are root.
    pub units: bool,
    /// Hears what a controller would be told, when there is none.
    pub log: fn(&str),
    /// Where locks are, where that isn't beside what they lock: of a host that isn't this machine.
    pub locks: Option<PathBuf>,
}

impl Options {
    /// Where the registry is to be looked for.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            directory: self.state.as_deref(),
            home: self.home.as_deref(),
        }
    }

    /// Where the lock is of the app with this directory in the registry.
    pub(super) fn lock_of(&self, state: &Path) -> PathBuf {
        match (&self.locks, state.file_name()) {
            (Some(locks), Some(name)) => locks.join(name),
            _ => state.to_owned(),
        }
    }
}

/// An answer, or why there is none.
pub(super) type Answer = Result<Reply, Refusal>;

/// An app whose lock this session holds.
pub(super) struct Held {
    pub run: RunId,
    pub app: App,
    /// Given back when this is dropped.
    #[expect(dead_code, reason = "it is held by being here")]
    pub lock: AppLock,
}

/// A run whose journal is open.
pub(super) struct OpenRun<'h> {
    pub journal: Journal<'h>,
    /// Whether this session began it: no other may take its steps.
    pub here: bool,
}

/// One session.
pub(super) struct Session<'h> {
    pub host: &'h dyn WriteHost,
    pub options: &'h Options,
    pub registry: Registry,
    pub out: Out,
    pub inbox: Inbox,
    pub cancels: Arc<Cancels>,
    pub held: BTreeMap<AppName, Held>,
    pub runs: BTreeMap<AppName, OpenRun<'h>>,
    /// What trees consist of that the controller has told of.
    pub manifests: BTreeMap<String, Manifest>,
    /// Whether an app was asked for whose services are children of the helper's that outlive it.
    pub manages_processes: Cell<bool>,
    /// What no word may hold.
    pub hidden: Hidden,
    greeted: bool,
}

/// Serves a controller until its stream ends; the exit code of the helper.
///
/// # Errors
/// When the registry can't be read: nothing is served then.
pub fn serve_on(
    host: &dyn WriteHost,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    options: &Options,
) -> u8 {
    let out = Out::new(output);
    let cancels = Arc::new(Cancels::default());
    let facts = host.facts();
    let may_hand_over = options.units && facts.root && facts.systemd;
    let listening = Listening {
        out: out.clone(),
        cancels: cancels.clone(),
        may_hand_over,
    };
    let inbox = listen(Box::new(input), listening);
    let registry = match Registry::open(host.as_read(), options.place(), options.seal) {
        Ok(registry) => registry,
        Err(error) => return refuse_all(inbox, &out, error.into()),
    };
    let mut session = Session::new((host, options), registry, (out, inbox, cancels));
    loop {
        match session.inbox.next() {
            Heard::Request { id, request } => {
                let reply = match &*request {
                    Request::Lock { run, apps, .. } if may_hand_over => {
                        let handed = session.hand_over(id, (run, apps), &request);
                        if matches!(handed, Ok(None)) {
                            return 0;
                        }
                        session.inbox.go_on();
                        handed.map(|holder| holder.map_or(Reply::Done, Reply::Busy))
                    }
                    _ => session.answer(id, *request),
                };
                session.out.reply(id, reply.unwrap_or_else(Reply::Refused));
            }
            // What belongs to a pack that was refused.
            Heard::Bytes(_) | Heard::PackEnd { .. } | Heard::Credit { .. } | Heard::Pressed => {}
            Heard::Lost(loss) => {
                let settled = session.lost(&loss);
                session.out.finish();
                return u8::from(!settled);
            }
        }
    }
}

/// Nothing can be done here: every request is answered so.
fn refuse_all(mut inbox: Inbox, out: &Out, why: Refusal) -> u8 {
    loop {
        match inbox.next() {
            Heard::Request { id, request } => {
                out.reply(id, Reply::Refused(why.clone()));
                if matches!(*request, Request::Lock { .. }) {
                    inbox.go_on();
                }
            }
            Heard::Lost(_) => {
                out.finish();
                return 1;
            }
            _ => {}
        }
    }
}

impl<'h> Session<'h> {
    fn new(
        (host, options): (&'h dyn WriteHost, &'h Options),
        registry: Registry,
        (out, inbox, cancels): (Out, Inbox, Arc<Cancels>),
    ) -> Self {
        Self {
            host,
            options,
            registry,
            out,
            inbox,
            cancels,
            held: BTreeMap::new(),
            runs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            manages_processes: Cell::new(false),
            hidden: Hidden::default(),
            greeted: false,
        }
    }

    /// One without a controller.
    pub fn alone(host: &'h dyn WriteHost, options: &'h Options) -> Result<Self, Refusal> {
        let registry = Registry::open(host.as_read(), options.place(), options.seal)?;
        Ok(Self::unheard((host, options), registry))
    }

    fn unheard(on: (&'h dyn WriteHost, &'h Options), registry: Registry) -> Self {
        let out = Out::new(std::io::sink());
        out.close();
        let cancels = Arc::new(Cancels::default());
        let listening = Listening {
            out: out.clone(),
            cancels: cancels.clone(),
            may_hand_over: false,
        };
        let inbox = listen(Box::new(std::io::empty()), listening);
        Self::new(on, registry, (out, inbox, cancels))
    }

    /// A session with one app of this one, and without its controller.
    pub(super) fn with_one(&self, held: Held, open: OpenRun<'h>) -> Self {
        let mut one = Self::unheard((self.host, self.options), self.registry.clone());
        one.manifests.clone_from(&self.manifests);
        one.hidden = self.hidden.clone();
        let name = held.app.address.app.clone();
        one.runs.insert(name.clone(), open);
        one.held.insert(name, held);
        one
    }

    fn answer(&mut self, id: u64, request: Request) -> Answer {
        if !matches!(request, Request::Hello { .. }) {
            self.refuse_stranger()?;
        }
        match request {
            Request::Hello { program } => self.hello(&program),
            Request::Told { manifests } => self.know(&manifests).map(|()| Reply::Done),
            Request::Conceal { values, files } => self.conceal(&values, files),
            Request::Survey { apps, seal } => self.survey(&apps, &seal),
            Request::Observe { apps } => self.observe(apps),
            Request::Gates { app, gates, settle } => self.gates(id, &app, gates, settle),
            Request::Lock {
                run,
                apps,
                author,
                command,
                guard,
            } => {
                let answer = self.lock(&run, &apps, &author, &command);
                self.watch(guard);
                answer
            }
            Request::Settle { app, once } => self.settle(id, &app, once),
            Request::Begin(begin) => self.begin(id, *begin),
            Request::Manifests { app, trees } => self.known_manifests(&app, trees),
            Request::Lacking {
                app,
                manifests,
                digests,
            } => self.lacking(&app, manifests, digests),
            Request::Pack { app } => self.pack(id, &app),
            Request::Supply { app, digests } => self.supply(id, &app, &digests),
            Request::Steps { run, app, steps } => self.steps(id, &run, &app, &steps),
            Request::GoBack {
                run,
                app,
                reason,
                hold,
                once,
            } => self.go_back(id, &run, &app, (reason, hold), once),
            Request::Ready {
                run,
                app,
                generation,
                marks,
                with_all,
            } => {
                let promise = Promise {
                    generation: *generation,
                    marks,
                    with_all,
                };
                self.ready(&run, &app, promise)
            }
            Request::Stand { run, app, reason } => self.stand(&run, &app, &reason),
            Request::Commit { run, app } => self.commit(id, &run, &app),
            Request::Prune {
                run,
                app,
                releases,
                backups,
            } => self.prune(&run, &app, releases, backups),
            Request::Forget { run, app, data } => self.forget(id, &run, &app, data),
            Request::Mark { app, marks } => self.mark(&app, &marks),
            Request::Unlock { run } => {
                let answer = self.unlock(&run);
                self.watch(0);
                answer
            }
            Request::Break { app, run } => self.break_run(id, &app, &run),
        }
    }

    pub(super) fn refuse_stranger(&self) -> Result<(), Refusal> {
        if self.greeted {
            return Ok(());
        }
        let words = "a session begins with hello";
        Err(refusal(RefusalKind::OtherProgram, words))
    }

    fn hello(&mut self, program: &str) -> Answer {
        if program != self.options.program {
            let words = "the helper is another program than the controller; upload it again";
            return Err(refusal(RefusalKind::OtherProgram, words));
        }
        self.greeted = true;
        Ok(Reply::Welcome {
            facts: self.host.facts(),
        })
    }

    /// While a lock is held, silence for so many milliseconds is a lost controller; 0 changes nothing.
    fn watch(&self, guard: u64) {
        if self.held.is_empty() {
            self.inbox.silence.disarm();
        } else if guard > 0 {
            self.inbox.silence.arm(Duration::from_millis(guard));
        }
    }

    /// An app by its address. Reads only.
    pub fn app(&self, address: &AppAddress) -> Result<App, Refusal> {
        let app = App::find(self.host.as_read(), &self.registry, address)?;
        if app.manager == "process" {
            self.manages_processes.set(true);
        }
        Ok(app)
    }

    /// An app whose lock this session holds, whatever for.
    pub fn locked(&self, app: &AppName) -> Result<&Held, Refusal> {
        self.held.get(app).ok_or_else(|| {
            let words = format!("the lock of {app} isn't held by this session");
            refusal(RefusalKind::NotLocked, words)
        })
    }

    /// An app whose lock this session holds for a run.
    pub fn locked_by(&self, app: &AppName, run: &RunId) -> Result<App, Refusal> {
        let held = self.locked(app)?;
        if &held.run != run {
            let words = format!("the lock of {app} is held for the run {}", held.run);
            return Err(refusal(RefusalKind::NotLocked, words));
        }
        Ok(held.app.clone())
    }

    /// The open journal of a run; one that an earlier helper left open is taken up.
    pub fn open_run(&mut self, app: &App, run: &RunId) -> Result<&OpenRun<'h>, Refusal> {
        let name = &app.address.app;
        if !self.runs.contains_key(name)
            && let Some(journal) = Journal::open(self.host, &journal_path(app))?
        {
            let here = false;
            self.runs.insert(name.clone(), OpenRun { journal, here });
            self.remember_environment(app);
        }
        let open = self.runs.get(name).filter(|open| {
            let told =
                |told: &crate::apply::Told| &told.opened.run == run && told.settled.is_none();
            open.journal.ask(told)
        });
        open.ok_or_else(|| {
            let words = format!("the run {run} of {name} has ended here, or was never begun");
            refusal(RefusalKind::NoSuchRun, words)
        })
    }

    /// Whether a run of an app goes on here, and may bring what it needs.
    pub fn goes_on(&self, app: &AppName) -> bool {
        let open = self.runs.get(app);
        open.is_some_and(|open| open.here && open.journal.ask(crate::apply::Told::goes_on))
    }

    /// The ledger of an app; none before its first run.
    pub fn ledger(&self, app: &App) -> Result<Option<Ledger>, Refusal> {
        let ledger = super::ledger::load(self.host.as_read(), &app.places.state)?;
        Ok(ledger.map(|ledger| ledger.on(&app.address.host)))
    }

    /// The same, unless another app or environment has it.
    pub fn own_ledger(&self, app: &App) -> Result<Option<Ledger>, Refusal> {
        let ledger = self.ledger(app)?;
        Ok(ledger.filter(|ledger| app.address.is(&ledger.environment, &ledger.app)))
    }

    /// Does something with all that steps of a run need to know.
    pub fn with_site<T>(
        &self,
        app: &App,
        run: &RunId,
        act: impl FnOnce(&Site<'_>) -> T,
    ) -> Result<T, Refusal> {
        let ledger = self.ledger(app)?;
        let none = BTreeMap::new();
        let changes = ledger.as_ref().map_or(&none, |ledger| &ledger.changes);
        let whereabouts = self.whereabouts(app, ledger.as_ref());
        let mask = |words: &str| whereabouts.masks().mask(words);
        let content = Store::new(self.host, &app.places, self.registry.seal());
        let (host, told) = (self.host.as_read(), &self.manifests);
        let manifest = |tree: &str| manifest(host, &app.places, told, tree);
        Ok(act(&Site {
            host: self.host,
            kinds: self.options.kinds,
            places: &app.places,
            run,
            owner: &app.owner,
            ignore: &app.address.ignore,
            seal: self.registry.seal(),
            content: &content,
            manifest: &manifest,
            changes,
            mask: &mask,
        }))
    }
}

/// What a tree consists of: as the controller has told, or as the app's store knows.
pub(super) fn manifest(
    host: &dyn ReadHost,
    places: &Places,
    told: &BTreeMap<String, Manifest>,
    tree: &str,
) -> Option<Manifest> {
    told.get(tree).cloned().or_else(|| {
        let path = places.manifests().join(format!("{tree}.json"));
        let manifest: Manifest = serde_json::from_slice(&host.read(&path).ok()?).ok()?;
        (manifest.digest().to_string() == tree).then_some(manifest)
    })
}

/// Where an app's journal is.
pub(super) fn journal_path(app: &App) -> PathBuf {
    journal_path_in(&app.places.state)
}

/// The same by the app's directory in the registry.
pub(super) fn journal_path_in(state: &Path) -> PathBuf {
    state.join("journal")
}
