//! A run as a controller takes it, request by request, of a shape on the host in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::client::{Client, generation};
use crate::apply::tests::laws::declared::{Declared, ROOT, SEAL, STATE};
use crate::apply::tests::laws::faults::{Lost, Trip};
use crate::apply::tests::laws::guardian::is_committed;
use crate::apply::tests::laws::shapes::Shape;
use crate::helper::ledger;
use crate::helper::lock::{self, AppLock};
use crate::helper::protocol::{AppAddress, Begin, Holder, Marks, Reply, Request};
use crate::helper::{Options, recover};
use crate::host::MemoryHost;
use crate::model::{
    AppName, Author, Digest, EnvironmentName, Hold, HostName, Plan, RunId, Step, StepId, StepKind,
};

/// What a controller that is wrong in one thing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// It believes that the lock is given back, and never asks for that.
    KeepsTheLock,
    /// It takes the answer to the step before for this one's.
    BelievesAnEarlierAnswer,
    /// It asks who is ready before the gates were read.
    IsReadyBeforeTheGates,
    /// It goes back without the hold.
    ForgetsTheHold,
    /// It asks for no guard.
    SetsNoGuard,
    /// It gives no sign of life while it waits for a step.
    IsSilentDuringAStep,
}

/// One request of a run.
#[derive(Clone)]
pub struct Ask {
    pub name: String,
    pub request: Request,
}

/// A run of a shape, to be taken again and again.
pub struct Journey {
    pub trip: Trip,
    pub asks: Vec<Ask>,
    pub bug: Option<Bug>,
    run: RunId,
    locks: tempfile::TempDir,
}

/// A controller in the middle of a run.
pub struct Walk<'j> {
    pub journey: &'j Journey,
    pub host: Arc<MemoryHost>,
    pub client: Client,
    last: Option<Reply>,
}

impl Journey {
    /// Takes the run once as one program, for how the host is before and after; then makes the requests of it.
    pub fn new(shape: Shape, bug: Option<Bug>) -> Result<Self, Lost> {
        shape
            .host
            .put_file("/var/lib/rosey/format", "rosey registry 1\n");
        shape.host.put_file("/var/lib/rosey/key", SEAL);
        if let Some(ledger) = shape.app.ledger() {
            let owner = crate::apply::tests::toy::owner();
            ledger::store(&shape.host, Path::new(STATE), &ledger, &owner).unwrap();
        }
        shape.host.settle();
        let trip = Trip::new(shape)?;
        let locks = tempfile::tempdir().unwrap();
        let mut journey = Self {
            run: trip.shape.app.run(),
            asks: Vec::new(),
            bug,
            trip,
            locks,
        };
        std::fs::create_dir(journey.lock()).unwrap();
        journey.asks = journey.requests();
        Ok(journey)
    }

    /// Where its lock is.
    pub fn lock(&self) -> PathBuf {
        self.locks
            .path()
            .join(Path::new(STATE).file_name().unwrap())
    }

    fn app(&self) -> AppName {
        AppName::new("bot").unwrap()
    }

    fn address(&self) -> AppAddress {
        let process = |to: &Declared| to.process;
        let process = self.trip.shape.to.as_ref().is_some_and(process);
        AppAddress {
            environment: EnvironmentName::new("test").unwrap(),
            host: HostName::new("a").unwrap(),
            app: self.app(),
            root: ROOT.to_owned(),
            owner: None,
            create_owner: false,
            manager: process.then(|| "process".to_owned()),
            ignore: Vec::new(),
        }
    }

    fn requests(&self) -> Vec<Ask> {
        let (run, app) = (self.run.clone(), self.app());
        let ask = |name: &str, request| Ask {
            name: name.to_owned(),
            request,
        };
        let plan = &self.trip.prospect.plan;
        let shape = &self.trip.shape;
        let mut asks = vec![
            ask("lock", self.lock_for(&run)),
            ask(
                "begin",
                Request::Begin(Box::new(Begin {
                    run: run.clone(),
                    app: self.address(),
                    plan: plan.clone(),
                    head: shape.app.ledger().and_then(|ledger| ledger.head),
                    members: BTreeSet::new(),
                    author: Author::default(),
                    command: "apply".to_owned(),
                    guard: 0,
                })),
            ),
        ];
        asks.extend(in_order(plan).into_iter().map(|step| {
            let (run, app, steps) = (run.clone(), app.clone(), vec![step.id.clone()]);
            ask(&step.id.0, Request::Steps { run, app, steps })
        }));
        let wanted = shape.to.as_ref().map(Declared::state).unwrap_or_default();
        let ready = Request::Ready {
            run: run.clone(),
            app: app.clone(),
            generation: Box::new(generation(&run.0, 2, &wanted)),
            marks: Marks::default(),
            with_all: true,
        };
        asks.push(ask("ready", ready));
        if self.bug == Some(Bug::IsReadyBeforeTheGates) {
            let last = asks.len() - 1;
            asks.swap(last - 1, last);
        }
        let commit = Request::Commit {
            run: run.clone(),
            app,
        };
        asks.push(ask("commit", commit));
        asks.push(ask("unlock", Request::Unlock { run }));
        asks
    }

    pub fn lock_for(&self, run: &RunId) -> Request {
        Request::Lock {
            run: run.clone(),
            apps: vec![self.address()],
            author: Author::default(),
            command: "apply".to_owned(),
            guard: 0,
        }
    }

    /// From now on silence for so long means that the controller is lost.
    pub fn guarded(&self, time: Duration) -> Request {
        let mut request = self.lock_for(&self.run);
        if let Request::Lock { guard, .. } = &mut request
            && self.bug != Some(Bug::SetsNoGuard)
        {
            *guard = u64::try_from(time.as_millis()).unwrap();
        }
        request
    }

    pub fn settle(&self) -> Request {
        Request::Settle {
            app: self.address(),
            once: crate::model::Once::Undone,
        }
    }

    pub fn go_back(&self) -> Request {
        Request::GoBack {
            run: self.run.clone(),
            app: self.app(),
            reason: "a gate failed".to_owned(),
            hold: (self.bug != Some(Bug::ForgetsTheHold)).then(|| self.hold()),
            once: crate::model::Once::Undone,
        }
    }

    /// What a verdict holds.
    pub fn hold(&self) -> Hold {
        Hold {
            declared: Digest::of(b"declared"),
            release: "2".to_owned(),
            why: "a gate failed".to_owned(),
            run: self.run.clone(),
            at: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    /// Where the step is among them that runs a command of the user's.
    pub fn task(&self) -> usize {
        let mut steps = self.trip.prospect.plan.steps.iter();
        let task = steps.find(|step| step.kind == StepKind::RUN);
        self.at(&task.expect("BUG: this shape has a task").id.0)
    }

    /// Where a request is among those of the run.
    pub fn at(&self, name: &str) -> usize {
        let mut asks = self.asks.iter();
        asks.position(|ask| ask.name == name).unwrap()
    }

    pub fn options(&self) -> Options {
        Options {
            program: "p".to_owned(),
            state: None,
            home: None,
            seal: SEAL,
            kinds: self.trip.shape.app.kinds,
            gates: |_| Vec::new(),
            workers: 1,
            retry: Duration::from_millis(1),
            units: false,
            log: |_| {},
            locks: Some(self.locks.path().to_owned()),
        }
    }

    /// A controller that begins, with a host of its own.
    pub fn walk(&self) -> Walk<'_> {
        self.walk_on(Arc::new(self.trip.shape.host.fork()))
    }

    pub fn walk_on(&self, host: Arc<MemoryHost>) -> Walk<'_> {
        Walk {
            journey: self,
            client: Client::on(host.clone(), self.options()),
            host,
            last: None,
        }
    }

    /// What PID 1 starts when a helper has died, and at boot.
    pub fn recover(&self, host: &MemoryHost) {
        recover::recover(host, &self.options());
    }

    /// Nobody holds the lock, and who wants it gets it.
    pub fn is_free(&self, what: &str) -> Result<(), Lost> {
        let holder = Holder {
            app: self.app(),
            run: RunId("another".to_owned()),
            author: Author::default(),
            command: "apply".to_owned(),
            since: String::new(),
            process: std::process::id(),
        };
        match lock::holder(&self.lock()) {
            Some(held) => Err(self.lost(what, &format!("{} still holds the lock", held.run))),
            None if AppLock::try_take(&self.lock(), &holder).unwrap().is_none() => {
                Err(self.lost(what, "the lock can't be taken"))
            }
            None => Ok(()),
        }
    }

    /// The host is as it was before the run, or as after it, and which of both it is.
    pub fn ends(&self, host: &MemoryHost, committed: bool, what: &str) -> Result<(), Lost> {
        if is_committed(host) != committed {
            let words = if committed {
                "not committed"
            } else {
                "committed"
            };
            return Err(self.lost(what, words));
        }
        self.trip.is_whole(host, what)
    }

    pub fn lost(&self, what: &str, why: &str) -> Lost {
        Lost(format!("{}, {what}:\n  {why}", self.trip.shape.name))
    }
}

/// Steps, each after those that it waits for.
fn in_order(plan: &Plan) -> Vec<&Step> {
    let mut open: Vec<&Step> = plan.steps.iter().collect();
    let mut order: Vec<&Step> = Vec::new();
    while !open.is_empty() {
        let done = |id: &StepId| order.iter().any(|step| &step.id == id);
        let next = open.iter().position(|step| step.after.iter().all(done));
        order.push(open.remove(next.expect("BUG: a plan has no circle")));
    }
    order
}

impl Walk<'_> {
    /// Asks for something; none when the helper ends instead.
    pub fn ask(&mut self, request: Request) -> Option<Reply> {
        let bug = self.journey.bug;
        let reply = match (&request, &self.last) {
            (Request::Unlock { .. }, _) if bug == Some(Bug::KeepsTheLock) => Some(Reply::Done),
            (Request::Steps { .. }, Some(last @ Reply::Steps { .. }))
                if bug == Some(Bug::BelievesAnEarlierAnswer) =>
            {
                Some(last.clone())
            }
            _ => {
                let id = self.client.send(request);
                self.client.answer_or_end(id)
            }
        };
        self.last.clone_from(&reply);
        reply
    }

    /// Takes some of the run's requests; each has to be granted.
    pub fn take(&mut self, which: std::ops::Range<usize>) -> Result<(), Lost> {
        for index in which {
            self.take_one(index)?;
        }
        Ok(())
    }

    pub fn take_one(&mut self, index: usize) -> Result<(), Lost> {
        let ask = self.journey.asks[index].clone();
        let reply = self.ask(ask.request);
        self.granted(&ask.name, reply.as_ref())
    }

    pub fn granted(&self, what: &str, reply: Option<&Reply>) -> Result<(), Lost> {
        match reply {
            Some(reply) if is_granted(reply) => Ok(()),
            Some(reply) => Err(self
                .journey
                .lost(what, &format!("it was answered {reply:?}"))),
            None => Err(self
                .journey
                .lost(what, "the helper ended instead of an answer")),
        }
    }

    /// Asks again for what was asked for before: nothing may change by it.
    pub fn repeat(&mut self, index: usize, what: &str) -> Result<Reply, Lost> {
        let ask = self.journey.asks[index].clone();
        let before = self.host.primitives();
        let id = self.client.send(ask.request);
        let reply = self.client.answer_or_end(id);
        let what = format!("{} again, {what}", ask.name);
        let Some(reply) = reply else {
            return Err(self
                .journey
                .lost(&what, "the helper ended instead of an answer"));
        };
        if self.host.primitives() != before {
            let trace = self.host.take_trace();
            let new = trace
                .len()
                .saturating_sub((self.host.primitives() - before) as usize);
            let done: Vec<String> = trace[new..].iter().map(ToString::to_string).collect();
            return Err(self
                .journey
                .lost(&what, &format!("it did {}", done.join(", "))));
        }
        Ok(reply)
    }
}

/// Whether all is well by an answer.
pub fn is_granted(reply: &Reply) -> bool {
    match reply {
        Reply::Done | Reply::Begun { .. } | Reply::Committed(_) => true,
        Reply::Steps { failed } => failed.is_none(),
        Reply::WentBack(went) => went.problems.is_empty() && !went.once,
        _ => false,
    }
}
