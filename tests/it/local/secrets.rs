//! A secret is where it is declared to be, and nowhere else.

use std::path::{Path, PathBuf};

use super::here::Here;
use crate::support::Project;

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
}
