//! What stands where a run ended past its point of no return: it goes on from there, and never back.

use super::here::{Here, PATIENCE};
use crate::support::{Project, wait_until};

#[test]
fn what_stands_new_and_in_no_generation_is_recorded_by_the_next_apply() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.add(r#"task "migrate" once=#true { run "touch data/migrated"; inputs "migrations/"; }"#);
    here.declare("within \"5s\"", "within \"60s\"");
    here.declare("stable \"100ms\"", "stable \"50s\"");
    project.write("bot/VERSION", "2.0.0\n");
    let apply = ["apply", "test", "--yes", "--allow-irreversible"];
    let mut child = here.rosey.command(&apply).spawn().unwrap();
    // All is done but for the gates, which are read for long.
    wait_until("the new version serves", PATIENCE, || {
        here.serving().as_deref() == Some("2.0.0")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    here.declare("stable \"50s\"", "stable \"100ms\"");
    let stands = || {
        let status = here.rosey.run(&["status", "test"]);
        format!("{}{}", status.stdout, status.stderr).contains("between old and new")
    };
    wait_until("the helper has left it", PATIENCE, stands);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));

    // What was before can't live with what was done.
    let heal = ["drift", "test", "--heal", "--yes"];
    let healed = here.rosey.run(&heal).exits(10);
    assert!(
        healed.stderr.contains("rosey apply test"),
        "{}",
        healed.stderr
    );
    assert_eq!(here.planned(), ["verify check gates bot"]);
    here.apply().exits(0);
    assert!(!stands());
    assert!(here.planned().is_empty());
    here.rosey.run(&["drift", "test"]).exits(0);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}
