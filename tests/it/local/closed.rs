//! A terminal, a pipe or a job that is closed in the middle: nobody hears what is said, and everything is done all the same.

use std::io::Write as _;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use super::here::{Here, PATIENCE, lines_with_one_outcome, signal};
use crate::support::{Project, Ran, wait_until};

/// Runs a command whose output nobody reads: both its pipes are closed before it begins.
fn unheard(here: &Here<'_>, arguments: &[&str]) -> Option<i32> {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let mut command = here.rosey.command(arguments);
    let status = command.stdout(closed()).stderr(closed()).status();
    status.unwrap().code()
}

#[test]
fn what_nobody_reads_ends_nothing() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let read: [(&[&str], i32); 9] = [
        (&["check"], 0),
        (&["doctor", "test"], 0),
        (&["plan", "test", "--out", "plan.yaml"], 0),
        (&["status", "test"], 0),
        (&["history", "test"], 0),
        (&["freeze", "test", "--reason", "the fair"], 1),
        (&["release-hold", "test"], 0),
        (&["unlock", "test", "--run", "20200101T000000Z-000000"], 1),
        (&["check", "nowhere"], 1),
    ];
    for (arguments, _) in read {
        let heard = here.rosey.run(arguments).code;
        assert_eq!(unheard(&here, arguments), heard, "{arguments:?}");
    }
    assert_eq!(unheard(&here, &["apply", "test", "--yes"]), Some(0));
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    assert_eq!(unheard(&here, &["apply", "test", "--yes"]), Some(0));
    for arguments in [
        &["freeze", "test", "--reason", "the fair"][..],
        &["unfreeze", "test"],
        &["unfreeze", "test"],
        &["drift", "test"],
        &["verify", "test"],
        &["status"],
        &["init", "elsewhere"],
    ] {
        assert_eq!(unheard(&here, arguments), Some(0), "{arguments:?}");
    }
    // What fails is taken back, whoever hears of it.
    let before = here.look();
    project.write("bot/VERSION", "2.0.0");
    here.declare("status 200", "status 201");
    assert_eq!(unheard(&here, &["apply", "test", "--yes"]), Some(7));
    before.must_equal(&here.look());
    here.declare("status 201", "status 200");
    assert_eq!(
        unheard(&here, &["apply", "test", "--yes", "--json"]),
        Some(0)
    );
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
    let back = &["rollback", "test", "--yes"];
    assert_eq!(unheard(&here, back), Some(0));
    assert_eq!(unheard(&here, &["remove", "test", "--yes"]), Some(0));
    assert_eq!(here.serving(), None);
}

/// A run whose task is undone slowly, when the test lets it; it waits for gates that never pass.
fn slow_way_back(here: &Here<'_>) -> Child {
    here.add(r#"task "slow" once=#true { run "touch $ROSEY_ROOT/../ran"; undo "until [ -e $ROSEY_ROOT/../undo ]; do sleep 0.05; done; rm $ROSEY_ROOT/../ran"; timeout "60s"; }"#);
    here.declare("status 200", "status 201");
    here.declare("within \"5s\"", "within \"60s\"");
    let child = here.rosey.command(&["apply", "test", "--yes", "--json"]);
    let child = { child }.spawn().unwrap();
    let ran = here.project.path("ran");
    wait_until("the task to have run", PATIENCE, || ran.exists());
    child
}

/// Lets the way back go on, and sees that nothing is left of the run.
fn is_back(here: &Here<'_>, before: &crate::support::Snapshot) {
    here.project.write("undo", "");
    wait_until("the helper to have ended", PATIENCE, || {
        here.processes("rosey helper").is_empty()
    });
    assert!(!here.project.path("ran").exists());
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.declare("status 201", "status 200");
    // No lock was left.
    here.apply().exits(0);
}

#[test]
fn a_job_that_is_killed_on_its_way_back_leaves_everything_as_it_was() {
    for signals in [&[Signal::TERM][..], &[Signal::INT]] {
        let project = Project::with_bot();
        let here = Here::applied(&project);
        let before = here.look();
        let mut child = slow_way_back(&here);
        for what in signals {
            signal(child.id(), *what);
        }
        let undoing = || !here.processes("until [ -e").is_empty();
        wait_until("the way back", PATIENCE, undoing);
        let status = here.rosey.run(&["status", "test"]).exits(0).stdout;
        assert!(status.contains("is on its way back since 20"), "{status}");
        child.kill().unwrap();
        let ran = Ran::new("apply".to_owned(), &child.wait_with_output().unwrap());
        assert_eq!(ran.code, None, "{}", ran.stdout);
        is_back(&here, &before);
    }
}

#[test]
fn a_host_that_goes_back_by_itself_says_so() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.add(r#"task "slow" { run "touch $ROSEY_ROOT/../ran"; undo "until [ -e $ROSEY_ROOT/../undo ]; do sleep 0.05; done; rm $ROSEY_ROOT/../ran"; timeout "60s"; }"#);
    here.declare("status 200", "status 201");
    here.declare("within \"5s\"", "within \"60s\"");
    let before = here.look();
    let mut child = here
        .rosey
        .command(&["apply", "test", "--yes"])
        .spawn()
        .unwrap();
    let ran = project.path("ran");
    wait_until("the task to have run", PATIENCE, || ran.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let undoing = || !here.processes("until [ -e").is_empty();
    wait_until("the way back", PATIENCE, undoing);
    for command in ["status", "plan"] {
        let said = here.rosey.run(&[command, "test"]);
        let said = format!("{}{}", said.stdout, said.stderr);
        assert!(
            said.contains("is on its way back since 20"),
            "{command}: {said}"
        );
        assert!(
            said.contains("the controller was lost"),
            "{command}: {said}"
        );
    }
    is_back(&here, &before);
}

/// Runs a program on a terminal of its own, says that it is there, and closes the terminal when it is told to.
const ON_A_TERMINAL: &str = r"
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
sys.stdin.read()
os.close(terminal)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
";

#[test]
fn a_closed_terminal_leaves_everything_as_it_was() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    here.add(r#"task "wait" { run "touch $ROSEY_ROOT/../waits; until [ -e $ROSEY_ROOT/../go ]; do sleep 0.05; done"; undo "true"; timeout "60s"; }"#);
    let rosey = here.rosey.command(&["apply", "test", "--yes"]);
    let mut python = std::process::Command::new("python3");
    python
        .args(["-c", ON_A_TERMINAL])
        .arg(rosey.get_program())
        .args(rosey.get_args())
        .current_dir(project.root())
        .env_clear()
        .envs(
            rosey
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut terminal = python.spawn().unwrap();
    let waits = project.path("waits");
    wait_until("the task to run", PATIENCE, || waits.exists());
    let mut told = terminal.stdin.take().unwrap();
    told.write_all(b"close").unwrap();
    drop(told);
    let ran = Ran::new("apply".to_owned(), &terminal.wait_with_output().unwrap()).exits(0);
    assert_eq!(ran.stdout.trim(), "143", "{}", ran.stderr);
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    project.write("go", "");
    lines_with_one_outcome(&here.rosey.run(&["apply", "test", "--yes", "--json"]), 0);
}

#[test]
fn a_journal_of_another_program_is_told_and_left_alone() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let state = here.unit();
    let journal = state
        .parent()
        .and_then(|it| it.parent())
        .unwrap()
        .join("journal");
    let text = "a journal of another time";
    std::fs::write(&journal, text).unwrap();
    let before = here.look();
    project.write("bot/VERSION", "2.0.0");
    for (arguments, code) in [
        (&["status", "test"][..], 4),
        (&["plan", "test"], 4),
        (&["apply", "test", "--yes"], 4),
        (&["rollback", "test", "--yes"], 4),
        (&["drift", "test"], 4),
        (&["drift", "test", "--heal", "--yes"], 4),
        (&["remove", "test", "--yes"], 4),
    ] {
        let ran = here.rosey.run(arguments).exits(code);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(
            said.contains("doesn't know; nothing was touched"),
            "{arguments:?}: {said}"
        );
        assert!(said.contains("journal"), "{arguments:?}: {said}");
    }
    before.must_equal(&here.look());
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), text);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}
