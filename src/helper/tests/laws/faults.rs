//! Every fault at every request of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::journey::{Bug, Journey, is_granted};
use crate::apply::tests::laws::app::act;
use crate::apply::tests::laws::declared::STATE;
use crate::apply::tests::laws::faults::Lost;
use crate::helper::ledger;
use crate::helper::protocol::{Reply, Request};
use crate::host::MemoryHost;
use crate::host::memory::Fault;
use crate::model::{RunId, StepKind};

/// By how much a clock jumps, in seconds.
const DAY: i64 = 86_400;

/// What fired, each at one request of one shape.
#[derive(Default)]
pub struct Fired {
    faults: BTreeSet<(&'static str, String)>,
    pub counts: BTreeMap<&'static str, usize>,
}

impl Fired {
    fn note(&mut self, fault: &'static str, at: &str) {
        if self.faults.insert((fault, at.to_owned())) {
            *self.counts.entry(fault).or_default() += 1;
        }
    }

    pub fn count(&self) -> usize {
        self.faults.len()
    }
}

impl Journey {
    /// Everything that can go wrong with each request.
    pub fn sweep(&self) -> Result<Fired, Lost> {
        let mut fired = Fired::default();
        self.plain()?;
        self.twice(&mut fired)?;
        self.late(&mut fired)?;
        self.clock(&mut fired)?;
        for index in 0..self.asks.len() {
            self.answer_lost(index, &mut fired)?;
            self.helper_dies(index, &mut fired)?;
            self.boots(index, &mut fired)?;
            if (self.at("begin")..self.at("commit")).contains(&index) {
                self.back_from(index, &mut fired)?;
            }
        }
        self.gate_fails(&mut fired)?;
        Ok(fired)
    }

    /// Nothing goes wrong.
    pub fn plain(&self) -> Result<(), Lost> {
        let mut walk = self.walk();
        walk.take(0..self.asks.len())?;
        // The stream is still open: the lock is given back by the answer, not by the end.
        self.is_free("after the run")?;
        self.ends(&walk.host, true, "after the run")
    }

    /// Each request comes twice, one right after the other.
    fn twice(&self, fired: &mut Fired) -> Result<(), Lost> {
        let mut walk = self.walk();
        for (index, ask) in self.asks.iter().enumerate() {
            walk.take_one(index)?;
            let reply = walk.repeat(index, "at once")?;
            if !is_granted(&reply) {
                return Err(self.lost(
                    &format!("{} again, at once", ask.name),
                    &format!("{reply:?}"),
                ));
            }
            fired.note("twice", &ask.name);
        }
        self.is_free("each twice")?;
        self.ends(&walk.host, true, "each twice")
    }

    /// Each request comes once more, after all steps and at each request after them.
    fn late(&self, fired: &mut Fired) -> Result<(), Lost> {
        let mut walk = self.walk();
        let (ready, end) = (self.at("ready"), self.asks.len());
        walk.take(0..ready)?;
        for stage in ready..=end {
            let words = self.asks.get(stage).map_or("the end", |ask| &ask.name);
            let when = format!("before {words}");
            for index in 0..stage {
                // To take the lock again is to begin again.
                if index == self.at("lock") && stage == end {
                    continue;
                }
                let reply = walk.repeat(index, &when)?;
                if stage == end {
                    self.refuses(index, &reply, &when)?;
                }
                let name = format!("{}, {when}", self.asks[index].name);
                fired.note("late", &name);
            }
            if stage < end {
                walk.take_one(stage)?;
            }
        }
        self.is_free("each late")?;
        self.ends(&walk.host, true, "each late")
    }

    /// A helper whose run has ended refuses all that would change something.
    fn refuses(&self, index: usize, reply: &Reply, when: &str) -> Result<(), Lost> {
        let ask = &self.asks[index];
        let may = match &ask.request {
            // Who asks whether it has committed, or gives back what it hasn't got, changes nothing.
            Request::Lock { .. } | Request::Commit { .. } | Request::Unlock { .. } => true,
            _ => matches!(reply, Reply::Refused(_)),
        };
        if may {
            return Ok(());
        }
        let what = format!("{} again, {when}", ask.name);
        Err(self.lost(
            &what,
            &format!("the run has ended, and it was answered {reply:?}"),
        ))
    }

    /// The clock of the host jumps by a day and back between requests.
    fn clock(&self, fired: &mut Fired) -> Result<(), Lost> {
        for first in [DAY, -DAY] {
            let mut walk = self.walk();
            let mut by = first;
            for (index, ask) in self.asks.iter().enumerate() {
                walk.host.set_clock(by);
                walk.take_one(index)?;
                let fault = if by > 0 {
                    "clock forward"
                } else {
                    "clock back"
                };
                fired.note(fault, &ask.name);
                by = -by;
            }
            self.is_free("with a clock that jumps")?;
            self.ends(&walk.host, true, "with a clock that jumps")?;
        }
        Ok(())
    }

    /// The helper did it, its answer never came, and the controller is gone with its stream.
    fn answer_lost(&self, index: usize, fired: &mut Fired) -> Result<(), Lost> {
        let name = &self.asks[index].name;
        let fault = "answer lost";
        let what = format!("{name}: {fault}");
        let mut walk = self.walk();
        walk.take(0..index + 1)?;
        let host = walk.host.clone();
        if walk.client.lose() != 0 {
            return Err(self.lost(&what, "the helper says that not all is settled"));
        }
        fired.note(fault, name);
        self.next_helper(&host, index, &what)?;
        self.next_is_asked(&host, index, fault, fired)
    }

    /// The helper dies right after its answer, and is started again.
    fn helper_dies(&self, index: usize, fired: &mut Fired) -> Result<(), Lost> {
        let name = &self.asks[index].name;
        let fault = "helper dies";
        let what = format!("{name}: {fault}");
        let mut walk = self.walk();
        walk.take(0..index + 1)?;
        let host = walk.host.clone();
        // All that it still does fails at once.
        host.fault_at(1, Fault::CrashBefore);
        walk.client.lose();
        if host.is_crashed() {
            fired.note(fault, name);
        }
        host.revive();
        self.recover(&host);
        self.next_helper(&host, index, &what)?;
        self.next_is_asked(&host, index, fault, fired)
    }

    /// The power fails, and the host boots with another date.
    fn boots(&self, index: usize, fired: &mut Fired) -> Result<(), Lost> {
        let name = &self.asks[index].name;
        let (fault, clock) = match index % 2 {
            0 => ("boot, clock forward", DAY),
            _ => ("boot, clock back", -DAY),
        };
        let what = format!("{name}: {fault}");
        let mut walk = self.walk();
        walk.take(0..index + 1)?;
        let host = walk.host.clone();
        host.crash(0);
        walk.client.lose();
        host.set_clock(clock);
        host.reboot();
        self.recover(&host);
        fired.note(fault, name);
        self.next_helper(&host, index, &what)
    }

    /// Its lock is free, and what an earlier helper left is whole: what happened once, as soon as the fleet says that all
    /// are back, and what is ready, wherever that goes.
    fn next_helper(&self, host: &Arc<MemoryHost>, index: usize, what: &str) -> Result<(), Lost> {
        self.is_free(what)?;
        if index >= self.at("commit") {
            return self.ends(host, true, what);
        }
        if index >= self.at("ready") {
            return self.settles_ready(host, what);
        }
        self.settled(host, what)?;
        self.ends(host, false, what)
    }

    /// A controller settles what an earlier one left, as it does before anything else.
    fn settled(&self, host: &Arc<MemoryHost>, what: &str) -> Result<(), Lost> {
        let mut next = self.walk_on(host.clone());
        for request in [self.lock_for(&RunId("another".to_owned())), self.settle()] {
            let reply = next.ask(request);
            next.granted(what, reply.as_ref())?;
        }
        Ok(())
    }

    /// The requests of the run come to a helper that was started after it: they change nothing any more.
    fn next_is_asked(
        &self,
        host: &Arc<MemoryHost>,
        index: usize,
        fault: &'static str,
        fired: &mut Fired,
    ) -> Result<(), Lost> {
        let when = format!("to the next helper, {}: {fault}", self.asks[index].name);
        let mut next = self.walk_on(host.clone());
        for other in 1..=index {
            let reply = next.repeat(other, &when)?;
            if other != self.at("unlock") && !matches!(reply, Reply::Refused(_)) {
                return Err(self.lost(&when, &format!("without a lock it was answered {reply:?}")));
            }
        }
        let run = match index % 2 {
            0 => RunId("another".to_owned()),
            _ => self.trip.shape.app.run(),
        };
        let reply = next.ask(self.lock_for(&run));
        next.granted(&when, reply.as_ref())?;
        for other in 1..=index {
            let reply = next.repeat(other, &when)?;
            self.refuses(other, &reply, &when)?;
            let name = format!("{} after {fault}", self.asks[other].name);
            fired.note("to the next helper", &name);
        }
        Ok(())
    }

    /// What is ready goes back or forward, as the fleet says.
    fn settles_ready(&self, host: &MemoryHost, what: &str) -> Result<(), Lost> {
        for forward in [false, true] {
            let mut next = self.walk_on(Arc::new(host.fork()));
            let lock = next.ask(self.lock_for(&RunId("another".to_owned())));
            next.granted(what, lock.as_ref())?;
            let request = if forward {
                self.asks[self.at("commit")].request.clone()
            } else {
                self.settle()
            };
            let reply = next.ask(request);
            next.granted(what, reply.as_ref())?;
            self.ends(&next.host, forward, what)?;
        }
        Ok(())
    }

    /// The run is taken back from here: that comes twice, its answer is lost, and steps come late.
    fn back_from(&self, index: usize, fired: &mut Fired) -> Result<(), Lost> {
        let name = &self.asks[index].name;
        let what = format!("back after {name}");
        let mut walk = self.walk();
        walk.take(0..index + 1)?;
        let reply = walk.ask(self.go_back());
        walk.granted(&what, reply.as_ref())?;
        self.ends(&walk.host, false, &what)?;
        self.holds(&walk.host, &what)?;
        let before = walk.host.primitives();
        let reply = walk.ask(self.go_back());
        if !matches!(reply, Some(Reply::Refused(_))) || walk.host.primitives() != before {
            return Err(self.lost(&format!("{what}, twice"), &format!("{reply:?}")));
        }
        fired.note("back twice", name);
        for other in self.at("begin")..=index {
            let reply = walk.repeat(other, &what)?;
            self.refuses(other, &reply, &what)?;
            fired.note("late, back", &self.asks[other].name);
        }
        let host = walk.host.clone();
        if index.is_multiple_of(2) {
            // The answer was lost: nobody unlocks, and the next is told.
            walk.client.lose();
            let told = ledger::load(&*host, Path::new(STATE)).unwrap();
            if told.is_none_or(|ledger| ledger.notice.is_none()) {
                return Err(self.lost(&what, "nobody will hear of it"));
            }
            fired.note("answer lost, back", name);
        } else {
            walk.take_one(self.at("unlock"))?;
        }
        self.is_free(&what)?;
        self.ends(&host, false, &what)
    }

    fn holds(&self, host: &MemoryHost, what: &str) -> Result<(), Lost> {
        let ledger = ledger::load(host, Path::new(STATE)).unwrap();
        let holds = ledger.map(|ledger| ledger.holds).unwrap_or_default();
        if holds == [self.hold()] {
            return Ok(());
        }
        Err(self.lost(what, "a verdict holds, and the ledger doesn't say so"))
    }

    /// The services of the new version die before its gates are read.
    fn gate_fails(&self, fired: &mut Fired) -> Result<(), Lost> {
        let steps = &self.trip.prospect.plan.steps;
        let Some(gates) = steps.iter().find(|step| step.kind == StepKind::VERIFY) else {
            return Ok(());
        };
        let at = self.at(&gates.id.0);
        let mut walk = self.walk();
        walk.take(0..at)?;
        let declared = self.trip.shape.to.as_ref();
        let own = |name: &str| declared.is_some_and(|to| to.services.contains(&name));
        for unit in walk.host.service_snapshot().keys() {
            if own(&unit.name) {
                walk.host.kill_service(unit, "it died");
            }
        }
        let reply = walk.ask(self.asks[at].request.clone());
        let failed = match &reply {
            Some(Reply::Steps { failed }) => failed.as_ref().is_some_and(|it| it.verdict),
            _ => false,
        };
        if !failed {
            return Err(self.lost("a gate fails", &format!("it was answered {reply:?}")));
        }
        let ready = walk.ask(self.asks[self.at("ready")].request.clone());
        if !matches!(ready, Some(Reply::Refused(_))) {
            return Err(self.lost("a gate fails", &format!("ready was answered {ready:?}")));
        }
        let reply = walk.ask(self.go_back());
        walk.granted("a gate fails", reply.as_ref())?;
        self.holds(&walk.host, "a gate fails")?;
        fired.note("gate fails", &gates.id.0);
        Ok(())
    }

    /// The controller says nothing any more, with its stream open, and the date is another one while that is noticed.
    pub fn silence(&self, index: usize, fired: &mut Fired) -> Result<(), Lost> {
        let name = &self.asks[index].name;
        let what = format!("silent after {name}");
        let mut walk = self.walk();
        walk.take(0..index + 1)?;
        // Only now: how long the requests before it take is the machine's.
        let reply = walk.ask(self.guarded(Duration::from_millis(100)));
        walk.granted(&what, reply.as_ref())?;
        walk.host
            .set_clock(if index.is_multiple_of(2) { DAY } else { -DAY });
        let host = walk.host.clone();
        if walk.client.says_nothing_for(PATIENCE) {
            return Err(self.lost(&what, "nobody takes it back"));
        }
        walk.client.ended();
        fired.note("silence", name);
        self.next_helper(&host, index, &what)
    }

    /// A step takes longer than the guard time, and the controller is there all the while.
    pub fn long_step(&self, index: usize, fired: &mut Fired) -> Result<(), Lost> {
        let guard = Duration::from_millis(800);
        let name = &self.asks[index].name;
        let what = format!("{name} takes long");
        let mut walk = self.walk();
        let gate = Arc::new(Gate::default());
        let closed = gate.clone();
        walk.host.on_command(move |command, view| {
            closed.wait();
            act(command, view)
        });
        walk.take(0..index)?;
        let reply = walk.ask(self.guarded(guard));
        walk.granted(&what, reply.as_ref())?;
        let id = walk.client.send(self.asks[index].request.clone());
        let begun = Instant::now();
        while begun.elapsed() < 2 * guard {
            if self.bug == Some(Bug::IsSilentDuringAStep) {
                walk.client.says_nothing_for(2 * guard);
            } else if !walk.client.lives() {
                gate.open();
                return Err(self.lost(&what, "no sign of life came back"));
            }
        }
        gate.open();
        let reply = walk.client.answer_or_end(id);
        walk.granted(&what, reply.as_ref())?;
        fired.note("long step", name);
        walk.take(index + 1..self.asks.len())?;
        self.is_free(&what)?;
        self.ends(&walk.host, true, &what)
    }
}

/// How long the end of a helper is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Holds up who waits, until it is open.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_while(open, |open| !*open).unwrap());
    }
}
