//! Tasks: built once for their inputs, without any input, in their time, and without a trace in the release.

use super::here::Here;
use crate::support::Project;

/// How often the task of a test has run, by its own word.
fn runs(project: &Project) -> usize {
    std::fs::read_to_string(project.path("ran"))
        .unwrap_or_default()
        .lines()
        .count()
}

const BUILD: &str = r#"task "build" {
        run "echo ran >> $ROSEY_ROOT/../ran; mkdir out; cp requirements.txt out/; cat > out/stdin"
        inputs "requirements.txt"
        output "out"
        timeout "10s"
    }"#;

#[test]
fn what_is_built_is_built_once_for_its_inputs_and_outlives_its_release() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.add(BUILD);
    here.add("keep releases=2 backups=2");
    here.apply().exits(0);
    assert_eq!(runs(&project), 1);
    // A task that waits for input gets none.
    assert_eq!(
        std::fs::read_to_string(here.root().join("current/out/stdin")).unwrap(),
        ""
    );
    let first = std::fs::read_link(here.root().join("current")).unwrap();
    for round in ["1", "2", "3"] {
        project.write("bot/round", round);
        here.apply().exits(0);
    }
    assert_eq!(runs(&project), 1, "the inputs are the same");
    assert!(
        !here.root().join(&first).exists(),
        "the release that built it was pruned"
    );
    assert!(here.root().join("current/out/requirements.txt").exists());
    // Back to a release that is kept: nothing is built.
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    assert_eq!(runs(&project), 1);
    assert!(here.root().join("current/out/requirements.txt").exists());
    project.write("bot/requirements.txt", "# other\n");
    here.apply().exits(0);
    assert_eq!(runs(&project), 2);
    here.rosey.run(&["drift", "test"]).exits(0);
}

#[test]
fn a_value_that_a_task_gets_makes_it_another() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.add(
        r#"task "say" { run "echo $LEVEL >said"; env LEVEL="{{ log_level }}"; inputs "VERSION"; output "said"; }"#,
    );
    here.apply().exits(0);
    let said = || std::fs::read_to_string(here.root().join("current/said")).unwrap();
    assert_eq!(said(), "info\n");
    here.declare("log_level \"info\"", "log_level \"debug\"");
    here.apply().exits(0);
    assert_eq!(said(), "debug\n");
    assert!(here.planned().is_empty());
}

#[track_caller]
fn goes_back(task: &str, says: &str) {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    here.add(task);
    let ran = here.apply().exits(7);
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    assert!(
        here.processes("sleep").is_empty(),
        "what the task started has ended"
    );
    here.rosey.run(&["drift", "test"]).exits(0);
    here.apply().exits(5);
}

#[test]
fn a_task_that_fails_goes_back_and_tells_its_last_words() {
    goes_back(
        r#"task "broken" { run "echo almost >&2; exit 3"; undo "true"; }"#,
        "almost",
    );
}

#[test]
fn a_build_that_fails_leaves_nothing_behind() {
    goes_back(
        r#"task "broken" { run "mkdir out; exit 3"; inputs "VERSION"; output "out"; }"#,
        "exited with 3",
    );
}

#[test]
fn a_task_that_takes_too_long_is_ended_with_all_that_it_started() {
    goes_back(
        r#"task "slow" { run "sleep 1000 & sleep 1000"; undo "true"; timeout "1s"; }"#,
        "1 s",
    );
}

#[test]
fn a_task_that_changes_its_release_is_refused() {
    goes_back(
        r#"task "careless" { run "echo more >> VERSION"; undo "true"; }"#,
        "VERSION",
    );
}

#[test]
fn a_build_without_its_output_is_refused() {
    goes_back(
        r#"task "idle" { run "true"; inputs "VERSION"; output "out"; }"#,
        "out",
    );
}
