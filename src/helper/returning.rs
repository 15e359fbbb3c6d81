//! Going back, on request or because the controller is gone. How is `apply`'s business.

use std::time::{Duration, Instant};

use super::app::App;
use super::gates::When;
use super::ledger;
use super::link::Loss;
use super::lock::{self, AppLock};
use super::protocol::{AppAddress, Holder, Refusal, RefusalKind, Reply, WentBack};
use super::recover::{COMMAND, LONGEST};
use super::refuse::refusal;
use super::registry::Registry;
use super::session::{Answer, Held, OpenRun, Session, journal_path, journal_path_in};
use crate::apply::step::is_attendant;
use crate::apply::{
    Back, Cancel, Cause, Journal, JournalError, Record, Returned, Settled, Told, Unfinished,
    go_back, journal, sweep,
};
use crate::host::{HostError, HostErrorKind, WriteHost};
use crate::model::{AppName, Author, EventKind, Hold, Ledger, Once, RunId, few};

/// For how long a host that refuses is asked again and again without longer pauses.
const SOON: Duration = Duration::from_secs(60);

/// How long a helper that was stopped and recovers may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who settles a run that was cut off.
pub(super) enum Settling {
    /// A controller, which knows where the other hosts are.
    Controller { once: Once },
    /// Nobody but this host.
    Alone,
}

/// Why and how far to go back.
struct Asked {
    cause: Cause,
    once: Once,
    /// Whether somebody is there to be told; else the ledger keeps a notice.
    told: bool,
}

impl Session<'_> {
    pub(super) fn go_back(
        &mut self,
        id: u64,
        run: &RunId,
        app: &AppName,
        (reason, hold): (String, Option<Hold>),
        once: Once,
    ) -> Answer {
        let held = self.locked(app)?;
        let app = held.app.clone();
        self.open_run(&app, run)?;
        let asked = Asked {
            cause: Cause {
                reason,
                hold,
                ..Cause::default()
            },
            once,
            // Until it unlocks nobody knows whether the controller still waits for the answer.
            told: false,
        };
        Ok(Reply::WentBack(self.take_back(id, &app, &asked)?))
    }

    /// Closes a run that could not begin.
    pub(super) fn give_up(&mut self, id: u64, app: &App, why: &Refusal) -> Result<(), Refusal> {
        let asked = Asked {
            cause: Cause {
                reason: format!("the run could not begin: {}", why.message),
                hold: None,
                ..Cause::default()
            },
            once: Once::Undone,
            told: true,
        };
        self.take_back(id, app, &asked).map(drop)
    }

    /// Takes the way back of a run that was cut off, if there is one.
    pub(super) fn settle(&mut self, id: u64, address: &AppAddress, once: Once) -> Answer {
        let app = self.locked(&address.app)?.app.clone();
        let settling = Settling::Controller { once };
        Ok(Reply::WentBack(self.settle_app(id, &app, &settling)?))
    }

    /// Takes the way back of a run that was cut off, if there is one. Alone, what is ready stays.
    pub(super) fn settle_app(
        &mut self,
        id: u64,
        app: &App,
        settling: &Settling,
    ) -> Result<WentBack, Refusal> {
        self.runs.remove(&app.address.app);
        let Some(journal) = Journal::open(self.host, &journal_path(app))? else {
            return Ok(nothing());
        };
        let told = journal.told();
        if told.settled.is_some() {
            return Ok(nothing());
        }
        let here = false;
        let name = app.address.app.clone();
        if self.close_committed(app, &journal)? {
            self.runs.insert(name, OpenRun { journal, here });
            self.sweep(id, app);
            return Ok(nothing());
        }
        let by_controller = matches!(settling, Settling::Controller { .. });
        if !by_controller && stays(self.host, &self.registry, &told) {
            return Ok(nothing());
        }
        // Its helper is gone, and what it had begun may still be at work on what is to be put back.
        self.host.end_orphans(&app.places.root)?;
        self.runs.insert(name, OpenRun { journal, here });
        let asked = Asked {
            cause: Cause {
                reason: "the run was cut off".to_owned(),
                hold: None,
                ..Cause::default()
            },
            once: match settling {
                Settling::Controller { once } => *once,
                Settling::Alone => Once::Waits,
            },
            told: by_controller,
        };
        self.take_back(id, app, &asked)
    }

    /// Closes a journal whose run has its generation in the ledger: it has committed there, and was cut
    /// off before it could say so here too. Whether that was so.
    pub(super) fn close_committed(
        &self,
        app: &App,
        journal: &Journal<'_>,
    ) -> Result<bool, Refusal> {
        let told = journal.told();
        let ledger = self.ledger(app)?;
        let committed =
            told.settled.is_none() && ledger.is_some_and(|ledger| ledger.has(&told.opened.run));
        if committed {
            journal.append(&Record::Settled(Settled::Committed))?;
            // What can't be given back now is given back by the next run.
            drop(ledger::give_up_reserve(self.host, &app.places.state));
        }
        Ok(committed)
    }

    /// Stops another helper that makes no progress, and settles its journal.
    pub(super) fn break_run(&mut self, id: u64, address: &AppAddress, run: &RunId) -> Answer {
        let app = self.app(address)?;
        if self.held.contains_key(&address.app) {
            let words = format!("this session holds the lock of {} itself", address.app);
            return Err(refusal(RefusalKind::Internal, words));
        }
        let place = self.options.lock_of(&app.places.state);
        if let Some(holder) = lock::holder(&place) {
            if &holder.run != run {
                let words = format!(
                    "the lock of {} is held by the run {}, not by {run}",
                    address.app, holder.run
                );
                return Err(refusal(RefusalKind::NoSuchRun, words));
            }
            lock::end_holder(&place, &holder)?;
        }
        let told = journal::read(self.host.as_read(), &journal_path(&app))?;
        let open = told.filter(|told| told.settled.is_none());
        if open.as_ref().is_some_and(|told| &told.opened.run != run) {
            let words = format!("the run that is open for {} is another one", address.app);
            return Err(refusal(RefusalKind::NoSuchRun, words));
        }
        let holder = Holder {
            app: address.app.clone(),
            run: run.clone(),
            author: open
                .as_ref()
                .map(|told| told.opened.author.clone())
                .unwrap_or_default(),
            command: "unlock".to_owned(),
            since: self.host.time(),
            process: std::process::id(),
        };
        self.registry.make(self.host, &app.places)?;
        let begun = Instant::now();
        let lock = loop {
            if let Some(lock) = AppLock::try_take(&place, &holder)? {
                break lock;
            }
            // Killed, it was started again and takes back what is to be settled here; then nothing is left to do.
            let other = lock::holder(&place);
            let recovers = other.is_some_and(|it| it.command == COMMAND && &it.run == run);
            if !recovers || begun.elapsed() > PATIENCE {
                let words = format!(
                    "the lock of {} is held by somebody else by now",
                    address.app
                );
                return Err(refusal(RefusalKind::NotLocked, words));
            }
            std::thread::sleep(self.options.retry);
        };
        let held = Held {
            run: run.clone(),
            app: app.clone(),
            lock,
        };
        self.held.insert(address.app.clone(), held);
        // What is ready may have committed on another host: where it goes is the fleet's to say. So is
        // when what happened once is undone.
        let settled = if open.is_some_and(|told| told.ready) {
            Ok(nothing())
        } else {
            self.settle_app(id, &app, &Settling::Controller { once: Once::Waits })
        };
        self.runs.remove(&address.app);
        self.held.remove(&address.app);
        Ok(Reply::WentBack(settled?))
    }

    /// The controller is gone: what it left in the middle goes back, what is ready stays as it is.
    /// Says whether all of that could be done.
    pub(super) fn lost(&mut self, loss: &Loss) -> bool {
        self.out.close();
        let settled = self.all_back(&format!("the controller was lost: {}", loss.reason));
        let guard = self.runs.values().filter_map(|open| {
            let ready =
                |told: &Told| (told.ready && told.settled.is_none()).then_some(told.opened.guard);
            open.journal.ask(ready)
        });
        // The others of its fleet may not know yet how it ends; until then nobody else begins.
        if let Some(guard) = guard.max() {
            std::thread::sleep(Duration::from_millis(guard).saturating_sub(loss.silent));
        }
        settled
    }

    /// Takes all that is in the middle back, side by side: one app may have to wait for room on its disk, and the next
    /// would be away for as long. Says whether all of that could be done.
    fn all_back(&mut self, reason: &str) -> bool {
        let goes_back =
            |told: &Told| told.settled.is_none() && !stays(self.host, &self.registry, told);
        let open = self.runs.iter();
        let open = open.filter(|(_, open)| open.journal.ask(goes_back));
        let names: Vec<AppName> = open.map(|(name, _)| name.clone()).collect();
        let alone = |name: &AppName| {
            let held = self.held.remove(name)?;
            let open = self.runs.remove(name)?;
            Some(self.with_one(held, open))
        };
        let sessions: Vec<Self> = names.iter().filter_map(alone).collect();
        std::thread::scope(|scope| {
            let back = sessions
                .into_iter()
                .map(|session| scope.spawn(move || session.back_alone(reason)));
            let back: Vec<_> = back.collect();
            // Who panics has said so, and what it left is worth another try.
            back.into_iter().all(|one| one.join().unwrap_or(false))
        })
    }

    /// Takes the runs of a session back that nobody listens to; whether that could be done.
    fn back_alone(self, reason: &str) -> bool {
        let mut settled = true;
        for held in self.held.values() {
            let asked = Asked {
                cause: Cause {
                    reason: reason.to_owned(),
                    hold: None,
                    ..Cause::default()
                },
                once: Once::Waits,
                told: false,
            };
            // What it came to is in the journal and the ledger: nobody else is there.
            if let Err(refused) = self.take_back(0, &held.app, &asked) {
                // Only what the host refuses is worth another try.
                settled &= refused.kind != RefusalKind::Host;
                let name = &held.app.address.app;
                (self.options.log)(&format!("{name} can't go back: {}", refused.message));
            }
        }
        settled
    }

    /// Takes the way back of an open run. While the host refuses for now, it is tried again.
    fn take_back(&self, id: u64, app: &App, asked: &Asked) -> Result<WentBack, Refusal> {
        let begin = Instant::now();
        let name = &app.address.app;
        let Some(open) = self.runs.get(name) else {
            let words = format!("no run of {name} is open here");
            return Err(refusal(RefusalKind::NoSuchRun, words));
        };
        let told = open.journal.told();
        let run = told.opened.run.clone();
        if self.close_committed(app, &open.journal)? {
            let words = format!("the run {run} of {name} has committed here: it stays");
            return Err(refusal(RefusalKind::Internal, words));
        }
        if let Some(stands) = self.leave_past_return(app, open)? {
            return Ok(stands);
        }
        let log = |words: String| {
            if !asked.told {
                (self.options.log)(&format!("{name}: {words}"));
            }
        };
        log(format!("the run {run} goes back: {}", asked.cause.reason));
        self.out.event(
            id,
            EventKind::GoingBack {
                host: app.address.host.clone(),
                app: name.clone(),
                reason: asked.cause.reason.clone(),
            },
        );
        // By what was declared when the run began, whatever is declared now.
        let app = &App {
            owner: told.opened.owner.clone(),
            address: AppAddress {
                ignore: told.opened.ignore.clone(),
                ..app.address.clone()
            },
            ..app.clone()
        };
        let mut steps = 0;
        let mut waited_for = String::new();
        let mut pause = self.options.retry;
        let returned = loop {
            let returned = self.try_back(id, app, &run, asked)?;
            let why = match &returned {
                Ok(returned) if returned.unfinished == Some(Unfinished::Temporary) => {
                    steps += returned.steps;
                    returned.problems.join("; ")
                }
                Err(JournalError::Host(error)) if error.kind.is_temporary() => error.to_string(),
                _ => break returned?,
            };
            if why != waited_for {
                log(format!("waiting to go on with the way back: {why}"));
                waited_for.clone_from(&why);
            }
            self.out.event(
                id,
                EventKind::Waiting {
                    host: Some(app.address.host.clone()),
                    reason: format!("the way back of {name} to go on: {why}"),
                },
            );
            // Each try is written down, and a host may stay so for days.
            if begin.elapsed() > SOON {
                pause = (pause * 2).min(LONGEST);
            }
            std::thread::sleep(pause);
        };
        if returned.unfinished.is_none() {
            // What can't be removed now is removed before the next run.
            drop(ledger::give_up_reserve(self.host, &app.places.state));
        }
        let went = WentBack {
            run: Some(run),
            steps: steps + returned.steps,
            once: returned.unfinished == Some(Unfinished::Once),
            problems: returned.problems,
            gates: returned.gates,
            elapsed: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        log(match went.problems.as_slice() {
            [] => format!("the run went back in {} ms", went.elapsed),
            problems => format!("NOT as before the run: {}", problems.join("; ")),
        });
        self.out.event(
            id,
            EventKind::WentBack {
                host: app.address.host.clone(),
                app: name.clone(),
                complete: went.problems.is_empty() && !went.once,
                problems: went.problems.clone(),
                steps: went.steps,
                elapsed: went.elapsed,
            },
        );
        Ok(went)
    }

    fn try_back(
        &self,
        id: u64,
        app: &App,
        run: &RunId,
        asked: &Asked,
    ) -> Result<Result<Returned, JournalError>, Refusal> {
        let Some(open) = self.runs.get(&app.address.app) else {
            let words = format!("no run of {} is open here", app.address.app);
            return Err(refusal(RefusalKind::NoSuchRun, words));
        };
        let out = self.out.clone();
        self.with_site(app, run, |site| {
            let back = Back {
                cause: asked.cause.clone(),
                once: asked.once,
                workers: self.options.workers,
                tell: &|event| out.event(id, event),
                judge: &|gates| {
                    // Nobody who asks to go back may end the reading that proves it.
                    let results = self.read_gates_until(app, (gates, true), &Cancel::new());
                    for result in &results {
                        self.tell_gate(id, app, result, When::Back);
                    }
                    results
                },
                keep: &|told, returned| self.keep_return(app, told, returned, asked.told),
            };
            go_back(site, &open.journal, &back)
        })
    }

    /// What the ledger keeps of a way back.
    fn keep_return(
        &self,
        app: &App,
        told: &Told,
        returned: &Returned,
        heard: bool,
    ) -> Result<(), HostError> {
        let read = ledger::load(self.host.as_read(), &app.places.state);
        let known = read.map_err(|error| match error {
            ledger::LedgerError::Host(error) => error,
            other => HostError {
                doing: "read".to_owned(),
                path: app.places.state.display().to_string(),
                kind: HostErrorKind::Other(other.to_string()),
            },
        })?;
        let known = known.map(|ledger| ledger.on(&app.address.host));
        let stands = known.clone();
        let mut ledger = known.unwrap_or_else(|| ledger::begin(told));
        ledger::take_in(&mut ledger, told);
        ledger::judge(&mut ledger, told, &returned.gates);
        if let Some(cause) = &told.going_back {
            let marks = super::protocol::Marks {
                hold: cause.hold.iter().cloned().collect(),
                ..super::protocol::Marks::default()
            };
            ledger::mark(&mut ledger, &marks);
            let wrongs = returned.wrongs();
            ledger.notice =
                (!heard || !wrongs.is_empty()).then(|| notice(told, &cause.reason, &wrongs));
        }
        let store =
            |ledger| ledger::store(self.host, &app.places.state, ledger, self.registry.user());
        match (store(&ledger), stands) {
            // Cut off after it was recorded it is recorded; that it was heard needs no room, it is told once more.
            (Err(error), Some(stands))
                if error.kind == HostErrorKind::NoSpace && is_all_but_heard(&stands, &ledger) =>
            {
                store(&stands)
            }
            (stored, _) => stored,
        }
    }

    /// Removes what a settled run put aside; what can't be removed is removed before the next run.
    pub(super) fn sweep(&self, id: u64, app: &App) {
        if let Err(refused) = self.try_sweep(app) {
            let text = format!(
                "what the run had put aside is still there: {}",
                refused.message
            );
            let host = Some(app.address.host.clone());
            self.out.event(id, EventKind::Note { host, text });
        }
    }

    /// The same, for whom it matters that it is gone.
    pub(super) fn try_sweep(&self, app: &App) -> Result<(), Refusal> {
        let Some(open) = self.runs.get(&app.address.app) else {
            return Ok(());
        };
        let run = open.journal.ask(|told| told.opened.run.clone());
        let swept = self.with_site(app, &run, |site| {
            sweep::sweep(site, &open.journal, &std::collections::BTreeSet::new())
        })?;
        Ok(swept?)
    }
}

/// Whether a run that was cut off stays as it is until a controller says where it goes: it is ready here, and members
/// elsewhere may have committed. None has while an app beside it isn't ready, where all wait for all.
pub(super) fn stays(host: &dyn WriteHost, registry: &Registry, told: &Told) -> bool {
    let with_all = told.promise.as_ref().is_some_and(|it| it.with_all);
    if !told.ready || !with_all {
        return told.ready;
    }
    // What can't be read says nothing.
    let states = registry.states(host.as_read()).unwrap_or_default();
    let journals = states.iter().filter_map(|state| {
        let read = journal::read(host.as_read(), &journal_path_in(state));
        read.ok().flatten()
    });
    // Of two names for one machine each fails by itself.
    let is_beside =
        |it: &Told| (&it.opened.run, &it.opened.host) == (&told.opened.run, &told.opened.host);
    journals.filter(is_beside).all(|it| it.ready)
}

/// Whether a ledger is as it is to be, but that a way back was heard of.
fn is_all_but_heard(stands: &Ledger, wanted: &Ledger) -> bool {
    let notice = wanted.notice.clone();
    wanted.notice.is_none()
        && *wanted
            == Ledger {
                notice,
                ..stands.clone()
            }
}

/// There was nothing to go back from.
fn nothing() -> WentBack {
    WentBack {
        run: None,
        steps: 0,
        problems: Vec::new(),
        gates: Vec::new(),
        once: false,
        elapsed: 0,
    }
}

fn notice(told: &Told, reason: &str, problems: &[String]) -> String {
    let opened = &told.opened;
    let Author { user, .. } = &opened.author;
    let steps = told.begun_steps().filter(|step| !is_attendant(step));
    let begun = few(steps.map(|step| format!("{} {}", step.resource.kind, step.resource.name)));
    let begun = match begun.as_str() {
        "" => String::new(),
        begun => format!(" had begun {begun}, and"),
    };
    let mut text = format!(
        "the run {} ({} by {user}){begun} went back: {reason}",
        opened.run, opened.command
    );
    for problem in problems {
        text.push_str("; ");
        text.push_str(problem);
    }
    text
}
