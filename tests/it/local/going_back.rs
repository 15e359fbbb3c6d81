//! A release that isn't healthy leaves everything as it was, and isn't tried again by itself.

use super::here::Here;
use crate::support::{Look, Project};

/// Applies what is declared, which has to fail, and looks whether everything is as before.
#[track_caller]
fn fails_and_is_as_before(here: &Here<'_>) {
    let (before, version) = (here.look(), here.serving());
    let lines = here.apply_json(&[], 7);
    let outcome = lines.last().unwrap();
    assert_eq!(outcome["outcome"], "rolled-back");
    assert_eq!(
        outcome["hosts"]["here"]["version"].as_str(),
        version.as_deref()
    );
    before.must_equal(&here.look());
    assert_eq!(here.serving(), version);
    here.process();
    here.rosey.run(&["drift", "test"]).exits(0);
    here.rosey.run(&["verify", "test"]).exits(0);
}

#[test]
fn an_unhealthy_release_goes_back_and_is_held_until_something_changes() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("within \"5s\"", "within \"600ms\"");
    here.apply().exits(0);
    project.write("bot/VERSION", "2.0.0\n");
    here.declare("fault \"\"", "fault \"unhealthy\"");
    fails_and_is_as_before(&here);

    let held = here.apply_json(&[], 5);
    assert_eq!(held.last().unwrap()["outcome"], "refused");
    let held = here.apply().exits(5);
    assert!(
        held.stderr.contains("rosey release-hold test"),
        "{}",
        held.stderr
    );
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    // Released, it is tried, and fails, and is held again.
    here.rosey.run(&["release-hold", "test"]).exits(0);
    fails_and_is_as_before(&here);
    here.apply().exits(5);
    // A gate that was wrong is another declaration.
    here.declare(
        "json \"status\" \"running\"",
        "json \"status\" \"starting\"",
    );
    here.apply().exits(0);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}

#[test]
fn a_service_that_ends_at_once_goes_back() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("fault \"\"", "fault \"exit\"");
    fails_and_is_as_before(&here);
}

#[test]
fn a_service_that_says_another_version_goes_back() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("within \"5s\"", "within \"600ms\"");
    here.declare("fault \"\"", "fault \"version\"");
    fails_and_is_as_before(&here);
}

#[test]
fn a_program_that_is_not_there_goes_back() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("python3 server.py", "bin/server-that-is-not-there");
    fails_and_is_as_before(&here);
}

#[test]
fn a_root_that_somebody_removed_stands_in_nobodys_way() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("within \"5s\"", "within \"600ms\"");
    here.apply().exits(0);
    std::fs::remove_dir_all(here.root()).unwrap();
    here.declare("fault \"\"", "fault \"unhealthy\"");
    // What ran before ran in what was gone: nobody can start it again, and that is said.
    let lines = here.apply_json(&[], 8);
    assert_eq!(lines.last().unwrap()["outcome"], "stuck");
    // Its process still uses what the run had put aside.
    here.declare("within \"600ms\"", "within \"5s\"");
    here.declare("fault \"unhealthy\"", "fault \"\"");
    here.apply().exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let left = std::fs::read_dir(here.root().join(".rosey/staging"));
    assert_eq!(left.map_or(0, Iterator::count), 0);
    here.rosey.run(&["drift", "test"]).exits(0);
}

#[test]
fn a_first_deploy_that_fails_leaves_nothing() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare("within \"5s\"", "within \"600ms\"");
    here.declare("fault \"\"", "fault \"unhealthy\"");
    let lines = here.apply_json(&[], 7);
    assert_eq!(lines.last().unwrap()["outcome"], "rolled-back");
    assert_eq!(here.serving(), None);
    here.rests();
    // What the app wrote stays, with the directories that it lies in, and nothing else does.
    let left = Look::at([here.root()]).here();
    let root = here.root().display().to_string();
    for name in left.names() {
        let inside = name.strip_prefix(&root).unwrap();
        assert!(
            ["", "/shared", "/shared/data"].contains(&inside)
                || inside.starts_with("/shared/data/"),
            "{left:?}"
        );
    }
    here.apply().exits(5);
    here.declare("fault \"unhealthy\"", "fault \"\"");
    here.apply().exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn a_failed_change_of_what_a_failed_run_had_left_stale_goes_back_too() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("within \"5s\"", "within \"600ms\"");
    here.apply().exits(0);
    for round in ["first", "second", "third"] {
        project.write("bot/round", round);
        if round == "first" {
            here.declare("fault \"\"", "fault \"unhealthy\"");
        }
        fails_and_is_as_before(&here);
    }
}

#[test]
fn what_gates_neither_confirm_nor_refute_goes_back_and_is_not_held() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    here.declare(
        "process \"bot\"\n",
        "process \"bot\"\n        command \"smoke\" run=\"kill -KILL $$\" timeout=\"5s\"\n",
    );
    here.declare("within \"5s\"", "within \"1s\"");
    project.write("bot/VERSION", "1.1.0\n");
    for _ in 0..2 {
        let lines = here.apply_json(&[], 9);
        assert_eq!(lines.last().unwrap()["outcome"], "rolled-back");
        before.must_equal(&here.look());
        assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    }
    project.write("bot/VERSION", "1.0.0\n");
    here.apply_json(&[], 9);
    here.rosey.run(&["verify", "test"]).exits(0);
}

#[test]
fn what_is_not_healthy_after_a_way_back_is_not_called_so() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let well = project.path("well");
    project.write("well", "");
    here.declare("within \"5s\"", "within \"2s\"");
    here.declare(
        "process \"bot\"",
        &format!("command \"well\" run=\"test -e {}\"", well.display()),
    );
    here.add(&format!(
        r#"task "spoil" {{ run "if grep -q 2 VERSION; then rm -f {}; fi"; undo "true"; inputs "VERSION"; }}"#,
        well.display()
    ));
    here.apply().exits(0);
    let healthy = |told: &serde_json::Value| told["hosts"]["here"]["healthy"].clone();
    let status = || {
        here.rosey
            .run(&["status", "test", "--json"])
            .exits(0)
            .json()
    };
    assert_eq!(healthy(&status()), true);
    project.write("bot/VERSION", "2.0.0\n");
    let lines = here.apply_json(&[], 8);
    assert_eq!(healthy(lines.last().unwrap()), false, "{lines:#?}");
    assert_eq!(healthy(&status()), false);
    here.rosey.run(&["verify", "test"]).exits(14);
    // A verdict of later counts more.
    project.write("well", "");
    project.write("bot/VERSION", "1.1.0\n");
    let lines = here.apply_json(&[], 0);
    assert_eq!(healthy(lines.last().unwrap()), true, "{lines:#?}");
    assert_eq!(healthy(&status()), true);
}
