//! Two apps in one environment: one run, one outcome, and a verdict on one of them takes back both.

use serde_json::Value;

use super::here::Here;
use crate::support::{Look, Project, Snapshot};

/// Beside the bot a site without a service, whose gate a test can make fail.
fn two<'a>(project: &'a Project) -> Here<'a> {
    let here = Here::at(project);
    project.write("site/index.html", "first\n");
    here.declare(
        "// last",
        "app \"site\" {\n    root \"../site-srv\"\n    source \"../site\"\n    version \"7\"\n    \
         verify { within \"1s\"; stable \"100ms\"; command \"well\" run=\"test ! -e broken\"; }\n}\n// last",
    );
    let lines = here.apply_json(&[], 0);
    assert_eq!(apps(lines.last().unwrap()), ["bot 1.0.0", "site 7"]);
    here
}

/// The apps of the one host, as an outcome or a status shows them.
fn apps(document: &Value) -> Vec<String> {
    let apps = document["hosts"]["here"]
        .as_array()
        .expect("an array for several apps");
    let line = |it: &Value| {
        assert!(
            it["generation"].is_number() && it["release"].is_string(),
            "{it}"
        );
        assert_eq!(it["healthy"], true, "{it}");
        let word = |name: &str| it[name].as_str().unwrap().to_owned();
        format!("{} {}", word("app"), word("version"))
    };
    apps.iter().map(line).collect()
}

fn look(here: &Here<'_>) -> (Snapshot, Snapshot) {
    (
        here.look(),
        Look::at([here.project.path("site-srv")]).here(),
    )
}

#[test]
fn a_verdict_on_one_app_takes_both_back() {
    let project = Project::with_bot();
    let here = two(&project);
    let before = look(&here);
    project.write("bot/VERSION", "2.0.0");
    project.write("site/broken", "");
    let lines = here.apply_json(&[], 7);
    assert_eq!(apps(lines.last().unwrap()), ["bot 1.0.0", "site 7"]);
    let after = look(&here);
    before.0.must_equal(&after.0);
    before.1.must_equal(&after.1);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let status = here
        .rosey
        .run(&["status", "test", "--json"])
        .exits(0)
        .json();
    assert_eq!(apps(&status), ["bot 1.0.0", "site 7"]);
    // What is held is the app that failed, and a run is all or nothing.
    assert!(
        status["notes"].to_string().contains("site is held"),
        "{status:#}"
    );
    assert!(
        !status["notes"].to_string().contains("bot is held"),
        "{status:#}"
    );
    here.apply().exits(5);
    std::fs::remove_file(project.path("site/broken")).unwrap();
    project.write("site/index.html", "second\n");
    let lines = here.apply_json(&[], 0);
    assert_eq!(apps(lines.last().unwrap()), ["bot 2.0.0", "site 7"]);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}

#[test]
fn one_of_two_apps_can_be_taken_away() {
    let project = Project::with_bot();
    let here = two(&project);
    let bot = here.look();
    here.rosey
        .run(&["remove", "test", "site", "--yes"])
        .exits(0);
    assert!(!project.path("site-srv/current").exists());
    bot.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn a_rollback_takes_each_app_to_its_own_generation_before() {
    let project = Project::with_bot();
    let here = two(&project);
    project.write("bot/VERSION", "2.0.0");
    project.write("site/index.html", "second\n");
    here.apply().exits(0);
    let index = || std::fs::read_to_string(project.path("site-srv/current/index.html")).unwrap();
    assert_eq!(index(), "second\n");
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    assert_eq!(
        (here.serving().as_deref(), index().as_str()),
        (Some("1.0.0"), "first\n")
    );
}

#[test]
fn a_rollback_undoes_the_last_run_and_leaves_what_that_did_not_change() {
    let project = Project::with_bot();
    let here = two(&project);
    let site = || std::fs::read_to_string(project.path("site-srv/current/index.html")).unwrap();
    let served = || (here.serving().unwrap_or_default(), site());
    let state = |bot: &str, site: &str| (bot.to_owned(), format!("{site}\n"));
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    project.write("site/index.html", "second\n");
    here.apply().exits(0);
    assert_eq!(served(), state("2.0.0", "second"));
    let back = |arguments: &[&str]| {
        let all: Vec<&str> = ["rollback", "test", "--yes"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        here.rosey.run(&all)
    };
    back(&[]).exits(0);
    assert_eq!(served(), state("2.0.0", "first"));
    back(&[]).exits(0);
    assert_eq!(served(), state("1.0.0", "first"));
    let nothing = back(&[]).exits(1);
    assert!(
        nothing.stderr.contains("has no earlier generation"),
        "{}",
        nothing.stderr
    );
    // One app of several, whoever changed it last.
    back(&["bot", "--to", "2.0.0"]).exits(0);
    assert_eq!(served(), state("2.0.0", "first"));
    back(&["site", "--to", "2"]).exits(0);
    assert_eq!(served(), state("2.0.0", "second"));
}
