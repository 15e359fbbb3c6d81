//! What `systemctl show` says, in the port's words. Real systemd is tested in the lab.

use std::os::unix::fs::symlink;

use crate::host::port::Activity;
use crate::host::program::Said;

use super::{parse, real_directory, refused, remove_links, words};

/// The properties of a running service, with some changed.
fn shown(changes: &[(&str, &str)]) -> String {
    let mut properties = vec![
        ("Id", "app.service"),
        ("LoadState", "loaded"),
        ("ActiveState", "active"),
        ("SubState", "running"),
        ("UnitFileState", "enabled"),
        ("NeedDaemonReload", "no"),
        ("MainPID", "812"),
        ("ExecMainStartTimestampMonotonic", "5123456"),
        ("ActiveEnterTimestampMonotonic", "5200000"),
        ("FragmentPath", "/etc/systemd/system/app.service"),
        ("NRestarts", "0"),
        ("Result", "success"),
        ("ExecMainStatus", "0"),
    ];
    for (name, value) in changes {
        for property in &mut properties {
            if property.0 == *name {
                property.1 = value;
            }
        }
    }
    let lines: Vec<String> = properties
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    lines.join("\n")
}

#[test]
fn a_running_service_is_read_whole() {
    let status = parse(&shown(&[]), "b00t").unwrap();
    assert!(status.exists && status.enabled && !status.failed && !status.needs_daemon_reload);
    assert_eq!(status.activity, Activity::Active);
    assert_eq!(status.main_process, Some(812));
    let started = status.started.unwrap();
    assert_eq!(
        (started.boot.as_str(), started.monotonic),
        ("b00t", 5_123_456)
    );
    assert_eq!(
        status.definition.unwrap().to_str(),
        Some("/etc/systemd/system/app.service")
    );
    assert_eq!(status.words, "active (running)");
}

#[test]
fn activity_is_yes_or_no_or_not_yet() {
    use Activity::{Activating, Active, Inactive};
    let table = [
        ("active", "running", Active, "active (running)"),
        ("active", "exited", Active, "active (exited)"),
        ("reloading", "reload", Active, "reloading (reload)"),
        (
            "activating",
            "auto-restart",
            Active,
            "activating (auto-restart)",
        ),
        (
            "activating",
            "auto-restart-queued",
            Active,
            "activating (auto-restart-queued)",
        ),
        ("activating", "start", Activating, "activating (start)"),
        (
            "activating",
            "start-pre",
            Activating,
            "activating (start-pre)",
        ),
        (
            "deactivating",
            "stop-sigterm",
            Inactive,
            "deactivating (stop-sigterm)",
        ),
        ("inactive", "dead", Inactive, "inactive (dead)"),
    ];
    for (active, sub, activity, words) in table {
        let text = shown(&[("ActiveState", active), ("SubState", sub)]);
        let status = parse(&text, "b").unwrap();
        assert_eq!((status.activity, status.words.as_str()), (activity, words));
        assert_eq!(status.started.is_some(), activity != Inactive);
    }
}

#[test]
fn a_failed_service_says_how() {
    let failed = |result, status| {
        let text = shown(&[
            ("ActiveState", "failed"),
            ("SubState", "failed"),
            ("Result", result),
            ("ExecMainStatus", status),
            ("MainPID", "0"),
            ("NRestarts", "5"),
        ]);
        parse(&text, "b").unwrap()
    };
    let status = failed("exit-code", "203");
    assert_eq!(status.words, "failed (exit-code 203)");
    assert!(status.failed && status.main_process.is_none() && status.started.is_none());
    assert_eq!(status.restarts, 5);
    assert_eq!(
        failed("start-limit-hit", "0").words,
        "failed (start-limit-hit)"
    );
}

#[test]
fn enabled_is_what_starts_at_boot_or_cannot_be_enabled() {
    let table = [
        ("enabled", true),
        ("enabled-runtime", false),
        ("linked", false),
        ("alias", true),
        ("masked", false),
        ("static", true),
        ("indirect", true),
        ("disabled", false),
        ("generated", true),
        ("transient", true),
        ("bad", false),
        ("", false),
    ];
    for (state, enabled) in table {
        let status = parse(&shown(&[("UnitFileState", state)]), "b").unwrap();
        assert_eq!(status.enabled, enabled, "{state:?}");
    }
}

#[test]
fn an_unknown_unit_is_no_error_and_garbage_is_no_state() {
    let text = shown(&[
        ("LoadState", "not-found"),
        ("ActiveState", "inactive"),
        ("SubState", "dead"),
        ("UnitFileState", ""),
        ("FragmentPath", ""),
        ("MainPID", "0"),
    ]);
    let status = parse(&text, "b").unwrap();
    assert!(!status.exists && !status.enabled && status.definition.is_none());
    assert_eq!(parse("System has not been booted with systemd", "b"), None);
}

#[test]
fn a_service_without_a_main_process_started_when_it_became_active() {
    let text = shown(&[("MainPID", "0"), ("ExecMainStartTimestampMonotonic", "0")]);
    assert_eq!(
        parse(&text, "b").unwrap().started.unwrap().monotonic,
        5_200_000
    );
}

#[test]
fn errors_carry_the_words_of_systemctl() {
    let said = |status, output: &str| Said {
        status,
        timed_out: false,
        output: output.to_owned(),
    };
    let text = "Job for app.service failed because the control process exited with error code.\n\
                See \"systemctl status app.service\" and \"journalctl -xeu app.service\" for details.\n";
    let short = "Job for app.service failed because the control process exited with error code.";
    assert_eq!(words(&said(Some(1), text)), short);
    assert_eq!(
        words(&said(Some(4), "")),
        "systemctl exited with 4 and said nothing"
    );
    let late = Said {
        status: None,
        timed_out: true,
        output: String::new(),
    };
    assert_eq!(refused(&late), crate::host::HostErrorKind::TimedOut);
}

#[test]
fn links_of_a_unit_whose_file_is_gone_are_removed_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let wants = directory.path().join("multi-user.target.wants");
    std::fs::create_dir(&wants).unwrap();
    symlink("/gone/app.service", wants.join("app.service")).unwrap();
    symlink("/gone/other.service", wants.join("other.service")).unwrap();
    remove_links(directory.path(), "app.service").unwrap();
    let left: Vec<_> = std::fs::read_dir(&wants)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["other.service"]);
}

#[test]
fn a_definition_is_named_by_its_real_directory() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    std::fs::create_dir_all(real.join("usr/lib")).unwrap();
    symlink("usr/lib", real.join("lib")).unwrap();
    symlink("elsewhere", real.join("lib/app.service")).unwrap();
    let named = real_directory(real.join("lib/app.service"));
    assert_eq!(named, real.join("usr/lib/app.service"));
    let gone = real.join("none/app.service");
    assert_eq!(real_directory(gone.clone()), gone);
}
