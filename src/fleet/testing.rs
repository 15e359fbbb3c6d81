//! The server's side of the protocol, in this process: hosts that keep what they are told, over
//! real streams with real frames, and that fail where a test says so.

mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::connection::{Connection, Pulse, Transport};
use super::events::Events;
use super::run::{ContentSource, Fleet, Holdable, Pace, Part, Run};
use crate::config::OnFailure;
use crate::helper::frame::{Frame, encode_bytes, encode_message};
use crate::helper::protocol::{
    Holder, Interrupted, Marks, Message, Refusal, RefusalKind, Reply, Request, StepFailure,
    SurveyedApp, WentBack,
};
use crate::helper::wire;
use crate::host::Owner;
use crate::model::gate::GateClass;
use crate::model::{
    Action, AppName, Digest, EnvironmentName, Event, EventKind, GateResult, Gates, Generation,
    HostFacts, HostName, Ledger, Member, Once, Plan, RunId, State, StepId, StepKind, Verdict,
};

pub(crate) use samples::{address, app, author, generation, host, ledger, member, plan, step};

/// Where a host fails, and how. `at` is the word of a request, such as `ready`.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The step fails.
    Step { name: &'static str, verdict: bool },
    /// The stream ends instead of an answer; the request is done when `after`.
    Lost { at: &'static str, after: bool },
    /// The request is refused.
    Refuse { at: &'static str, kind: RefusalKind },
    /// The request is never answered, and nor is any heartbeat.
    Silent { at: &'static str },
    /// Heartbeats are answered, the request is not.
    Hang { at: &'static str },
    /// It is done and told, and the answer is yet to come.
    Slow { at: &'static str },
    /// Something isn't put back.
    NotBack,
    /// A gate that is read after a wave fails.
    Gate,
    /// The lock is held by another run for so many tries.
    Busy { times: u32 },
    /// What happened once waits for the others.
    Once,
    /// Another run has come and gone by the time at which this is answered.
    Meanwhile { at: &'static str },
}

/// What a host was told, and what it has become.
#[derive(Debug)]
pub(crate) struct FakeHost {
    pub(crate) ledger: Ledger,
    pub(crate) locked: Option<RunId>,
    pub(crate) open: Option<RunId>,
    /// The steps of the plan that it was given.
    pub(crate) plan: Vec<StepId>,
    /// All that take part in the run that it was given.
    pub(crate) members: BTreeSet<Member>,
    pub(crate) done: Vec<StepId>,
    pub(crate) ready: bool,
    /// What it was ready with.
    pub(crate) promise: Option<(Generation, Marks)>,
    pub(crate) has: BTreeSet<Digest>,
    pub(crate) received: Vec<u8>,
    pub(crate) heartbeats: u32,
    faults: Vec<Fault>,
}

/// What every host was told, in the order in which it was.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// Hosts in this process.
pub(crate) struct Lab {
    pub(crate) fleet: Fleet,
    pub(crate) hosts: BTreeMap<HostName, Arc<Mutex<FakeHost>>>,
    pub(crate) log: Log,
}

pub(crate) const PULSE: Pulse = Pulse {
    every: Duration::from_millis(20),
    patience: Duration::from_millis(400),
    unlocked_patience: Duration::from_millis(600),
    guard: Duration::from_millis(800),
};

impl Lab {
    pub(crate) fn new(hosts: &[(&str, Vec<Fault>)]) -> Self {
        let mut lab = Self {
            fleet: Fleet::new(),
            hosts: BTreeMap::new(),
            log: Log::default(),
        };
        for (name, faults) in hosts {
            let state = Arc::new(Mutex::new(FakeHost {
                ledger: ledger(vec![generation(1, None)]),
                locked: None,
                open: None,
                plan: Vec::new(),
                members: BTreeSet::new(),
                done: Vec::new(),
                ready: false,
                promise: None,
                has: BTreeSet::new(),
                received: Vec::new(),
                heartbeats: 0,
                faults: faults.clone(),
            }));
            let connection = serve(host(name), state.clone(), lab.log.clone());
            lab.fleet.insert(host(name), connection);
            lab.hosts.insert(host(name), state);
        }
        lab
    }

    pub(crate) fn host(&self, name: &str) -> std::sync::MutexGuard<'_, FakeHost> {
        self.hosts[&host(name)].lock().unwrap()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// What was told about one request word.
    pub(crate) fn told(&self, word: &str) -> Vec<String> {
        let log = self.log();
        log.into_iter().filter(|line| line.contains(word)).collect()
    }

    /// A run of that plan on all hosts of the lab.
    pub(crate) fn run(&self, plan: Plan) -> Run {
        let parts = self.fleet.keys().map(|name| {
            let part = Part {
                address: address(name.as_str()),
                head: None,
                gates: Gates::default(),
                generation: Generation {
                    run: Some(RunId("the-run".to_owned())),
                    ..generation(2, Some(1))
                },
                marks: Marks::default(),
                releases: 5,
                backups: 5,
                forget: None,
                manifests: BTreeMap::new(),
                digests: BTreeSet::new(),
                elsewhere: BTreeMap::new(),
                holdable: Some(Holdable {
                    declared: Digest::of(b"declared"),
                    release: "1.2-abc".to_owned(),
                }),
            };
            (Member::new(name, &app()), part)
        });
        Run {
            id: RunId("the-run".to_owned()),
            environment: EnvironmentName::new("prod").unwrap(),
            command: "apply".to_owned(),
            author: author(),
            plan,
            parts: parts.collect(),
            pace: Pace {
                wait: false,
                anew: false,
                lock_pause: Duration::from_millis(1),
                bakes: BTreeMap::new(),
                max_failures: 0,
                on_failure: OnFailure::RollbackAll,
                guard: Duration::from_secs(60),
                progress: Duration::from_secs(30),
            },
        }
    }
}

/// Events with a clock that stands, and where they come out.
pub(crate) fn events() -> (Events, mpsc::UnboundedReceiver<Event>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let clock = || "2026-11-20T12:00:00Z".to_owned();
    (Events::new(clock, vec![sender]), receiver)
}

pub(crate) fn all(mut receiver: mpsc::UnboundedReceiver<Event>) -> Vec<EventKind> {
    let mut events = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        events.push(event.kind);
    }
    events
}

/// Content that is its own digest's text.
pub(crate) struct Texts;

impl ContentSource for Texts {
    fn bytes(&self, _member: &Member, digests: &BTreeSet<Digest>) -> u64 {
        digests.len() as u64 * 64
    }

    fn pack(
        &self,
        _member: &Member,
        digests: &BTreeSet<Digest>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        digests
            .iter()
            .try_for_each(|digest| write!(out, "{digest}"))
    }
}

pub(crate) fn transport(stream: DuplexStream) -> Transport {
    let (reader, writer) = tokio::io::split(stream);
    Transport {
        reader: Box::new(reader),
        writer: Box::new(writer),
        last_words: Arc::new(|| "it said this last".to_owned()),
        keep: Box::new(()),
    }
}

/// Starts a host and connects to it.
fn serve(name: HostName, state: Arc<Mutex<FakeHost>>, log: Log) -> Connection {
    let (here, there) = tokio::io::duplex(64 << 10);
    let server = Server {
        name: name.clone(),
        state,
        log,
    };
    tokio::spawn(server.talk(there));
    Connection::open(name, transport(here), PULSE)
}

struct Server {
    name: HostName,
    state: Arc<Mutex<FakeHost>>,
    log: Log,
}

/// What a request comes to.
enum Deed {
    Answer(Vec<EventKind>, Reply),
    Told(Vec<EventKind>),
    Pack(Vec<EventKind>, Vec<u8>, Reply),
    End,
    Nothing,
    Deaf,
}

impl Server {
    async fn talk(self, mut stream: DuplexStream) {
        let mut deaf = false;
        let mut pack: Option<(u64, u64)> = None;
        while let Ok(Some(frame)) = wire::read_frame(&mut stream).await {
            let mut out: Vec<Vec<u8>> = Vec::new();
            let mut say = |message: Message| out.push(encode_message(&message).unwrap());
            match frame {
                Frame::Bytes(bytes) => {
                    let (id, taken) = pack.as_mut().expect("a pack is on the way");
                    *taken += bytes.len() as u64;
                    self.state.lock().unwrap().received.extend(bytes);
                    let (id, taken) = (*id, *taken);
                    say(Message::Credit { id, taken });
                }
                Frame::Message(message) => match *message {
                    Message::Heartbeat => {
                        self.state.lock().unwrap().heartbeats += 1;
                        if !deaf {
                            say(Message::Alive);
                        }
                    }
                    Message::PackEnd { id, bytes } => {
                        let whole = pack.take() == Some((id, bytes));
                        let reply = if whole {
                            Reply::Done
                        } else {
                            refused(RefusalKind::Host)
                        };
                        say(Message::Reply { id, reply });
                    }
                    Message::Request { id, request } => {
                        if matches!(request, Request::Pack { .. }) {
                            pack = Some((id, 0));
                        }
                        let (events, bytes, reply) = match self.deed(request) {
                            Deed::Answer(events, reply) => (events, None, Some(reply)),
                            Deed::Told(events) => (events, None, None),
                            Deed::Pack(events, bytes, reply) => (events, Some(bytes), Some(reply)),
                            Deed::End => return,
                            Deed::Nothing => continue,
                            Deed::Deaf => {
                                deaf = true;
                                continue;
                            }
                        };
                        for event in events {
                            say(Message::Event { id, event });
                        }
                        if let Some(bytes) = bytes {
                            out.push(encode_bytes(&bytes).unwrap());
                            let bytes = bytes.len() as u64;
                            let end = Message::PackEnd { id, bytes };
                            out.push(encode_message(&end).unwrap());
                        }
                        if let Some(reply) = reply {
                            out.push(encode_message(&Message::Reply { id, reply }).unwrap());
                        }
                    }
                    Message::Credit { .. } => {}
                    other => panic!("a controller never says {other:?}"),
                },
            }
            for frame in out {
                if wire::write_frame(&mut stream, &frame).await.is_err() {
                    return;
                }
            }
        }
    }

    fn deed(&self, request: Request) -> Deed {
        let word = word(&request);
        self.log
            .lock()
            .unwrap()
            .push(format!("{} {word}", self.name));
        let mut host = self.state.lock().unwrap();
        let at_this = |at: &&str| word == *at || word.starts_with(&format!("{at} "));
        for fault in host.faults.clone() {
            match fault {
                Fault::Lost { at, after: false } if at_this(&at) => return Deed::End,
                Fault::Lost { at, after: true } if at_this(&at) => {
                    drop(host.answer(&self.name, request));
                    return Deed::End;
                }
                Fault::Refuse { at, kind } if at_this(&at) => {
                    return Deed::Answer(Vec::new(), refused(kind));
                }
                Fault::Silent { at } if at_this(&at) => return Deed::Deaf,
                Fault::Meanwhile { at } if at_this(&at) => {
                    host.ledger.head = Some(RunId("another".to_owned()));
                }
                Fault::Hang { at } if at_this(&at) => return Deed::Nothing,
                Fault::Slow { at } if at_this(&at) => {
                    return match host.answer(&self.name, request) {
                        Deed::Answer(events, _) => Deed::Told(events),
                        other => other,
                    };
                }
                _ => {}
            }
        }
        host.answer(&self.name, request)
    }
}

/// The request in one word, with the steps asked for.
fn word(request: &Request) -> String {
    let text = serde_json::to_value(request).unwrap();
    let word = match &text {
        serde_json::Value::String(word) => word.clone(),
        value => value.as_object().unwrap().keys().next().unwrap().clone(),
    };
    match request {
        Request::Steps { steps, .. } => {
            let names = steps.iter().map(|id| id.0.rsplit(':').next().unwrap());
            format!("{word} {}", names.collect::<Vec<_>>().join(" "))
        }
        Request::GoBack { once, .. } | Request::Settle { once, .. } => match once {
            Once::Waits => word,
            Once::Undone => format!("{word} all"),
            Once::Stays => format!("{word} from what stays"),
        },
        Request::Ready { with_all, .. } if !with_all => format!("{word} alone"),
        _ => word,
    }
}

fn refused(kind: RefusalKind) -> Reply {
    Reply::Refused(Refusal {
        kind,
        message: "as the test says".to_owned(),
    })
}

impl FakeHost {
    fn fault(&self, what: impl Fn(&Fault) -> bool) -> bool {
        self.faults.iter().any(what)
    }

    fn answer(&mut self, name: &HostName, request: Request) -> Deed {
        let done = |reply| Deed::Answer(Vec::new(), reply);
        match request {
            Request::Told { .. } => unreachable!("BUG: helpers tell each other"),
            Request::Conceal { .. } => done(Reply::Done),
            Request::Hello { .. } => done(Reply::Welcome { facts: facts() }),
            Request::Survey { apps, .. } => done(Reply::Surveyed {
                apps: apps.iter().map(|_| self.surveyed()).collect(),
                sealed: BTreeMap::new(),
                registry: Vec::new(),
            }),
            Request::Observe { apps } => done(Reply::Observed(
                apps.iter()
                    .map(|_| crate::helper::protocol::ObservedApp {
                        starting: Vec::new(),
                        actual: State::default(),
                        changes: Vec::new(),
                        findings: Vec::new(),
                    })
                    .collect(),
            )),
            Request::Gates { .. } => {
                let failed = self.fault(|fault| matches!(fault, Fault::Gate));
                done(Reply::Gates(vec![gate(failed)]))
            }
            Request::Lock { run, .. } => self.lock(run),
            Request::Settle { once, .. } => {
                assert!(self.locked.is_some(), "not locked");
                match self.open {
                    Some(_) => self.go_back(once, None),
                    None => done(Reply::WentBack(went_back(None))),
                }
            }
            Request::Break { .. } => {
                let run = self.open.take();
                self.done.clear();
                done(Reply::WentBack(went_back(run)))
            }
            Request::Begin(begin) => {
                assert_eq!(self.locked.as_ref(), Some(&begin.run), "not locked");
                self.open = Some(begin.run);
                self.members = begin.members;
                self.plan = begin.plan.steps.into_iter().map(|step| step.id).collect();
                done(Reply::Begun {
                    before: State::default(),
                    baseline: vec![gate(false)],
                })
            }
            Request::Manifests { .. } => done(Reply::Manifests(BTreeMap::new())),
            Request::Lacking { digests, .. } => done(Reply::Lacking(
                digests.difference(&self.has).copied().collect(),
            )),
            Request::Pack { .. } => Deed::Nothing,
            Request::Supply { digests, .. } => {
                let here: BTreeSet<_> = digests.intersection(&self.has).copied().collect();
                let bytes: String = here.iter().map(ToString::to_string).collect();
                Deed::Pack(Vec::new(), bytes.into_bytes(), Reply::Supplied(here))
            }
            Request::Steps { steps, app, .. } => self.steps(name, &app, steps),
            Request::GoBack { once, hold, .. } => self.go_back(once, hold),
            Request::Ready { .. } if self.is_half() => done(refused(RefusalKind::Internal)),
            Request::Stand { reason, .. } => {
                self.open = None;
                self.ledger.standing = Some(reason);
                done(Reply::Done)
            }
            Request::Ready {
                generation, marks, ..
            } => {
                self.promise = Some((*generation, marks));
                self.ready = true;
                done(Reply::Done)
            }
            Request::Commit { .. } => {
                assert!(self.ready, "committed without having been ready");
                let (generation, marks) = self.promise.take().expect("it was ready");
                self.open = None;
                self.ledger.generations.push(generation);
                self.ledger.holds.extend(marks.hold);
                done(Reply::Committed(Box::new(self.ledger.clone())))
            }
            Request::Prune { .. } => done(Reply::Pruned {
                count: 2,
                bytes: 10,
            }),
            Request::Forget { .. } => {
                self.ledger.generations.clear();
                done(Reply::Forgotten(vec!["/opt/app/shared".to_owned()]))
            }
            Request::Mark { .. } => done(Reply::Done),
            Request::Unlock { run } => {
                if self.locked.as_ref() == Some(&run) {
                    self.locked = None;
                }
                done(Reply::Done)
            }
        }
    }

    /// Whether not all steps are done.
    fn is_half(&self) -> bool {
        self.plan.iter().any(|step| !self.done.contains(step))
    }

    fn lock(&mut self, run: RunId) -> Deed {
        for fault in &mut self.faults {
            if let Fault::Busy { times } = fault
                && *times > 0
            {
                *times -= 1;
                let holder = holder(RunId("another".to_owned()));
                return Deed::Answer(Vec::new(), Reply::Busy(holder));
            }
        }
        self.locked = Some(run);
        Deed::Answer(Vec::new(), Reply::Done)
    }

    fn steps(&mut self, name: &HostName, app: &AppName, steps: Vec<StepId>) -> Deed {
        let mut events = Vec::new();
        for step in steps {
            events.push(EventKind::StepStarted {
                host: name.clone(),
                app: app.clone(),
                step: step.clone(),
                kind: StepKind::SYNC,
                action: Action::Create,
                resource: step.0.clone(),
                within: None,
            });
            let failed = self.faults.iter().find_map(|fault| match fault {
                Fault::Step { name, verdict } if step.0.ends_with(name) => Some(*verdict),
                _ => None,
            });
            if let Some(verdict) = failed {
                let failed = Some(StepFailure {
                    error: format!("{step} failed"),
                    begun: true,
                    step,
                    verdict,
                    conflict: false,
                    inconclusive: false,
                });
                return Deed::Answer(events, Reply::Steps { failed });
            }
            events.push(EventKind::StepDone {
                host: name.clone(),
                app: app.clone(),
                step: step.clone(),
                action: Some(Action::Create),
                back: false,
                changed: true,
                elapsed: 1,
            });
            self.done.push(step);
        }
        Deed::Answer(events, Reply::Steps { failed: None })
    }

    fn go_back(&mut self, once: Once, hold: Option<crate::model::Hold>) -> Deed {
        let mut back = went_back(self.open.clone());
        if self.fault(|fault| matches!(fault, Fault::Once)) && once == Once::Waits {
            back.once = true;
            return Deed::Answer(Vec::new(), Reply::WentBack(back));
        }
        back.steps = self.done.len();
        self.done.clear();
        self.ledger.holds.extend(hold);
        if self.fault(|fault| matches!(fault, Fault::NotBack)) {
            back.problems
                .push("/opt/app/current is not as it was".to_owned());
        } else {
            self.open = None;
        }
        Deed::Answer(Vec::new(), Reply::WentBack(back))
    }

    fn surveyed(&self) -> SurveyedApp {
        let owner = Owner {
            user: "root".to_owned(),
            group: "root".to_owned(),
        };
        SurveyedApp {
            root: "/opt/app".to_owned(),
            state: "/var/lib/rosey/app".to_owned(),
            manager: "systemd".to_owned(),
            owner: owner.clone(),
            app_owner: owner,
            ledger: (!self.ledger.generations.is_empty()).then(|| self.ledger.clone()),
            releases: BTreeMap::new(),
            holder: self.locked.clone().map(holder),
            interrupted: self.open.clone().map(|run| Interrupted {
                run,
                command: "apply".to_owned(),
                author: author(),
                members: self.members.clone(),
                at: "2026-11-20T11:00:00Z".to_owned(),
                begun: self.done.clone(),
                ready: self.ready,
                promised: self
                    .promise
                    .as_ref()
                    .filter(|_| self.ready)
                    .map(|(generation, _)| Box::new(generation.clone())),
            }),
            going_back: None,
            left: Vec::new(),
        }
    }
}

fn holder(run: RunId) -> Holder {
    Holder {
        app: app(),
        run,
        author: author(),
        command: "apply".to_owned(),
        since: "2026-11-20T11:00:00Z".to_owned(),
        process: 7,
    }
}

fn went_back(run: Option<RunId>) -> WentBack {
    WentBack {
        run,
        steps: 0,
        problems: Vec::new(),
        gates: Vec::new(),
        once: false,
        elapsed: 3,
    }
}

pub(crate) fn gate(failed: bool) -> GateResult {
    GateResult {
        gate: "http http://127.0.0.1:8000/".to_owned(),
        verdict: if failed {
            Verdict::Failed
        } else {
            Verdict::Passed
        },
        class: GateClass::Health,
        detail: "status 500, expected 200".to_owned(),
        elapsed: 4,
    }
}

fn facts() -> HostFacts {
    HostFacts {
        platform: "linux-x86_64".to_owned(),
        system: "Debian".to_owned(),
        user: "root".to_owned(),
        root: true,
        systemd: true,
        clock: 0,
    }
}
