//! What the contract says of all commands alike: what they say where, what they ask, what they may do without.

use std::path::Path;

use super::here::{Here, PATIENCE};
use crate::support::{Project, Ran, Terminal, wait_until};

/// Where a gate is declared that no test wants, to be replaced.
const GATE: &str = "process \"bot\"\n";

#[test]
fn each_class_of_gates_has_a_code_of_its_own() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let health = format!("http://127.0.0.1:{}/api/health", here.port);
    std::fs::write(here.root().join("shared/data/broken.db"), "no database").unwrap();
    let gates = [
        ("tcp \"127.0.0.1:1\"".to_owned(), 12),
        ("sqlite \"data/broken.db\"".to_owned(), 13),
        ("command \"smoke\" run=\"false\"".to_owned(), 14),
        (
            format!(
                "http \"{health}\" {{ error-rate \"1%\" errors=\"requests\" of=\"requests\"; }}"
            ),
            15,
        ),
        (format!("http \"{health}/nothing\""), 16),
        // Of several that fail the first counts.
        (
            "tcp \"127.0.0.1:1\"\n        command \"smoke\" run=\"false\"".to_owned(),
            12,
        ),
    ];
    for (gate, code) in gates {
        here.declare(GATE, &format!("{GATE}        {gate}\n"));
        let lines = here.apply_json(&[], code);
        assert_eq!(lines.last().unwrap()["outcome"], "unhealthy", "{gate}");
        here.declare(&format!("        {gate}\n"), "");
    }
    here.kill(here.process());
    here.rosey.run(&["verify", "test"]).exits(11);
    let status = here
        .rosey
        .run(&["status", "test", "--json"])
        .exits(0)
        .json();
    // The last verdict was good, and the service isn't there.
    assert_eq!(status["hosts"]["here"]["healthy"], false, "{status:#}");
}

#[test]
fn a_person_is_asked_before_anything_is_done() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    project.write("bot/VERSION", "3.0.0");
    std::fs::write(here.root().join("current/VERSION"), "by hand").unwrap();
    let before = here.look();
    // Esc and Ctrl-D end a question too.
    for (command, key) in [
        (&["apply", "test"][..], "n"),
        (&["rollback", "test"], "\u{1b}"),
        (&["remove", "test"], "\u{4}"),
        (&["drift", "test", "--heal"], "\r"),
    ] {
        let mut person = Terminal::start(&here.rosey.command(command));
        person.sees("[y/N]", PATIENCE);
        person.types(key);
        let (code, said) = person.ends();
        assert_eq!(code, Some(9), "{command:?}: {said}");
        assert!(said.contains("nothing was done"), "{said}");
    }
    before.must_equal(&here.look());
}

/// Whether a text has escape sequences that set a colour (ECMA-48, SGR with a parameter).
fn is_coloured(text: &str) -> bool {
    let starts = text.match_indices("\u{1b}[");
    let mut words = starts.map(|(at, start)| &text[at + start.len()..]);
    words.any(|rest| {
        let end = rest.find(|c: char| c.is_ascii_alphabetic());
        end.is_some_and(|end| &rest[end..=end] == "m" && !matches!(&rest[..end], "" | "0"))
    })
}

#[test]
fn colour_is_for_terminals_and_for_who_wants_it() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare("    verify {", "    verfy {");
    let plain = here.rosey.run(&["check", "test"]).exits(3);
    assert!(plain.stderr.contains("verfy"), "{}", plain.stderr);
    assert!(!is_coloured(&plain.stderr), "{:?}", plain.stderr);
    let said = |name: &str, value: &str| {
        let mut command = here.rosey.command(&["check", "test"]);
        let (code, said) = Terminal::start(command.env(name, value)).ends();
        assert_eq!(code, Some(3), "{said}");
        said
    };
    assert!(
        is_coloured(&said("OTHER", "1")),
        "it has colours to leave out"
    );
    let said = said("NO_COLOR", "1");
    assert!(!is_coloured(&said), "{said:?}");
}

#[test]
fn the_history_may_go_and_nothing_but_the_past_goes_with_it() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let state = here.rosey.home().join("state");
    let forget = || std::fs::remove_dir_all(&state).unwrap();
    project.write("bot/VERSION", "2.0.0");
    forget();
    assert!(!here.planned().is_empty());
    here.apply().exits(0);
    forget();
    let status = here
        .rosey
        .run(&["status", "test", "--json"])
        .exits(0)
        .json();
    assert_eq!(status["hosts"]["here"]["version"], "2.0.0");
    assert_eq!(status["hosts"]["here"]["generation"], 2);
    here.rosey.run(&["drift", "test"]).exits(0);
    here.rosey.run(&["rollback", "test", "--yes"]).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let history = here.rosey.run(&["history", "--json"]).exits(0).json();
    assert_eq!(history["runs"].as_array().unwrap().len(), 1, "{history:#}");
    // A history that can't be kept stops nobody either.
    forget();
    std::fs::write(&state, "no directory").unwrap();
    let ran = here
        .rosey
        .run(&["rollback", "test", "--to", "2", "--yes"])
        .exits(0);
    assert!(ran.stderr.contains("history"), "{}", ran.stderr);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}

#[test]
fn history_lies_beside_the_environments_and_says_who_was_chosen_and_why() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let run = |arguments: &[&str]| {
        let mut command = here.rosey.command(arguments);
        let output = command.env_remove("ROSEY_STATE").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&[
        "apply", "test", "--yes", "--only", "here", "--reason", "the fair",
    ]);
    assert!(project.path(".rosey/rosey.db").exists());
    let history: serde_json::Value = serde_json::from_str(&run(&["history", "--json"])).unwrap();
    let run = &history["runs"][0];
    assert_eq!(run["only"], serde_json::json!(["here"]), "{history:#}");
    assert_eq!(run["author"]["reason"], "the fair", "{history:#}");
}

#[test]
fn what_the_declaration_ignores_is_no_difference_anywhere() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare("// last", "drift { ignore \"*.log\"; }");
    here.apply().exits(0);
    let current = here.root().join("current");
    std::fs::write(current.join("bin/bot.log"), "a line").unwrap();
    std::fs::write(current.join("more.pyc"), "a line").unwrap();
    let release = std::fs::canonicalize(&current).unwrap();
    assert!(here.planned().is_empty());
    here.rosey.run(&["drift", "test"]).exits(0);
    here.apply_json(&[], 0);
    // Nor on the way back, and nor does it keep its tree.
    here.declare("fault \"\"", "fault \"exit\"");
    let lines = here.apply_json(&[], 7);
    assert_eq!(lines.last().unwrap()["outcome"], "rolled-back");
    assert!(release.join("bin/bot.log").exists());
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    assert!(!release.exists());
}

#[test]
fn commands_are_no_templates_and_have_variables_in_their_environment() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare("channel \"test\"", "channel \"it's $(date) {{ port }}\"");
    here.declare("json \"version\" \"{{ version }}\"", "");
    here.add(r#"task "tell" { run "printf '%s|%s|%s' \"$ROSEY_VERSION\" \"$ROSEY_VAR_CHANNEL\" '{{ port }}' > data/told"; undo "true"; }"#);
    here.apply().exits(0);
    let told = std::fs::read_to_string(here.root().join("shared/data/told")).unwrap();
    assert_eq!(told, "1.0.0|it's $(date) {{ port }}|{{ port }}");
}

#[test]
fn a_plan_writes_what_it_was_told_to_and_nothing_else() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let files = |directory: &Path| std::fs::read_dir(directory).unwrap().count();
    let before = files(project.root());
    here.rosey.run(&["plan", "test", "--undo"]).exits(0);
    assert_eq!(files(project.root()), before);
    here.rosey
        .run(&["plan", "test", "--out", "mine.yaml"])
        .exits(0);
    assert_eq!(files(project.root()), before + 1);
    assert!(project.path("mine.yaml").exists() && !here.root().exists());
}

#[test]
fn gates_are_read_once_before_and_waited_for_after() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let (asked, well) = (project.path("asked"), project.write("well", ""));
    let gate = format!(
        "command \"well\" run=\"touch {}; test -e {}\"",
        asked.display(),
        well.display()
    );
    here.declare(GATE, &format!("{GATE}        {gate}\n"));
    here.declare("within \"5s\"", "within \"60s\"");
    here.apply().exits(0);
    std::fs::remove_file(&well).unwrap();
    here.rosey.run(&["verify", "test", "--pre"]).exits(14);
    here.rosey.run(&["verify", "test"]).exits(14);
    std::fs::remove_file(&asked).unwrap();
    let post = here.rosey.command(&["verify", "test", "--post"]).spawn();
    wait_until("the gates to be read", PATIENCE, || asked.exists());
    std::fs::write(&well, "").unwrap();
    let output = post.unwrap().wait_with_output().unwrap();
    Ran::new("verify --post".to_owned(), &output).exits(0);
    here.rosey
        .run(&["verify", "test", "--pre", "--post"])
        .exits(1);
}

#[test]
fn every_environment_is_shown_where_none_is_named() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let one = here.rosey.run(&["status", "--json"]).exits(0).json();
    assert_eq!(one["environment"], "test", "{one:#}");
    let declared = std::fs::read_to_string(project.path("environments/test.kdl")).unwrap();
    project.environment("other", &declared.replace("../srv", "../other"));
    let all = here.rosey.run(&["status", "--json"]).exits(0).json();
    let shown = all["environments"].as_array().unwrap();
    let names: Vec<_> = shown.iter().map(|it| &it["environment"]).collect();
    assert_eq!(names, ["other", "test"]);
    assert_eq!(shown[1]["hosts"]["here"]["version"], "1.0.0", "{all:#}");
    assert_eq!(
        shown[0]["hosts"]["here"]["version"],
        serde_json::Value::Null
    );
    let command = &mut here.rosey.command(&["status", "--json"]);
    let output = command.env("ROSEY_ENV", "other").output().unwrap();
    let named: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(named["environment"], "other");
}

#[test]
fn a_run_is_shown_with_its_steps_and_its_gates() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "2.0.0");
    let lines = here.apply_json(&["--reason", "the fair"], 0);
    let run = lines.last().unwrap()["run"].as_str().unwrap();
    let shown = here.rosey.run(&["show", run, "--json"]).exits(0).json();
    assert_eq!(shown["run"], run);
    assert_eq!(
        (&shown["outcome"], &shown["command"]),
        (&"applied".into(), &"apply".into())
    );
    let taken = shown["taken"].as_array().unwrap();
    let started = lines.iter().filter(|line| line["type"] == "step-started");
    assert_eq!(taken.len(), started.count());
    assert!(
        taken.iter().all(|step| step["ended"].is_string()),
        "{shown:#}"
    );
    let gates = shown["gates"].as_array().unwrap();
    let before = gates.iter().filter(|gate| gate["baseline"] == true);
    assert_eq!(before.count(), 2, "{shown:#}");
    let text = here.rosey.run(&["show", run]).exits(0).stdout;
    assert!(
        text.contains("the fair") && text.contains("current"),
        "{text}"
    );
}

#[test]
fn the_history_says_who_a_ci_system_says_it_was() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let github: &[(&str, &str)] = &[
        ("GITHUB_ACTOR", "octocat"),
        ("GITHUB_SERVER_URL", "https://git.example.org"),
        ("GITHUB_REPOSITORY", "team/bot"),
        ("GITHUB_RUN_ID", "42"),
    ];
    let gitlab: &[(&str, &str)] = &[
        ("GITLAB_USER_LOGIN", "tanuki"),
        ("CI_JOB_URL", "https://lab.example.org/jobs/7"),
    ];
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy().into_owned();
    for (version, variables, actor, job) in [
        (
            "1.0.1",
            github,
            "octocat",
            "https://git.example.org/team/bot/actions/runs/42",
        ),
        ("1.0.2", gitlab, "tanuki", "https://lab.example.org/jobs/7"),
    ] {
        project.write("bot/VERSION", version);
        // Where `$CI` is set nobody is asked.
        let mut command = here.rosey.command(&["apply", "--reason", version]);
        command.envs(variables.iter().copied());
        command
            .env("CI", "true")
            .env("USER", "runner")
            .env("ROSEY_ENV", "test");
        Ran::new("the apply in CI".to_owned(), &command.output().unwrap()).exits(0);
        let history = here
            .rosey
            .run(&["history", "test", "--json"])
            .exits(0)
            .json();
        let author = &history["runs"][0]["author"];
        for (name, value) in [
            ("user", "runner"),
            ("machine", &machine),
            ("ci_actor", actor),
            ("ci_job", job),
            ("reason", version),
        ] {
            assert_eq!(author[name], value, "{name}: {history:#}");
        }
    }
}
