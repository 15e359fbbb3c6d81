//! What somebody else made is left alone, unless the declaration says to adopt it; then it can be had back.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::here::Here;
use crate::support::{Look, Project};

fn outside(project: &Project) -> PathBuf {
    let path = project.write("outside/site.conf", "by somebody else\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap();
    project.write("bot/site.conf.j2", "port {{ port }}\n");
    path
}

fn declare(here: &Here<'_>, path: &std::path::Path) {
    here.add(&format!(
        "file \"{}\" from=\"site.conf.j2\" mode=\"0644\"",
        path.display()
    ));
}

#[test]
fn a_foreign_file_is_a_conflict() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let path = outside(&project);
    declare(&here, &path);
    let look = Look::at([project.path("outside"), here.root()]).except("*/shared/data/*");
    let before = look.here();
    let ran = here.apply().exits(10);
    assert!(
        ran.stderr.contains("site.conf") && ran.stderr.contains("adopt #true"),
        "{}",
        ran.stderr
    );
    let plan = here.rosey.run(&["plan", "test", "--json"]).exits(10).json();
    assert_eq!(plan["findings"].as_array().unwrap().len(), 1, "{plan:#}");
    before.must_equal(&look.here());
}

#[test]
fn an_adopted_file_is_put_back_by_a_run_that_fails() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let path = outside(&project);
    let before = Look::at([project.path("outside")]).here();
    declare(&here, &path);
    here.declare("mode=\"0644\"", "mode=\"0644\" adopt=#true");
    here.declare("fault \"\"", "fault \"exit\"");
    here.apply().exits(7);
    before.must_equal(&Look::at([project.path("outside")]).here());
    here.declare("fault \"exit\"", "fault \"\"");
    here.apply().exits(0);
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        format!("port {}\n", here.port)
    );
}

#[test]
fn what_was_adopted_later_is_given_back_whichever_way_it_goes() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let path = outside(&project);
    let outside = || Look::at([project.path("outside")]).here();
    let before = outside();
    declare(&here, &path);
    here.declare("mode=\"0644\"", "mode=\"0644\" adopt=#true");
    let adopt = || {
        here.apply().exits(0);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("port {}\n", here.port));
    };
    let kdl = project.path("environments/test.kdl");
    let declared = std::fs::read_to_string(&kdl).unwrap();
    adopt();
    // A further generation, whose prune must keep the bytes.
    here.declare("log_level \"info\"", "log_level \"debug\"");
    here.declare(
        "source \"../bot\"",
        "keep releases=1\n    source \"../bot\"",
    );
    here.apply().exits(0);

    let word = format!("file \"{}\"", path.display());
    here.declare(&word, &format!("/-{word}"));
    let planned = here.planned();
    assert!(
        planned.contains(&"sync update file outside/site.conf".to_owned()),
        "{planned:#?}"
    );
    here.apply().exits(0);
    before.must_equal(&outside());
    // It is somebody else's again.
    std::fs::write(&path, "by somebody else once more\n").unwrap();
    let before = outside();
    here.rosey.run(&["drift", "test"]).exits(0);
    assert!(here.planned().is_empty());

    std::fs::write(&kdl, &declared).unwrap();
    adopt();
    here.rosey
        .run(&["rollback", "test", "--to", "0", "--yes"])
        .exits(0);
    before.must_equal(&outside());

    here.rosey.run(&["release-hold", "test"]).exits(0);
    adopt();
    here.rosey.run(&["remove", "test", "--yes"]).exits(0);
    before.must_equal(&outside());
}

/// As rsync and Capistrano scripts leave a root: releases by time, and an absolute link.
fn by_script(here: &Here<'_>) -> PathBuf {
    let release = here.root().join("releases/20250101120000");
    std::fs::create_dir_all(&release).unwrap();
    std::fs::write(release.join("server.py"), "print('old')\n").unwrap();
    symlink(&release, here.root().join("current")).unwrap();
    release
}

#[test]
fn a_root_of_a_script_is_adopted_and_comes_back_byte_for_byte() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    by_script(&here);
    let before = Look::at([here.root()]).except("*/shared").here();
    let ran = here.apply().exits(10);
    assert!(ran.stderr.contains("current"), "{}", ran.stderr);
    before.must_equal(&Look::at([here.root()]).except("*/shared").here());
    here.add("adopt #true");
    here.declare("fault \"\"", "fault \"exit\"");
    here.apply().exits(7);
    before.must_equal(&Look::at([here.root()]).except("*/shared").here());
    here.declare("fault \"exit\"", "fault \"\"");
    here.apply().exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let current = std::fs::read_link(here.root().join("current")).unwrap();
    assert!(current.starts_with("releases/"), "{}", current.display());
    assert!(
        here.root()
            .join("releases/20250101120000/server.py")
            .exists()
    );
    here.rosey.run(&["drift", "test"]).exits(0);
}

#[test]
fn what_another_app_has_made_is_its_own() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    std::fs::create_dir(project.path("outside")).unwrap();
    let path = project.path("outside/site.conf");
    project.write("bot/site.conf.j2", "port {{ port }}\n");
    declare(&here, &path);
    here.apply().exits(0);
    let look = || {
        Look::at([project.path("outside"), here.root()])
            .except("*/shared/data/*")
            .here()
    };
    let before = look();
    // Adopting is for what nobody has: neither the file nor the root itself is.
    for (root, what) in [("../other", "site.conf"), ("../srv/inner", "srv")] {
        project.environment(
            "other",
            &format!(
                "host \"here\" local=#true\napp \"other\" {{\n    root \"{root}\"\n    source \"../bot\"\n    \
                 adopt #true\n    file \"{}\" from=\"VERSION\" adopt=#true\n}}\n",
                path.display()
            ),
        );
        let ran = here.rosey.run(&["apply", "other", "--yes"]).exits(10);
        for word in [what, "test"] {
            assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
        }
        before.must_equal(&look());
    }
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn two_environments_cannot_have_the_same_root() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let before = here.look();
    std::fs::copy(
        project.path("environments/test.kdl"),
        project.path("environments/other.kdl"),
    )
    .unwrap();
    let ran = here.rosey.run(&["apply", "other", "--yes"]).exits(10);
    assert!(ran.stderr.contains("test"), "{}", ran.stderr);
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

/// What is said to who has declared another app for the root that this one has.
#[track_caller]
fn is_told_whose_the_root_is(here: &Here<'_>, environment: &str, whose: &str, line: &str) {
    let rosey = &here.rosey;
    let before = here.look();
    for command in ["plan", "apply"] {
        let more: &[&str] = if command == "apply" { &["--yes"] } else { &[] };
        let ran = rosey.run(&[&[command, environment], more].concat());
        let ran = ran.exits(10);
        let told = ran.stdout + &ran.stderr;
        assert!(told.contains(whose) && told.contains(line), "{told}");
    }
    for (command, exit) in [
        (&["status", environment][..], 0),
        (&["drift", environment], 0),
        (&["verify", environment], 10),
        (&["rollback", environment, "--list"], 0),
        (&["rollback", environment, "--yes"], 1),
        (&["remove", environment, "--yes"], 0),
    ] {
        let ran = rosey.run(command).exits(exit);
        let told = ran.stdout + &ran.stderr;
        assert_eq!(told.matches(whose).count(), 1, "{command:?}: {told}");
        assert!(told.contains(line), "{command:?}: {told}");
        assert!(!told.contains("1.0.0"), "{command:?}: {told}");
    }
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn an_app_that_was_renamed_is_another_one_in_the_root_of_the_first() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("app \"bot\"", "app \"robot\"");
    is_told_whose_the_root_is(
        &here,
        "test",
        "belongs to the app bot of this environment",
        "rosey remove test bot --only here",
    );
    let remove = ["remove", "test", "bot", "--only", "here", "--yes"];
    here.rosey.run(&remove).exits(0);
    here.apply().exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    let status = here.rosey.run(&["status", "test"]).exits(0).stdout;
    assert!(
        status.contains("1.0.0") && !status.contains("belongs"),
        "{status}"
    );
}

#[test]
fn a_copied_environment_does_not_show_what_the_first_one_has() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let kdl = |name: &str| project.path(&format!("environments/{name}.kdl"));
    std::fs::copy(kdl("test"), kdl("other")).unwrap();
    let whose = "belongs to the app bot of the environment test";
    is_told_whose_the_root_is(&here, "other", whose, "rosey remove test bot");
}
