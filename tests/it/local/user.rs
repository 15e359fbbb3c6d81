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
