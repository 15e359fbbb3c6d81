//! A controller for tests, and the small app that it applies.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::apply::tests::toy::{KINDS, difference};
use crate::helper::Options;
use crate::helper::frame::{Frame, encode_bytes, encode_message, read_frame, write_frame};
use crate::helper::protocol::{AppAddress, Begin, Message, Reply, Request, SurveyedApp};
use crate::helper::session::serve_on;
use crate::host::{LocalHost, WriteHost};
use crate::model::{
    AppName, Author, EnvironmentName, EventKind, Gates, Generation, HostName, Plan, Resource,
    ResourceId, ResourceKind, RunId, State,
};
use crate::step::kind::Kind;

/// A directory with an app's root and a registry in it.
pub struct Place {
    pub directory: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap().join("root");
        std::fs::create_dir(&root).unwrap();
        Self { directory, root }
    }

    /// Another root, that isn't there yet.
    pub fn below(&mut self, path: &str) {
        self.root = self.directory.path().canonicalize().unwrap().join(path);
    }

    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn address(&self) -> AppAddress {
        AppAddress {
            environment: EnvironmentName::new("test").unwrap(),
            host: HostName::new("a").unwrap(),
            app: AppName::new("toy").unwrap(),
            root: self.root().to_string_lossy().into_owned(),
            owner: None,
            create_owner: false,
            manager: Some("process".to_owned()),
            ignore: Vec::new(),
        }
    }

    pub fn id(&self, kind: &'static str, name: &str) -> ResourceId {
        ResourceId {
            host: HostName::new("a").unwrap(),
            app: AppName::new("toy").unwrap(),
            kind: ResourceKind::new(kind),
            name: self.root().join(name).to_string_lossy().into_owned(),
        }
    }

    /// A state of notes; `bell` rings while it uses the first of them.
    pub fn wanted(&self, notes: &[(&str, &str)]) -> State {
        let mut state = State::default();
        for (name, content) in notes {
            let resource = Resource::new().with("content", *content);
            state.resources.insert(self.id("note", name), resource);
        }
        if let Some((first, _)) = notes.first() {
            let uses = vec![self.id("note", first).name];
            let bell = Resource::new().with("fresh", true).setting("uses", uses);
            state.resources.insert(self.id("bell", "a.bell"), bell);
        }
        state
    }

    /// Everything below the root but what is rosey's own, and the time that a bell began.
    pub fn seen(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut seen = BTreeMap::new();
        collect(&self.root(), &mut seen);
        for (path, content) in &mut seen {
            if path.extension().is_some_and(|end| end == "bell") {
                content.clear();
            }
        }
        seen
    }

    pub fn client(&self) -> Client {
        self.client_of(&KINDS)
    }

    pub fn client_of(&self, kinds: &'static [&'static dyn Kind]) -> Client {
        Client::new(self.options(kinds))
    }

    pub fn options(&self, kinds: &'static [&'static dyn Kind]) -> Options {
        Options {
            program: "p".to_owned(),
            state: Some(self.state()),
            home: None,
            seal: [3; 32],
            kinds,
            gates: |_| Vec::new(),
            workers: 2,
            retry: Duration::from_millis(1),
            units: false,
            log: |_| {},
            locks: None,
        }
    }
}

pub fn collect(path: &Path, seen: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with(".rosey") {
            continue;
        }
        if path.is_dir() {
            collect(&path, seen);
            seen.insert(path, Vec::new());
        } else {
            seen.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
}

/// The controller's end of a session.
pub struct Client {
    input: Option<PipeWriter>,
    output: PipeReader,
    helper: Option<JoinHandle<u8>>,
    next: u64,
    pub events: Vec<EventKind>,
    pub credits: u64,
    /// The guard time that it asks for, in milliseconds.
    pub guard: u64,
    /// What it is to commit.
    pub promise: Option<Generation>,
}

impl Drop for Client {
    /// What it held is free when it is gone.
    fn drop(&mut self) {
        self.input.take();
        if let Some(helper) = self.helper.take().filter(|_| !std::thread::panicking()) {
            while let Ok(Some(_)) = read_frame(&mut self.output) {}
            helper.join().ok();
        }
    }
}

impl Client {
    pub fn new(options: Options) -> Self {
        Self::on(Arc::new(LocalHost::new()), options)
    }

    pub fn on(host: Arc<dyn WriteHost>, options: Options) -> Self {
        let (helper_input, input) = std::io::pipe().unwrap();
        let (output, helper_output) = std::io::pipe().unwrap();
        let helper =
            std::thread::spawn(move || serve_on(&*host, helper_input, helper_output, &options));
        let mut client = Self {
            input: Some(input),
            output,
            helper: Some(helper),
            next: 1,
            events: Vec::new(),
            credits: 0,
            guard: 0,
            promise: None,
        };
        let program = "p".to_owned();
        let welcome = client.ask(Request::Hello { program });
        assert!(matches!(welcome, Reply::Welcome { .. }), "{welcome:?}");
        client
    }

    pub fn send(&mut self, request: Request) -> u64 {
        let id = self.next;
        self.next += 1;
        self.message(&Message::Request { id, request });
        id
    }

    pub fn message(&mut self, message: &Message) {
        let frame = encode_message(message).unwrap();
        write_frame(self.input.as_mut().unwrap(), &frame).unwrap();
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let frame = encode_bytes(bytes).unwrap();
        write_frame(self.input.as_mut().unwrap(), &frame).unwrap();
    }

    pub fn receive(&mut self) -> Option<Frame> {
        read_frame(&mut self.output).unwrap()
    }

    /// Waits for the one answer to a request.
    pub fn answer(&mut self, id: u64) -> Reply {
        while let Some(frame) = self.receive() {
            let Frame::Message(message) = frame else {
                continue;
            };
            match *message {
                Message::Reply { id: of, reply } => {
                    assert_eq!(of, id);
                    return reply;
                }
                Message::Event { event, .. } => self.events.push(event),
                Message::Credit { taken, .. } => self.credits = taken,
                _ => {}
            }
        }
        panic!("the helper ended without an answer")
    }

    /// The same; none when the helper ends instead.
    pub fn answer_or_end(&mut self, id: u64) -> Option<Reply> {
        while let Ok(Some(frame)) = read_frame(&mut self.output) {
            if let Frame::Message(message) = frame
                && let Message::Reply { id: of, reply } = *message
            {
                assert_eq!(of, id);
                return Some(reply);
            }
        }
        None
    }

    /// Gives a sign of life, and waits for the helper's.
    pub fn lives(&mut self) -> bool {
        self.message(&Message::Heartbeat);
        while let Ok(Some(frame)) = read_frame(&mut self.output) {
            if matches!(&frame, Frame::Message(message) if matches!(**message, Message::Alive)) {
                return true;
            }
        }
        false
    }

    pub fn ask(&mut self, request: Request) -> Reply {
        let id = self.send(request);
        self.answer(id)
    }

    /// Whether neither a word nor the end comes within this time.
    pub fn says_nothing_for(&self, time: Duration) -> bool {
        let time = rustix::event::Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap(),
            tv_nsec: time.subsec_nanos().into(),
        };
        let mut word = [rustix::event::PollFd::new(
            &self.output,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut word, Some(&time)).unwrap() == 0
    }

    /// Waits for the helper's end, with the stream left open.
    pub fn ended(mut self) -> u8 {
        self.helper.take().unwrap().join().unwrap()
    }

    /// Ends the stream, as a lost controller does, and waits for the helper's end.
    pub fn lose(mut self) -> u8 {
        self.input.take();
        while let Ok(Some(_)) = read_frame(&mut self.output) {}
        self.helper.take().unwrap().join().unwrap()
    }

    pub fn survey(&mut self, place: &Place) -> SurveyedApp {
        let request = Request::Survey {
            apps: vec![place.address()],
            seal: BTreeMap::new(),
        };
        match self.ask(request) {
            Reply::Surveyed { mut apps, .. } => apps.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub fn actual(&mut self, place: &Place, wanted: &State) -> State {
        let request = Request::Observe {
            apps: vec![crate::helper::protocol::ObserveApp {
                app: place.address(),
                wanted: wanted.clone(),
                manifests: BTreeMap::new(),
                findings: true,
                incoming: 0,
                units: BTreeMap::new(),
                gates: Gates::default(),
            }],
        };
        match self.ask(request) {
            Reply::Observed(mut apps) => apps.remove(0).actual,
            other => panic!("{other:?}"),
        }
    }

    pub fn lock(&mut self, place: &Place, run: &str) -> Reply {
        self.ask(Request::Lock {
            run: RunId(run.to_owned()),
            apps: vec![place.address()],
            author: Author::default(),
            command: "apply".to_owned(),
            guard: self.guard,
        })
    }

    /// Plans, locks and begins.
    pub fn begin(&mut self, place: &Place, run: &str, wanted: &State) -> Plan {
        let ledger = self.survey(place).ledger;
        let number = ledger.as_ref().and_then(|ledger| ledger.current());
        let number = number.map_or(1, |current| current.number + 1);
        self.promise = Some(generation(run, number, wanted));
        let head = ledger.and_then(|ledger| ledger.head);
        let actual = self.actual(place, wanted);
        let plan = difference(&actual, wanted);
        let locked = self.lock(place, run);
        assert!(matches!(locked, Reply::Done), "{locked:?}");
        let begun = self.ask(begin(place, run, plan.clone(), head));
        match begun {
            Reply::Begun { before, .. } => {
                // Whether a bell is fresh depends on what it uses, which the run may change.
                let notes = before.resources.iter();
                for (id, resource) in notes.filter(|(_, it)| it.text("content").is_some()) {
                    assert_eq!(actual.get(id), Some(resource));
                }
            }
            other => panic!("{other:?}"),
        }
        plan
    }

    /// Plans, locks, begins and takes all steps.
    #[track_caller]
    pub fn take(&mut self, place: &Place, run: &str, wanted: &State) -> Plan {
        let plan = self.begin(place, run, wanted);
        let done = self.steps(run, &plan);
        assert!(matches!(done, Reply::Steps { failed: None }), "{done:?}");
        plan
    }

    pub fn steps(&mut self, run: &str, plan: &Plan) -> Reply {
        self.ask(Request::Steps {
            run: RunId(run.to_owned()),
            app: AppName::new("toy").unwrap(),
            steps: plan.steps.iter().map(|step| step.id.clone()).collect(),
        })
    }

    pub fn ready(&mut self, run: &str) -> Reply {
        let generation = self.promise.clone();
        let generation = generation.unwrap_or_else(|| generation_of_nothing(run));
        self.ask(Request::Ready {
            run: RunId(run.to_owned()),
            app: AppName::new("toy").unwrap(),
            generation: Box::new(generation),
            marks: crate::helper::protocol::Marks::default(),
            with_all: true,
        })
    }

    pub fn commit(&mut self, run: &str) -> Reply {
        let id = self.send_commit(run);
        self.answer(id)
    }

    pub fn send_commit(&mut self, run: &str) -> u64 {
        self.send(Request::Commit {
            run: RunId(run.to_owned()),
            app: AppName::new("toy").unwrap(),
        })
    }

    pub fn send_forget(&mut self, run: &str) -> u64 {
        self.send(Request::Forget {
            run: RunId(run.to_owned()),
            app: AppName::new("toy").unwrap(),
            data: false,
        })
    }

    /// A whole run that goes well.
    pub fn apply(&mut self, place: &Place, run: &str, number: u64, wanted: &State) {
        self.take(place, run, wanted);
        self.promise = Some(generation(run, number, wanted));
        assert!(matches!(self.ready(run), Reply::Done));
        let committed = self.commit(run);
        assert!(matches!(committed, Reply::Committed(_)), "{committed:?}");
        let run = RunId(run.to_owned());
        assert!(matches!(self.ask(Request::Unlock { run }), Reply::Done));
    }
}

pub fn begin(place: &Place, run: &str, plan: Plan, head: Option<RunId>) -> Request {
    Request::Begin(Box::new(Begin {
        run: RunId(run.to_owned()),
        app: place.address(),
        plan,
        head,
        members: BTreeSet::new(),
        author: Author::default(),
        command: "apply".to_owned(),
        guard: 0,
    }))
}

fn generation_of_nothing(run: &str) -> Generation {
    generation(run, 1, &State::default())
}

pub fn generation(run: &str, number: u64, state: &State) -> Generation {
    Generation {
        run: Some(RunId(run.to_owned())),
        number,
        parent: number.checked_sub(1),
        release: Some(format!("1.{number}")),
        version: Some(format!("1.{number}")),
        content: None,
        declared: None,
        variables: None,
        state: state.clone(),
        gates: Gates::default(),
        backup: None,
        author: Author::default(),
        at: "2026-01-01T00:00:00Z".to_owned(),
        verified: true,
        left: false,
    }
}

impl Client {
    /// Takes an app away.
    pub fn begin_and_forget(&mut self, place: &Place, run: &str, nothing: &State) {
        let plan = self.begin(place, run, nothing);
        assert!(!plan.is_empty());
        let done = self.steps(run, &plan);
        assert!(matches!(done, Reply::Steps { failed: None }), "{done:?}");
        assert!(matches!(self.ready(run), Reply::Done));
        assert!(matches!(self.commit(run), Reply::Committed(_)));
        let forgotten = self.ask(Request::Forget {
            run: RunId(run.to_owned()),
            app: AppName::new("toy").unwrap(),
            data: false,
        });
        assert!(matches!(forgotten, Reply::Forgotten(_)), "{forgotten:?}");
    }
}
