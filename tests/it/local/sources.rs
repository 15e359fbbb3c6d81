//! Where content comes from: what a build makes on the controller, and what a commit holds.

use std::path::Path;
use std::process::Command;

use super::here::{Here, PATIENCE};
use crate::support::{Project, Terminal};

/// An environment with one app that is content alone.
fn content<'a>(project: &'a Project, source: &str) -> Here<'a> {
    let here = Here::at(project);
    project.environment(
        "test",
        &format!(
            "host \"here\" local=#true\napp \"site\" {{\n    root \"../srv\"\n    {source}\n}}\n"
        ),
    );
    here
}

fn deployed(here: &Here<'_>, path: &str) -> Option<String> {
    std::fs::read_to_string(here.root().join("current").join(path)).ok()
}

#[test]
fn what_a_build_makes_is_content_and_is_made_once_for_its_inputs() {
    let project = Project::new();
    let here = content(
        &project,
        r#"source "../src" { exclude "in.txt"; }
    build "echo built >> ../builds; mkdir -p dist; tr a-z A-Z < in.txt > dist/out.txt" { inputs "in.txt"; output "dist"; }"#,
    );
    let builds = || {
        std::fs::read_to_string(project.path("builds"))
            .unwrap()
            .lines()
            .count()
    };
    project.write("src/in.txt", "one\n");
    project.write("src/page.txt", "page\n");
    here.rosey.run(&["plan", "test"]).exits(0);
    here.apply().exits(0);
    here.apply().exits(0);
    assert_eq!(deployed(&here, "dist/out.txt").as_deref(), Some("ONE\n"));
    assert_eq!(deployed(&here, "page.txt").as_deref(), Some("page\n"));
    assert_eq!(deployed(&here, "in.txt"), None);
    project.write("src/page.txt", "other\n");
    here.apply().exits(0);
    assert_eq!(builds(), 1, "its inputs are the same");
    project.write("src/in.txt", "two\n");
    here.apply().exits(0);
    assert_eq!(builds(), 2);
    assert_eq!(deployed(&here, "dist/out.txt").as_deref(), Some("TWO\n"));
    assert_eq!(deployed(&here, "page.txt").as_deref(), Some("other\n"));
}

#[test]
fn a_build_that_fails_deploys_nothing_and_tells_its_last_words() {
    let project = Project::new();
    let here = content(
        &project,
        r#"source "../src"
    build "test ! -e broken || { echo no such luck >&2; exit 4; }""#,
    );
    project.write("src/page.txt", "page\n");
    here.apply().exits(0);
    let before = here.look();
    project.write("src/broken", "");
    let ran = here.apply().exits(3);
    // The line of `build` in the declaration.
    for word in ["no such luck", "exited with 4", "environments/test.kdl:5:"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    before.must_equal(&here.look());
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"];
    let mut command = Command::new("git");
    command.args(who).args(arguments).current_dir(directory);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_commit_is_deployed_whatever_lies_beside_it() {
    let project = Project::new();
    let here = content(&project, "source git=\"../src\" ref=\"v1\"");
    project.write("src/page.txt", "first\n");
    let source = project.path("src");
    git(&source, &["init", "--quiet"]);
    let commit = |name: &str| {
        git(&source, &["add", "--all"]);
        git(&source, &["commit", "--quiet", "--message", name]);
        git(&source, &["tag", name]);
        git(&source, &["rev-parse", "HEAD"])
    };
    let first = commit("v1");
    project.write("src/page.txt", "second\n");
    commit("v2");
    project.write("src/page.txt", "not committed\n");
    project.write("src/notes.txt", "not committed\n");
    here.apply().exits(0);
    assert_eq!(deployed(&here, "page.txt").as_deref(), Some("first\n"));
    assert_eq!(deployed(&here, "notes.txt"), None);
    assert_eq!(deployed(&here, ".git/HEAD"), None);
    let history = here.rosey.run(&["history", "--json"]).exits(0).json();
    assert_eq!(history["runs"][0]["author"]["commit"], first, "{history:#}");
    here.declare("\"v1\"", "\"v2\"");
    here.apply().exits(0);
    assert_eq!(deployed(&here, "page.txt").as_deref(), Some("second\n"));
    here.declare("\"v2\"", "\"v3\"");
    let ran = here.apply().exits(3);
    let reference = "source git=\"../src\" ref=".len();
    let place = format!("environments/test.kdl:4:{}]", 4 + reference + 1);
    for word in ["git rev-parse v3: ", &place] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

#[test]
fn a_directory_of_a_repository_is_deployed_without_what_is_beside_it() {
    let project = Project::new();
    let here = content(
        &project,
        r#"source git="../all/app"
    version file="VERSION"
    build "ls > listed" { output "listed"; }"#,
    );
    let all = project.path("all");
    project.write("all/secret.txt", "beside\n");
    project.write("all/app/VERSION", "1.2.3\n");
    project.write("all/app/notes.log", "\n");
    project.write("all/app/.roseyignore", "*.log\n");
    git(&all, &["init", "--quiet"]);
    git(&all, &["add", "--all"]);
    git(&all, &["commit", "--quiet", "--message", "one"]);
    here.apply().exits(0);
    assert_eq!(deployed(&here, "VERSION").as_deref(), Some("1.2.3\n"));
    assert_eq!(
        deployed(&here, "listed").as_deref(),
        Some("VERSION\nlisted\nnotes.log\n")
    );
    assert_eq!(deployed(&here, "notes.log"), None);
    assert_eq!(deployed(&here, "app/VERSION"), None);
    assert_eq!(deployed(&here, "secret.txt"), None);
    project.write("all/other/VERSION", "1.2.3\n");
    here.declare("../all/app", "../all/other");
    let ran = here.rosey.run(&["check", "test"]).exits(3);
    for word in ["HEAD has no directory other", "environments/test.kdl:4:16]"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    // `.` is no directory of the repository that the declaration is in, but all of it.
    git(project.root(), &["init", "--quiet"]);
    project.write("VERSION", "2\n");
    git(project.root(), &["add", "VERSION", "environments"]);
    git(project.root(), &["commit", "--quiet", "--message", "one"]);
    here.declare("../all/other", ".");
    here.apply().exits(0);
    assert_eq!(deployed(&here, "VERSION").as_deref(), Some("2\n"));
    assert!(deployed(&here, "environments/test.kdl").is_some());
}

#[test]
fn what_changes_while_it_is_read_is_named_and_nothing_is_touched() {
    let project = Project::new();
    let here = content(&project, "source \"../src\"");
    project.write("src/page.txt", "page\n");
    here.apply().exits(0);
    let before = here.look();
    // The kernel has a file that is another one each time it is read (random(4)).
    here.declare("source \"../src\"", "source \"/proc/sys/kernel/random\"");
    let told = "uuid changes while it is read; stop what writes to it, or exclude it";
    for command in [
        &["check", "test"][..],
        &["plan", "test"],
        &["apply", "test", "--yes"],
    ] {
        let ran = here.rosey.run(command).exits(3);
        assert!(ran.stderr.contains(told), "{command:?}: {}", ran.stderr);
        before.must_equal(&here.look());
    }
    let history = here.rosey.run(&["history", "--json"]).exits(0).json();
    assert_eq!(
        history["runs"].as_array().map(Vec::len),
        Some(1),
        "{history:#}"
    );
}

#[test]
fn what_changes_between_plan_and_transfer_is_named_and_the_run_goes_back() {
    let project = Project::new();
    let here = content(&project, "source \"../src\"");
    project.write("src/page.txt", "page\n");
    here.apply().exits(0);
    let before = here.look();
    project.write("src/page.txt", "planned\n");
    // A person has seen the plan and is asked; somebody saves the file before the answer.
    let mut person = Terminal::start(&here.rosey.command(&["apply", "test"]));
    person.sees("[y/N]", PATIENCE);
    project.write("src/page.txt", "written\n");
    person.types("y\r");
    let (code, said) = person.ends();
    assert_eq!(code, Some(7), "{said}");
    let told = "page.txt has changed since the source was read; apply again";
    assert!(said.contains(told), "{said}");
    before.must_equal(&here.look());
    // It was no verdict, so it holds nothing: to apply again is all there is to do.
    here.apply().exits(0);
    assert_eq!(deployed(&here, "page.txt").as_deref(), Some("written\n"));
}
