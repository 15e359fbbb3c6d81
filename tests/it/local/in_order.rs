//! In which order things become what they were: nothing goes that is still used.

use serde_json::Value;

use super::here::Here;
use crate::support::Project;

/// The steps that were done, each as `kind:resource`, without where the project lies, in the order in which they ended.
fn done(here: &Here<'_>, lines: &[Value]) -> Vec<String> {
    let root = format!("{}/", here.project.root().display());
    let steps = lines.iter().filter(|line| line["type"] == "step-done");
    let names = steps.map(|line| line["step"].as_str().expect("a step has a name"));
    names
        .map(|name| name.replacen("here/bot/", "", 1).replace(&root, ""))
        .collect()
}

#[track_caller]
fn comes_before(done: &[String], first: &str, second: &str) {
    let place = |what: &str| {
        let mut names = done.iter();
        let place = names.rposition(|name| name.contains(what));
        place.unwrap_or_else(|| panic!("{what}: {done:#?}"))
    };
    assert!(place(first) < place(second), "{done:#?}");
}

#[test]
fn what_a_release_leads_to_goes_when_nobody_runs_in_it_any_more() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare(
        "file \"local.env\" seed=\"local.env.example\"",
        "file \"local.env\" seed=\"local.env.example\"\n        // shared",
    );
    here.declare(
        "within \"5s\"",
        "within \"600ms\"; command \"new\" run=\"true\"",
    );
    here.apply().exits(0);
    let before = here.look();
    here.declare("// shared", "dir \"more\"");
    here.add(
        "task \"extra\" { run \"mkdir o; cp VERSION o/\"; inputs \"VERSION\"; output \"o\"; }",
    );
    here.declare("run=\"true\"", "run=\"false\"");
    let failed = done(&here, &here.apply_json(&[], 7));
    for gone in ["task:", "directory:srv/shared/more"] {
        comes_before(&failed, "link:srv/current", gone);
        comes_before(&failed, "service:bot.service", gone);
    }
    before.must_equal(&here.look());
    here.declare("run=\"false\"", "run=\"true\"");
    here.apply().exits(0);
    let rollback = ["rollback", "test", "--yes", "--json"];
    let back = done(&here, &here.rosey.run(&rollback).exits(0).json_lines());
    comes_before(&back, "link:srv/current", "directory:srv/shared/more");
    comes_before(&back, "service:bot.service", "directory:srv/shared/more");
}

// Only the task's command is another: the release's tree is the same, and its name is not.
#[test]
fn data_is_as_before_when_the_old_release_is_shown_again() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.add(
        r#"task "migrate" once=#true { run "echo 1 >>../../shared/data/ran"; undo "sleep 0.3; echo undone >>../../shared/data/ran"; inputs "migrations/"; }"#,
    );
    here.declare(
        "within \"5s\"",
        "within \"600ms\"; command \"new\" run=\"true\"",
    );
    here.apply().exits(0);
    here.declare("echo 1 ", "echo 2 ");
    here.declare("run=\"true\"", "run=\"false\"");
    let failed = done(&here, &here.apply_json(&[], 7));
    comes_before(&failed, "task:migrate", "link:srv/current");
    comes_before(&failed, "task:migrate", "service:bot.service");
    here.rosey.run(&["drift", "test"]).exits(0);
}

#[test]
fn a_host_may_get_another_name() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let (before, process) = (here.look(), here.process());
    here.declare("host \"here\" local", "host \"there\" local");
    assert!(here.planned().is_empty(), "{:?}", here.planned());
    here.apply().exits(0);
    here.rosey.run(&["drift", "test"]).exits(0);
    before.must_equal(&here.look());
    assert_eq!(here.process(), process);
    project.write("bot/VERSION", "2.0.0\n");
    here.apply().exits(0);
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    assert_eq!(here.serving(), None);
}
