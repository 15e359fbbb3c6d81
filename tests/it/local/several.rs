//! Two apps in one environment: one run, one outcome, and a verdict on one of them takes back both.

use serde_json::Value;

use super::here::{Here, lines_with_one_outcome};
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

const SITE: &str = "app \"site\" {";

/// Declares the site no more.
fn without_site(here: &Here<'_>) {
    here.declare(SITE, &format!("/-{SITE}"));
}

#[test]
fn an_app_that_is_declared_no_more_is_told_and_goes_by_its_name() {
    let project = Project::with_bot();
    let here = two(&project);
    let kept = project.write("site-srv/shared/data/kept", "by somebody\n");
    let bot = here.look();
    without_site(&here);
    let line = "rosey remove test site";
    for command in ["plan", "status", "drift"] {
        let ran = here.rosey.run(&[command, "test"]).exits(0);
        let said = ran.stdout + &ran.stderr;
        assert!(
            said.contains("site is in") && said.contains(&format!("{line}\n")),
            "{command}: {said}"
        );
    }
    for command in ["plan", "status", "drift"] {
        let said = here.rosey.run(&[command, "test", "--json"]).exits(0).json();
        assert!(said.to_string().contains(line), "{command}: {said:#}");
    }
    let ran = here.rosey.run(&["remove", "test", "sit", "--yes"]).exits(1);
    for words in [
        "no app \"sit\"",
        "did you mean `site`?",
        "its apps are: bot, site",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    // It is asked for as for any other, and what is frozen stays.
    here.rosey.run(&["remove", "test", "site"]).exits(9);
    let freeze = ["freeze", "test", "--reason", "the fair"];
    here.rosey.run(&freeze).exits(0);
    here.rosey
        .run(&["remove", "test", "site", "--yes"])
        .exits(5);
    here.rosey.run(&["unfreeze", "test"]).exits(0);
    let remove = |more: &[&str]| {
        let arguments = [&["remove", "test", "site", "--yes", "--json"], more].concat();
        let lines = lines_with_one_outcome(&here.rosey.run(&arguments), 0);
        lines.last().unwrap().clone()
    };
    let outcome = remove(&[]);
    assert_eq!(outcome["outcome"], "applied", "{outcome:#}");
    assert!(!project.path("site-srv/current").exists());
    assert!(kept.exists());
    bot.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let history = here.rosey.run(&["history", "test"]).exits(0).stdout;
    assert!(history.contains("remove"), "{history}");
    let said = here.rosey.run(&["status", "test"]).exits(0).stdout;
    assert!(!said.contains("site"), "{said}");
    // Once more changes nothing, until the data is to go.
    assert_eq!(remove(&[])["outcome"], "unchanged");
    assert!(kept.exists());
    remove(&["--with-data"]);
    assert!(!project.path("site-srv").exists());
    let again = here.rosey.run(&["remove", "test", "site", "--yes"]);
    assert!(
        again.exits(1).stderr.contains("no app \"site\""),
        "nobody knows it any more"
    );
}

#[test]
fn of_an_undeclared_app_at_two_roots_the_root_says_which_is_meant() {
    let project = Project::with_bot();
    let here = two(&project);
    here.declare("root \"../site-srv\"", "root \"../site-new\"");
    here.apply().exits(0);
    without_site(&here);
    let remove = |more: &[&str]| {
        let arguments = [&["remove", "test", "site", "--yes"], more].concat();
        here.rosey.run(&arguments)
    };
    let refused = remove(&[]).exits(1);
    assert!(refused.stderr.contains("--root"), "{}", refused.stderr);
    let old = project.path("site-srv");
    let line = format!("rosey remove test site --root {}\n", old.display());
    let said = here.rosey.run(&["status", "test"]).exits(0).stdout;
    assert!(said.contains(&line), "{said}");
    remove(&["--root", old.to_str().unwrap()]).exits(0);
    assert!(!old.join("current").exists());
    assert!(project.path("site-new/current").exists());
    remove(&["--except", "here"]).exits(1);
    remove(&[]).exits(0);
    assert!(!project.path("site-new/current").exists());
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
