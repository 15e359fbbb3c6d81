//! What a script and a person in a hurry can rely on, whatever is wrong: a document, an outcome, a way back.

use serde_json::{Value, json};

use super::here::{Here, lines_with_one_outcome};
use crate::support::Project;

/// A second host that nobody can reach, declared beside the one that is there.
fn beside_a_lost_one<'a>(project: &'a Project) -> Here<'a> {
    let here = Here::at(project);
    here.declare(
        "host \"here\" local=#true",
        "host \"here\" local=#true\nhost \"lost\" address=\"127.0.0.1\" port=1",
    );
    // A relative root is for local hosts only.
    here.declare(
        "root \"../srv\"",
        &format!("root \"{}\"", here.root().display()),
    );
    here
}

/// A document that is printed although a host can't be reached.
#[track_caller]
fn document(here: &Here<'_>, arguments: &[&str], code: i32) -> Value {
    let ran = here.rosey.run(arguments).exits(code);
    let document = ran.json();
    assert_eq!(document["environment"], "test", "{document:#}");
    document
}

#[test]
fn what_could_be_read_is_printed_with_what_could_not() {
    let project = Project::with_bot();
    let here = beside_a_lost_one(&project);
    let verified = document(&here, &["verify", "test", "--json", "--only", "here"], 10);
    assert_eq!(verified["exit_code"], 10, "{verified:#}");
    here.rosey
        .run(&["apply", "test", "--yes", "--only", "here"])
        .exits(0);
    std::fs::write(here.root().join("current/VERSION"), "by hand").unwrap();
    let commands: [(&[&str], &str); 5] = [
        (&["drift", "test", "--json"], "findings"),
        (&["verify", "test", "--json"], "gates"),
        (&["rollback", "test", "--list", "--json"], "generations"),
        (&["plan", "test", "--json"], "steps"),
        (&["status", "test", "--json"], "hosts"),
    ];
    for (command, list) in commands {
        let found = document(&here, command, 4);
        assert!(found["unreachable"]["lost"].is_string(), "{found:#}");
        assert!(
            found[list].to_string().contains("here") || found[list].to_string().contains("bot"),
            "{found:#}"
        );
        let none = document(&here, &[command, &["--only", "lost"]].concat(), 4);
        assert!(none["unreachable"]["lost"].is_string(), "{none:#}");
        assert!(
            none[list].as_array().is_some_and(Vec::is_empty)
                || none[list]
                    .as_object()
                    .is_some_and(serde_json::Map::is_empty),
            "{none:#}"
        );
    }
    // Nor is an environment left out where all are shown.
    let declared = std::fs::read_to_string(project.path("environments/test.kdl")).unwrap();
    project.environment("other", &declared);
    let all = here
        .rosey
        .run(&["status", "--json", "--only", "lost"])
        .exits(4)
        .json();
    assert_eq!(all["environments"].as_array().unwrap().len(), 2, "{all:#}");
}

#[test]
fn a_saved_plan_is_for_its_own_hosts_and_no_others() {
    let project = Project::with_bot();
    let here = beside_a_lost_one(&project);
    here.rosey
        .run(&["plan", "test", "--out", "--only", "here"])
        .exits(0);
    for choice in [["--only", "lost"], ["--except", "here"]] {
        let ran = here
            .rosey
            .run(&[&["apply", "plans/test.yaml"][..], &choice].concat())
            .exits(1);
        assert!(ran.stderr.contains("saved plan"), "{}", ran.stderr);
        assert!(!here.root().exists());
    }
    here.rosey
        .run(&["apply", "plans/test.yaml", "--except", "lost"])
        .exits(0);
    let history = here.rosey.run(&["history", "--json"]).exits(0).json();
    assert_eq!(history["runs"][0]["only"], json!(["here"]), "{history:#}");
}

#[test]
fn the_outcome_says_what_the_process_does() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let lines = here.apply_json(&["--detailed-exitcode"], 2);
    assert_eq!(lines.last().unwrap()["outcome"], "applied");
    here.apply_json(&["--detailed-exitcode"], 0);
    // Whatever is wrong, the last line is an outcome.
    for command in ["apply", "rollback", "remove"] {
        let ran = here.rosey.run(&[command, "test", "--json", "--bogus"]);
        let lines = lines_with_one_outcome(&ran, 1);
        assert_eq!(lines.last().unwrap()["outcome"], "refused");
        assert!(ran.stderr.contains("--bogus"), "{}", ran.stderr);
    }
    let ran = here.rosey.run(&["apply", "--bogus"]).exits(1);
    assert_eq!(ran.stdout, "");
}

#[test]
fn the_outcome_has_every_chosen_host_with_all_its_apps() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    project.write("site/index.html", "first\n");
    here.declare(
        "// last",
        "app \"site\" {\n    root \"../site-srv\"\n    source \"../site\"\n    version \"7\"\n}\n// last",
    );
    here.apply().exits(0);
    let apps = |lines: &[Value]| {
        let apps = &lines.last().unwrap()["hosts"]["here"];
        let apps = apps.as_array().expect("an array for several apps").iter();
        apps.map(|it| it["version"].clone()).collect::<Vec<_>>()
    };
    project.write("bot/VERSION", "2.0.0");
    assert_eq!(apps(&here.apply_json(&[], 0)), ["2.0.0", "7"]);
    let back = here.rosey.run(&["rollback", "test", "--yes", "--json"]);
    assert_eq!(apps(&lines_with_one_outcome(&back, 0)), ["1.0.0", "7"]);
    here.rosey
        .run(&["freeze", "test", "--reason", "the fair"])
        .exits(0);
    let frozen = here.rosey.run(&["remove", "test", "--yes", "--json"]);
    assert_eq!(apps(&lines_with_one_outcome(&frozen, 5)), ["1.0.0", "7"]);
}

#[test]
fn protection_insists_on_a_reason_whatever_the_command() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    std::fs::write(here.root().join("current/VERSION"), "by hand").unwrap();
    here.declare("// last", "protect { reason; saved-plan; version; }");
    let before = here.look();
    for command in [
        &["apply", "test", "--yes"][..],
        &["rollback", "test", "--yes"],
        &["remove", "test", "--yes"],
        &["drift", "test", "--heal", "--yes"],
    ] {
        for reason in [&[][..], &["--reason", ""], &["--reason", " \t"]] {
            let ran = here.rosey.run(&[command, reason].concat()).exits(9);
            assert!(ran.stderr.contains("--reason TEXT"), "{}", ran.stderr);
        }
    }
    before.must_equal(&here.look());
    // What has neither a version nor a saved plan to give stays possible.
    here.rosey
        .run(&["drift", "test", "--heal", "--yes", "--reason", "the fair"])
        .exits(0);
    here.rosey
        .run(&["rollback", "test", "--yes", "--reason", "the fair"])
        .exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn a_way_back_waits_for_nobodys_unfinished_edit() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    here.declare("// last", "assert \"port < 1\" message=\"never\"\n// last");
    project.write("bot/config.json.j2", "{{ nobody_knows_this }}");
    std::fs::remove_file(project.path("bot/VERSION")).unwrap();
    here.rosey.run(&["plan", "test"]).exits(3);
    here.rosey.run(&["status", "test"]).exits(0);
    std::fs::remove_dir_all(project.path("bot")).unwrap();
    here.rosey.run(&["plan", "test"]).exits(3);
    for command in [
        &["status", "test"][..],
        &["drift", "test"],
        &["verify", "test"],
        &["rollback", "test", "--list"],
        &["freeze", "test", "--reason", "the fair"],
        &["unfreeze", "test"],
        &["release-hold", "test"],
        &["rollback", "test", "--yes"],
    ] {
        here.rosey.run(command).exits(0);
    }
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    here.declare("host \"here\"", "hst \"here\"");
    here.rosey.run(&["status", "test"]).exits(3);
}

#[test]
fn a_file_outside_needs_its_directory() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let directory = project.path("no dir");
    here.add(&format!(
        "file \"{}/x.conf\" from=\"VERSION\"",
        directory.display()
    ));
    let plan = here.rosey.run(&["plan", "test"]).exits(10);
    let line = format!("install -d '{}'", directory.display());
    assert!(plan.stdout.contains(&line), "{}", plan.stdout);
    std::fs::create_dir(&directory).unwrap();
    here.apply().exits(0);
}

#[test]
fn the_state_may_be_named_as_a_directory_or_as_the_database_itself() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let state = project.path("kept/state.db");
    let with = |arguments: &[&str]| {
        let mut command = here.rosey.command(arguments);
        let output = command.env("ROSEY_STATE", &state).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    with(&["apply", "test", "--yes"]);
    assert!(state.is_file());
    assert!(with(&["history"]).contains("applied"));
}

#[test]
fn what_is_deployed_into_its_own_source_is_no_part_of_it() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare("root \"../srv\"", "root \"../bot/live\"");
    here.apply().exits(0);
    assert_eq!(here.planned(), Vec::<String>::new());
    assert!(!project.path("bot/live/current/live").exists());
}

#[test]
fn names_are_shown_as_they_are_written() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let name = "Ünï file%.txt";
    std::fs::write(here.root().join("current").join(name), "by hand").unwrap();
    std::fs::write(here.root().join("current/a\nb"), "by hand").unwrap();
    let text = here.rosey.run(&["drift", "test"]).exits(2).stdout;
    assert!(text.contains(name) && text.contains("a%0Ab"), "{text}");
    let drift = here.rosey.run(&["drift", "test", "--json"]).exits(2).json();
    assert!(drift["findings"].to_string().contains(name), "{drift:#}");
}

#[test]
fn an_environment_is_meant_before_a_file_of_its_name() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    project.write("test", "no plan");
    here.apply().exits(0);
    let ran = here.rosey.run(&["apply", "environments/test.kdl"]).exits(1);
    assert!(ran.stderr.contains("rosey apply test"), "{}", ran.stderr);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    let ran = here.rosey.run(&["rollback", "test"]).exits(9);
    assert!(!ran.stderr.contains("--out"), "{}", ran.stderr);
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    let history = here.rosey.run(&["history", "--json"]).exits(0).json();
    assert_eq!(history["runs"][0]["version"], "1.0.0", "{history:#}");
}

#[test]
fn data_that_cannot_be_written_is_an_error() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    for command in [&["plan", "test"][..], &["status", "test"], &["history"]] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let mut command = here.rosey.command(command);
        assert_eq!(command.stdout(full).status().unwrap().code(), Some(1));
    }
}
