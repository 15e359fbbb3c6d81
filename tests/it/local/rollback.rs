//! Going back to earlier generations: further back each time, never forward, or to one that is named.

use super::here::{Here, PATIENCE};
use crate::support::{Project, wait_until};

/// Four versions, one after the other.
fn four<'a>(project: &'a Project) -> Here<'a> {
    let here = Here::applied(project);
    for version in ["2.0.0", "3.0.0", "4.0.0"] {
        project.write("bot/VERSION", version);
        here.apply().exits(0);
    }
    here
}

fn back(here: &Here<'_>, more: &[&str], code: i32) -> String {
    let ran = here
        .rosey
        .run(&[&["rollback", "test", "--yes"], more].concat())
        .exits(code);
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn twice_goes_further_back_and_never_forward() {
    let project = Project::with_bot();
    let here = four(&project);
    for version in ["3.0.0", "2.0.0", "1.0.0"] {
        back(&here, &[], 0);
        assert_eq!(here.serving().as_deref(), Some(version));
        here.rosey.run(&["drift", "test"]).exits(0);
    }
    let list = here
        .rosey
        .run(&["rollback", "test", "--list", "--json"])
        .exits(0)
        .json();
    assert!(list.to_string().contains("4.0.0"), "{list:#}");
    // What a rollback has left is held: the declaration still says 4.0.0.
    let held = here.apply_json(&[], 5);
    assert_eq!(held.last().unwrap()["outcome"], "refused");
    back(&here, &["--to", "4.0.0"], 0);
    assert_eq!(here.serving().as_deref(), Some("4.0.0"));
    // A rollback lifts the hold on what it goes to.
    let lines = here.apply_json(&[], 0);
    assert_eq!(lines.last().unwrap()["outcome"], "unchanged");
}

#[test]
fn a_target_is_a_generation_a_release_or_a_version() {
    let project = Project::with_bot();
    let here = four(&project);
    back(&here, &["--to", "2"], 0);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
    back(&here, &["--to", "v3.0.0"], 0);
    assert_eq!(here.serving().as_deref(), Some("3.0.0"));
    let releases = std::fs::read_dir(here.root().join("releases")).unwrap();
    let names = releases.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let first = names
        .into_iter()
        .find(|name| name.starts_with("1.0.0-"))
        .unwrap();
    back(&here, &["--to", &first], 0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    assert!(back(&here, &["--to", "9.9.9"], 1).contains("9.9.9"));
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

/// The first version has a gate that the test can make fail; the second one hasn't.
fn with_a_gate<'a>(project: &'a Project) -> Here<'a> {
    let here = Here::at(project);
    let well = project.path("well");
    project.write("well", "");
    let gate = format!("command \"well\" run=\"test -e {}\"", well.display());
    here.declare("within \"5s\"", "within \"2s\"");
    here.declare("process \"bot\"", &gate);
    here.apply().exits(0);
    here.declare(&gate, "process \"bot\"");
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    std::fs::remove_file(well).unwrap();
    here
}

#[test]
fn an_unhealthy_target_is_left_again_unless_forced() {
    let project = Project::with_bot();
    let here = with_a_gate(&project);
    let before = here.look();
    back(&here, &[], 7);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
    before.must_equal(&here.look());

    back(&here, &["--force"], 0);
    // Nobody has waited for it either.
    wait_until("the version that was forced", PATIENCE, || {
        here.serving().as_deref() == Some("1.0.0")
    });
    // Nobody has read its gates, so nothing says that it is healthy.
    let status = here
        .rosey
        .run(&["status", "test", "--json"])
        .exits(0)
        .json();
    assert_eq!(status["hosts"]["here"]["healthy"], false, "{status:#}");
    let list = here.rosey.run(&["rollback", "test", "--list", "--json"]);
    let list = list.exits(0).json();
    let generations = list["generations"].as_array().unwrap();
    let current = generations.iter().find(|it| it["current"] == true).unwrap();
    assert_eq!(current["verified"], false, "{list:#}");
    // Its own gates are still the ones that judge it.
    here.rosey.run(&["verify", "test"]).exits(14);
}

#[test]
fn nothing_to_do_says_how_the_hosts_are() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let ran = here
        .rosey
        .run(&["rollback", "test", "--to", "1", "--yes", "--json"]);
    let lines = super::here::lines_with_one_outcome(&ran, 0);
    let outcome = lines.last().unwrap();
    assert_eq!(outcome["outcome"], "unchanged");
    assert_eq!(outcome["hosts"]["here"]["version"], "1.0.0", "{outcome}");
    assert_eq!(outcome["hosts"]["here"]["healthy"], true, "{outcome}");
}

#[test]
fn what_can_not_be_undone_is_refused_whatever_was_agreed_to() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    project.write("bot/migrations/1", "");
    here.add(
        r#"task "migrate" once=#true { run "echo up >> data/migrated"; inputs "migrations/"; }"#,
    );
    let all = ["apply", "test", "--yes", "--allow-irreversible"];
    here.rosey.run(&all).exits(0);
    project.write("bot/migrations/2", "");
    project.write("bot/VERSION", "2.0.0");
    here.rosey.run(&all).exits(0);
    let before = here.look();
    for more in [&[][..], &["--allow-irreversible"]] {
        let said = back(&here, more, 10);
        assert!(said.contains("can't be undone"), "{said}");
    }
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}

#[test]
fn what_would_fail_is_refused() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare(
        "file \"local.env\" seed",
        "file \"must.env\"\n        file \"local.env\" seed",
    );
    project.write("srv/shared/must.env", "A=1\n");
    here.apply().exits(0);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    std::fs::remove_file(project.path("srv/shared/must.env")).unwrap();
    let said = back(&here, &[], 10);
    assert!(
        said.contains("must.env is missing") || said.contains("missing: "),
        "{said}"
    );
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}
