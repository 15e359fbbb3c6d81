//! Commands that touch no server, as a person types them: their wiring, their words, their exit codes.

use rosey::history::{About, History};

use crate::support::{Project, Ran, Rosey};

/// A project whose only environment is right.
fn project() -> Project {
    let project = Project::new();
    project.write("app/hello.txt", "hello {{ name }}\n");
    project.environment(
        "demo",
        r#"vars { name "ann"; }
secret "token" env="NOT_SET_ANYWHERE"
host "here" local=#true
app "hello" {
    root "../live"
    source "../app"
    version "1.2"
    render "greeting" from="hello.txt"
}
"#,
    );
    project
}

/// Paths of the test's own directory have other names each time.
fn told(project: &Project, text: &str) -> String {
    text.replace(&project.root().display().to_string(), "PROJECT")
}

#[test]
fn wrong_use_is_told_and_help_is_no_error() {
    let project = project();
    let rosey = Rosey::here(&project);
    let help = rosey.run(&["--help"]).exits(0);
    for word in ["init", "apply", "freeze", "doctor", "Exit codes"] {
        assert!(
            help.stdout.contains(word),
            "{word} is not in {}",
            help.stdout
        );
    }
    assert!(!help.stdout.contains("helper"), "{}", help.stdout);
    assert!(rosey.run(&["aply"]).exits(1).stderr.contains("'apply'"));
    rosey.run(&["plan"]).exits(1);
    rosey.run(&["plan", "demo", "--oot"]).exits(1);
}

#[test]
fn an_unknown_environment_names_the_nearest_one() {
    let project = project();
    let rosey = Rosey::here(&project);
    for command in [["check", "demoo"], ["plan", "demoo"], ["doctor", "demoo"]] {
        let said = rosey.run(&command).exits(3).stderr;
        assert!(said.contains("did you mean `demo`?"), "{said}");
    }
    let empty = Project::new();
    let said = Rosey::here(&empty).run(&["check"]).exits(3).stderr;
    assert!(said.contains("rosey init"), "{said}");
}

#[test]
fn a_check_sums_up_what_is_right_without_any_secret() {
    let project = project();
    let ran = Rosey::here(&project).run(&["check"]).exits(0);
    insta::assert_snapshot!(ran.stdout, @"demo: hello 1.2 on 1 host: all right");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_check_tells_everything_that_is_wrong_in_every_environment() {
    let project = project();
    project.write("app/broken.txt", "{{ nobody }}\n");
    project.environment(
        "test",
        r#"host "here" local=#true
app "hello" {
    root "../live"
    source "../app"
    versoin "1.2"
    render "greeting" from="broken.txt"
    render "other" from="missing.txt"
}
"#,
    );
    let ran = Rosey::here(&project).run(&["check"]).exits(3);
    assert_eq!(ran.stdout, "demo: hello 1.2 on 1 host: all right\n");
    insta::assert_snapshot!(told(&project, &ran.stderr));
}

#[test]
fn completions_and_the_manual_know_every_command() {
    let project = project();
    let rosey = Rosey::here(&project);
    for shell in ["bash", "zsh", "fish"] {
        let script = rosey.run(&["completions", shell]).exits(0).stdout;
        assert!(script.contains("release-hold"), "{shell}: {script}");
    }
    rosey.run(&["completions", "cobol"]).exits(1);
    let page = rosey.run(&["man"]).exits(0).stdout;
    assert!(page.contains(".TH rosey 1"), "{page}");
    for command in ["init", "apply", "release-hold", "unlock", "man"] {
        let heading = format!(".SS {command}");
        assert!(page.contains(&heading), "{heading} is not in {page}");
    }
    assert!(!page.contains(".SS helper"), "{page}");
}

#[test]
fn a_first_environment_is_right_as_it_is_and_never_written_over() {
    let empty = Project::new();
    let rosey = Rosey::here(&empty);
    let said = rosey.run(&["init"]).exits(0).stderr;
    insta::assert_snapshot!(said, @"
    wrote environments/demo.kdl
    wrote app/server.py
    wrote app/VERSION
    wrote .gitignore

    next, for the example app on this machine:
      rosey check              is everything right?
      rosey plan demo          what would happen
      rosey apply demo         make it so; `rosey remove demo` takes it away again
    ");
    let checked = rosey.run(&["check"]).exits(0).stdout;
    assert_eq!(checked, "demo: hello 1.0.0 on 1 host: all right\n");
    let declared = std::fs::read(empty.path("environments/demo.kdl")).unwrap();
    let again = rosey.run(&["init"]).exits(1).stderr;
    assert!(again.contains("nothing was written"), "{again}");
    assert_eq!(
        declared,
        std::fs::read(empty.path("environments/demo.kdl")).unwrap()
    );
}

/// A name, the files of a project, and what is expected of it.
type Kind<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn a_first_environment_is_right_for_whatever_is_there() {
    let package = r#"{"main": "x.js", "dependencies": {"left-pad": "1"}}"#;
    let kinds: [Kind; 4] = [
        (
            "my bot",
            &[("server.py", ""), ("VERSION", "2.1\n")],
            "my-bot 2.1",
        ),
        (
            "lib",
            &[
                ("app.py", ""),
                ("requirements.txt", "six\n"),
                ("bot.service", "[Service]\n"),
            ],
            "lib 0",
        ),
        ("node", &[("package.json", package), ("x.js", "")], "node 0"),
        (
            "site",
            &[("index.html", "<p>"), (".gitignore", "*.o\n")],
            "site 0",
        ),
    ];
    for (directory, files, summary) in kinds {
        let project = Project::new();
        for (name, text) in files {
            project.write(&format!("{directory}/{name}"), text);
        }
        let rosey = Rosey::here(&project);
        let said = rosey.run(&["init", directory]).exits(0).stderr;
        // What is to be typed can be typed.
        let typed = if directory.contains(' ') {
            format!("cd '{directory}'")
        } else {
            format!("cd {directory}")
        };
        assert!(said.contains(&typed), "{said}");
        let mut check = rosey.command(&["check"]);
        let checked = check.current_dir(project.path(directory)).output().unwrap();
        let checked = Ran::new(format!("rosey check in {directory}"), &checked).exits(0);
        assert_eq!(
            checked.stdout,
            format!("demo: {summary} on 1 host: all right\n")
        );
        for (name, text) in files {
            let path = project.path(&format!("{directory}/{name}"));
            assert_eq!(std::fs::read_to_string(path).unwrap(), *text, "{name}");
        }
    }
}

#[test]
fn a_key_is_trusted_only_with_a_word_for_it() {
    let project = project();
    let rosey = Rosey::here(&project);
    let said = rosey.run(&["trust", "here"]).exits(1).stderr;
    assert!(said.contains("needs no key"), "{said}");
    let said = rosey.run(&["trust", "two words"]).exits(1).stderr;
    assert!(said.contains("no address"), "{said}");
    // A port that was just free: nothing listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let said = rosey
        .run(&["trust", &free.to_string(), "--yes"])
        .exits(4)
        .stderr;
    assert!(said.contains("nothing listens there"), "{said}");
    assert!(!rosey.home().join(".ssh").exists());
}

/// Events of a run as the program reports them, each a minute after the one before.
fn record(rosey: &Rosey<'_>, events: serde_json::Value) {
    let history = History::open(&rosey.home().join("state/rosey.db")).unwrap();
    let about = About {
        version: Some("1.2".to_owned()),
        only: vec!["eu".to_owned()],
        except: Vec::new(),
    };
    let (sender, recorder) = history.record(about).unwrap();
    for (minute, mut event) in events.as_array().unwrap().iter().cloned().enumerate() {
        event["time"] = format!("2026-11-20T10:{minute:02}:00.000Z").into();
        sender.send(serde_json::from_value(event).unwrap()).unwrap();
    }
    drop(sender);
    recorder.finish().unwrap();
}

#[test]
fn a_missing_history_is_an_empty_one() {
    let project = project();
    let rosey = Rosey::here(&project);
    let ran = rosey.run(&["history"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("no runs were recorded"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        rosey.run(&["history", "--json"]).exits(0).json()["runs"],
        serde_json::json!([])
    );
    assert!(!rosey.home().join("state").exists());
    assert!(
        rosey
            .run(&["show", "2026"])
            .exits(1)
            .stderr
            .contains("no runs were recorded")
    );
}

#[test]
fn a_run_is_listed_and_shown_step_by_step() {
    let project = project();
    let rosey = Rosey::here(&project);
    let link = serde_json::json!({
        "type": "step-started", "host": "bot-1", "app": "bot", "step": "bot-1/bot/link:/opt/bot/current",
        "kind": "link", "action": "update", "resource": "link /opt/bot/current",
    });
    let failed = serde_json::json!({
        "type": "step-failed", "host": "bot-1", "app": "bot", "step": "bot-1/bot/link:/opt/bot/current",
        "error": "no space left", "elapsed": 1200,
    });
    let gate = serde_json::json!({
        "type": "gate-read", "host": "bot-1", "app": "bot", "baseline": true,
        "result": { "gate": "process bot", "verdict": "passed", "class": "process", "detail": "active", "elapsed": 4 },
    });
    let author = serde_json::json!({ "user": "ann", "machine": "desk", "reason": "the fair" });
    record(
        &rosey,
        serde_json::json!([
            { "type": "run-started", "run": "20261120T100000Z-3fa9c1", "environment": "prod",
              "command": "apply", "author": author, "steps": 1, "hosts": ["bot-1"] },
            gate, link, failed,
            { "type": "going-back", "host": "bot-1", "app": "bot", "reason": "no space left" },
            { "type": "outcome", "run": "20261120T100000Z-3fa9c1", "outcome": "rolled-back", "exit_code": 7,
              "hosts": { "bot-1": [{ "app": "bot", "generation": 3, "release": "1.1-0", "version": "1.1", "healthy": true }] } },
        ]),
    );
    insta::assert_snapshot!("history", rosey.run(&["history"]).exits(0).stdout);
    insta::assert_snapshot!("show", rosey.run(&["show", "20261120T10"]).exits(0).stdout);
    let listed = rosey.run(&["history", "prod", "--json"]).exits(0).json();
    assert_eq!(listed["runs"][0]["outcome"], "rolled-back");
    let shown = rosey
        .run(&["show", "20261120T10", "--json"])
        .exits(0)
        .json();
    assert_eq!(shown["format_version"], "1.0");
    assert_eq!(shown["taken"][0]["error"], "no space left");
    let other = rosey.run(&["history", "test"]).exits(0);
    assert!(other.stderr.contains("no runs of test"), "{}", other.stderr);
    assert!(
        rosey
            .run(&["show", "1999"])
            .exits(1)
            .stderr
            .contains("no run 1999")
    );
}
