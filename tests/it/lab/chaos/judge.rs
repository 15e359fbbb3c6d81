//! What may be after a fault, and what may not.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use serde_json::Value;

use super::blow::Blow;
use super::campaign::Struck;
use super::eyes::{Facts, Host, differences, lost_rows, remains};
use super::whole::{Ground, Whole, is_aside};
use super::world::{App, World};
use crate::support::{Ran, Snapshot};

/// What a host is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// As it was, byte for byte.
    Old,
    New,
    /// The step changes nothing here.
    Both,
    /// Neither, with the differences from both.
    Half(String),
}

impl Class {
    pub fn word(&self) -> &str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::Both => "not changed by this",
            Self::Half(_) => "neither old nor new",
        }
    }
}

/// What a step went from and to.
pub struct Case<'a> {
    pub act_is_first: bool,
    pub removing: bool,
    /// Whether it isn't known of a host how it stands: until the next command rosey's own stays on all, of which it learns
    /// where that one goes.
    pub unconfirmed: bool,
    pub broken: bool,
    pub healing: bool,
    /// What stood before, where it is rolled back.
    pub undone: Option<&'a World>,
    pub new: &'a World,
    pub whole: &'a Whole,
    /// The hosts before anything was deployed.
    pub base: &'a BTreeMap<usize, Snapshot>,
    pub before: &'a BTreeMap<usize, Host>,
}

impl Case<'_> {
    pub fn class(&self, number: usize, now: &Host) -> Class {
        let before = &self.before[&number].picture;
        let ground = Ground {
            base: &self.base[&number],
            known: &[before],
        };
        let from_old: Vec<String> = before
            .differences(&now.picture)
            .into_iter()
            .filter(|line| !self.stays(line))
            .collect();
        let from_new = if self.removing {
            let own = |line: &String| self.unconfirmed && line.contains("/.rosey/");
            let mut left = remains(self.whole, number, now, ground);
            left.retain(|line| !own(line));
            left
        } else {
            differences(self.whole, number, now, ground)
        };
        match (from_old.is_empty(), from_new.is_empty()) {
            (true, true) => Class::Both,
            (true, false) => Class::Old,
            (false, true) => Class::New,
            (false, false) => Class::Half(format!(
                "from how it was (- before, + now):\n{}\nfrom the new:\n{}",
                first(&from_old),
                first(&from_new)
            )),
        }
    }

    /// What the app has written stays, and so do the directories that hold it, also where the first deployment fails. And
    /// while what ran once waits to be undone until all hosts are back, so does what its undo needs.
    fn stays(&self, line: &str) -> bool {
        let shared = |root: &str| {
            let paths = [
                root.to_owned(),
                format!("{root}/shared"),
                format!("{root}/shared/data"),
            ];
            paths
                .iter()
                .any(|path| line.starts_with(&format!("+ {path}: directory")))
        };
        // A rollback takes back a migration that only what stood before has.
        let undone = self.undone.into_iter().flat_map(|it| &it.apps);
        let migrates = |app: &App| app.migrations.is_some();
        self.new.apps.iter().chain(undone).any(|app| {
            let root = app.root();
            // A migration uses all that its release leads to, and so does its undo.
            let made = ["releases", "built", "shared/local.env"]
                .iter()
                .any(|it| line.starts_with(&format!("+ {root}/{it}")));
            let path = line.trim_start_matches("+ ").split(": ").next();
            let aside = line.starts_with("+ /etc/") && path.is_some_and(is_aside);
            self.act_is_first && shared(&root) || migrates(app) && (made || aside)
        })
    }
}

pub fn is_mixed(classes: &BTreeMap<usize, Class>) -> bool {
    let any = |class: &Class| classes.values().any(|it| it == class);
    any(&Class::Old) && any(&Class::New)
}

/// As many lines as tell what is the matter.
fn first(lines: &[String]) -> String {
    let cut = |line: &String| line.chars().take(300).collect::<String>();
    let mut text: Vec<String> = lines.iter().take(8).map(cut).collect();
    if lines.len() > 8 {
        text.push(format!("and {} more", lines.len() - 8));
    }
    text.join("\n")
}

/// Whether a run's own lines say that all its steps were done: before that no host is asked to be ready. Lines for people
/// don't tell.
fn all_done(stdout: &str) -> bool {
    let lines = stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let (mut steps, mut done) = (None, 0);
    for line in lines {
        if line["type"] == "run-started" {
            steps = line["steps"].as_u64();
        } else if line["type"] == "step-done" && line["back"] != true {
            done += 1;
        }
    }
    steps.is_none_or(|steps| steps == done)
}

/// Whether an exit code is what really is.
pub fn code(
    case: &Case<'_>,
    struck: &Struck,
    classes: &BTreeMap<usize, Class>,
) -> Result<(), String> {
    let (blow, fired, status) = (&struck.blow, struck.fired, struck.ended.status);
    let second = struck.second.as_ref();
    let half: Vec<String> = classes
        .iter()
        .filter_map(|(host, class)| {
            if let Class::Half(why) = class {
                Some(format!("h{host} {why}"))
            } else {
                None
            }
        })
        .collect();
    let all = |wanted: &Class| {
        classes
            .values()
            .all(|class| class == wanted || *class == Class::Both)
    };
    let (all_old, all_new) = (all(&Class::Old), all(&Class::New));
    let seen: Vec<String> = classes
        .iter()
        .map(|(host, class)| format!("h{host} {}", class.word()))
        .collect();
    let wrong = |expected: &str| {
        Err(format!(
            "it ended with {status}, expected: {expected}; found: {}\n{}",
            seen.join(", "),
            half.join("\n")
        ))
    };
    let helper_gone = matches!(
        blow,
        Blow::KillHelper(_) | Blow::PowerCut(_) | Blow::Reboot(_)
    );
    let host_lost =
        helper_gone || matches!(blow, Blow::KillLogin(_) | Blow::Hang(..) | Blow::Cut(..));
    let killed = matches!(
        blow,
        Blow::KillController | Blow::ReadyWindow | Blow::CancelledJob
    );
    let signalled = matches!(
        blow,
        Blow::Interrupt | Blow::Terminate | Blow::HangUp | Blow::CancelledJob
    );
    let booted = match blow {
        Blow::PowerCut(host) | Blow::Reboot(host) => Some(*host),
        _ => None,
    };
    let hand = matches!(blow, Blow::Hand(..));
    let may_be_half = fired && hand;
    if !half.is_empty() && !may_be_half {
        return wrong("each host exactly old or exactly new");
    }
    if case.broken && classes.values().any(|class| *class == Class::New) {
        return wrong("a release whose gates fail stands nowhere");
    }
    // Between the first and the last ready, and nowhere else.
    if is_mixed(classes) && !(fired && (killed || host_lost) && all_done(&struck.ended.stdout)) {
        return wrong("all old or all new");
    }
    let by_second = second.is_some_and(|ran| ran.code == Some(0));
    match (status.code(), status.signal()) {
        (None, Some(9)) if fired && killed => Ok(()),
        // Before the run has begun there is nothing to wait for: a shell says 128 and the signal's number all the same.
        (None, Some(1 | 2 | 15)) if fired && signalled && all_old => Ok(()),
        (Some(0), _) if all_new => Ok(()),
        (Some(7), _) if all_old && !by_second => Ok(()),
        (Some(7), _) if by_second => Ok(()),
        (Some(130), _) if matches!(blow, Blow::Interrupt | Blow::CancelledJob) && all_old => Ok(()),
        // A closed terminal ends a run as TERM does.
        (Some(143), _)
            if matches!(blow, Blow::Terminate | Blow::HangUp | Blow::CancelledJob) && all_old =>
        {
            Ok(())
        }
        // It went on until it was told a second time: nobody has seen how it ended.
        (Some(18), _) if fired && matches!(blow, Blow::CancelledJob) && all_old => Ok(()),
        // A host that is lost between its *ready* and the answer to its commit keeps the new state, and nobody can read that.
        (Some(18), _) if fired && host_lost => Ok(()),
        (Some(4), _) if fired && host_lost && all_old => Ok(()),
        // A boot starts what somebody had stopped.
        (Some(4), _) if fired && case.healing && only(booted, classes) => Ok(()),
        (Some(4), _) if fired && host_lost && may_be_half => Ok(()),
        (Some(10), _)
            if fired
                && all_old
                && (hand || matches!(blow, Blow::DiskFull(..) | Blow::ReadOnly(..))) =>
        {
            Ok(())
        }
        (Some(5), _) if fired && second.is_some() => Ok(()),
        // What somebody typed meanwhile is never overwritten.
        (Some(8), _) if fired && hand => Ok(()),
        _ => wrong("an exit code that says what is"),
    }
}

/// Whether one host is new, and no other.
fn only(one: Option<usize>, classes: &BTreeMap<usize, Class>) -> bool {
    let mut new = classes.iter().filter(|(_, class)| **class == Class::New);
    new.all(|(host, _)| Some(*host) == one)
}

/// Whether hosts that are as they were also serve what they did.
pub fn serves(
    old: &World,
    case: &Case<'_>,
    now: &BTreeMap<usize, Host>,
    classes: &BTreeMap<usize, Class>,
) -> Result<(), String> {
    let whole = Whole::new(old);
    let is_old = |host: &usize| classes[host] == Class::Old;
    let hosts = now.iter().filter(|(host, _)| is_old(host));
    let found: Vec<String> = hosts
        .flat_map(|(host, seen)| {
            let ground = Ground {
                base: &case.base[host],
                known: &[&case.before[host].picture, &seen.picture],
            };
            differences(&whole, *host, seen, ground)
                .into_iter()
                .map(move |it| format!("h{host}: as it was, but {it}"))
        })
        .collect();
    if found.is_empty() {
        Ok(())
    } else {
        Err(first(&found))
    }
}

/// Whether all that the apps wrote is there. What a power cut takes of it was never synced by the app.
pub fn data(case: &Case<'_>, blow: &Blow, now: &BTreeMap<usize, Host>) -> Result<(), String> {
    let found: Vec<String> = now
        .iter()
        .filter(|(host, _)| *blow != Blow::PowerCut(**host))
        .flat_map(|(host, seen)| lost_rows(&case.before[host], seen))
        .collect();
    if found.is_empty() {
        Ok(())
    } else {
        Err(found.join("\n"))
    }
}

/// Whether the last line of a run, which is for programs, says what its exit code says, exactly once.
pub fn outcome(stdout: &str, status: ExitStatus) -> Result<(), String> {
    let lines: Vec<Value> = stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let outcomes: Vec<&Value> = lines
        .iter()
        .filter(|line| line["type"] == "outcome")
        .collect();
    let Some(code) = status.code() else {
        // Whoever is killed says nothing more; one that a signal ended before it had begun may.
        return Ok(());
    };
    let ([outcome], Some(last)) = (outcomes.as_slice(), lines.last()) else {
        return Err(format!("{} outcomes, expected one", outcomes.len()));
    };
    let words: &[&str] = match code {
        0 => &["applied", "unchanged"],
        7 => &["rolled-back"],
        8 => &["stuck"],
        18 => &["going-back"],
        4 | 5 | 10 => &["refused"],
        130 | 143 => &["cancelled"],
        _ => &[],
    };
    let right = *outcome == last
        && outcome["exit_code"] == code
        && words.iter().any(|word| outcome["outcome"] == *word);
    if right {
        Ok(())
    } else {
        Err(format!(
            "it ended with {code}, and its outcome says {outcome}"
        ))
    }
}

/// Whether a command that came in between ended as it may: it waits, is refused, or finds all as it should be.
pub fn second(ran: &Ran, arguments: &[&str], case: &Case<'_>) -> Result<(), String> {
    let code = ran.code.unwrap_or(-1);
    let may: &[i32] = match arguments {
        ["status", ..] => &[0],
        ["drift", _] if case.healing => &[0, 2, 5],
        // Before the run has begun and after its end there is nothing that drifted.
        ["drift", _] | ["drift", _, "--heal", ..] => &[0, 5],
        // Nothing is held before a verdict.
        ["apply", ..] if case.broken => &[5, 7],
        ["apply", ..] => &[0, 5],
        _ => &[],
    };
    if may.contains(&code) {
        Ok(())
    } else {
        Err(format!(
            "the second controller ended with {code}, expected one of {may:?}\n--- what it said\n{}{}",
            ran.stdout, ran.stderr
        ))
    }
}

/// What is there of a run after the next.
pub fn remainders(host: usize, facts: &Facts) -> Vec<String> {
    let all = facts
        .held
        .iter()
        .chain(&facts.processes)
        .chain(&facts.debris);
    all.map(|what| format!("h{host}: left behind: {what}"))
        .collect()
}

/// Whether a migration was run that isn't declared, or not run, or on more hosts than one.
pub fn migrations(world: &World, now: &BTreeMap<usize, Host>) -> Vec<String> {
    let mut found = Vec::new();
    for app in &world.apps {
        let counts: Vec<usize> = app
            .hosts
            .iter()
            .map(|host| now[host].facts.apps[&app.name].migrations.len())
            .collect();
        let sum: usize = counts.iter().sum();
        let wanted = app.migrations.unwrap_or(0);
        if sum != wanted {
            found.push(format!(
                "{}: migrations on its hosts: {counts:?}, declared {wanted}",
                app.name
            ));
        }
    }
    found
}

fn of_host<'v>(status: &'v Value, host: usize, app: &str) -> Option<&'v Value> {
    let entry = &status["hosts"][format!("h{host}")];
    match entry.as_array() {
        Some(several) => several.iter().find(|it| it["app"] == app),
        None => (entry["app"] == app).then_some(entry),
    }
}

/// Whether `status` says what is seen, right after the fault.
pub fn status(
    status: &Value,
    now: &BTreeMap<usize, Host>,
    classes: &BTreeMap<usize, Class>,
    case: &Case<'_>,
) -> Result<(), String> {
    let notes = status["notes"].to_string();
    let mut found = Vec::new();
    for (host, seen) in now {
        // What is between is said to be between.
        if let Class::Half(_) = classes[host] {
            if !notes.contains("cut off") && !notes.contains("went back") {
                found.push(format!(
                    "h{host} is between, and status doesn't say that a run was cut off: {notes}"
                ));
            }
            continue;
        }
        for app in case.new.apps.iter().filter(|app| app.hosts.contains(host)) {
            let seen = &seen.facts.apps[&app.name];
            // Until it is settled the ledger tells of the generation before the one that stands.
            let unconfirmed = notes.contains("unconfirmed");
            let Some(told) = of_host(status, *host, &app.name) else {
                if seen.current.is_some() && !unconfirmed {
                    found.push(format!(
                        "h{host}: {} stands, and status doesn't know it",
                        app.name
                    ));
                }
                continue;
            };
            let version = told["version"].as_str();
            // Somebody stopped it by hand, and what put that right was taken back.
            let is_down = seen.version().is_none() && told["healthy"] == false;
            if !unconfirmed && !is_down && seen.version() != version {
                found.push(format!(
                    "h{host}: {} serves {:?}, status says {version:?}",
                    app.name, seen.health
                ));
            }
        }
    }
    if is_mixed(classes)
        && status["mixed"] != true
        && !notes.contains("unconfirmed")
        && !notes.contains("cut off")
    {
        found.push(format!(
            "the fleet is mixed, and status doesn't say so: {status}"
        ));
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(found.join("\n"))
    }
}

/// Whether `status` tells nothing but that all is well.
pub fn settled_status(status: &Value, world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for app in &world.apps {
        for host in &app.hosts {
            let told = of_host(status, *host, &app.name);
            let right = told.is_some_and(|it| {
                it["version"] == app.version_text().as_str() && it["healthy"] == true
            });
            if !right {
                found.push(format!(
                    "h{host}: status says {}",
                    status["hosts"][format!("h{host}")]
                ));
            }
        }
    }
    // That a host went back by itself is told until the next generation; that a run is still open is not.
    let notes = status["notes"].as_array().into_iter().flatten();
    let open = notes
        .filter_map(|note| note["message"].as_str())
        .any(|words| {
            !words.contains("went back") && words.contains("cut off") || words.contains("locked")
        });
    if status["mixed"] == true || open {
        found.push(format!("status says {}", status["notes"]));
    }
    found
}
