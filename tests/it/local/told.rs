//! What status and plan tell of what stands in the way, what is elsewhere, and what can't be read.

use std::os::unix::fs::PermissionsExt;

use super::here::{Here, lines_with_one_outcome};
use crate::support::{Look, Project};

#[test]
fn a_freeze_is_shown_by_status_and_plan() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let freeze = ["freeze", "test", "--reason", "the fair"];
    here.rosey
        .run(&[&freeze[..], &["--only", "nobody"]].concat())
        .exits(1);
    here.rosey
        .run(&[&freeze[..], &["--only", "here"]].concat())
        .exits(0);
    for command in ["status", "plan"] {
        let said = here.rosey.run(&[command, "test"]).exits(0).stdout;
        assert!(said.contains("the fair"), "{command}: {said}");
        assert!(said.contains("rosey unfreeze test"), "{command}: {said}");
    }
    here.rosey
        .run(&["unfreeze", "test", "--except", "here"])
        .exits(1);
    here.rosey.run(&["unfreeze", "test"]).exits(0);
    let said = here.rosey.run(&["status", "test"]).exits(0).stdout;
    assert!(!said.contains("the fair"), "{said}");
}

#[test]
fn what_can_be_read_is_shown_beside_what_can_not() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let gone =
        "host \"here\" local=#true\nhost \"gone\" address=\"127.0.0.1\" user=\"nobody\" port=1";
    here.declare("host \"here\" local=#true", gone);
    // Beside a host that is far away a root can't be relative to the declaration.
    here.declare("../srv", here.root().to_str().unwrap());
    let ran = here.rosey.run(&["status", "test", "--json"]).exits(4);
    let status = ran.json();
    assert_eq!(status["hosts"]["here"]["version"], "1.0.0", "{status:#}");
    assert!(status["unreachable"]["gone"].is_string(), "{status:#}");
    assert!(ran.stderr.contains("gone: "), "{}", ran.stderr);
    let text = here.rosey.run(&["status", "test"]).exits(4).stdout;
    assert!(text.contains("1.0.0"), "{text}");
    // Where nobody is there, there is nothing to show.
    let ran = here
        .rosey
        .run(&["status", "test", "--only", "gone"])
        .exits(4);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_refusal_tells_what_stands_on_the_hosts_that_could_be_read() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    let gone =
        "host \"here\" local=#true\nhost \"gone\" address=\"127.0.0.1\" user=\"nobody\" port=1";
    here.declare("host \"here\" local=#true", gone);
    here.declare("../srv", here.root().to_str().unwrap());
    for command in ["apply", "rollback", "remove"] {
        let ran = here.rosey.run(&[command, "test", "--yes", "--json"]);
        let lines = lines_with_one_outcome(&ran, 4);
        let outcome = lines.last().unwrap();
        assert_eq!(outcome["outcome"], "refused");
        let hosts = outcome["hosts"].as_object().unwrap();
        assert_eq!(hosts.len(), 1, "{command}: {outcome:#}");
        let known = &hosts["here"];
        assert_eq!(known["version"], "2.0.0", "{command}: {outcome:#}");
        assert_eq!(known["generation"], 2, "{command}: {outcome:#}");
        assert!(ran.stderr.contains("gone: "), "{}", ran.stderr);
    }
}

#[test]
fn who_may_have_run_what_runs_once_for_all_is_asked_and_never_guessed() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let gone =
        "host \"here\" local=#true\nhost \"gone\" address=\"127.0.0.1\" user=\"nobody\" port=1";
    here.declare("host \"here\" local=#true", gone);
    let root = here.root();
    here.declare("../srv", root.to_str().unwrap());
    let only = ["apply", "test", "--yes", "--only", "here"];
    // Nobody else is asked where nothing runs once.
    here.rosey.run(&only).exits(0);
    here.add(r#"task "migrate" once=#true { run "touch $ROSEY_ROOT/../ran"; undo "true"; }"#);
    let refused = here.rosey.run(&only).exits(10);
    let told = "whether task migrate of bot was run there for all hosts isn't known";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    assert!(refused.stderr.contains("gone"), "{}", refused.stderr);
    assert!(!project.path("ran").exists());
    // Where the app is on no other host, nobody else can have run it.
    let app = format!("root \"{}\"", root.display());
    here.declare(&app, &format!("on \"here\"\n    {app}"));
    here.apply().exits(0);
    assert!(project.path("ran").exists());
}

#[test]
fn an_app_at_its_old_root_is_told_and_can_be_taken_away() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let old = here.root();
    here.declare("root \"../srv\"", "root \"../elsewhere\"");
    let remedy = format!("rosey remove test bot --root {} --only here", old.display());
    for command in ["status", "plan"] {
        let said = here.rosey.run(&[command, "test"]).stdout;
        assert!(said.contains(&remedy), "{command}: {said}");
    }
    let words: Vec<&str> = remedy.split(' ').skip(1).collect();
    here.rosey
        .run(&["remove", "test", "bot", "--root", "/nowhere", "--yes"])
        .exits(1);
    assert!(old.join("current").exists());
    here.rosey.run(&[&words[..], &["--yes"]].concat()).exits(0);
    assert!(!old.join("current").exists());
    assert_eq!(here.serving(), None);
    let said = here.rosey.run(&["status", "test"]).stdout;
    assert!(!said.contains("--root"), "{said}");
    here.apply().exits(0);
    assert!(project.path("elsewhere/current").exists());
}

#[test]
fn a_service_that_is_never_restarted_is_noted_when_it_is_stale() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare(
        "service \"bot\" { exec \"python3 server.py\"; }",
        "service \"bot\" { exec \"python3 server.py\"; restart \"never\"; }",
    );
    here.declare("json \"version\" \"{{ version }}\"", "");
    here.apply().exits(0);
    let stale = || {
        let plan = here.rosey.run(&["plan", "test", "--json"]).exits(0).json();
        assert_eq!(plan["changes"], false, "{plan:#}");
        plan["findings"].to_string().contains("leaves it so")
    };
    assert!(!stale());
    let process = here.process();
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    assert_eq!(here.process(), process);
    assert!(stale());
}

#[test]
fn quiet_is_silent_where_all_went_well() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let ran = here.rosey.run(&["apply", "test", "--yes", "-q"]).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let refused = here
        .rosey
        .run(&["rollback", "test", "--yes", "-q"])
        .exits(1);
    assert_ne!(refused.stderr, "");
}

#[test]
fn a_plan_with_changes_ends_with_2_where_that_is_asked_for() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let detailed = ["plan", "test", "--detailed-exitcode"];
    here.rosey.run(&["plan", "test"]).exits(0);
    here.rosey.run(&detailed).exits(2);
    here.apply().exits(0);
    here.rosey.run(&detailed).exits(0);
}

#[test]
fn the_environment_may_be_named_by_a_variable() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let other = std::fs::read_to_string(project.path("environments/test.kdl")).unwrap();
    project.environment("other", &other.replace("../srv", "../other"));
    here.rosey.run(&["apply", "--yes"]).exits(3);
    let named = here
        .rosey
        .command(&["apply", "--yes", "--json"])
        .env("ROSEY_ENV", "test")
        .output()
        .unwrap();
    assert_eq!(named.status.code(), Some(0), "{named:?}");
    assert!(here.root().join("current").exists());
    assert!(!project.path("other").exists());
}

#[test]
fn planning_writes_nothing_and_runs_nothing() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.add(r#"task "mark" { run "touch ../../../ran"; undo "true"; }"#);
    here.declare(
        "process \"bot\"",
        "command \"mark\" run=\"touch ../../../ran\"",
    );
    for command in [
        &["plan", "test"][..],
        &["plan", "test", "--undo", "--json"],
        &["status", "test"],
        &["drift", "test"],
        &["check", "test"],
    ] {
        here.rosey.run(command).exits(0);
    }
    assert!(!here.root().exists());
    assert!(!here.rosey.home().join("registry").exists());
    assert!(!project.path("ran").exists());
}

#[test]
fn reading_changes_nothing_where_something_stands() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    // The bot writes no line for a gate that asks it.
    here.declare("log_level \"info\"", "log_level \"warning\"");
    here.apply().exits(0);
    project.write("bot/VERSION", "2.0.0");
    here.apply().exits(0);
    here.is_left_alone();
    // A change is pending, and somebody has been at the release, at the unit and at a mode.
    project.write("bot/VERSION", "3.0.0");
    let server = here.root().join("current/server.py");
    let edited = std::fs::read_to_string(&server).unwrap() + "\n# by hand\n";
    std::fs::write(&server, edited).unwrap();
    std::fs::write(here.unit(), "[Service]\nExecStart=/bin/false\n").unwrap();
    let seed = here.root().join("shared/local.env");
    std::fs::set_permissions(&seed, PermissionsExt::from_mode(0o666)).unwrap();

    let registry = here.rosey.home().join("registry");
    let look = Look::untouched([here.root(), registry]).except("*/shared/data");
    let before = look.here();
    for own in ["/.rosey", "/ledger.json", "/bot.service", "/server.py"] {
        assert!(before.names().any(|name| name.ends_with(own)), "{own}");
    }
    let process = here.process();
    for (command, code) in [
        (&["plan", "test"][..], 0),
        (&["plan", "test", "--undo", "--json"], 0),
        (&["drift", "test"], 2),
        (&["drift", "test", "--json"], 2),
        (&["status", "test"], 0),
        (&["status", "test", "--json"], 0),
        (&["verify", "test", "--pre"], 0),
        (&["verify", "test", "--json"], 0),
        (&["rollback", "test", "--list"], 0),
        (&["rollback", "test", "--list", "--json"], 0),
        (&["doctor", "test"], 0),
        (&["check", "test"], 0),
    ] {
        here.rosey.run(command).exits(code);
        here.is_left_alone();
        before.must_equal(&look.here());
    }
    assert_eq!(here.process(), process);
}

#[test]
fn a_check_contacts_no_host() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = format!("host \"far\" address=\"127.0.0.1\" user=\"nobody\" port={port}");
    here.declare("host \"here\" local=#true", &host);
    here.declare("../srv", here.root().to_str().unwrap());
    here.rosey.run(&["check", "test"]).exits(0);
    assert!(listener.accept().is_err(), "nobody has connected");
}

#[test]
fn a_variable_that_makes_files_others_is_named_and_so_is_the_release() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("log_level \"info\"", "log_level \"debug\"\n    spare 1");
    let plan = here.rosey.run(&["plan", "test"]).exits(0).stdout;
    for words in [
        "variable log_level: info → debug\n",
        "variable spare: absent → 1\n",
        "with other rendered bytes",
    ] {
        assert!(plan.contains(words), "{words:?} is missing in:\n{plan}");
    }
    assert!(!plan.contains("variable port"), "{plan}");
    here.apply().exits(0);
    let plan = here.rosey.run(&["plan", "test"]).exits(0).stdout;
    assert!(!plan.contains("variable"), "{plan}");
    // A ledger of an earlier rosey doesn't know them.
    let apps = std::fs::read_dir(here.rosey.home().join("registry/apps")).unwrap();
    let ledger = apps.last().unwrap().unwrap().path().join("ledger.json");
    let text = std::fs::read_to_string(&ledger).unwrap();
    std::fs::write(&ledger, text.replace("\"variables\"", "\"others\"")).unwrap();
    here.declare("\"debug\"", "\"warning\"");
    let plan = here.rosey.run(&["plan", "test"]).exits(0).stdout;
    assert!(
        plan.contains("other rendered bytes") && !plan.contains("variable"),
        "{plan}"
    );
}
