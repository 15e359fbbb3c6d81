//! What is declared comes to be, and nothing more is done than must be.

use super::here::Here;
use crate::support::{Project, Ran};

#[test]
fn a_first_apply_serves_and_a_second_does_nothing() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let (process, before) = (here.process(), here.look());

    // The bot writes into its database all the time, and the database has a backup.
    let second = here.apply().exits(0);
    assert!(second.stderr.contains("unchanged"), "{}", second.stderr);
    assert!(here.planned().is_empty());
    here.rosey
        .run(&["plan", "test", "--detailed-exitcode"])
        .exits(0);
    let lines = here.apply_json(&[], 0);
    assert_eq!(lines.last().unwrap()["outcome"], "unchanged");
    before.must_equal(&here.look());
    assert_eq!(here.process(), process);
}

#[test]
fn a_source_around_rosey_s_own_state_deploys_none_of_it() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    // As with `source ".."`, where `.rosey/` lies beside `environments/`.
    let state = project.path("bot/.rosey");
    let apply = || {
        let mut command = here.rosey.command(&["apply", "test", "--yes"]);
        let output = command.env("ROSEY_STATE", &state).output();
        Ran::new("rosey apply".to_owned(), &output.unwrap()).exits(0)
    };
    apply();
    assert!(state.join("rosey.db").exists());
    let second = apply();
    assert!(second.stderr.contains("unchanged"), "{}", second.stderr);
    assert!(!here.root().join("current/.rosey").exists());
}

#[test]
fn a_changed_file_is_all_that_changes() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.replace("bot/bin/smoke", "A smoke test", "The smoke test");
    let planned = here.planned();
    let releases: Vec<_> = planned
        .iter()
        .filter(|step| step.contains("sync create release srv/releases/1.0.0-"))
        .collect();
    assert_eq!(releases.len(), 1, "{planned:#?}");
    let others: Vec<_> = planned
        .iter()
        .filter(|step| !releases.contains(step))
        .map(String::as_str)
        .collect();
    assert_eq!(
        others,
        [
            "backup take backup bot",
            "link update link srv/current",
            "restart restart service bot.service",
            "verify check gates bot"
        ]
    );
    let ran = here
        .rosey
        .run(&["apply", "test", "--yes", "--detailed-exitcode"])
        .exits(2);
    assert!(ran.stderr.contains("received 1 file"), "{}", ran.stderr);
    here.rosey
        .run(&["apply", "test", "--yes", "--detailed-exitcode"])
        .exits(0);
}

#[test]
fn the_shape_of_plans_and_outcomes_is_what_the_contract_says() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let plan = here.rosey.run(&["plan", "test", "--json"]).exits(0).json();
    assert_eq!(plan["format_version"], "1.0");
    assert_eq!(
        (&plan["environment"], &plan["version"]),
        (&"test".into(), &"1.0.0".into())
    );
    assert_eq!(plan["changes"], true);
    assert!(plan["findings"].is_array());
    let steps = plan["steps"].as_array().unwrap();
    let ids: Vec<_> = steps.iter().map(|step| &step["id"]).collect();
    for (position, step) in steps.iter().enumerate() {
        for word in ["id", "host", "app", "kind", "resource", "action", "label"] {
            assert!(step[word].is_string(), "{word} of {step:#?}");
        }
        assert!(step["reasons"].is_array());
        for before in step["after"].as_array().unwrap() {
            assert!(
                ids[..position].contains(&before),
                "{before} comes before {step:#?}"
            );
        }
    }
    assert!(!plan["undo"].as_array().unwrap().is_empty());

    let lines = here.apply_json(&["--reason", "a first try"], 0);
    assert_eq!(lines[0]["type"], "run-started");
    assert_eq!(lines[0]["author"]["reason"], "a first try");
    let outcome = lines.last().unwrap();
    assert_eq!(outcome["outcome"], "applied");
    assert_eq!(outcome["run"], lines[0]["run"]);
    let here_now = &outcome["hosts"]["here"];
    assert_eq!(
        (&here_now["app"], &here_now["generation"]),
        (&"bot".into(), &1.into())
    );
    assert_eq!(
        (&here_now["version"], &here_now["healthy"]),
        (&"1.0.0".into(), &true.into())
    );
    assert!(here_now["release"].as_str().unwrap().starts_with("1.0.0-"));
    let status = here
        .rosey
        .run(&["status", "test", "--json"])
        .exits(0)
        .json();
    assert_eq!(status["hosts"], outcome["hosts"]);

    let after = here.rosey.run(&["plan", "test", "--json"]).exits(0).json();
    assert_eq!(after["changes"], false);
    assert_eq!(after["undo"], serde_json::json!([]));
}

#[test]
fn with_nothing_to_change_the_gates_are_read_and_named_by_the_exit_code() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    std::fs::write(here.root().join("shared/data/channel-down"), "").unwrap();
    let lines = here.apply_json(&[], 16);
    assert_eq!(lines.last().unwrap()["outcome"], "unhealthy");
    here.rosey.run(&["verify", "test"]).exits(16);
    std::fs::remove_file(here.root().join("shared/data/channel-down")).unwrap();
    let read = here
        .rosey
        .run(&["verify", "test", "--json"])
        .exits(0)
        .json();
    let gates = read["gates"].as_array().unwrap();
    assert_eq!(gates.len(), 2, "{gates:#?}");
    assert!(
        gates.iter().all(|gate| gate["verdict"] == "passed"),
        "{gates:#?}"
    );
    here.rosey
        .run(&["verify", "test", "--version", "9.9.9"])
        .exits(16);
}

#[test]
fn several_environments_and_hosts_have_to_be_named() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let unknown = here.rosey.run(&["apply", "tset", "--yes"]).exits(3);
    assert!(unknown.stderr.contains("test"), "{}", unknown.stderr);
    for choice in [
        ["--only", "elsewhere"],
        ["--except", "elsewhere"],
        ["--except", "here"],
    ] {
        let arguments = [&["apply", "test", "--yes"], &choice[..]].concat();
        here.rosey.run(&arguments).exits(1);
    }
    here.rosey
        .run(&["remove", "test", "other", "--yes"])
        .exits(1);
    here.rosey
        .run(&["apply", "--yes", "--only", "here"])
        .exits(0);
    project.environment("second", "host \"here\" local=#true\n");
    let which = here.rosey.run(&["apply", "--yes"]);
    assert_ne!(which.code, Some(0));
    assert!(
        which.stderr.contains("second") && which.stderr.contains("test"),
        "{}",
        which.stderr
    );
}

#[test]
fn gates_that_alone_have_changed_are_read_and_recorded_once() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let gates = || {
        let verified = here.rosey.run(&["verify", "test", "--json"]).exits(0);
        verified.json()["gates"].as_array().unwrap().len()
    };
    let before = (gates(), here.look());
    here.declare(
        "process \"bot\"\n",
        "process \"bot\"\n        command \"more\" run=\"test -e ready\" timeout=\"5s\"\n",
    );
    let plan = here.rosey.run(&["plan", "test"]).exits(0);
    assert!(
        plan.stdout.contains("gates have changed"),
        "{}",
        plan.stdout
    );
    here.apply().exits(14);
    assert_eq!(gates(), before.0, "what doesn't pass isn't recorded");

    here.declare("test -e ready", "test -e server.py");
    let ran = here.apply().exits(0);
    assert!(ran.stderr.contains("gates have changed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("unchanged"), "{}", ran.stderr);
    assert_eq!(gates(), before.0 + 1);
    let ran = here.apply().exits(0);
    assert!(!ran.stderr.contains("gates have changed"), "{}", ran.stderr);
    let plan = here.rosey.run(&["plan", "test"]).exits(0);
    assert!(!plan.stdout.contains("gates have"), "{}", plan.stdout);
    before.1.must_equal(&here.look());
}

#[test]
fn what_is_left_is_held_as_it_was_declared_last() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "1.1.0\n");
    here.apply().exits(0);
    // Nothing uses it, and it is another declaration all the same.
    here.declare("vars {", "vars {\n    unused 1");
    here.apply().exits(0);
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    here.apply().exits(5);
}

#[test]
fn a_task_comes_after_all_that_its_release_shows() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.add(
        r#"task "mig" once=#true { run "echo x >> data/mig"; undo "true"; inputs "VERSION"; }"#,
    );
    let plan = here.rosey.run(&["plan", "test", "--json"]);
    let plan = plan.exits(0).json();
    let id = |kind: &str, path: &str| {
        let path = here.root().join(path);
        format!("here/bot/{kind}:{}", path.display())
    };
    let task = "here/bot/task:mig".to_owned();
    let shown = [
        id("directory", "shared/data"),
        id("file", "shared/local.env"),
    ];
    let steps = plan["steps"].as_array().unwrap();
    let before = waited_for(steps, &task);
    assert!(shown.iter().all(|id| before.contains(id)), "{before:?}");
    // It is undone while all of that is still there.
    let undo = plan["undo"].as_array().unwrap();
    let before = waited_for(undo, &shown[0]);
    assert!(before.contains(&task), "{before:?}");
}

/// The resources whose steps a resource's own waits for, through others too.
fn waited_for(steps: &[serde_json::Value], resource: &str) -> std::collections::BTreeSet<String> {
    let resource_of = |id: &str| id.split('#').next().unwrap_or_default().to_owned();
    let mut open = vec![resource.to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(next) = open.pop() {
        let own = steps.iter().filter(|step| {
            let id = step["id"].as_str().expect("a step has an id");
            resource_of(id) == next
        });
        for after in own.flat_map(|step| step["after"].as_array().expect("a step waits")) {
            let after = resource_of(after.as_str().expect("it waits for ids"));
            if seen.insert(after.clone()) {
                open.push(after);
            }
        }
    }
    seen
}
