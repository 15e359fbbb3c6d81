//! A campaign: one seed, one lab, one environment after the other, and a fault in every step.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::blow::{self, Blow, Hand};
use super::eyes::{self, Eyes, Host};
use super::judge::{self, Class};
use super::underway::{Ended, Underway};
use super::whole::{Ground, Whole, is_aside};
use super::world::{App, World};

use crate::support::{Dice, Lab, Look, Project, Ran, Rosey, Snapshot, Wanted};

/// Steps that an environment lives before the next takes its place.
const STEPS: u64 = 6;

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

/// A command that was struck, and what it came to.
pub struct Struck {
    pub blow: Blow,
    /// Whether there was still something to strike.
    pub fired: bool,
    pub second: Option<Ran>,
    pub ended: Ended,
}

struct Campaign<'a> {
    seed: u64,
    lab: &'a Lab,
    project: &'a Project,
    /// The hosts before anything was deployed.
    base: &'a BTreeMap<usize, Snapshot>,
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
    let units = Look::at(["/etc/systemd/system"]);
    let base = lab.hosts().map(|host| (host, units.on(&lab, host)));
    let base = base.collect();
    let mut campaign = Campaign {
        seed,
        lab: &lab,
        project: &project,
        base: &base,
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
                    "NOT SURVIVED: seed {seed} step {step} ({} hosts)\n{said}{found}\nto repeat: tests/chaos --seed {seed} --faults {faults} --each {faults}{repeat}",
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

/// Whether hosts are now as they were seen, byte for byte.
fn equal<'h>(
    what: &str,
    then: impl IntoIterator<Item = (&'h usize, &'h Host)>,
    now: &BTreeMap<usize, Host>,
    but_for: impl Fn(&str) -> bool,
) -> Result<(), String> {
    for (host, seen) in then {
        let mut differences = seen.picture.differences(&now[host].picture);
        differences.retain(|line| !but_for(line));
        if !differences.is_empty() {
            return Err(format!(
                "h{host} is not {what} (- then, + now):\n{}",
                differences.join("\n")
            ));
        }
    }
    Ok(())
}

/// Whether a difference is what a run has put aside.
fn tells_aside(line: &str) -> bool {
    line.split(": ").next().is_some_and(is_aside)
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
        let blow = match Blow::by_chance(&mut dice, &chosen.new) {
            // One that applies would wait for the end of the remove, and deploy the app again.
            Blow::SecondController(_) if chosen.act == Act::Remove => {
                Blow::SecondController(&["drift", "lab"])
            }
            blow => blow,
        };
        let at = dice.below(100);
        let then = Duration::from_micros(u64::try_from(dice.below(40_000)).unwrap());
        // Of what can't stay there is no forward.
        let forward = dice.percent(50) || chosen.act == Act::First;
        let forward = forward && !matches!(chosen.act, Act::Broken | Act::Remove);
        self.say(&chosen.said.clone());
        if chosen.act == Act::Heal {
            self.change_by_hand(&mut dice, &chosen.old)?;
        } else if chosen.act != Act::Remove && chosen.act != Act::Rollback {
            self.declare(&chosen.new);
        }
        self.write_data(&chosen.old, step)?;
        let eyes = Eyes::new(&chosen.old, &chosen.new);
        let before = eyes.at_all(self.lab, eyes::PATIENCE);

        let struck = self.strike(&chosen, blow, at, then)?;
        let with_talk = |found: String| format!("{found}\n{}", struck.ended.words());
        self.rest().map_err(with_talk)?;
        let now = eyes.at_all(self.lab, eyes::PATIENCE);
        let (old, base) = (&before, self.base);
        let case = judge::Case {
            act_is_first: chosen.act == Act::First,
            removing: chosen.act == Act::Remove,
            unconfirmed: struck.ended.status.code() == Some(18),
            broken: chosen.act == Act::Broken,
            healing: chosen.act == Act::Heal,
            undone: (chosen.act == Act::Rollback).then_some(&chosen.old),
            new: &chosen.new,
            whole: &Whole::new(&chosen.new),
            base,
            before: old,
        };
        let classes = now
            .iter()
            .map(|(host, seen)| (*host, case.class(*host, seen)))
            .collect();
        self.is_right(&chosen, &struck, &case, &now, &classes)
            .map_err(with_talk)?;
        self.needs_nobody(step, &chosen, forward, &struck, [&before, &now], &classes)
            .map_err(|found| {
                format!(
                    "{found}\n--- the run that was struck\n{}",
                    struck.ended.words()
                )
            })
    }

    /// Begins what was chosen, strikes when it has said so much, and takes away what the blow left.
    fn strike(
        &mut self,
        chosen: &Chosen,
        mut blow: Blow,
        at: usize,
        then: Duration,
    ) -> Result<Struck, String> {
        let lines = self.lines * at / 100;
        self.say(&format!("{blow:?} after {lines} lines and {then:?}"));
        let (project, lab) = (self.project, self.lab);
        let mine = Rosey::in_lab(project, lab);
        let other = Rosey::in_lab(project, lab);
        let mut underway = Underway::begin(&mine, &chosen.arguments);
        let (fired, lasting) = if blow == Blow::ReadyWindow {
            // Whom to stop is known beforehand: the window is some milliseconds wide.
            underway.until(self.lines / 2);
            let helpers = blow::all_helpers(lab);
            let deaf = underway.until_one_is_left(&chosen.new);
            let fired = deaf.is_some_and(|host| {
                let stopped = Instant::now();
                if !blow::in_ready_window(lab, &helpers, host, underway.process()) {
                    let time = u64::try_from(stopped.elapsed().as_millis()).unwrap();
                    blow = Blow::Hang(host, time);
                    self.say("the window was missed, but that helper hung meanwhile");
                }
                true
            });
            (fired, blow::Lasting::default())
        } else if underway.until(lines) && {
            std::thread::sleep(then);
            underway.is_running()
        } {
            blow::strike(&blow, lab, &chosen.new, &other, underway.process())
        } else {
            (false, blow::Lasting::default())
        };
        let (ended, second) = if matches!(blow, Blow::Hand(..)) {
            // What somebody has typed stays until they see what came of it.
            let ended = underway.end();
            lasting.take_away(lab);
            (ended, None)
        } else {
            // What lasts may be what the run waits for.
            let second = lasting.take_away(lab);
            (underway.end(), second)
        };
        let ended = ended?;
        if fired {
            *self.tally.fired.entry(blow.kind()).or_default() += 1;
        } else {
            self.tally.late += 1;
            self.say("(it came too late, or there was nothing to strike)");
        }
        if ended.status.success() && ended.stdout.lines().count() > 5 {
            self.lines = ended.lines();
        }
        self.say(&format!("it ended with {}", ended.status));
        Ok(Struck {
            blow,
            fired,
            second,
            ended,
        })
    }

    /// Whether a run that was struck left each host as it may, and whether everybody who says something of it says what is.
    fn is_right(
        &mut self,
        chosen: &Chosen,
        struck: &Struck,
        case: &judge::Case<'_>,
        now: &BTreeMap<usize, Host>,
        classes: &BTreeMap<usize, Class>,
    ) -> Result<(), String> {
        for (host, class) in classes {
            self.say(&format!("h{host}: {}", class.word()));
        }
        judge::code(case, struck, classes).map_err(|found| {
            let between = classes
                .iter()
                .filter(|(_, it)| matches!(it, Class::Half(_)));
            let logs: String = between.map(|(host, _)| self.log(*host)).collect();
            format!("{found}\n{logs}")
        })?;
        if !matches!(chosen.act, Act::First | Act::Heal) {
            judge::serves(&chosen.old, case, now, classes)?;
        }
        judge::data(case, &struck.blow, now)?;
        // A heal speaks to people.
        if chosen.act != Act::Heal {
            judge::outcome(&struck.ended.stdout, struck.ended.status)?;
        }
        if let (Blow::SecondController(arguments), Some(ran)) = (&struck.blow, &struck.second) {
            judge::second(ran, arguments, case)?;
        }
        if judge::is_mixed(classes) {
            self.tally.mixed += 1;
        }
        let told = self.run(&["status", "lab", "--json"], &[0])?.json();
        judge::status(&told, now, classes, case)
    }

    /// Goes on to the new or back to the old by nothing but commands, after which all has to be as declared.
    fn needs_nobody(
        &mut self,
        step: u64,
        chosen: &Chosen,
        forward: bool,
        struck: &Struck,
        [before, now]: [&BTreeMap<usize, Host>; 2],
        classes: &BTreeMap<usize, Class>,
    ) -> Result<(), String> {
        let eyes = Eyes::new(&chosen.old, &chosen.new);
        let mut target = if forward { &chosen.new } else { &chosen.old }.clone();
        let hand = matches!(struck.blow, Blow::Hand(..));
        // A verdict over what somebody else brought down holds it, whoever made the fault; so does a rollback.
        let rolled_back = chosen.act == Act::Rollback && !forward;
        let may_be_held = rolled_back || hand || matches!(struck.blow, Blow::ServiceDies(..));
        self.settle(&target, chosen.act == Act::Heal, may_be_held)?;
        let mut settled = eyes.at_all(self.lab, eyes::PATIENCE);
        // Nobody had the new: then it is exactly as it was, byte for byte.
        let nobody = !classes
            .values()
            .any(|class| matches!(class, Class::New | Class::Half(_)));
        if !forward && nobody && matches!(chosen.act, Act::Change | Act::Broken) {
            // What a person may need to put right what they have changed is kept until the next run.
            equal("as it was", before, &settled, |it| hand && tells_aside(it))?;
        }
        // Who stood new already was it byte for byte.
        if forward && chosen.act != Act::Heal && !hand {
            let is_new = |host: &usize| classes[host] == Class::New;
            let new = now.iter().filter(|(host, _)| is_new(host));
            // What is ready prunes nothing yet, and what is committed does.
            let pruned = |it: &str| {
                let roots = chosen.new.apps.iter().map(App::root);
                let kept = roots
                    .flat_map(|root| [format!("- {root}/releases/"), format!("- {root}/built/")]);
                { kept }.any(|kept| it.starts_with(&kept))
            };
            equal("as it stood new", new, &settled, |it| {
                tells_aside(it) || pruned(it)
            })?;
        }
        // What a run couldn't take away goes with the next; an apply with nothing to do is none.
        let is_littered = |(host, seen): (&usize, &Host)| {
            let remainders = judge::remainders(*host, &seen.facts);
            !remainders.is_empty()
        };
        let littered = settled.iter().any(is_littered);
        if littered {
            self.say("something was left behind: one more run");
            target = target.renewed(usize::try_from(step).unwrap());
            self.settle(&target, false, false)?;
            let first = std::mem::replace(&mut settled, eyes.at_all(self.lab, eyes::PATIENCE));
            self.is_whole(&target, &settled, &[&first, now, before])?;
        } else {
            self.is_whole(&target, &settled, &[now, before])?;
        }
        // A rollback goes to the parent of what stands, which is only known after a plain step forward.
        let plainly = forward && chosen.act == Act::Change && !littered;
        self.previous = plainly.then(|| chosen.old.clone());
        self.live = Some(target);
        Ok(())
    }

    /// What an app keeps, and has synced: nothing may ever change it.
    fn write_data(&self, world: &World, step: u64) -> Result<(), String> {
        for host in self.lab.hosts() {
            let here = world.apps.iter().filter(|app| app.hosts.contains(&host));
            let roots: Vec<String> = here.map(|app| app.root() + "/shared/data").collect();
            let script = format!(
                "for data in {}; do [ -d $data ] || continue; install -d -o rosey -g rosey $data/quotes; echo 'of step {step}' >$data/quotes/kept; chown rosey $data/quotes/kept; done; sync -f /opt",
                roots.join(" ")
            );
            let written = self.lab.try_exec(host, &script);
            if !written.status.success() {
                return Err(format!(
                    "the harness could not write on h{host}: {}",
                    String::from_utf8_lossy(&written.stderr)
                ));
            }
        }
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
    fn settle(&mut self, target: &World, heal: bool, may_be_held: bool) -> Result<(), String> {
        self.declare(target);
        if heal {
            self.run(&["drift", "lab", "--heal", "--yes"], &[0])?;
        }
        for _ in 0..4 {
            let codes: &[i32] = if may_be_held { &[0, 5] } else { &[0] };
            let ran = self.run(&["apply", "lab", "--yes", "--json"], codes)?;
            self.say(&format!("settling: apply ended with {:?}", ran.code));
            if ran.code == Some(5) {
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
    fn is_whole(
        &self,
        world: &World,
        now: &BTreeMap<usize, Host>,
        known: &[&BTreeMap<usize, Host>],
    ) -> Result<(), String> {
        let whole = Whole::new(world);
        let mut found = Vec::new();
        for (host, seen) in now {
            let known: Vec<&Snapshot> = known.iter().map(|it| &it[host].picture).collect();
            let ground = Ground {
                base: &self.base[host],
                known: &known,
            };
            found.extend(
                eyes::differences(&whole, *host, seen, ground)
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
        let eyes = Eyes::new(&world, &world);
        let before = eyes.at_all(self.lab, 0.0);
        let ran = self.run(&["remove", "lab", "--yes"], &[0])?;
        let whole = Whole::new(&world);
        let now = eyes.at_all(self.lab, 0.0);
        let remains: Vec<String> = now
            .iter()
            .flat_map(|(host, seen)| {
                let ground = Ground {
                    base: &self.base[host],
                    known: &[&before[host].picture],
                };
                let mut found = eyes::remains(&whole, *host, seen, ground);
                found.extend(eyes::lost_rows(&before[host], seen));
                found.into_iter().map(move |it| format!("h{host}: {it}"))
            })
            .collect();
        if remains.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "removed, and still there:\n{}\n--- what it said\n{}",
                remains.join("\n"),
                ran.stderr
            ))
        }
    }
}
