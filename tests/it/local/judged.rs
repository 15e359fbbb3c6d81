//! After the way back the old generation's own gates judge, and only those that passed before the run.

use std::path::PathBuf;

use rustix::process::Signal;

use super::here::{Here, PATIENCE, lines_with_one_outcome, signal};
use crate::support::{Project, Ran, wait_until};

/// Version 1 stands, with a gate that passes while a file is there.
fn with_a_gate<'a>(project: &'a Project) -> (Here<'a>, PathBuf) {
    let here = Here::at(project);
    let well = project.write("well", "");
    let gate = format!("command \"well\" run=\"test -e {}\"", well.display());
    here.declare(
        "process \"bot\"\n",
        &format!("process \"bot\"\n        {gate}\n"),
    );
    here.apply().exits(0);
    (here, well)
}

#[test]
fn a_gate_that_failed_before_the_run_judges_no_way_back() {
    let project = Project::with_bot();
    let (here, well) = with_a_gate(&project);
    std::fs::remove_file(well).unwrap();
    let before = here.look();
    project.write("bot/VERSION", "2.0.0");
    let lines = here.apply_json(&[], 7);
    assert_eq!(lines.last().unwrap()["outcome"], "rolled-back");
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn a_program_that_is_not_there_is_found_before_the_old_one_ends_and_is_held() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("python3 server.py", "pyhton3 server.py");
    let failed = here.apply().exits(7);
    assert!(
        failed.stderr.contains("no program \"pyhton3\""),
        "{}",
        failed.stderr
    );
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.apply().exits(5);
}

#[test]
fn where_nothing_is_deployed_any_more_nothing_is_healthy() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare("python3 server.py", "python3 nothing.py");
    here.apply().exits(7);
    here.rosey.run(&["verify", "test"]).exits(10);
    here.declare("python3 nothing.py", "python3 server.py");
    here.apply().exits(0);
    here.rosey.run(&["verify", "test"]).exits(0);
    let back = ["rollback", "test", "--to", "0", "--yes"];
    here.rosey.run(&back).exits(0);
    here.rosey.run(&["verify", "test"]).exits(10);
}

// The port is no secret, though it stands in a file that only its owner may read.
#[test]
fn a_gate_says_what_it_saw_where_nothing_is_secret() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare(
        "service \"bot\" { exec \"python3 server.py\"; }",
        "service \"bot\" { exec \"python3 server.py\"; env PORT=\"{{ port }}\" STATE=\"stopped\"; }",
    );
    here.apply().exits(0);
    here.declare("json \"status\" \"running\"", "json \"status\" \"stopped\"");
    project.write("bot/VERSION", "2.0.0");
    let lines = here.apply_json(&[], 7);
    let text = serde_json::Value::from(lines).to_string();
    assert!(text.contains(&format!("127.0.0.1:{}", here.port)), "{text}");
    assert!(
        text.contains("\\\"stopped\\\"") && !text.contains("***"),
        "{text}"
    );
}

/// The gates of a run as the history has them: when, host, name and verdict, in their order.
fn gates_in_history(here: &Here<'_>, run: &serde_json::Value) -> Vec<String> {
    let run = run.as_str().expect("the outcome names its run");
    let shown = here.rosey.run(&["show", run, "--json"]).exits(0).json();
    let gates = shown["gates"].as_array().unwrap().iter();
    let line = |gate: &serde_json::Value| {
        let when = match (gate["baseline"].as_bool(), gate["back"].as_bool()) {
            (Some(true), _) => "before",
            (_, Some(true)) => "back",
            _ => "new",
        };
        let word = |name: &str| gate[name].as_str().unwrap().to_owned();
        let name = word("gate");
        let name = name.split(' ').next().unwrap();
        format!("{when} {} {name} {}", word("host"), word("verdict"))
    };
    gates.map(line).collect()
}

#[test]
fn every_gate_that_was_read_is_in_the_history_one_by_one() {
    let project = Project::with_bot();
    let (here, _) = with_a_gate(&project);
    project.write("bot/VERSION", "2.0.0");
    let lines = here.apply_json(&[], 0);
    let run = &lines.last().unwrap()["run"];
    let all =
        |when: &str| ["process", "command", "http"].map(|it| format!("{when} here {it} passed"));
    let passed = [all("before"), all("new")].concat();
    assert_eq!(gates_in_history(&here, run), passed);
    let streamed = lines.iter().filter(|line| line["type"] == "gate-read");
    assert_eq!(streamed.count(), passed.len());
    // One fails, and what stood before is well again.
    project.write("bot/VERSION", "3.0.0");
    here.declare("status 200", "status 201");
    let lines = here.apply_json(&[], 7);
    let run = &lines.last().unwrap()["run"];
    let mut read = all("before").to_vec();
    read.extend(
        [
            "new here process passed",
            "new here command inconclusive",
            "new here http failed",
        ]
        .map(String::from),
    );
    read.extend(all("back"));
    assert_eq!(gates_in_history(&here, run), read);
    let shown = here.rosey.run(&["show", run.as_str().unwrap()]).exits(0);
    let failed = shown
        .stdout
        .lines()
        .find(|line| line.contains("failed") && line.contains("http://"));
    let failed = failed.unwrap_or_else(|| panic!("{}", shown.stdout));
    assert!(failed.contains("expected 201"), "{failed}");
    // A person is told once what failed.
    here.rosey.run(&["release-hold", "test"]).exits(0);
    let said = here.apply().exits(7).stderr;
    assert_eq!(said.matches("expected 201").count(), 2, "{said}");
}

#[test]
fn a_gate_that_passed_before_and_fails_after_needs_a_person() {
    let project = Project::with_bot();
    let (here, well) = with_a_gate(&project);
    let before = here.look();
    // What this does outside of the release its undo doesn't take back.
    here.add(&format!(
        "task \"careless\" {{ run \"rm -f {}\"; undo \"true\"; }}",
        well.display()
    ));
    project.write("bot/VERSION", "2.0.0");
    let lines = here.apply_json(&[], 8);
    let outcome = lines.last().unwrap();
    assert_eq!(outcome["outcome"], "stuck");
    assert_eq!(outcome["hosts"]["here"]["version"], "1.0.0");
    let said: Vec<_> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    let said = said.join("\n");
    assert!(said.contains("well passed before and fails now"), "{said}");
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    // Who asks for the status, as they are told to, hears it once more.
    let status = here.rosey.run(&["status", "test", "--json"]).exits(0);
    let notes = status.json()["notes"].to_string();
    assert!(
        notes.contains("went back") && notes.contains("well passed before and fails now"),
        "{notes}"
    );
    // A person puts it right; nothing else is left to do, and no lock is left.
    project.write("well", "");
    here.rosey.run(&["verify", "test"]).exits(0);
    here.rosey.run(&["drift", "test"]).exits(0);
    here.declare("task \"careless\"", "// task \"careless\"");
    here.apply().exits(0);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
}

#[test]
fn what_somebody_changes_under_a_run_is_overwritten_by_nobody() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let site = project.path("outside/site.conf");
    std::fs::create_dir(project.path("outside")).unwrap();
    project.write("bot/site.conf.j2", "{{ version }}\n");
    here.add(&format!(
        "file \"{}\" from=\"site.conf.j2\"",
        site.display()
    ));
    here.apply().exits(0);
    let before = here.look();
    project.write("bot/VERSION", "2.0.0");
    // Everything is new when the gates are read, and this one waits.
    here.declare(
        "process \"bot\"\n",
        "process \"bot\"\n        command \"wait\" run=\"touch data/asked; false\"\n",
    );
    here.declare("within \"5s\"", "within \"60s\"");
    let apply = ["apply", "test", "--yes", "--json"];
    let child = here.rosey.command(&apply).spawn().unwrap();
    let asked = here.root().join("shared/data/asked");
    wait_until("the gates to be read", PATIENCE, || asked.exists());
    assert_eq!(std::fs::read_to_string(&site).unwrap(), "2.0.0\n");
    std::fs::write(&site, "by hand\n").unwrap();
    signal(child.id(), Signal::INT);
    let ran = Ran::new("apply".to_owned(), &child.wait_with_output().unwrap());
    let lines = lines_with_one_outcome(&ran, 8);
    assert_eq!(lines.last().unwrap()["outcome"], "stuck");
    assert!(ran.stdout.contains("site.conf"), "{}", ran.stdout);
    assert_eq!(std::fs::read_to_string(&site).unwrap(), "by hand\n");
    // All that nobody else has touched is back.
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let drift = here.rosey.run(&["drift", "test", "--json"]).exits(2).json();
    let findings = drift["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{drift:#}");
    here.rosey
        .run(&["drift", "test", "--heal", "--yes"])
        .exits(0);
    assert_eq!(std::fs::read_to_string(&site).unwrap(), "1.0.0\n");
}
