//! A secret is where it is declared to be, and nowhere else.

use std::path::{Path, PathBuf};

use super::here::Here;
use crate::support::{Project, Ran};

const SECRET: &str = "korrekt-pferd-batterie-heft";
const NEXT: &str = "zweites-pferd-ohne-batterie";

/// Files below a directory that hold some bytes.
fn holding(directory: &Path, what: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            holding(&path, what, found);
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes
                .windows(what.len())
                .any(|window| window == what.as_bytes())
            {
                found.push(path);
            }
        }
    }
}

/// Asserts that a secret is in its file, in the service's environment, and nowhere else on this stage.
#[track_caller]
fn is_only_where_it_belongs(here: &Here<'_>, secret: &str, said: &str) {
    assert!(!said.contains(secret), "somebody said it:\n{said}");
    let mut found = Vec::new();
    for place in [here.project.root(), here.rosey.home()] {
        holding(place, secret, &mut found);
    }
    for path in &found {
        let text = path.display().to_string();
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o077, 0, "{text} can be read by others: {mode:o}");
        let release = text.contains("/srv/releases/") && text.ends_with("/token");
        let own =
            text.contains("/srv/.rosey/") || text.contains("/registry/") && text.ends_with(".env");
        assert!(release || own, "{text}");
        assert!(!text.contains("/home/state"), "{text}");
    }
    assert!(
        found.iter().any(|path| path.ends_with("token")),
        "{found:#?}"
    );
    let environment = std::fs::read(format!("/proc/{}/environ", here.process())).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains(&format!("TOKEN={secret}")));
    let arguments = std::fs::read(format!("/proc/{}/cmdline", here.process())).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(secret));
}

#[test]
fn a_secret_is_only_where_it_is_declared() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare(
        "host \"here\"",
        "secret \"token\" file=\"../token.txt\"\nhost \"here\"",
    );
    here.declare(
        "{ exec \"python3 server.py\"; }",
        "{ exec \"python3 server.py\"; env TOKEN=\"{{ secret.token }}\"; }",
    );
    here.add("render \"token\" from=\"token.j2\" mode=\"0600\"");
    project.write("bot/token.j2", "{{ secret.token }}\n");
    let outside = tempfile::NamedTempFile::new().unwrap();
    here.declare("../token.txt", outside.path().to_str().unwrap());

    let mut said = String::new();
    let mut run = |arguments: &[&str], code: i32| {
        let ran = here.rosey.run(arguments).exits(code);
        said += &ran.stdout;
        said += &ran.stderr;
        said.clone()
    };
    std::fs::write(outside.path(), SECRET).unwrap();
    run(&["plan", "test", "--json"], 0);
    run(&["plan", "test", "--out", "--undo"], 0);
    let text = run(&["apply", "test", "--yes", "--json", "-v"], 0);
    is_only_where_it_belongs(&here, SECRET, &text);
    assert_eq!(
        std::fs::read_to_string(here.root().join("current/token")).unwrap(),
        format!("{SECRET}\n")
    );
    run(&["apply", "test", "--yes"], 0);
    assert!(here.planned().is_empty());

    // Rotated: the service gets the new one, and the old one can be gone back to.
    std::fs::write(outside.path(), NEXT).unwrap();
    run(&["plan", "test"], 0);
    run(&["plan", "test", "--out"], 0);
    let text = run(&["apply", "test", "--yes", "--json"], 0);
    is_only_where_it_belongs(&here, NEXT, &text);
    assert!(!text.contains(SECRET));
    // By hand: what it was changed to is nobody's secret to tell either.
    std::fs::write(here.root().join("current/token"), "something else").unwrap();
    run(&["drift", "test", "--json"], 2);
    run(&["drift", "test"], 2);
    run(&["drift", "test", "--heal", "--yes"], 0);
    let text = run(&["rollback", "test", "--yes", "--json"], 0);
    is_only_where_it_belongs(&here, SECRET, &text);
    assert!(!text.contains(NEXT));
    let text = run(&["history", "test", "--json"], 0) + &run(&["status", "test", "--json"], 0);
    is_only_where_it_belongs(&here, SECRET, &text);
}

#[test]
fn a_secret_that_is_missing_is_named_without_a_value() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.declare(
        "host \"here\"",
        "secret \"token\" env=\"BOT_TOKEN_OF_TEST\"\nhost \"here\"",
    );
    here.declare(
        "{ exec \"python3 server.py\"; }",
        "{ exec \"python3 server.py\"; env TOKEN=\"{{ secret.token }}\"; }",
    );
    let ran = here.apply().exits(3);
    assert!(ran.stderr.contains("BOT_TOKEN_OF_TEST"), "{}", ran.stderr);
    assert!(!here.root().exists());
    // Who asks what is missing hears of the rest, too.
    here.declare(
        "dir \"data\"",
        "dir \"data\"\n        file \"by-hand.conf\"",
    );
    let doctor = here.rosey.run(&["doctor", "test"]).exits(3);
    assert!(doctor.stderr.contains("BOT_TOKEN_OF_TEST"));
    assert!(doctor.stdout.contains("by-hand.conf"), "{}", doctor.stdout);
}

/// Asserts that a secret is in no word that anybody said, and in no file of the controller's, nor in one of the
/// host's that tells what happened.
#[track_caller]
fn is_told_nowhere(here: &Here<'_>, secret: &str, said: &str) {
    assert!(!said.contains(secret), "somebody said it:\n{said}");
    let mut found = Vec::new();
    for place in [here.project.root(), here.rosey.home()] {
        holding(place, secret, &mut found);
    }
    found.retain(|path| {
        let text = path.display().to_string();
        let declared = text.contains("/srv/") || text.ends_with(".env");
        // What a service prints is in its own log, as it is in the journal of systemd.
        let own_log = text.contains("/process/") && text.ends_with(".log");
        !declared && !own_log
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// A stage whose app has a secret in a file and in its service's environment.
fn with_secret<'a>(project: &'a Project, source: &str) -> Here<'a> {
    let here = Here::at(project);
    here.declare(
        "host \"here\"",
        &format!("secret \"token\" {source}\nhost \"here\""),
    );
    here.add("render \"token\" from=\"token.j2\" mode=\"0600\"");
    project.write("bot/token.j2", "tok={{ secret.token }}\n");
    here
}

fn both(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Everything that can be asked about the last run.
fn told_of(here: &Here<'_>) -> String {
    let history = here.rosey.run(&["history", "test", "--json"]).exits(0);
    let run = history.json()["runs"][0]["run"]
        .as_str()
        .expect("a run")
        .to_owned();
    let mut told = history.stdout.clone();
    for arguments in [
        &["show", &run][..],
        &["show", &run, "--json"],
        &["status", "test", "--json"],
    ] {
        let ran = here.rosey.run(arguments);
        told += &ran.stdout;
        told += &ran.stderr;
    }
    told
}

#[test]
fn what_a_task_prints_of_a_secret_is_masked() {
    let project = Project::with_bot();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), SECRET).unwrap();
    let here = with_secret(&project, &format!("file=\"{}\"", outside.path().display()));
    here.add(
        "task \"t\" { run \"echo tok=$TOKEN; exit 3\"; undo \"true\"; env TOKEN=\"{{ secret.token }}\"; }",
    );
    let ran = here
        .rosey
        .run(&["apply", "test", "--yes", "--json"])
        .exits(7);
    assert!(ran.stdout.contains("tok=***"), "{}", ran.stdout);
    let said = both(&ran) + &told_of(&here);
    is_told_nowhere(&here, SECRET, &said);
}

#[test]
fn what_an_undo_prints_of_a_secret_is_masked() {
    let project = Project::with_bot();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), SECRET).unwrap();
    let here = with_secret(&project, &format!("file=\"{}\"", outside.path().display()));
    here.add(
        "task \"t\" { run \"true\"; undo \"echo tok=$TOKEN; exit 3\"; env TOKEN=\"{{ secret.token }}\"; }",
    );
    here.declare(
        "process \"bot\"",
        "process \"bot\"; command \"sm\" run=\"exit 1\"",
    );
    let ran = here
        .rosey
        .run(&["apply", "test", "--yes", "--json"])
        .exits(8);
    assert!(ran.stdout.contains("tok=***"), "{}", ran.stdout);
    is_told_nowhere(&here, SECRET, &(both(&ran) + &told_of(&here)));
}

#[test]
fn what_a_smoke_command_prints_of_a_secret_is_masked_whoever_asks() {
    let project = Project::with_bot();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let value = format!("first {SECRET}\nsecond {NEXT}");
    std::fs::write(outside.path(), &value).unwrap();
    let here = with_secret(&project, &format!("file=\"{}\"", outside.path().display()));
    let bad = project.path("bad");
    here.declare(
        "process \"bot\"",
        &format!(
            "process \"bot\"; command \"sm\" run=\"test ! -e {} || {{ cat token; exit 1; }}\"",
            bad.display()
        ),
    );
    here.apply().exits(0);
    std::fs::write(&bad, "").unwrap();
    let mut said = String::new();
    for arguments in [&["verify", "test"][..], &["verify", "test", "--json"]] {
        let ran = here.rosey.run(arguments).exits(14);
        assert!(ran.stdout.contains("***"), "{}", ran.stdout);
        said += &both(&ran);
    }
    project.write("bot/VERSION", "9.9.9\n");
    let ran = here.apply().exits(7);
    assert!(ran.stderr.contains("tok=***"), "{}", ran.stderr);
    said += &(both(&ran) + &told_of(&here));
    is_told_nowhere(&here, SECRET, &said);
    is_told_nowhere(&here, NEXT, &said);
    // A controller that has no secrets: the host knows which of its files hold one.
    std::fs::remove_file(outside.path()).unwrap();
    let ran = here.rosey.run(&["verify", "test", "--json"]).exits(14);
    let said = both(&ran);
    assert!(said.contains("***"), "{said}");
    is_told_nowhere(&here, SECRET, &said);
    is_told_nowhere(&here, NEXT, &said);
}

#[test]
fn what_a_dying_service_prints_of_a_secret_is_masked() {
    let project = Project::with_bot();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), SECRET).unwrap();
    let here = with_secret(&project, &format!("file=\"{}\"", outside.path().display()));
    here.declare(
        "{ exec \"python3 server.py\"; }",
        "{ exec \"sh -c 'env; sleep 3; exit 1'\"; env TOKEN=\"{{ secret.token }}\"; }",
    );
    let ran = here
        .rosey
        .run(&["apply", "test", "--yes", "--json"])
        .exits(7);
    assert!(ran.stdout.contains("TOKEN=***"), "{}", ran.stdout);
    let said = both(&ran) + &told_of(&here);
    is_told_nowhere(&here, SECRET, &said);
}

#[test]
fn no_command_gets_a_secrets_variable_and_a_build_that_prints_one_is_masked() {
    let project = Project::with_bot();
    let mut here = with_secret(&project, "env=\"BOT_TOKEN_OF_TEST\"");
    here.rosey.set("BOT_TOKEN_OF_TEST", SECRET);
    here.declare(
        "version file=\"VERSION\"",
        "build \"env > seen\" { output \"seen\"; }; version file=\"VERSION\"",
    );
    here.add("task \"t\" { run \"env; exit 3\"; undo \"true\"; }");
    let ran = here.apply().exits(7);
    assert!(ran.stderr.contains("ROSEY_VERSION"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("BOT_TOKEN_OF_TEST"), "{}", ran.stderr);
    let seen = std::fs::read_to_string(project.path("bot/seen")).unwrap();
    assert!(seen.contains("ROSEY_VAR_PORT"), "{seen}");
    assert!(!seen.contains("BOT_TOKEN_OF_TEST"), "{seen}");
    is_told_nowhere(&here, SECRET, &both(&ran));
    here.declare("env > seen", &format!("echo tok={SECRET}; exit 3"));
    let ran = here.apply().exits(3);
    assert!(ran.stderr.contains("tok=***"), "{}", ran.stderr);
}

#[test]
fn what_a_controller_keeps_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.apply().exits(0);
    let state = here.rosey.home().join("state");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700, "{}", state.display());
    assert_eq!(mode(&state.join("rosey.db")), 0o600);
}
