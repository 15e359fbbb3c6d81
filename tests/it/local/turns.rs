//! Two at once, a run that is cut off, and a run that is told to end.

use std::process::Child;

use rustix::process::Signal;

use super::here::{Here, PATIENCE, lines_with_one_outcome, signal};
use crate::support::{Project, Ran, wait_until};

/// An apply that is under way: inside a task that waits until the test lets it go.
struct Underway {
    child: Child,
}

impl Underway {
    fn begin(here: &Here<'_>) -> Self {
        here.add(r#"task "wait" { run "touch $ROSEY_ROOT/../waits; until [ -e $ROSEY_ROOT/../go ]; do sleep 0.05; done"; undo "true"; timeout "60s"; }"#);
        let child = here
            .rosey
            .command(&["apply", "test", "--yes", "--json"])
            .spawn()
            .unwrap();
        let waits = here.project.path("waits");
        wait_until("the task to run", PATIENCE, || waits.exists());
        Self { child }
    }

    fn end(self) -> Ran {
        let output = self.child.wait_with_output().unwrap();
        Ran::new("the apply under way".to_owned(), &output)
    }
}

fn helper(here: &Here<'_>) -> u32 {
    let found = here.processes("rosey helper");
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

#[test]
fn a_second_apply_is_told_who_is_there_or_waits() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let first = Underway::begin(&here);
    let second = here.apply().exits(5);
    assert!(second.stderr.contains("run"), "{}", second.stderr);
    let lines = here.apply_json(&[], 5);
    assert_eq!(lines.last().unwrap()["outcome"], "refused");
    // What stands is known all the same.
    for command in ["apply", "rollback", "remove"] {
        let ran = here.rosey.run(&[command, "test", "--yes", "--json"]);
        let lines = lines_with_one_outcome(&ran, 5);
        let known = &lines.last().unwrap()["hosts"]["here"];
        assert_eq!(known["version"], "1.0.0", "{command}: {lines:#?}");
    }
    let status = here.rosey.run(&["status", "test"]).exits(0).stdout;
    assert!(status.contains("apply"), "{status}");
    // What a run has half done is no drift.
    for arguments in [&["drift", "test"][..], &["drift", "test", "--json"]] {
        let busy = here.rosey.run(arguments).exits(5);
        assert!(busy.stderr.contains("apply"), "{}", busy.stderr);
    }
    let mut third = here
        .rosey
        .command(&["apply", "test", "--yes", "--wait"])
        .spawn()
        .unwrap();
    let waiting = || here.processes("rosey helper").len() >= 2;
    wait_until("the third to be there", PATIENCE, waiting);
    assert!(third.try_wait().unwrap().is_none());
    project.write("go", "");
    lines_with_one_outcome(&first.end(), 0);
    let third = Ran::new(
        "the apply that waits".to_owned(),
        &third.wait_with_output().unwrap(),
    )
    .exits(0);
    assert!(
        third.stderr.contains("unchanged") || third.stderr.contains("applied"),
        "{}",
        third.stderr
    );
    assert!(here.planned().is_empty());
}

#[test]
fn a_run_whose_helper_was_killed_is_settled_by_the_next_command() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    let underway = Underway::begin(&here);
    here.kill(helper(&here));
    // Who was at it can't be asked any more, and what it has left isn't known to need a person.
    underway.end().exits(18);
    let status = here.rosey.run(&["status", "test"]).exits(0).stdout;
    assert!(status.contains(" was cut off here after "), "{status}");
    let named = |document: serde_json::Value| {
        let cut = &document["cut_off"][0];
        assert_eq!(
            (&cut["host"], &cut["ready"]),
            (&"here".into(), &false.into())
        );
        let steps = cut["steps"].as_array().unwrap();
        let names: Vec<_> = steps.iter().filter_map(|step| step.as_str()).collect();
        assert!(names.iter().any(|it| it.contains("task:wait")), "{names:?}");
    };
    for command in ["status", "plan", "drift"] {
        named(here.rosey.run(&[command, "test", "--json"]).json());
    }
    project.write("go", "");
    here.declare("task \"wait\"", "// task \"wait\"");
    let settled = here.apply().exits(0);
    assert!(
        settled.stderr.contains("was cut off after "),
        "{}",
        settled.stderr
    );
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let status = here.rosey.run(&["status", "test"]).exits(0).stdout;
    assert!(!status.contains("cut off"), "{status}");
}

#[test]
fn a_run_whose_controller_was_killed_goes_back_by_itself() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    let mut underway = Underway::begin(&here);
    underway.child.kill().unwrap();
    underway.child.wait().unwrap();
    wait_until("the helper to have ended", PATIENCE, || {
        here.processes("rosey helper").is_empty()
    });
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    // Nobody has judged the release, so nothing is held. Who comes next is told, a machine too.
    project.write("go", "");
    let lines = here.apply_json(&[], 0);
    let told = lines.iter().filter(|line| line["type"] == "note");
    let told: Vec<_> = told.filter_map(|line| line["message"].as_str()).collect();
    assert!(
        told.iter()
            .any(|it| it.contains("went back: the controller was lost")),
        "{told:?}"
    );
}

#[track_caller]
fn is_cancelled_by(what: Signal, code: i32) {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    let underway = Underway::begin(&here);
    signal(underway.child.id(), what);
    let lines = lines_with_one_outcome(&underway.end(), code);
    assert_eq!(lines.last().unwrap()["outcome"], "cancelled");
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    assert!(here.processes("sleep").is_empty());
    project.write("go", "");
    here.apply().exits(0);
}

/// A run that was cut off, with its helper killed in the middle of a task.
fn cut_off(here: &Here<'_>) {
    let underway = Underway::begin(here);
    here.kill(helper(here));
    underway.end();
    here.project.write("go", "");
    here.declare("task \"wait\"", "// task \"wait\"");
}

#[test]
fn what_was_cut_off_is_settled_only_where_somebody_agrees() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    cut_off(&here);
    let before = here.look();
    for command in [
        &["apply", "test"][..],
        &["rollback", "test"],
        &["remove", "test"],
        &["drift", "test", "--heal"],
    ] {
        let ran = here.rosey.run(command).exits(9);
        assert!(ran.stderr.contains("nothing was done"), "{}", ran.stderr);
        assert!(ran.stderr.contains("cut off"), "{}", ran.stderr);
    }
    // What would be refused anyway is refused first, agreed or not.
    here.rosey
        .run(&["rollback", "test", "--to", "9.9.9", "--yes"])
        .exits(1);
    before.must_equal(&here.look());
    let lines = lines_with_one_outcome(&here.rosey.run(&["apply", "test", "--json"]), 9);
    let outcome = lines.last().unwrap();
    assert_eq!(outcome["outcome"], "refused");
    assert_eq!(outcome["hosts"]["here"]["version"], "2.0.0", "{outcome}");
    let drift = here.rosey.run(&["drift", "test", "--json"]).json();
    assert_eq!(drift["mixed"], false);
    assert!(drift["notes"].to_string().contains("cut off"), "{drift}");
    before.must_equal(&here.look());
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let drift = here.rosey.run(&["drift", "test", "--json"]).exits(0).json();
    assert!(!drift["notes"].to_string().contains("cut off"), "{drift}");
}

#[test]
fn a_signal_is_heard_before_there_is_a_run() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    here.add(r#"build "touch ../builds; until [ -e ../go ]; do sleep 0.05; done""#);
    for (what, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 143)] {
        let child = here
            .rosey
            .command(&["apply", "test", "--yes", "--json"])
            .spawn()
            .unwrap();
        let builds = project.path("builds");
        wait_until("the build to run", PATIENCE, || builds.exists());
        signal(child.id(), what);
        let ran = Ran::new("apply".to_owned(), &child.wait_with_output().unwrap());
        let lines = lines_with_one_outcome(&ran, code);
        assert_eq!(lines.last().unwrap()["outcome"], "cancelled");
        std::fs::remove_file(builds).unwrap();
    }
    project.write("go", "");
    before.must_equal(&here.look());
}

#[test]
fn a_signal_is_heard_while_another_run_is_waited_for() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let first = Underway::begin(&here);
    let second = here
        .rosey
        .command(&["rollback", "test", "--to", "1", "--wait", "--yes", "--json"])
        .spawn()
        .unwrap();
    let there = || here.processes("rosey helper").len() >= 2;
    wait_until("the second to be there", PATIENCE, there);
    // Signals are listened for before any host is reached.
    signal(second.id(), Signal::INT);
    let ran = Ran::new("rollback".to_owned(), &second.wait_with_output().unwrap());
    let lines = lines_with_one_outcome(&ran, 130);
    assert_eq!(lines.last().unwrap()["outcome"], "cancelled");
    project.write("go", "");
    lines_with_one_outcome(&first.end(), 0);
}

#[test]
fn a_run_that_is_cancelled_before_it_begins_says_so() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    let underway = Underway::begin(&here);
    // It waits for the other's end, and has nothing begun.
    let waiting = here
        .rosey
        .command(&["apply", "test", "--yes", "--json", "--wait"])
        .spawn()
        .unwrap();
    let waits = || here.processes("rosey helper").len() >= 2;
    wait_until("the second to be there", PATIENCE, waits);
    signal(waiting.id(), Signal::TERM);
    let output = waiting.wait_with_output().unwrap();
    let ran = Ran::new("the apply that waits".to_owned(), &output);
    let lines = lines_with_one_outcome(&ran, 143);
    assert_eq!(lines.last().unwrap()["outcome"], "cancelled");
    signal(underway.child.id(), Signal::INT);
    underway.end().exits(130);
    before.must_equal(&here.look());
}

#[test]
fn a_hangup_leaves_everything_as_it_was() {
    // The contract has no code of its own for it: a terminal that is gone counts as a termination.
    is_cancelled_by(Signal::HUP, 143);
}

/// As a job is cancelled in CI: INT, TERM 7.5 s later, KILL 2.5 s after that. Here with a way back that takes longer.
#[test]
fn a_cancelled_job_leaves_everything_as_it_was_however_long_that_takes() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    here.add(r#"task "slow" once=#true { run "touch $ROSEY_ROOT/../ran"; undo "until [ -e $ROSEY_ROOT/../undo ]; do sleep 0.05; done; rm $ROSEY_ROOT/../ran"; timeout "60s"; }"#);
    here.declare("status 200", "status 201");
    here.declare("within \"5s\"", "within \"60s\"");
    let child = here
        .rosey
        .command(&["apply", "test", "--yes", "--json"])
        .spawn()
        .unwrap();
    let made = here.project.path("ran");
    wait_until("the task to have run", PATIENCE, || made.exists());
    signal(child.id(), Signal::INT);
    let undoing = || !here.processes("until [ -e").is_empty();
    wait_until("the way back", PATIENCE, undoing);
    signal(child.id(), Signal::TERM);
    let output = child.wait_with_output().unwrap();
    let ran = Ran::new("the cancelled job".to_owned(), &output);
    // The second signal ends the waiting, not the way back.
    let lines = lines_with_one_outcome(&ran, 18);
    assert_eq!(lines.last().unwrap()["outcome"], "going-back");
    project.write("undo", "");
    wait_until("the helper to have ended", PATIENCE, || {
        here.processes("rosey helper").is_empty()
    });
    assert!(!made.exists());
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn an_interrupt_leaves_everything_as_it_was() {
    is_cancelled_by(Signal::INT, 130);
}

#[test]
fn a_termination_leaves_everything_as_it_was() {
    is_cancelled_by(Signal::TERM, 143);
}

#[test]
fn a_run_that_hangs_can_be_unlocked() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    let underway = Underway::begin(&here);
    let status = here
        .rosey
        .run(&["status", "test", "--json"])
        .exits(0)
        .json();
    let text = status["notes"].to_string();
    let run = text
        .split("run ")
        .nth(1)
        .and_then(|rest| rest.split([' ', ',', ')', '"', ';']).next())
        .expect("the run is named")
        .to_owned();
    here.rosey
        .run(&["unlock", "test", "--run", "20200101T000000Z-000000"])
        .exits(1);
    here.rosey.run(&["unlock", "test", "--run", &run]).exits(0);
    let ran = underway.end();
    assert_ne!(ran.code, Some(0));
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    project.write("go", "");
    here.apply().exits(0);
}
