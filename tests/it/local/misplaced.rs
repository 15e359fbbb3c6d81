//! Something of another type where rosey made something: told before anything happens, and never overwritten.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::here::Here;
use crate::support::Project;

/// Has something else put where rosey made something: that stops every command before it begins, is drift of its type,
/// and nothing but that is needed to go on.
#[track_caller]
fn is_told_and_left(here: &Here<'_>, path: &Path, put: impl Fn(&Path), word: &str) {
    let aside = PathBuf::from(format!("{}.aside", path.display()));
    fs::rename(path, &aside).unwrap();
    put(path);
    let process = here.process();
    let before = here.look();
    let shown = path.display().to_string();
    let heal = ["drift", "test", "--heal", "--yes"];
    for command in [&["plan", "test"][..], &["apply", "test", "--yes"], &heal] {
        let ran = here.rosey.run(command).exits(10);
        let told = ran.stdout + &ran.stderr;
        assert!(told.contains(&format!("{shown} is a {word}")), "{told}");
        assert!(told.contains("belongs there"), "{told}");
        assert!(
            told.contains(&format!("sudo mv {shown} {shown}.old")),
            "{told}"
        );
    }
    let drift = here.rosey.run(&["drift", "test", "--json"]).exits(2).json();
    let mut findings = drift["findings"].as_array().unwrap().iter();
    let finding = findings.find(|it| it["path"] == shown.as_str());
    let finding = finding.unwrap_or_else(|| panic!("{drift:#}"));
    assert_eq!(finding["change"], "modified");
    let detail = finding["detail"].as_str().unwrap();
    assert!(detail.contains("type") && detail.contains(word), "{detail}");
    before.must_equal(&here.look());
    assert_eq!(here.process(), process);

    // As the line that is told does it.
    fs::rename(path, format!("{shown}.old")).unwrap();
    fs::rename(&aside, path).unwrap();
    here.rosey.run(&["drift", "test"]).exits(0);
    assert!(here.planned().is_empty());
}

#[test]
fn what_lies_where_something_else_belongs_is_told_before_anything_happens() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let outside = project.path("outside/site.conf");
    fs::create_dir(project.path("outside")).unwrap();
    here.declare("dir \"data\"", "dir \"data\"; dir \"uploads\"");
    here.add(&format!(
        "file \"{}\" from=\"VERSION\" mode=\"0640\"",
        outside.display()
    ));
    here.apply().exits(0);
    let root = here.root();
    let directory = |path: &Path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("mine"), "x").unwrap();
    };
    let file = |path: &Path| fs::write(path, "x").unwrap();
    let elsewhere = project.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let link = |path: &Path| symlink(&elsewhere, path).unwrap();
    let release = root.join(fs::read_link(root.join("current")).unwrap());
    is_told_and_left(&here, &root.join("current"), directory, "directory");
    is_told_and_left(&here, &outside, directory, "directory");
    is_told_and_left(&here, &root.join("shared/uploads"), file, "file");
    is_told_and_left(&here, &root.join("shared/uploads"), link, "link");
    is_told_and_left(&here, &root.join("releases"), link, "link");
    is_told_and_left(&here, &release, file, "file");
}

#[test]
fn what_was_moved_away_is_put_right_again() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    let process = here.process();
    let current = here.root().join("current");
    let release = here.root().join(fs::read_link(&current).unwrap());
    fs::remove_file(&current).unwrap();
    // A copy of what it showed is no link to it.
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&release, &current])
        .status();
    assert!(copied.unwrap().success());
    let heal = ["drift", "test", "--heal", "--yes"];
    here.rosey.run(&heal).exits(10);
    assert_eq!(here.process(), process);
    fs::rename(&current, project.path("copied")).unwrap();
    here.rosey.run(&heal).exits(0);
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn what_somebody_has_put_where_a_link_was_stays_when_the_app_goes() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let current = here.root().join("current");
    fs::remove_file(&current).unwrap();
    fs::create_dir(&current).unwrap();
    fs::write(current.join("mine"), "x").unwrap();
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    assert_eq!(fs::read_to_string(current.join("mine")).unwrap(), "x");
    assert_eq!(here.serving(), None);
}
