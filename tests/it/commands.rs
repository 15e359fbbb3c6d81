//! Commands that touch no server, as a person types them: their wiring, their words, their exit codes.

use crate::support::{Project, Rosey};

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
    for command in [["check", "demoo"], ["plan", "demoo"]] {
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
        let heading = format!(".SS {}", command);
        assert!(page.contains(&heading), "{heading} is not in {page}");
    }
    assert!(!page.contains(".SS helper"), "{page}");
}
