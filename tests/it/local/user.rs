//! An ordinary user needs no root.

use std::path::Path;

use crate::support::{Project, checkout, copy_tree};

/// Debian's `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

/// A copy of the program that everybody may run, wherever it was built.
fn program(project: &Project) -> std::path::PathBuf {
    let to = project.path("rosey");
    std::fs::copy(env!("CARGO_BIN_EXE_rosey"), &to).unwrap();
    to
}

fn give(path: &Path, user: u32) {
    let status = std::process::Command::new("chown")
        .arg("-R")
        .arg(format!("{user}:{user}"))
        .arg(path)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn the_demo_of_this_repository_needs_no_root() {
    let project = Project::new();
    for part in ["environments", "examples"] {
        copy_tree(&checkout().join(part), &project.path(part));
    }
    let here = super::here::Here::at(&project);
    std::fs::remove_file(project.path("environments/test.kdl")).unwrap();
    project.replace(
        "environments/demo.kdl",
        "port 8100",
        &format!("port {}", here.port),
    );
    let program = program(&project);
    let is_root = rustix::process::getuid().is_root();
    if is_root {
        give(project.root(), NOBODY);
        give(here.rosey.home(), NOBODY);
    }
    let run = |arguments: &[&str]| {
        let usual = here.rosey.command(arguments);
        let mut command = std::process::Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            command
                .arg(format!("--reuid={NOBODY}"))
                .arg(format!("--regid={NOBODY}"))
                .arg("--clear-groups");
        }
        command
            .arg(&program)
            .args(arguments)
            .current_dir(project.root())
            .env_clear();
        for (name, value) in usual.get_envs() {
            value.map(|value| command.env(name, value));
        }
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        crate::support::Ran::new(format!("rosey {arguments:?}"), &output)
    };
    let first = run(&["apply", "demo", "--yes"]).exits(0);
    assert!(
        first.stderr.contains("remove demo"),
        "it says what to try next: {}",
        first.stderr
    );
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let second = run(&["apply", "demo", "--yes"]).exits(0);
    assert!(second.stderr.contains("unchanged"), "{}", second.stderr);
    project.replace(
        "environments/demo.kdl",
        "start_delay 0",
        "start_delay 0\n    fault \"exit\"",
    );
    run(&["apply", "demo", "--yes"]).exits(7);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    run(&["drift", "demo"]).exits(0);
    run(&["remove", "demo", "--yes"]).exits(0);
    assert_eq!(here.serving(), None);
}

#[test]
fn in_a_container_a_user_may_have_no_name() {
    if !rustix::process::getuid().is_root() {
        println!("left out: only root can be a user without a name");
        return;
    }
    const NAMELESS: &str = "54321";
    let project = Project::with_bot();
    let here = super::here::Here::at(&project);
    let program = program(&project);
    for path in [project.root(), here.rosey.home()] {
        give(path, NAMELESS.parse().unwrap());
    }
    let run = |home: &str, state: Option<&str>, arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        // As in a container: the group isn't the user's number, and may have a name.
        command
            .args(["--reuid", NAMELESS, "--regid", "0", "--clear-groups"])
            .arg(&program)
            .args(arguments)
            .current_dir(project.root())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("ROSEY_STATE", here.rosey.home().join("history"))
            .env("HOME", home);
        state.map(|state| command.env("ROSEY_HELPER_STATE", state));
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        crate::support::Ran::new(format!("rosey {arguments:?}"), &output)
    };
    let home = here.rosey.home().to_str().unwrap();
    let apply = ["apply", "test", "--yes"];
    for arguments in [&apply[..], &["doctor", "test"]] {
        let refused = run("/", None, arguments).exits(4);
        let said = refused.stdout + &refused.stderr;
        assert!(said.contains("ROSEY_HELPER_STATE"), "{said}");
        let refused = run(home, Some("/proc/rosey"), arguments).exits(10);
        let said = refused.stdout + &refused.stderr;
        assert!(said.contains("/proc/rosey"), "{said}");
    }
    run(home, None, &apply).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    assert!(here.rosey.home().join(".local/state/rosey/apps").exists());
    run(home, None, &["remove", "test", "--yes"]).exits(0);
}
