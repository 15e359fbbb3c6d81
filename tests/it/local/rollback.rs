//! Going back to earlier generations: further back each time, never forward, or to one that is named.

use super::here::Here;
use crate::support::Project;

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

#[test]
fn an_unhealthy_target_is_left_again_unless_forced() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "2.0.0");
    here.declare("fault \"\"", "fault \"exit\"");
    here.declare("within \"5s\"", "within \"600ms\"");
    here.declare("process \"bot\"", "");
    here.declare(
        "        http ",
        "        tcp \"127.0.0.1:1\"\n        http ",
    );
    here.apply().exits(7);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    // There is nothing earlier that was ever healthy.
    let lines = super::here::lines_with_one_outcome(
        &here.rosey.run(&["rollback", "test", "--yes", "--json"]),
        1,
    );
    assert_eq!(lines.last().unwrap()["outcome"], "refused");
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}
