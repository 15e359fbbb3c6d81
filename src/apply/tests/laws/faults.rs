//! Every fault at every primitive of a run, forward and on its way back.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use super::app::Prospect;
use super::declared::Declared;
use super::guardian::{Guardian, Seen, debris, is_committed};
use super::shapes::Shape;
use crate::apply::Journal;
use crate::host::memory::{Fault, Recorded};
use crate::host::{HostErrorKind, MemoryHost, ReadHost, Space};
use crate::model::{EventKind, Plan, Step};

/// A host that is neither as it was nor as it should be, or was in between as it mustn't be.
#[derive(Debug)]
pub struct Lost(pub String);

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// Power cuts at each primitive, beside those that keep nothing and all.
    pub cuts: u64,
    /// At every how many-th step forward a run is stopped, for faults on its way back.
    pub stops: usize,
}

/// The first primitives of something, and the host before them.
struct Mark {
    /// How many primitives there were before.
    first: u64,
    name: String,
    host: MemoryHost,
}

/// One run with all that is to be known of it.
pub struct Trip {
    pub shape: Shape,
    pub prospect: Prospect,
    guardian: Guardian,
    before: [Seen; 2],
    after: [Seen; 2],
    /// Every distinct fault that fired: plan, step, primitive, fault and direction.
    fired: HashSet<u64>,
    /// How many of each fault.
    pub counts: BTreeMap<&'static str, usize>,
    /// Those that weren't recovered from, one for each reason.
    pub lost: BTreeMap<String, Lost>,
    /// Whether the first one is enough.
    pub hasty: bool,
}

impl Trip {
    /// Takes the run once, without a fault.
    pub fn new(shape: Shape) -> Result<Self, Lost> {
        let guardian = Guardian::default();
        let prospect = shape.app.prospect(&shape.host, shape.to.as_ref());
        assert!(!prospect.plan.is_empty(), "{} changes nothing", shape.name);
        guardian.watch(&shape.host);
        let rebooted = |host: &MemoryHost| {
            let host = host.fork();
            host.settle();
            host.reboot();
            Seen::of(&host)
        };
        let before = [Seen::of(&shape.host), rebooted(&shape.host)];
        let mut trip = Self {
            after: before.clone(),
            before,
            shape,
            prospect,
            guardian,
            fired: HashSet::new(),
            counts: BTreeMap::new(),
            lost: BTreeMap::new(),
            hasty: false,
        };
        let host = trip.shape.host.fork();
        if let Err(error) = trip.forward(&host, &Mutex::default()) {
            return Err(trip.lost("without a fault", &error));
        }
        trip.after = [Seen::of(&host), rebooted(&host)];
        trip.on_the_way("without a fault")?;
        trip.converged(&host)?;
        Ok(trip)
    }

    /// Laws 1 and 2: after the run nothing differs from what is declared; after all of it was taken back nothing
    /// differs from how it was, and the same run is to be made as at first.
    fn converged(&self, after: &MemoryHost) -> Result<(), Lost> {
        let app = &self.shape.app;
        let to = self.shape.to.as_ref();
        self.nothing("planned again", &app.left_to_do(after, &self.prospect, to))?;
        let host = self.shape.host.fork();
        let journal = app.open(&host, &self.prospect).unwrap();
        app.take(&host, &journal, &self.prospect, |_| true, &|_| {})
            .unwrap();
        drop(journal);
        self.settles(&host, "all of it taken back")?;
        self.undone("all of it taken back", &host)?;
        let again = app.prospect(&host, to);
        let (first, again) = (words(&self.prospect.plan), words(&again.plan));
        if first != again {
            let what = "planned once more after it was taken back";
            return Err(self.lost(what, &format!("{again:#?}, was {first:#?}")));
        }
        Ok(())
    }

    /// A completed way back has left nothing to be put back, as a plan sees it.
    fn undone(&self, what: &str, host: &MemoryHost) -> Result<(), Lost> {
        let left = self.shape.app.left_to_undo(host, &self.prospect);
        self.nothing(what, &left)
    }

    fn nothing(&self, what: &str, plan: &Plan) -> Result<(), Lost> {
        if plan.is_empty() {
            return Ok(());
        }
        let steps = words(plan);
        Err(self.lost(what, &format!("a plan still has {}", steps.join("; "))))
    }

    /// How many distinct faults fired.
    pub fn fired(&self) -> usize {
        self.fired.len()
    }

    fn forward(&self, host: &MemoryHost, marks: &Mutex<Vec<Mark>>) -> Result<(), String> {
        let app = &self.shape.app;
        note(marks, host, "open");
        let journal = app.open(host, &self.prospect);
        let journal = journal.map_err(|error| error.to_string())?;
        let tell = |event: EventKind| {
            if let EventKind::StepStarted { step, .. } = event {
                note(marks, host, &step.0);
            }
        };
        app.take(host, &journal, &self.prospect, |_| true, &tell)?;
        note(marks, host, "commit");
        app.commit(host, &journal)
            .map_err(|error| error.to_string())?;
        note(marks, host, "end");
        Ok(())
    }

    /// Does once more what was done from a mark to the next one.
    fn again(&self, name: &str, host: &MemoryHost) {
        let app = &self.shape.app;
        if name == "open" {
            drop(app.open(host, &self.prospect));
            return;
        }
        // What comes of it is read from the host.
        let Ok(Some(journal)) = Journal::open(host, &app.journal()) else {
            return;
        };
        if name == "commit" {
            drop(app.commit(host, &journal));
        } else {
            drop(app.take(host, &journal, &self.prospect, |id| id == name, &|_| {}));
        }
    }

    /// Does what was done from a mark on to the end.
    fn onward(&self, name: &str, host: &MemoryHost) -> Result<(), String> {
        let app = &self.shape.app;
        let opened = match name {
            "open" => app.open(host, &self.prospect).map(Some),
            _ => Journal::open(host, &app.journal()),
        };
        let opened = opened.map_err(|error| error.to_string())?;
        let journal = opened.ok_or("there is no journal")?;
        app.take(host, &journal, &self.prospect, |_| true, &|_| {})?;
        app.commit(host, &journal)
            .map_err(|error| error.to_string())
    }

    /// Every fault at every primitive of the run, and of its way back from some of its steps.
    pub fn sweep(&mut self, depth: Depth) -> Result<(), Lost> {
        let host = self.shape.host.fork();
        let marks = Mutex::default();
        host.record();
        if let Err(error) = self.forward(&host, &marks) {
            return Err(self.lost("without a fault", &error));
        }
        let recorded = host.take_recorded();
        let marks = marks.into_inner().unwrap();
        for (index, point) in recorded.iter().enumerate() {
            let mark = mark_of(&marks, point);
            self.images("forward", mark, point, index, depth.cuts)?;
            for (word, fault) in errors(point) {
                let host = mark.host.fork();
                host.fault_at(point.number - mark.first, fault);
                self.again(&mark.name, &host);
                host.revive();
                let what = self.name("forward", &mark.name, point, word);
                let settled = self.settles(&host, &what);
                self.note(settled, "forward", mark, point, word)?;
            }
            if is_time_to_die(mark, point) {
                let host = mark.host.fork();
                host.fault_at(point.number - mark.first, Fault::ServicesDie);
                // A run that fails of it goes back.
                drop(self.onward(&mark.name, &host));
                let what = self.name("forward", &mark.name, point, DIED);
                let settled = self.settles_quietly(&host, &what);
                self.note(settled, "forward", mark, point, DIED)?;
            }
        }
        let mut stops: Vec<&Recorded> = Vec::new();
        for (number, pair) in marks.windows(2).enumerate() {
            // Stopped in the middle of each step, and before the commit.
            let inside = recorded
                .iter()
                .filter(|point| (pair[0].first + 1..=pair[1].first).contains(&point.number));
            let inside: Vec<_> = inside.collect();
            let last = pair[0].name == "commit";
            if last {
                stops.extend(inside.first());
            } else if number > 0 && number % depth.stops == 0 {
                stops.extend(inside.get(inside.len() * 2 / 3));
            }
        }
        for stop in stops {
            self.back_from(stop, mark_of(&marks, stop), depth)?;
        }
        Ok(())
    }

    /// Every fault at every primitive of the way back of a run that was stopped somewhere.
    fn back_from(&mut self, stop: &Recorded, stopped: &Mark, depth: Depth) -> Result<(), Lost> {
        let host = stop.host();
        let marks = Mutex::default();
        let steps = Mutex::<Vec<String>>::default();
        note(&marks, &host, "settle");
        host.record();
        let tell = |event: EventKind| match event {
            EventKind::StepStarted { step, .. } => {
                note(&marks, &host, &step.0);
                steps.lock().unwrap().push(step.0);
            }
            EventKind::StepDone { .. } => note(&marks, &host, "settle"),
            _ => {}
        };
        let returned = self.shape.app.recover(&host, &tell);
        let way = self.name("stopped", &stopped.name, stop, "");
        let recorded = host.take_recorded();
        if let Err(error) = returned {
            return Err(self.lost(&way, &error.to_string()));
        }
        if !is_committed(&host) {
            self.undone(&way, &host)?;
        }
        let marks = marks.into_inner().unwrap();
        // The way back is a plan of its own, and another one for each set of steps that were begun.
        let plan = format!("back {}", steps.into_inner().unwrap().join(" "));
        for (index, point) in recorded.iter().enumerate() {
            let mark = mark_of(&marks, point);
            if self.is_counted(&plan, mark, point, "crash") {
                continue;
            }
            self.images(&plan, mark, point, index, depth.cuts.saturating_sub(1))?;
            for (word, fault) in errors(point) {
                let host = stop.host();
                host.fault_at(index as u64 + 1, fault);
                // What comes of it is read from the host.
                drop(self.shape.app.recover(&host, &|_| {}));
                host.revive();
                let what = format!("{way}; {}", self.name("back", &mark.name, point, word));
                let settled = self.settles(&host, &what);
                self.note(settled, &plan, mark, point, word)?;
            }
            if is_time_to_die(mark, point) {
                let host = stop.host();
                host.fault_at(index as u64 + 1, Fault::ServicesDie);
                let what = format!("{way}; {}", self.name("back", &mark.name, point, DIED));
                let settled = self.settles_quietly(&host, &what);
                self.note(settled, &plan, mark, point, DIED)?;
            }
        }
        Ok(())
    }

    /// What can go wrong so that nobody does anything any more: the host is the one that was recorded.
    fn images(
        &mut self,
        direction: &str,
        mark: &Mark,
        point: &Recorded,
        index: usize,
        cuts: u64,
    ) -> Result<(), Lost> {
        let short = &direction[..direction.len().min(7)];
        let named = |trip: &Self, word: &str| trip.name(short, &mark.name, point, word);
        let host = point.host();
        let settled = self.settles(&host, &named(self, "crash"));
        self.note(settled, direction, mark, point, "crash")?;

        if is_time_to_die(mark, point) {
            let host = point.host();
            host.let_services_die();
            let settled = self.settles_quietly(&host, &named(self, DIED_TOO));
            self.note(settled, direction, mark, point, DIED_TOO)?;
        }

        if mark.name != "commit" && point.has_outdated_services() {
            let host = point.host();
            let before = self.shape.host.service_snapshot();
            let before: BTreeSet<_> = before
                .into_values()
                .filter_map(|it| it.definition)
                .collect();
            host.on_start(move |_, _, definition| {
                let ran_before = before.contains(definition);
                ran_before
                    .then_some(())
                    .ok_or_else(|| "exit-code".to_owned())
            });
            host.reboot();
            let settled = self.settles(&host, &named(self, BOOTED));
            self.note(settled, direction, mark, point, BOOTED)?;
        }

        let host = point.host();
        host.set_free(Some(Space {
            bytes: 0,
            inodes: 0,
        }));
        let settled = self.settles_when_full(&host, &named(self, "the disk is full"));
        self.note(settled, direction, mark, point, "full")?;

        let host = point.host();
        host.set_read_only(true);
        let what = named(self, "the file system is read-only for a while");
        let waited = self.waits(&host, &what);
        host.set_read_only(false);
        let settled = waited.and_then(|()| self.settles(&host, &what));
        self.note(settled, direction, mark, point, "read-only")?;

        let mut cut: Vec<MemoryHost> = Vec::new();
        let mut hasher = DefaultHasher::new();
        (&self.shape.name, direction, index).hash(&mut hasher);
        let choices = (0..cuts).map(|number| hasher.finish() ^ number);
        for choice in [0, u64::MAX].into_iter().chain(choices) {
            let host = point.host();
            host.crash(choice);
            if cut.iter().any(|other| other.has_disk_of(&host)) {
                continue;
            }
            cut.push(host.fork());
            host.reboot();
            let settled = self.settles(&host, &named(self, &format!("a power cut ({choice})")));
            let word = CUTS[cut.len().min(CUTS.len()) - 1];
            self.note(settled, direction, mark, point, word)?;
        }
        Ok(())
    }

    /// The way back needs no new space, but for what is no file of rosey's own: a manager that enables a service makes
    /// a link, what is put back from a backup is copied, and a task that is undone gets a stamp. For those it is waited.
    fn settles_when_full(&self, host: &MemoryHost, what: &str) -> Result<(), Lost> {
        match self.settles(host, what) {
            Err(lost) if WAITING.iter().any(|words| lost.0.contains(words)) => {
                let journal = || host.read(&self.shape.app.journal());
                let written = journal();
                drop(self.shape.app.recover(host, &|_| {}));
                if journal() != written {
                    return Err(self.lost(what, "a way back that waits makes its journal grow"));
                }
                host.set_free(None);
                self.settles(host, what)
            }
            settled => settled,
        }
    }

    /// While nothing can be written nobody may say that all is well, unless it is.
    fn waits(&self, host: &MemoryHost, what: &str) -> Result<(), Lost> {
        match self.shape.app.recover(host, &|_| {}) {
            // What can't be removed yet is removed before the next run.
            Ok(returned) if returned.unfinished.is_none() && debris(host).is_empty() => {
                self.is_whole(host, what)
            }
            _ => self.on_the_way(what),
        }
    }

    /// A helper that was just started settles the run: all is as before, or as after the commit.
    pub fn settles(&self, host: &MemoryHost, what: &str) -> Result<(), Lost> {
        let app = &self.shape.app;
        let mut last = String::new();
        for _ in 0..4 {
            match app.recover(host, &|_| {}) {
                Err(error) => last = error.to_string(),
                Ok(returned) if returned.unfinished.is_some() => {
                    last = returned.problems.join("; ");
                }
                Ok(returned) if !returned.problems.is_empty() => {
                    return Err(self.lost(what, &returned.problems.join("; ")));
                }
                Ok(_) => {
                    if !debris(host).is_empty() {
                        // What couldn't be removed is removed before the next run.
                        drop(app.recover(host, &|_| {}));
                    }
                    let left = debris(host);
                    if !left.is_empty() {
                        return Err(self.lost(what, &format!("it left {}", left.join(", "))));
                    }
                    return self.is_whole(host, what);
                }
            }
        }
        Err(self.lost(what, &format!("it doesn't get to an end: {last}")))
    }

    /// As before the run, or, past the commit, as after it; and nothing was seen on the way that mustn't be.
    pub fn is_whole(&self, host: &MemoryHost, what: &str) -> Result<(), Lost> {
        self.on_the_way(what)?;
        let committed = is_committed(host);
        let wanted = if committed { &self.after } else { &self.before };
        let now = Seen::of(host);
        let differences = wanted[0].differences(&wanted[1], &now);
        if differences.is_empty() {
            return Ok(());
        }
        let state = if committed { "after" } else { "before" };
        Err(self.lost(
            what,
            &format!("not as {state}: {}", differences.join("\n  ")),
        ))
    }

    /// The same, and what ran with all that it uses still does, as the next plan would see it.
    fn settles_quietly(&self, host: &MemoryHost, what: &str) -> Result<(), Lost> {
        self.settles(host, what)?;
        let state = if is_committed(host) {
            self.shape.to.as_ref().map(Declared::state)
        } else {
            Some(self.prospect.before.clone())
        };
        let stale = self.shape.app.stale(host, &state.unwrap_or_default());
        if stale.is_empty() {
            return Ok(());
        }
        Err(self.lost(what, &format!("stale in the end: {}", stale.join(", "))))
    }

    fn on_the_way(&self, what: &str) -> Result<(), Lost> {
        match self.guardian.blames().first() {
            None => Ok(()),
            Some(blame) => Err(self.lost(what, blame)),
        }
    }

    fn lost(&self, what: &str, why: &str) -> Lost {
        drop(self.guardian.blames());
        Lost(format!("{}, {what}:\n  {why}", self.shape.name))
    }

    fn name(&self, direction: &str, step: &str, point: &Recorded, word: &str) -> String {
        let primitive = &point.primitive;
        format!(
            "{direction} at {primitive} ({}) of {step}: {word}",
            point.number
        )
    }

    fn key(&self, direction: &str, mark: &Mark, point: &Recorded, word: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.shape.name, direction, &mark.name).hash(&mut hasher);
        (point.number - mark.first, point.primitive.to_string(), word).hash(&mut hasher);
        hasher.finish()
    }

    fn is_counted(&self, direction: &str, mark: &Mark, point: &Recorded, word: &str) -> bool {
        self.fired.contains(&self.key(direction, mark, point, word))
    }

    /// Counts a fault that fired, and keeps what was lost by it.
    fn note(
        &mut self,
        settled: Result<(), Lost>,
        direction: &str,
        mark: &Mark,
        point: &Recorded,
        word: &'static str,
    ) -> Result<(), Lost> {
        if self.fired.insert(self.key(direction, mark, point, word)) {
            *self.counts.entry(word).or_default() += 1;
        }
        match settled {
            Err(lost) if self.hasty => Err(lost),
            Err(lost) => {
                let reason = lost.0.lines().nth(1).unwrap_or_default().to_owned();
                self.lost.entry(reason).or_insert(lost);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// The steps of a plan, each with why and after what.
fn words(plan: &Plan) -> Vec<String> {
    let words = |step: &Step| {
        let (id, reasons, after) = (&step.id, &step.reasons, &step.after);
        format!("{id} {reasons:?} after {after:?}")
    };
    plan.steps.iter().map(words).collect()
}

/// All services die, and their manager starts them again.
const DIED: &str = "services die";
/// The same, and the helper dies with them.
const DIED_TOO: &str = "services and helper die";
/// The host boots, and what is new there starts again and again in vain.
const BOOTED: &str = "boot in vain";

/// What waits for space on its way back.
const WAITING: [&str; 4] = [
    "not put back: while nothing could be written",
    "not put back: enable ",
    "not put back: write file /var/lib/rosey/apps/7fd30417c7f6/stamps",
    "backup bot (bot on a) was not put back",
];

/// The different disks that power cuts leave at one primitive.
const CUTS: [&str; 6] = ["cut 1", "cut 2", "cut 3", "cut 4", "cut 5", "cut 6"];

/// What can go wrong so that whoever did it hears of it, or dies in the middle.
fn errors(point: &Recorded) -> Vec<(&'static str, Fault)> {
    let mut faults = vec![(
        "error",
        Fault::Error(HostErrorKind::Other("broken".to_owned())),
    )];
    let needs_space = ["make_directory", "make_link"].contains(&point.primitive.name);
    if needs_space || (point.is_divisible() && point.primitive.name != "restart") {
        faults.push(("no space", Fault::Error(HostErrorKind::NoSpace)));
    }
    if point.is_divisible() {
        faults.push(("torn", Fault::CrashMiddle));
    }
    faults
}

fn note(marks: &Mutex<Vec<Mark>>, host: &MemoryHost, name: &str) {
    marks.lock().unwrap().push(Mark {
        first: host.primitives(),
        name: name.to_owned(),
        host: host.fork(),
    });
}

/// Whether it matters that services die: at every primitive as long as one runs, or would start again, with another
/// definition than is on the disk; elsewhere, where what starts again is what ran, once a step.
fn is_time_to_die(mark: &Mark, point: &Recorded) -> bool {
    point.has_outdated_services() || point.has_services() && point.number == mark.first + 1
}

/// What a primitive belongs to.
fn mark_of<'m>(marks: &'m [Mark], point: &Recorded) -> &'m Mark {
    let mut before = marks.iter().rev();
    let found = before.find(|mark| mark.first < point.number);
    found.expect("BUG: the first mark stands before the first primitive")
}
