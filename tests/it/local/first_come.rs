//! Who comes second plans anew: two controllers, on the same hosts and on some of the same.

use std::os::unix::fs::PermissionsExt;

use super::here::{Here, PATIENCE, lines_with_one_outcome};
use crate::support::{Project, Ran, Rosey, Terminal, wait_until};

/// Somebody who is asked, while another apply comes first.
fn overtaken<'a>(here: &Here<'a>, arguments: &[&str]) -> Terminal {
    let mut person = Terminal::start(&here.rosey.command(arguments));
    person.sees("[y/N]", PATIENCE);
    here.project.write("bot/VERSION", "1.1.0");
    here.apply().exits(0);
    here.project.write("bot/VERSION", "1.2.0");
    person
}

#[test]
fn who_was_overtaken_is_asked_again_and_goes_on() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "1.0.1");
    let mut person = overtaken(&here, &["apply", "test"]);
    person.types("y");
    person.sees("planning anew", PATIENCE);
    person.sees("1.1.0", PATIENCE);
    person.sees("instead? [y/N]", PATIENCE);
    assert_eq!(here.serving().as_deref(), Some("1.1.0"));
    person.types("y");
    let (code, said) = person.ends();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(here.serving().as_deref(), Some("1.2.0"));
    let history = here
        .rosey
        .run(&["history", "test", "--json"])
        .exits(0)
        .json();
    let runs = history["runs"].as_array().unwrap();
    let outcomes: Vec<_> = runs.iter().map(|run| &run["outcome"]).collect();
    assert_eq!(outcomes, ["applied", "refused", "applied", "applied"]);
}

#[test]
fn who_was_overtaken_may_leave_it() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "1.0.1");
    let mut person = overtaken(&here, &["apply", "test"]);
    person.types("y");
    person.sees("instead? [y/N]", PATIENCE);
    person.types("n");
    let (code, said) = person.ends();
    assert_eq!(code, Some(9), "{said}");
    assert_eq!(here.serving().as_deref(), Some("1.1.0"));
}

/// Somebody is overtaken in the middle of a command, and agrees again where the command goes on.
fn goes_on<'a>(project: &'a Project, command: &[&str], code: i32) -> Here<'a> {
    let here = Here::applied(project);
    project.write("bot/VERSION", "1.0.1");
    here.apply().exits(0);
    let change_by_hand = || {
        let data = here.root().join("shared/data");
        std::fs::set_permissions(data, PermissionsExt::from_mode(0o700)).unwrap();
    };
    change_by_hand();
    let mut person = overtaken(&here, command);
    // The run that came first has put that right.
    change_by_hand();
    person.types("y");
    if code == 0 {
        person.sees("planning anew", PATIENCE);
        person.sees("instead?", PATIENCE);
        person.types("y");
    }
    let (ended, said) = person.ends();
    assert_eq!(ended, Some(code), "{said}");
    here
}

#[test]
fn a_rollback_to_what_was_named_goes_on() {
    let project = Project::with_bot();
    let here = goes_on(&project, &["rollback", "test", "--to", "1.0.0"], 0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn a_rollback_that_waits_goes_back_from_what_is_there_then() {
    let project = Project::with_bot();
    let here = goes_on(&project, &["rollback", "test", "--wait"], 0);
    assert_eq!(here.serving().as_deref(), Some("1.0.1"));
}

#[test]
fn a_rollback_from_what_is_there_no_more_is_refused() {
    let project = Project::with_bot();
    let here = goes_on(&project, &["rollback", "test"], 6);
    assert_eq!(here.serving().as_deref(), Some("1.1.0"));
}

#[test]
fn a_remove_goes_on() {
    let project = Project::with_bot();
    let here = goes_on(&project, &["remove", "test"], 0);
    assert_eq!(here.serving(), None);
}

#[test]
fn a_heal_goes_on() {
    let project = Project::with_bot();
    let here = goes_on(&project, &["drift", "test", "--heal"], 0);
    assert_eq!(here.serving().as_deref(), Some("1.1.0"));
    here.rosey.run(&["drift", "test"]).exits(0);
}

#[test]
fn who_reads_only_gates_is_told_nothing_by_those_of_another_run() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    // Whoever reads the gates first waits, until another run has come and gone.
    here.declare(
        "process \"bot\"\n",
        "process \"bot\"\n        command \"wait\" timeout=\"30s\" \
         run=\"test -e data/asked || { touch data/asked; until test -e data/go; do sleep 0.05; done; }\"\n",
    );
    let words = ["apply", "test", "--yes", "--json"];
    let child = here.rosey.command(&words).spawn().unwrap();
    let data = here.root().join("shared/data");
    wait_until("the gates to be read", PATIENCE, || {
        data.join("asked").exists()
    });
    project.write("bot/VERSION", "1.1.0");
    here.apply().exits(0);
    std::fs::write(data.join("go"), "").unwrap();
    let ran = Ran::new("apply".to_owned(), &child.wait_with_output().unwrap());
    let lines = lines_with_one_outcome(&ran, 0);
    let outcome = lines.last().unwrap();
    assert_eq!(outcome["outcome"], "unchanged");
    assert_eq!(outcome["hosts"]["here"]["version"], "1.1.0");
}

/// Three apps, each on a host of its own, with a task that tells when it is at work.
const RING: &str = r#"
host "one" local=#true
host "two" local=#true
host "three" local=#true
app "a" { on "one"; root "@SERVERS@/a"; @APP@; }
app "b" { on "two"; root "@SERVERS@/b"; @APP@; }
app "c" { on "three"; root "@SERVERS@/c"; @APP@; }
"#;

const APP: &str = r#"source "../app"; version file="VERSION"
    task "tell" { run "echo $ROSEY_VERSION >> ../../../log; sleep 0.05; echo $ROSEY_VERSION >> ../../../log"; undo "true"; inputs "VERSION"; }"#;

#[test]
fn three_who_each_want_two_of_three_hosts_never_meet_and_all_get_there() {
    let servers = tempfile::tempdir().unwrap();
    let ring = RING.replace("@APP@", APP);
    let ring = ring.replace("@SERVERS@", servers.path().to_str().unwrap());
    let clones = [Project::new(), Project::new(), Project::new()];
    let registry = servers.path().join("registry");
    let people = clones.each_ref().map(|clone| {
        clone.environment("test", &ring);
        Rosey::here(clone).env("ROSEY_HELPER_STATE", registry.to_str().unwrap())
    });
    let wanted = [["one", "two"], ["two", "three"], ["three", "one"]];
    // The first round makes the host's registry too, in which all three have something.
    let rounds = 2;
    for round in 0..rounds {
        let started: Vec<_> = (0..3)
            .map(|who: usize| {
                clones[who].write("app/VERSION", &format!("{who}.{round}"));
                let [first, second] = wanted[who];
                let words = [
                    "apply", "test", "--yes", "--wait", "--only", first, "--only", second,
                ];
                people[who].command(&words).spawn().unwrap()
            })
            .collect();
        for child in started {
            Ran::new("apply".to_owned(), &child.wait_with_output().unwrap()).exits(0);
        }
    }
    let log = std::fs::read_to_string(servers.path().join("log")).unwrap();
    let mut turns: Vec<&str> = log.lines().collect();
    assert_eq!(
        turns.len(),
        rounds * 3 * 2 * 2,
        "each works on two hosts:\n{log}"
    );
    turns.dedup();
    // Where two were at work at once, somebody's lines stand in two places.
    assert_eq!(turns.len(), rounds * 3, "{log}");
}
