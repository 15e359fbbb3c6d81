//! A saved plan is applied once, as it was read, or not at all.

use super::here::{Here, lines_with_one_outcome};
use crate::support::{Project, Ran};

const FILE: &str = "plans/test.yaml";

/// A second version, planned and saved.
fn saved<'a>(project: &'a Project) -> Here<'a> {
    let here = Here::applied(project);
    project.write("bot/VERSION", "2.0.0");
    here.rosey.run(&["plan", "test", "--out"]).exits(0);
    here
}

/// Applies the saved plan, which is refused.
#[track_caller]
fn refused(here: &Here<'_>, file: &str) -> Ran {
    let ran = here.rosey.run(&["apply", file]).exits(6);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let lines = lines_with_one_outcome(&here.rosey.run(&["apply", file, "--json"]), 6);
    assert_eq!(lines.last().unwrap()["outcome"], "refused");
    ran
}

#[test]
fn it_works_once_without_being_asked() {
    let project = Project::with_bot();
    let here = saved(&project);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.rosey.run(&["apply", FILE]).exits(0);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
    let again = here.rosey.run(&["apply", FILE]).exits(6);
    assert!(
        again.stderr.contains("the last run was"),
        "{}",
        again.stderr
    );
    let second = project.path("plans/second.yaml");
    here.rosey
        .run(&["plan", "test", "--out", second.to_str().unwrap()])
        .exits(0);
    assert!(second.exists());
}

#[test]
fn the_same_inputs_give_the_same_body() {
    let project = Project::with_bot();
    let here = saved(&project);
    let body = || {
        let text = std::fs::read_to_string(project.path(FILE)).unwrap();
        text.split_once("\nbody:").unwrap().1.to_owned()
    };
    let first = body();
    here.rosey.run(&["plan", "test", "--out"]).exits(0);
    assert_eq!(first, body());
}

#[test]
fn edited_or_cut_it_is_refused() {
    let project = Project::with_bot();
    let here = saved(&project);
    let whole = std::fs::read_to_string(project.path(FILE)).unwrap();
    project.write(
        "plans/edited.yaml",
        &whole.replace("action: restart", "action: stop"),
    );
    refused(&here, "plans/edited.yaml");
    let lines: Vec<_> = whole.lines().collect();
    for part in [1, 5, lines.len() / 2, lines.len() - 1] {
        project.write("plans/cut.yaml", &(lines[..part].join("\n") + "\n"));
        refused(&here, "plans/cut.yaml");
    }
    project.write("plans/empty.yaml", "");
    refused(&here, "plans/empty.yaml");
    project.write(FILE, "");
    let ran = refused(&here, FILE);
    assert!(
        ran.stderr.contains("rosey plan test --out"),
        "{}",
        ran.stderr
    );
    // What was never made isn't stale: that is wrong use.
    here.rosey.run(&["apply", "plans/none.yaml"]).exits(1);
}

#[test]
fn expired_it_is_refused() {
    let project = Project::with_bot();
    let here = saved(&project);
    let whole = std::fs::read_to_string(project.path(FILE)).unwrap();
    let line = |text: &str| text.trim_start().starts_with("expires:");
    let lines = whole.lines().map(|text| match line(text) {
        true => text.split_once(':').unwrap().0.to_owned() + ": '2020-01-01T00:00:00.000Z'",
        false => text.to_owned(),
    });
    let lines: Vec<_> = lines.collect();
    project.write("plans/old.yaml", &(lines.join("\n") + "\n"));
    let ran = refused(&here, "plans/old.yaml");
    assert!(
        ran.stderr.contains("expired at 2020-01-01"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("rosey plan"), "{}", ran.stderr);
    // The plan itself is as good as it was.
    here.rosey.run(&["apply", FILE]).exits(0);
}

#[test]
fn what_has_changed_since_is_named() {
    let project = Project::with_bot();
    let here = saved(&project);
    here.declare("channel \"test\"", "channel \"other\"");
    let ran = refused(&here, FILE);
    assert!(
        ran.stderr.contains("declaration was") && !ran.stderr.contains("the content was"),
        "{}",
        ran.stderr
    );
    here.declare("channel \"other\"", "channel \"test\"");
    project.write("bot/more", "x");
    assert!(refused(&here, FILE).stderr.contains("the content was"));
    std::fs::remove_file(project.path("bot/more")).unwrap();
    std::fs::write(here.root().join("current/VERSION"), "by hand").unwrap();
    assert!(
        here.rosey
            .run(&["apply", FILE])
            .exits(6)
            .stderr
            .contains("on the host")
    );
}

#[test]
fn a_failed_run_uses_it_up() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("fault \"\"", "fault \"exit\"");
    here.rosey.run(&["plan", "test", "--out"]).exits(0);
    here.rosey.run(&["apply", FILE]).exits(7);
    here.rosey.run(&["release-hold", "test"]).exits(0);
    refused(&here, FILE);
}
