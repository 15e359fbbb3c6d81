//! A campaign: one seed, one lab, one environment after the other, and a fault in every step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::blow::{self, Blow, Hand};
use super::dice::Dice;
use super::eyes::{self, Eyes, Host};
use super::judge::{self, Class};
use super::world::World;
use crate::support::{Lab, Project, Ran, Rosey, Wanted};

/// Steps that an environment lives before the next takes its place.
const STEPS: u64 = 6;

/// How long a command may take, with its fault.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a host may take until nothing of a run is left on it: the guard time, and the way back.
const REST: Duration = Duration::from_secs(40);

/// What a campaign came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Faults that struck, by kind.
    pub fired: BTreeMap<String, usize>,
    /// Faults that came after the command's end.
    pub late: usize,
    /// Fleets that were mixed before they were settled.
    pub mixed: usize,
    /// What was not survived.
    pub lost: Vec<String>,
}

impl Tally {
    pub fn faults(&self) -> usize {
        self.fired.values().sum()
    }

    pub fn add(&mut self, other: Self) {
        for (kind, count) in other.fired {
            *self.fired.entry(kind).or_default() += count;
        }
        self.late += other.late;
        self.mixed += other.mixed;
        self.lost.extend(other.lost);
    }
}

/// What a step is about, beside its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// The first deployment of an environment.
    First,
    Change,
    Broken,
    Rollback,
    Heal,
    Remove,
}

struct Campaign<'a> {
    seed: u64,
    lab: &'a Lab,
    project: &'a Project,
    /// What is deployed; none before the first deployment of an environment.
    live: Option<World>,
    /// What a rollback goes to, where that is known.
    previous: Option<World>,
    /// Where in a run's output faults fall: as many lines as the last whole one had.
    lines: usize,
    said: String,
    tally: Tally,
}

/// Runs steps of a seed until so many faults have struck, or one was not survived. The seed decides on everything but
/// how fast things go.
pub fn run(seed: u64, faults: usize, hosts: Option<usize>, tell: &(dyn Fn(&str) + Sync)) -> Tally {
    let mut dice = Dice::new(seed, 0);
    let chosen = 3 + dice.below(3);
    let lab = Lab::with(Wanted {
        hosts: hosts.unwrap_or(chosen),
        disks: true,
        ..Wanted::default()
    });
    let project = Project::with_bot();
    let mut campaign = Campaign {
        seed,
        lab: &lab,
        project: &project,
        live: None,
        previous: None,
        lines: 40,
        said: String::new(),
        tally: Tally::default(),
    };
    let mut step = 0;
    while campaign.tally.faults() < faults {
        step += 1;
        let begun = Instant::now();
        campaign.said.clear();
        let done = campaign.step(step);
        let elapsed = begun.elapsed().as_secs_f32();
        match done {
            Ok(()) => tell(&format!(
                "seed {seed} step {step}: {}: survived, {elapsed:.1} s",
                campaign.said.trim_end().replace('\n', "; ")
            )),
            Err(found) => {
                let said = &campaign.said;
                let repeat = hosts
                    .map(|hosts| format!(" --hosts {hosts}"))
                    .unwrap_or_default();
                let lost = format!(
                    "NOT SURVIVED: seed {seed} step {step} ({} hosts)\n{said}{found}\nto repeat: tests/chaos --seed {seed} --faults {faults}{repeat}",
                    lab.hosts().count()
                );
                tell(&lost);
                campaign.tally.lost.push(lost);
                break;
            }
        }
    }
    campaign.tally
}

/// A command under way: how many lines it has said, and all of them.
struct Underway {
    child: Child,
    lines: Arc<AtomicUsize>,
    gates: Arc<Mutex<BTreeSet<String>>>,
    readers: Vec<std::thread::JoinHandle<String>>,
}

impl Underway {
    fn begin(rosey: &Rosey<'_>, arguments: &[&str]) -> Self {
        let mut child = rosey.command(arguments).spawn().expect("rosey starts");
        let lines = Arc::new(AtomicUsize::new(0));
        let gates = Arc::new(Mutex::new(BTreeSet::new()));
        let pipes: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        let read = |pipe: Box<dyn Read + Send>| {
            let (lines, gates) = (lines.clone(), gates.clone());
            std::thread::spawn(move || {
                let mut text = String::new();
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if let Some(passed) = passed_gates(&line) {
                        gates.lock().unwrap().insert(passed);
                    }
                    text += &line;
                    text.push('\n');
                    lines.fetch_add(1, Ordering::Relaxed);
                }
                text
            })
        };
        let readers = pipes.into_iter().map(read).collect();
        Self {
            child,
            lines,
            gates,
            readers,
        }
    }

    /// Waits until it has said so many lines, or has ended.
    fn until(&mut self, lines: usize) -> bool {
        while self.lines.load(Ordering::Relaxed) < lines {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        true
    }

    /// Waits until all hosts but one have nothing more to do before they are asked to be ready, and names one of them.
    fn until_one_is_left(&mut self, world: &World) -> Option<usize> {
        let all: Vec<(usize, String)> = world
            .apps
            .iter()
            .flat_map(|app| {
                app.hosts
                    .iter()
                    .map(|host| (*host, format!("h{host}/{}", app.name)))
            })
            .collect();
        let hosts: BTreeSet<usize> = all.iter().map(|(host, _)| *host).collect();
        while self.child.try_wait().unwrap().is_none() {
            let gates = self.gates.lock().unwrap().clone();
            let done = |host: &&usize| {
                all.iter()
                    .filter(|(of, _)| of == *host)
                    .all(|(_, name)| gates.contains(name))
            };
            let waits: Vec<&usize> = hosts.iter().filter(done).collect();
            if waits.len() == hosts.len() {
                return None;
            }
            if waits.len() + 1 == hosts.len() {
                return waits.first().map(|first| **first);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        None
    }

    fn end(mut self) -> Result<(ExitStatus, String, String), String> {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if begun.elapsed() > PATIENCE {
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if status.is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        let mut texts = self
            .readers
            .into_iter()
            .map(|reader| reader.join().unwrap());
        let (stdout, stderr) = (
            texts.next().unwrap_or_default(),
            texts.next().unwrap_or_default(),
        );
        match status {
            Some(status) => Ok((status, stdout, stderr)),
            None => Err(format!(
                "the command did not end within {PATIENCE:?}\n{stdout}{stderr}"
            )),
        }
    }
}

/// Whose gates have passed, as `HOST/APP`, if a line says so.
fn passed_gates(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let step = line["step"].as_str()?;
    let (member, resource) = step.rsplit_once('/')?;
    (line["type"] == "step-done" && resource.starts_with("gates")).then(|| member.to_owned())
}

/// The words for people of the last lines of a run.
fn messages(stdout: &str) -> String {
    let message = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).ok()?["message"]
            .as_str()
            .map(|it| format!("{it}\n"))
    };
    let lines: Vec<&str> = stdout.lines().collect();
    let lines = &lines[lines.len().saturating_sub(60)..];
    lines
        .iter()
        .map(|line| message(line).unwrap_or_else(|| format!("{line}\n")))
        .collect()
}

/// What was chosen about a step.
struct Chosen {
    act: Act,
    old: World,
    new: World,
    arguments: Vec<&'static str>,
    said: String,
}

impl Campaign<'_> {
    fn say(&mut self, words: &str) {
        writeln!(self.said, "{words}").unwrap();
    }

    fn rosey(&self) -> Rosey<'_> {
        Rosey::in_lab(self.project, self.lab)
    }

    fn declare(&self, world: &World) {
        world.declare(self.project, &self.lab.hosts_kdl());
    }

    fn choose(&mut self, dice: &mut Dice, step: u64) -> Chosen {
        let number = usize::try_from(step).unwrap() + 1;
        let apply = vec!["apply", "lab", "--yes", "--json"];
        let Some(live) = self.live.clone() else {
            let world = World::by_chance(dice, number, self.lab.hosts().count());
            let said = format!("first deployment of {} app(s)", world.apps.len());
            return Chosen {
                act: Act::First,
                old: world.clone(),
                new: world,
                arguments: apply,
                said,
            };
        };
        let (changed, what) = live.changed(dice, number);
        let chosen = |act, new, arguments, said: String| Chosen {
            act,
            old: live.clone(),
            new,
            arguments,
            said,
        };
        match dice.below(100) {
            0..=5 => chosen(
                Act::Remove,
                live.clone(),
                vec!["remove", "lab", "--yes", "--json"],
                "remove".to_owned(),
            ),
            6..=15 => chosen(
                Act::Heal,
                live.clone(),
                vec!["drift", "lab", "--heal", "--yes"],
                "heal what was changed by hand".to_owned(),
            ),
            16..=25 if self.previous.is_some() => {
                let previous = self.previous.clone().expect("just looked");
                chosen(
                    Act::Rollback,
                    previous,
                    vec!["rollback", "lab", "--yes", "--json"],
                    "rollback".to_owned(),
                )
            }
            26..=45 => {
                let (broken, fault) = changed.broken(dice);
                chosen(
                    Act::Broken,
                    broken,
                    apply,
                    format!("apply of {what}; broken: {fault}"),
                )
            }
            _ => chosen(Act::Change, changed, apply, format!("apply of {what}")),
        }
    }

    fn step(&mut self, step: u64) -> Result<(), String> {
        let mut dice = Dice::new(self.seed, step);
        if step > 1 && (step - 1).is_multiple_of(STEPS) {
            self.leave()?;
        }
        let chosen = self.choose(&mut dice, step);
        let mut blow = Blow::by_chance(&mut dice, &chosen.new);
        let at = dice.below(100);
        let then = Duration::from_micros(u64::try_from(dice.below(40_000)).unwrap());
        // Of what can't stay there is no forward.
        let forward = dice.percent(50) || chosen.act == Act::First;
        let forward = forward && !matches!(chosen.act, Act::Broken | Act::Remove);
        self.say(&chosen.said.clone());
        let eyes = Eyes::new(&chosen.old, &chosen.new, 6.0);
        if chosen.act == Act::Heal {
            self.change_by_hand(&mut dice, &chosen.old)?;
        } else if chosen.act != Act::Remove && chosen.act != Act::Rollback {
            self.declare(&chosen.new);
        }
        let before = eyes.pictures(self.lab);

        // --- the fault
        let lines = self.lines * at / 100;
        self.say(&format!("{blow:?} after {lines} lines and {then:?}"));
        let (project, lab) = (self.project, self.lab);
        let mine = Rosey::in_lab(project, lab);
        let other = Rosey::in_lab(project, lab);
        let mut underway = Underway::begin(&mine, &chosen.arguments);
        let mut deaf = None;
        let (fired, lasting) = if blow == Blow::ReadyWindow {
            // Whom to stop is known beforehand: the window is some milliseconds wide.
            underway.until(self.lines / 2);
            let helpers = blow::all_helpers(lab);
            deaf = underway.until_one_is_left(&chosen.new);
            let fired = deaf.is_some_and(|host| {
                let controller = underway.child.id();
                let stopped = Instant::now();
                if !blow::in_ready_window(lab, &helpers, host, controller) {
                    // The run took too long to get there; but that helper has hung meanwhile.
                    let time = u64::try_from(stopped.elapsed().as_millis()).unwrap();
                    blow = Blow::Hang(host, time);
                }
                true
            });
            (fired, blow::Lasting::default())
        } else if underway.until(lines) && {
            std::thread::sleep(then);
            underway.child.try_wait().unwrap().is_none()
        } {
            blow::strike(&blow, lab, &chosen.new, &other, underway.child.id())
        } else {
            (false, blow::Lasting::default())
        };
        let (ended, second) = if lasting.is_second() {
            let second = lasting.take_away(lab);
            (underway.end(), second)
        } else if matches!(blow, Blow::Hand(..)) {
            // What somebody has typed stays until they see what came of it.
            let ended = underway.end();
            lasting.take_away(lab);
            (ended, None)
        } else {
            // What lasts may be what the run waits for.
            lasting.take_away(lab);
            (underway.end(), None)
        };
        let (status, stdout, stderr) = ended?;
        if let Blow::Hang(host, _) = blow
            && deaf == Some(host)
        {
            self.say("the window was missed, but that helper hung meanwhile");
        }
        if fired {
            *self.tally.fired.entry(blow.kind()).or_default() += 1;
        } else {
            self.tally.late += 1;
            self.say("(it came too late, or there was nothing to strike)");
        }
        if status.success() && stdout.lines().count() > 5 {
            self.lines = stdout.lines().count() + stderr.lines().count();
        }
        self.say(&format!("it ended with {status}"));
        let talk = format!(
            "--- what it said
{}{stderr}",
            messages(&stdout)
        );

        // --- what it came to
        self.rest().map_err(|found| format!("{found}\n{talk}"))?;
        let now = eyes.at_all(lab);
        let case = judge::Case {
            act_is_first: chosen.act == Act::First,
            removing: chosen.act == Act::Remove,
            broken: chosen.act == Act::Broken,
            healing: chosen.act == Act::Heal,
            new: &chosen.new,
            before: &before,
        };
        let classes: BTreeMap<usize, Class> = now
            .iter()
            .map(|(host, seen)| (*host, case.class(*host, seen)))
            .collect();
        for (host, class) in &classes {
            self.say(&format!("h{host}: {}", class.word()));
        }
        judge::code(&case, &blow, fired, status, &classes, second.as_ref()).map_err(|found| {
            let between = classes
                .iter()
                .filter(|(_, it)| matches!(it, Class::Half(_)));
            let logs: String = between.map(|(host, _)| self.log(*host)).collect();
            format!("{found}\n{talk}{logs}")
        })?;
        if !matches!(chosen.act, Act::First | Act::Heal) {
            judge::serves(&chosen.old, &now, &classes)
                .map_err(|found| format!("{found}\n{talk}"))?;
        }
        if judge::is_mixed(&classes) {
            self.tally.mixed += 1;
        }
        let told = self.run(&["status", "lab", "--json"], &[0])?.json();
        judge::status(&told, &now, &classes, &case).map_err(|found| format!("{found}\n{talk}"))?;

        // --- nobody is needed
        let target = if forward { &chosen.new } else { &chosen.old };
        self.settle(target, chosen.act == Act::Heal)
            .map_err(|found| format!("{found}\n--- the run that was struck\n{talk}"))?;
        let settled = eyes.at_all(lab);
        // Nobody had the new: then it is exactly as it was, byte for byte.
        let nobody = !classes
            .values()
            .any(|class| matches!(class, Class::New | Class::Half(_)));
        if !forward && nobody && matches!(chosen.act, Act::Change | Act::Broken) {
            for (host, seen) in &settled {
                let mut differences = before[host].differences(&seen.picture);
                // What a person may need to put right what they have changed is kept until the next run.
                let is_kept = |line: &String| line.starts_with("+ ") && line.contains(".rosey-");
                differences.retain(|line| !(matches!(blow, Blow::Hand(..)) && is_kept(line)));
                if !differences.is_empty() {
                    return Err(format!(
                        "h{host} is not as it was (- before, + now):\n{}\n{talk}",
                        differences.join("\n")
                    ));
                }
            }
        }
        // What a run couldn't take away goes with the next; an apply with nothing to do is none.
        let is_littered = |(host, seen): (&usize, &Host)| {
            let remainders = judge::remainders(*host, &seen.facts);
            !remainders.is_empty()
        };
        let mut target = target.clone();
        let littered = settled.iter().any(is_littered);
        let settled = if littered {
            self.say("something was left behind: one more run");
            target = target.renewed(usize::try_from(step).unwrap());
            self.settle(&target, false)?;
            eyes.at_all(lab)
        } else {
            settled
        };
        self.is_whole(&target, &settled)
            .map_err(|found| format!("{found}\n--- the run that was struck\n{talk}"))?;
        // A rollback goes to the parent of what stands, which is only known after a plain step forward.
        let plainly = forward && chosen.act == Act::Change && !littered;
        self.previous = plainly.then(|| chosen.old.clone());
        self.live = Some(target);
        Ok(())
    }

    /// Changes that `drift --heal` is to find.
    fn change_by_hand(&mut self, dice: &mut Dice, world: &World) -> Result<(), String> {
        for _ in 0..=dice.below(2) {
            let place = dice.below(world.apps.len());
            let host = dice.one(&world.apps[place].hosts);
            let hand = dice.one(&[
                Hand::EditsOutside,
                Hand::EditsUnit,
                Hand::EditsRelease,
                Hand::AddsToRelease,
                Hand::StopsService,
            ]);
            self.say(&format!("h{host}: {hand:?}"));
            let (script, _) = blow::by_hand(hand, world, place);
            // A power cut is to take what the run has written, and not what was there before it.
            let typed = self.lab.try_exec(host, &format!("{script}; status=$?; rm -f /root/hand /root/typed /root/path /root/unit; sync -f /opt; exit $status"));
            if !typed.status.success() {
                return Err(format!(
                    "the harness could not change h{host}: {}",
                    String::from_utf8_lossy(&typed.stderr)
                ));
            }
        }
        Ok(())
    }

    /// What systemd has noted of rosey's own and the apps' units on a host since it was booted.
    fn log(&self, host: usize) -> String {
        let log = "journalctl --boot --no-pager --output=short-precise --lines=60 --unit='rosey*' --unit='bot-*'";
        format!("--- the log of h{host}\n{}", self.lab.exec(host, log))
    }

    /// Waits until nothing of a run is at work on any host, or about to be started again there.
    fn rest(&self) -> Result<(), String> {
        let begun = Instant::now();
        for host in self.lab.hosts() {
            while !blow::helpers(self.lab, host).is_empty() || blow::is_to_come(self.lab, host) {
                if begun.elapsed() > REST {
                    let seen = self
                        .lab
                        .exec(host, "ps -ef | grep -v 'ps -ef' | tail -n 30");
                    return Err(format!(
                        "a helper is still at work on h{host} after {REST:?}:\n{seen}"
                    ));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn run(&self, arguments: &[&str], codes: &[i32]) -> Result<Ran, String> {
        let ran = self.rosey().run(arguments);
        match ran.code {
            Some(code) if codes.contains(&code) => Ok(ran),
            code => Err(format!(
                "rosey {} ended with {code:?}, expected {codes:?}\n--- stdout\n{}--- stderr\n{}",
                arguments.join(" "),
                ran.stdout,
                ran.stderr
            )),
        }
    }

    /// Makes `target` stand everywhere, by nothing but commands.
    fn settle(&mut self, target: &World, heal: bool) -> Result<(), String> {
        self.declare(target);
        if heal {
            self.run(&["drift", "lab", "--heal", "--yes"], &[0])?;
        }
        for _ in 0..4 {
            let ran = self.run(&["apply", "lab", "--yes", "--json"], &[0, 5])?;
            self.say(&format!("settling: apply ended with {:?}", ran.code));
            if ran.code == Some(5) {
                // What a verdict brought down is held, whoever made the fault.
                self.run(&["release-hold", "lab"], &[0])?;
                continue;
            }
            let outcome = ran.json_lines();
            if outcome
                .last()
                .is_some_and(|line| line["outcome"] == "unchanged")
            {
                return Ok(());
            }
        }
        Err("four applies did not come to an end".to_owned())
    }

    /// Whether everything is as it should be when nothing is under way.
    fn is_whole(&self, world: &World, now: &BTreeMap<usize, Host>) -> Result<(), String> {
        let mut found = Vec::new();
        for (host, seen) in now {
            found.extend(
                eyes::differences(world, *host, seen)
                    .into_iter()
                    .map(|it| format!("h{host}: {it}")),
            );
            found.extend(judge::remainders(*host, &seen.facts));
        }
        found.extend(judge::migrations(world, now));
        let drift = self.run(&["drift", "lab", "--json"], &[0, 2])?;
        if drift.code != Some(0) {
            found.push(format!("drift: {}", drift.stdout));
        }
        let status = self.run(&["status", "lab", "--json"], &[0])?.json();
        found.extend(judge::settled_status(&status, world));
        if found.is_empty() {
            Ok(())
        } else {
            Err(format!("after it was settled:\n{}", found.join("\n")))
        }
    }

    /// Takes an environment away, for the next.
    fn leave(&mut self) -> Result<(), String> {
        let Some(world) = self.live.take() else {
            return Ok(());
        };
        self.previous = None;
        self.run(&["remove", "lab", "--yes"], &[0])?;
        let now = Eyes::new(&world, &world, 0.0).at_all(self.lab);
        let remains: Vec<String> = now
            .iter()
            .flat_map(|(host, seen)| eyes::remains(&world, *host, seen))
            .collect();
        if remains.is_empty() {
            Ok(())
        } else {
            Err(format!("removed, and still there: {}", remains.join("; ")))
        }
    }
}
