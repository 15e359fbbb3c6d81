//! Nothing is done that nobody agreed to, and what an environment insists on can't be skipped.

use super::here::{Here, lines_with_one_outcome};
use crate::support::Project;

#[test]
fn without_a_person_somebody_must_have_agreed() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let ran = here.rosey.run(&["apply", "test"]).exits(9);
    for words in ["--yes", "(rosey plan test --out)"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert!(!here.root().exists());
    let lines = lines_with_one_outcome(&here.rosey.run(&["apply", "test", "--json"]), 9);
    assert_eq!(lines.last().unwrap()["outcome"], "refused");
    let in_ci = here
        .rosey
        .command(&["apply", "test"])
        .env("CI", "true")
        .output()
        .unwrap();
    assert_eq!(in_ci.status.code(), Some(0), "{in_ci:?}");
    // With nothing to do there is nothing to agree to.
    here.rosey.run(&["apply", "test"]).exits(0);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    here.rosey.run(&["rollback", "test"]).exits(9);
    here.rosey.run(&["remove", "test"]).exits(9);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}

#[test]
fn what_is_protected_is_insisted_on() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare("// last", "protect { reason; version; saved-plan; }");
    let ran = here.rosey.run(&["apply", "test", "--yes"]).exits(9);
    for word in ["--reason", "--version", "saved plan"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    assert!(!here.root().exists());
    let all = [
        "apply",
        "plans/test.yaml",
        "--reason",
        "a try",
        "--version",
        "1.0.0",
    ];
    here.rosey.run(&["plan", "test", "--out"]).exits(0);
    for missing in [&all[..2], &all[..4], &[&all[..2], &all[4..]].concat()] {
        here.rosey.run(missing).exits(9);
    }
    here.rosey
        .run(&[
            "apply",
            "test",
            "--yes",
            "--reason",
            "a try",
            "--version",
            "1.0.0",
        ])
        .exits(9);
    let in_ci = here
        .rosey
        .command(&["apply", "test"])
        .env("CI", "true")
        .output();
    assert_eq!(in_ci.unwrap().status.code(), Some(9));
    assert!(!here.root().exists());
    here.rosey.run(&all).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn what_can_not_be_taken_back_needs_consent() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.add(r#"task "migrate" once=#true { run "touch data/migrated"; inputs "migrations/"; }"#);
    let plan = here.rosey.run(&["plan", "test"]);
    assert!(
        plan.stdout
            .lines()
            .next()
            .unwrap_or_default()
            .contains("IRREVERSIBLE"),
        "{}",
        plan.stdout
    );
    let ran = here.apply().exits(10);
    assert!(
        ran.stderr.contains("--allow-irreversible"),
        "{}",
        ran.stderr
    );
    assert!(!here.root().join("shared/data/migrated").exists());
    here.rosey
        .run(&["apply", "test", "--yes", "--allow-irreversible"])
        .exits(0);
    assert!(here.root().join("shared/data/migrated").exists());
    assert!(here.planned().is_empty());
}
