//! What somebody changed by hand is found, named and put right, whatever the controller's source is by now.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use super::here::Here;
use crate::support::Project;

/// Makes a change by hand, with the controller's source already ahead, and has it found and healed.
/// Gives the one finding.
#[track_caller]
fn found_and_healed(change: impl FnOnce(&Here<'_>)) -> Value {
    let project = Project::with_bot();
    let here = Here::at(&project);
    here.add(r#"render "extra.txt" from="VERSION""#);
    here.apply().exits(0);
    let before = here.look();
    project.write("bot/VERSION", "2.0.0");
    project.write("bot/server.py", "raise SystemExit('not to be seen')");

    change(&here);
    let drift = here.rosey.run(&["drift", "test", "--json"]).exits(2).json();
    assert_eq!(
        (&drift["environment"], &drift["drifted"]),
        (&"test".into(), &true.into())
    );
    let findings = drift["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let finding = findings[0].clone();
    assert_eq!(
        (&finding["host"], &finding["app"]),
        (&"here".into(), &"bot".into())
    );
    assert!(!finding["detail"].as_str().unwrap().is_empty());
    let text = here.rosey.run(&["drift", "test"]).exits(2).stdout;
    assert!(
        text.contains(finding["path"].as_str().unwrap_or("bot.service")),
        "{text}"
    );

    here.rosey.run(&["drift", "test", "--heal"]).exits(9);
    here.rosey
        .run(&["drift", "test", "--heal", "--yes"])
        .exits(0);
    let drift = here.rosey.run(&["drift", "test", "--json"]).exits(0).json();
    assert_eq!(
        (&drift["drifted"], &drift["findings"]),
        (&false.into(), &serde_json::json!([]))
    );
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    finding
}

fn change<'a>(finding: &'a Value, end: &str) -> &'a str {
    let path = finding["path"].as_str().unwrap_or_default();
    assert!(path.starts_with('/') && path.ends_with(end), "{finding:#?}");
    finding["change"].as_str().unwrap()
}

/// For files it is told who changed them and when.
fn tells_who(finding: &Value) {
    assert!(
        finding["owner"].as_str().unwrap().contains(':'),
        "{finding:#?}"
    );
    assert!(
        finding["modified_at"].as_str().unwrap().starts_with("20"),
        "{finding:#?}"
    );
}

fn append(path: impl AsRef<Path>, text: &str) {
    let old = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, old + text).unwrap();
}

#[test]
fn an_edited_file() {
    let finding =
        found_and_healed(|here| append(here.root().join("current/server.py"), "# by hand\n"));
    assert_eq!(change(&finding, "/server.py"), "modified");
    tells_who(&finding);
}

#[test]
fn an_edited_rendered_file() {
    let finding =
        found_and_healed(|here| append(here.root().join("current/extra.txt"), "by hand\n"));
    assert_eq!(change(&finding, "/extra.txt"), "modified");
}

#[test]
fn a_changed_mode() {
    let finding = found_and_healed(|here| {
        let path = here.root().join("current/server.py");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    });
    assert_eq!(change(&finding, "/server.py"), "modified");
    assert!(
        finding["detail"].as_str().unwrap().contains("0600"),
        "{finding:#?}"
    );
}

#[test]
fn a_removed_file() {
    let finding = found_and_healed(|here| {
        std::fs::remove_file(here.root().join("current/bin/smoke")).unwrap();
    });
    assert_eq!(change(&finding, "/bin/smoke"), "missing");
}

#[test]
fn an_extra_file() {
    let finding =
        found_and_healed(|here| std::fs::write(here.root().join("current/bin/more"), "x").unwrap());
    assert_eq!(change(&finding, "/bin/more"), "extra");
    tells_who(&finding);
}

#[test]
fn a_stopped_service() {
    let finding = found_and_healed(|here| here.kill(here.process()));
    assert_eq!(finding["change"], "state");
    assert_eq!(finding["resource"], "service bot.service");
}

#[test]
fn a_changed_link() {
    let finding = found_and_healed(|here| {
        let current = here.root().join("current");
        std::fs::remove_file(&current).unwrap();
        symlink("shared", current).unwrap();
    });
    assert_eq!(change(&finding, "/current"), "modified");
}

#[test]
fn a_removed_link() {
    let finding =
        found_and_healed(|here| std::fs::remove_file(here.root().join("current")).unwrap());
    assert_eq!(change(&finding, "/current"), "missing");
}

#[test]
fn an_edited_unit() {
    let finding = found_and_healed(|here| append(here.unit(), "Environment=BY=hand\n"));
    assert_eq!(change(&finding, "/bot.service"), "modified");
    tells_who(&finding);
}

#[test]
fn a_removed_unit() {
    let finding = found_and_healed(|here| std::fs::remove_file(here.unit()).unwrap());
    assert_eq!(change(&finding, "/bot.service"), "missing");
}

#[test]
fn a_changed_mode_of_a_shared_directory() {
    let finding = found_and_healed(|here| {
        let path = here.root().join("shared/data");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
    });
    assert_eq!(change(&finding, "/shared/data"), "modified");
}

#[test]
fn a_file_of_the_apps_own_is_no_drift() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    append(here.root().join("shared/local.env"), "BOT=1\n");
    std::fs::write(here.root().join("shared/data/more"), "x").unwrap();
    std::fs::create_dir(here.root().join("current/bin/__pycache__")).unwrap();
    std::fs::write(here.root().join("current/bin/__pycache__/smoke.pyc"), "x").unwrap();
    here.rosey.run(&["drift", "test"]).exits(0);
    assert!(here.planned().is_empty());
}

#[test]
fn a_restarted_service_is_no_drift() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.kill(here.process());
    here.rosey
        .run(&["drift", "test", "--heal", "--yes"])
        .exits(0);
    let healed = here.process();
    here.rosey.run(&["drift", "test"]).exits(0);
    assert!(here.planned().is_empty());
    assert_eq!(here.process(), healed);
}

#[test]
fn bytes_that_are_nowhere_are_named() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    let smoke = here.root().join("current/bin/smoke");
    let bytes = std::fs::read(&smoke).unwrap();
    std::fs::remove_file(&smoke).unwrap();
    let objects = here.root().join(".rosey/objects");
    for object in std::fs::read_dir(objects).unwrap() {
        std::fs::remove_file(object.unwrap().path()).unwrap();
    }
    project.write("bot/bin/smoke", "ahead");
    let before = here.look();
    let ran = here
        .rosey
        .run(&["drift", "test", "--heal", "--yes"])
        .exits(10);
    assert!(ran.stderr.contains("bin/smoke"), "{}", ran.stderr);
    before.must_equal(&here.look());
    // The controller has them again.
    std::fs::write(project.path("bot/bin/smoke"), &bytes).unwrap();
    here.rosey
        .run(&["drift", "test", "--heal", "--yes"])
        .exits(0);
    assert_eq!(std::fs::read(&smoke).unwrap(), bytes);
    here.rosey.run(&["drift", "test"]).exits(0);
}

#[test]
fn what_was_not_healthy_when_it_was_put_right_is_held() {
    let project = Project::with_bot();
    let here = Here::at(&project);
    let well = project.path("well");
    project.write("well", "");
    let gate = format!("command \"well\" run=\"test -e {}\"", well.display());
    here.declare("within \"5s\"", "within \"1s\"");
    here.declare("process \"bot\"", &gate);
    here.apply().exits(0);
    std::fs::remove_file(&well).unwrap();
    here.kill(here.process());
    let heal = ["drift", "test", "--heal", "--yes"];
    // The gate failed before too, so it doesn't judge the way back.
    here.rosey.run(&heal).exits(7);
    let held = here.rosey.run(&heal).exits(5);
    assert!(held.stderr.contains("release-hold"), "{}", held.stderr);
    let status = here.rosey.run(&["status", "test"]).exits(0).stdout;
    assert!(status.contains("is held since"), "{status}");
    project.write("well", "");
    here.rosey.run(&["release-hold", "test"]).exits(0);
    here.rosey.run(&heal).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

/// What somebody removes by hand, with all that rosey keeps beside the releases.
fn take_away(here: &Here<'_>, what: &[&str]) {
    for path in what {
        std::fs::remove_dir_all(here.root().join(path)).unwrap();
    }
}

#[test]
fn a_whole_root_comes_from_the_source_where_that_is_the_same() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    take_away(&here, &[""]);
    let heal = ["drift", "test", "--heal", "--yes"];
    project.write("bot/VERSION", "2.0.0\n");
    let ran = here.rosey.run(&heal).exits(10);
    assert!(ran.stderr.contains("releases/1.0.0-"), "{}", ran.stderr);
    assert!(!here.root().exists());
    project.write("bot/VERSION", "1.0.0\n");
    here.rosey.run(&heal).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.rosey.run(&["drift", "test"]).exits(0);
    here.rosey.run(&["verify", "test"]).exits(0);
}

#[test]
fn a_rollback_to_what_is_nowhere_is_refused_and_taken_from_the_source() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    project.write("bot/VERSION", "2.0.0\n");
    here.apply().exits(0);
    take_away(&here, &["releases", ".rosey"]);
    let process = here.process();
    let back = ["rollback", "test", "--yes"];
    let ran = here.rosey.run(&back).exits(10);
    assert!(ran.stderr.contains("releases/1.0.0-"), "{}", ran.stderr);
    assert_eq!(here.process(), process);
    project.write("bot/VERSION", "1.0.0\n");
    here.rosey.run(&back).exits(0);
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
}

#[test]
fn a_service_whose_release_somebody_removed_runs_on_after_a_way_back() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("within \"5s\"", "within \"600ms\"");
    take_away(&here, &["releases"]);
    let before = here.look();
    here.declare("json \"status\" \"running\"", "json \"status\" \"perfect\"");
    let lines = here.apply_json(&[], 7);
    assert_eq!(lines.last().unwrap()["outcome"], "rolled-back");
    before.must_equal(&here.look());
    assert_eq!(here.serving().as_deref(), Some("1.0.0"));
    here.declare("json \"status\" \"perfect\"", "json \"status\" \"running\"");
    here.apply().exits(0);
    here.rosey.run(&["verify", "test"]).exits(0);
}

#[test]
fn a_way_back_to_what_somebody_removed_is_told_once() {
    let project = Project::with_bot();
    let here = Here::applied(&project);
    here.declare("within \"5s\"", "within \"600ms\"");
    take_away(&here, &["releases", ".rosey"]);
    project.write("bot/VERSION", "2.0.0\n");
    here.declare("fault \"\"", "fault \"unhealthy\"");
    let lines = here.apply_json(&[], 8);
    assert_eq!(lines.last().unwrap()["outcome"], "stuck");
    here.declare("fault \"unhealthy\"", "fault \"\"");
    here.apply().exits(0);
    assert_eq!(here.serving().as_deref(), Some("2.0.0"));
    here.rosey.run(&["verify", "test"]).exits(0);
}
