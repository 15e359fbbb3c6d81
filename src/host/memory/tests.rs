//! That the host in memory behaves as a real one may: mostly, what a power cut leaves.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::port::{
    Activity, Command, CommandOutput, EntryType, HostErrorKind, Manager, Owner, ReadHost,
    ServiceAct, Space, Unit, WriteHost,
};

use super::{Fault, MemoryHost};

fn root() -> Owner {
    Owner {
        user: "root".into(),
        group: "root".into(),
    }
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn write(host: &MemoryHost, at: &str, content: &str) {
    host.write_file(path(at), &mut content.as_bytes(), 0o644, &root())
        .unwrap();
}

/// Everything that a power cut may leave of some paths, over many choices.
fn left(prepare: impl Fn(&MemoryHost), paths: &[&str]) -> BTreeSet<String> {
    let host = MemoryHost::new();
    host.put_directory("/d");
    prepare(&host);
    let choices = [0, u64::MAX].into_iter().chain(1..400);
    choices
        .map(|choice| {
            let host = host.fork();
            host.crash(choice);
            host.reboot();
            let show = |at: &&str| match host.entry(path(at)).unwrap().map(|entry| entry.kind) {
                None => "-".to_owned(),
                Some(EntryType::File) => {
                    format!(
                        "{:?}",
                        String::from_utf8_lossy(&host.read(path(at)).unwrap())
                    )
                }
                Some(EntryType::Link) => host.link_target(path(at)).unwrap().display().to_string(),
                Some(_) => "/".to_owned(),
            };
            paths.iter().map(show).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

fn set(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_new_file_is_certain_only_after_it_and_its_directory_were_synced() {
    let unsynced = left(|host| write(host, "/d/f", "abcd"), &["/d/f"]);
    let torn = [
        "-",
        r#""""#,
        r#""ab""#,
        r#""\0\0cd""#,
        r#""\0\0\0\0""#,
        r#""abcd""#,
    ];
    assert_eq!(unsynced, set(&torn));
    let only_content = left(
        |host| {
            write(host, "/d/f", "abcd");
            host.sync(path("/d/f")).unwrap();
        },
        &["/d/f"],
    );
    assert_eq!(only_content, set(&["-", r#""abcd""#]));
    let only_name = left(
        |host| {
            write(host, "/d/f", "abcd");
            host.sync(path("/d")).unwrap();
        },
        &["/d/f"],
    );
    assert_eq!(only_name, set(&torn[1..]));
    let both = left(
        |host| {
            write(host, "/d/f", "abcd");
            host.sync(path("/d/f")).unwrap();
            host.sync(path("/d")).unwrap();
        },
        &["/d/f"],
    );
    assert_eq!(both, set(&[r#""abcd""#]));
}

#[test]
fn a_replaced_file_is_old_or_new_when_its_content_was_synced_and_may_be_empty_when_not() {
    let replace = |synced: bool| {
        left(
            |host| {
                host.put_file("/d/f", "old!");
                write(host, "/d/t", "new!");
                if synced {
                    host.sync(path("/d/t")).unwrap();
                }
                host.replace(path("/d/t"), path("/d/f")).unwrap();
            },
            &["/d/f"],
        )
    };
    assert_eq!(replace(true), set(&[r#""new!""#, r#""old!""#]));
    assert!(replace(false).contains(r#""""#));
}

#[test]
fn a_rename_happens_whole_or_not_at_all() {
    let moved = left(
        |host| {
            host.put_file("/d/a", "x");
            host.put_directory("/e");
            host.rename(path("/d/a"), path("/e/b")).unwrap();
        },
        &["/d/a", "/e/b"],
    );
    assert_eq!(moved, set(&[r#"- "x""#, r#""x" -"#]));
    let exchanged = left(
        |host| {
            host.put_link("/d/a", "1");
            host.put_link("/d/b", "2");
            host.exchange(path("/d/a"), path("/d/b")).unwrap();
        },
        &["/d/a", "/d/b"],
    );
    assert_eq!(exchanged, set(&["1 2", "2 1"]));
}

#[test]
fn independent_changes_may_survive_in_any_order_and_dependent_ones_may_not() {
    let independent = left(
        |host| {
            host.make_link(path("/d/a"), path("1"), &root()).unwrap();
            host.make_link(path("/d/b"), path("2"), &root()).unwrap();
        },
        &["/d/a", "/d/b"],
    );
    assert_eq!(independent, set(&["- -", "1 -", "- 2", "1 2"]));
    let chain = left(
        |host| {
            host.make_link(path("/d/a"), path("1"), &root()).unwrap();
            host.rename(path("/d/a"), path("/d/b")).unwrap();
            host.rename(path("/d/b"), path("/d/c")).unwrap();
        },
        &["/d/a", "/d/b", "/d/c"],
    );
    assert_eq!(chain, set(&["- - -", "1 - -", "- 1 -", "- - 1"]));
    let emptied = left(
        |host| {
            host.put_file("/d/e/f", "x");
            host.remove_file(path("/d/e/f")).unwrap();
            host.remove_directory(path("/d/e")).unwrap();
        },
        &["/d/e", "/d/e/f"],
    );
    assert_eq!(emptied, set(&[r#"/ "x""#, "/ -", "- -"]));
}

#[test]
fn syncing_a_directory_brings_along_what_its_names_build_on() {
    let left = left(
        |host| {
            host.put_directory("/e");
            write(host, "/e/a", "x");
            host.sync(path("/e/a")).unwrap();
            host.rename(path("/e/a"), path("/d/b")).unwrap();
            host.sync(path("/d")).unwrap();
        },
        &["/e/a", "/d/b"],
    );
    assert_eq!(left, set(&[r#"- "x""#]));
}

#[test]
fn syncing_a_tree_covers_what_is_below_but_not_its_own_name() {
    let left = left(
        |host| {
            host.make_directory(path("/d/t"), 0o755, &root()).unwrap();
            write(host, "/d/t/f", "x");
            host.sync_tree(path("/d/t")).unwrap();
        },
        &["/d/t", "/d/t/f"],
    );
    assert_eq!(left, set(&["- -", r#"/ "x""#]));
}

#[test]
fn overwriting_may_tear_but_never_touches_other_bytes() {
    let left = left(
        |host| {
            host.put_file("/d/j", "0123456789");
            host.write_at(path("/d/j"), 2, b"ABCD").unwrap();
        },
        &["/d/j"],
    );
    let expected = [
        r#""0123456789""#,
        r#""01AB456789""#,
        r#""0123CD6789""#,
        r#""01ABCD6789""#,
    ];
    assert_eq!(left, set(&expected));
}

#[test]
fn attributes_mode_and_owner_go_with_the_inode() {
    let host = MemoryHost::new();
    host.put_file("/d/a", "x");
    host.put_attribute("/d/a", "user.note", b"kept");
    host.put_owner("/d/a", "rosey", "rosey");
    host.put_mode("/d/a", 0o640);
    host.put_file("/d/b", "y");
    let before = host.snapshot(&["/d"]);
    host.exchange(path("/d/a"), path("/d/b")).unwrap();
    host.rename(path("/d/b"), path("/d/c")).unwrap();
    let moved = &host.snapshot(&["/d"])[path("/d/c")];
    assert_eq!(moved, &before[path("/d/a")]);
    assert_eq!(moved.attributes["user.note"], b"kept");
}

#[test]
fn what_is_in_the_way_is_refused_as_a_kernel_would() {
    let host = MemoryHost::new();
    host.put_file("/d/f", "x");
    host.put_link("/l", "/d");
    host.put_directory("/d/sub");
    let kind = |result: Result<(), crate::host::HostError>| result.unwrap_err().kind;
    assert_eq!(
        host.read(path("/l/f")).unwrap_err().kind,
        HostErrorKind::LinkOnTheWay
    );
    assert_eq!(
        host.read(path("/d/../d/f")).unwrap_err().kind,
        HostErrorKind::other("the path has `..` in it")
    );
    assert_eq!(host.real_path(path("/l/sub/../x")).unwrap(), path("/d/x"));
    assert_eq!(host.real_path(path("/l/new/x")).unwrap(), path("/d/new/x"));
    assert_eq!(
        kind(host.make_link(path("/d/f"), path("y"), &root())),
        HostErrorKind::Exists
    );
    assert_eq!(
        kind(host.rename(path("/d/f"), path("/l"))),
        HostErrorKind::Exists
    );
    assert_eq!(
        kind(host.remove_directory(path("/d"))),
        HostErrorKind::Exists
    );
    assert_eq!(
        kind(host.remove_file(path("/nothing"))),
        HostErrorKind::NotFound
    );
    assert_eq!(
        kind(host.replace(path("/d/f"), path("/d/sub"))),
        HostErrorKind::other("it is a directory")
    );
    assert_eq!(host.entry(path("/d/f/g")).unwrap(), None);
    let stranger = Owner {
        user: "ann".into(),
        group: "root".into(),
    };
    let error = host.set_owner(path("/d/f"), &stranger).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"set owner /d/f: this host has no user "ann""#
    );
}

#[test]
fn a_full_or_read_only_disk_refuses_but_still_renames_where_it_can() {
    let host = MemoryHost::new();
    host.put_file("/d/f", "12345678");
    host.set_free(Some(Space {
        bytes: 4,
        inodes: 1,
    }));
    assert_eq!(
        host.append(path("/d/f"), b"12345").unwrap_err().kind,
        HostErrorKind::NoSpace
    );
    host.append(path("/d/f"), b"1234").unwrap();
    host.make_link(path("/d/l"), path("f"), &root()).unwrap();
    let error = host
        .make_directory(path("/d/e"), 0o755, &root())
        .unwrap_err();
    assert_eq!(error.kind, HostErrorKind::NoSpace);
    host.replace(path("/d/l"), path("/d/f")).unwrap();
    host.make_directory(path("/d/e"), 0o755, &root()).unwrap();
    host.set_read_only(true);
    assert_eq!(
        host.rename(path("/d/e"), path("/d/g")).unwrap_err().kind,
        HostErrorKind::ReadOnly
    );
}

#[test]
fn a_dying_caller_leaves_what_it_had_done_and_nothing_works_until_it_is_back() {
    let host = MemoryHost::new();
    host.put_directory("/d");
    for (fault, left) in [
        (Fault::Error(HostErrorKind::NoSpace), None),
        (Fault::CrashBefore, None),
        (Fault::CrashMiddle, Some("ab")),
        (Fault::CrashAfter, Some("abcd")),
    ] {
        let host = host.fork();
        host.fault_at(2, fault.clone());
        host.make_directory(path("/d/e"), 0o755, &root()).unwrap();
        host.write_file(path("/d/f"), &mut &b"abcd"[..], 0o644, &root())
            .unwrap_err();
        assert_eq!(host.is_crashed(), !matches!(fault, Fault::Error(_)));
        if host.is_crashed() {
            assert_eq!(
                host.read(path("/d")).unwrap_err().kind,
                HostErrorKind::other("crashed")
            );
        }
        host.revive();
        let found = host.read(path("/d/f")).ok();
        assert_eq!(found.as_deref(), left.map(str::as_bytes), "{fault:?}");
        let trace: Vec<String> = host.take_trace().iter().map(ToString::to_string).collect();
        assert_eq!(trace, ["make_directory /d/e", "write_file /d/f"]);
    }
}

#[test]
fn a_watcher_sees_the_tree_after_each_primitive() {
    let host = MemoryHost::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&seen);
    host.watch(move |tree, primitive| {
        let dangles = tree.link("/current").is_some() && !tree.exists("/current");
        into.lock().unwrap().push((primitive.name, dangles));
    });
    host.make_link(path("/current"), path("r/1"), &root())
        .unwrap();
    host.make_directory(path("/r"), 0o755, &root()).unwrap();
    host.make_directory(path("/r/1"), 0o755, &root()).unwrap();
    let expected = [
        ("make_link", true),
        ("make_directory", true),
        ("make_directory", false),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

const UNIT: &str = "[Service]\nWorkingDirectory=/opt/app/current\nExecStart=/opt/app/current/serve\n[Install]\nWantedBy=multi-user.target\n";

fn unit() -> Unit {
    Unit {
        manager: Manager::Systemd,
        name: "app.service".into(),
    }
}

fn act(host: &MemoryHost, act: ServiceAct) -> Result<(), crate::host::HostError> {
    host.manage(&unit(), &act, Duration::from_secs(5))
}

#[test]
fn a_service_lives_as_systemd_would_let_it() {
    let host = MemoryHost::new();
    host.put_file("/etc/systemd/system/app.service", UNIT);
    host.put_link("/opt/app/current", "releases/1");
    assert!(!host.service(&unit()).unwrap().exists);
    act(&host, ServiceAct::Start).unwrap_err();
    act(&host, ServiceAct::DaemonReload).unwrap();
    let error = act(&host, ServiceAct::Start).unwrap_err();
    assert_eq!(
        error.to_string(),
        "start app.service: app.service failed: status=200/CHDIR: /opt/app/current"
    );
    let status = host.service(&unit()).unwrap();
    assert!(status.failed && status.exists && !status.enabled);
    host.put_file("/opt/app/releases/1/serve", "");
    let before = host.moment();
    act(&host, ServiceAct::Enable).unwrap();
    act(&host, ServiceAct::Start).unwrap();
    let status = host.service(&unit()).unwrap();
    assert_eq!(status.activity, Activity::Active);
    assert!(status.enabled && !status.failed && !status.needs_daemon_reload);
    assert!(status.started.unwrap().is_after(&before));
    let process = status.main_process.unwrap();
    assert_eq!(
        host.processes_in(path("/opt/app/releases/1")).unwrap(),
        [process]
    );
    assert_eq!(
        host.processes_in(path("/opt/app/releases/2")).unwrap(),
        [0; 0]
    );

    let changed = UNIT.replace("serve", "serve --more");
    host.put_file("/etc/systemd/system/app.service", changed);
    assert!(host.service(&unit()).unwrap().needs_daemon_reload);
    let error = act(&host, ServiceAct::Reload).unwrap_err();
    assert!(error.to_string().contains("not applicable"), "{error}");
    act(&host, ServiceAct::DaemonReload).unwrap();
    act(&host, ServiceAct::Restart).unwrap();
    assert!(host.running(&unit()).unwrap().definition.contains("--more"));
    assert_ne!(host.service(&unit()).unwrap().main_process, Some(process));

    host.crash(0);
    host.reboot();
    let status = host.service(&unit()).unwrap();
    assert_eq!(
        status.activity,
        Activity::Active,
        "enabled, so it starts at boot"
    );
    assert!(!status.started.unwrap().is_after(&before), "another boot");
    act(&host, ServiceAct::Disable).unwrap();
    act(&host, ServiceAct::Stop).unwrap();
    host.reboot();
    assert_eq!(host.service(&unit()).unwrap().activity, Activity::Inactive);
}

#[test]
fn a_unit_that_is_put_back_is_older_and_what_dies_starts_with_what_is_loaded() {
    let host = MemoryHost::new();
    let file = path("/etc/systemd/system/app.service");
    let aside = path("/etc/systemd/system/.old");
    let root = crate::host::Owner {
        user: "root".to_owned(),
        group: "root".to_owned(),
    };
    host.put_file(file, "[Service]\nExecStart=/bin/old\n");
    act(&host, ServiceAct::DaemonReload).unwrap();
    act(&host, ServiceAct::Start).unwrap();
    let needs_reload = || host.service(&unit()).unwrap().needs_daemon_reload;
    let runs = || host.running(&unit()).map(|it| it.definition);
    host.rename(file, aside).unwrap();
    assert!(needs_reload());
    let new = "[Service]\nExecStart=/bin/new\n";
    host.write_file(file, &mut new.as_bytes(), 0o644, &root)
        .unwrap();
    assert!(needs_reload());
    host.let_services_die();
    assert!(runs().unwrap().contains("old"));
    act(&host, ServiceAct::DaemonReload).unwrap();
    host.remove_file(file).unwrap();
    host.rename(aside, file).unwrap();
    assert!(!needs_reload());
    host.let_services_die();
    assert_eq!(runs().as_deref(), Some(new));
    assert_eq!(host.service(&unit()).unwrap().restarts, 2);
    act(&host, ServiceAct::DaemonReload).unwrap();
    act(&host, ServiceAct::Restart).unwrap();
    assert!(runs().unwrap().contains("old"));
    assert_eq!(host.service(&unit()).unwrap().restarts, 0);
    host.on_start(|_, _, _| Err("exit-code".to_owned()));
    host.let_services_die();
    let status = host.service(&unit()).unwrap();
    assert!(status.failed && status.words.contains("start-limit-hit"));
}

#[test]
fn five_failed_starts_need_a_reset() {
    let host = MemoryHost::new();
    host.put_file(
        "/etc/systemd/system/app.service",
        "[Service]\nExecStart=/bin/fail\n",
    );
    act(&host, ServiceAct::DaemonReload).unwrap();
    for _ in 0..4 {
        act(&host, ServiceAct::Start).unwrap_err();
    }
    host.set_simple_starts(true);
    act(&host, ServiceAct::Start).unwrap();
    assert!(host.service(&unit()).unwrap().failed);
    host.set_simple_starts(false);
    host.on_start(|_, _, _| Ok(()));
    let error = act(&host, ServiceAct::Start).unwrap_err();
    assert!(error.to_string().contains("start-limit-hit"), "{error}");
    act(&host, ServiceAct::ResetFailed).unwrap();
    act(&host, ServiceAct::Start).unwrap();
}

#[test]
fn a_command_works_on_the_tree_through_links_and_as_its_user() {
    let host = MemoryHost::new();
    host.put_link("/opt/app/current", "releases/1");
    host.put_directory("/opt/app/releases/1");
    host.on_command(|command, view| {
        view.write("made/by", command.shell.as_bytes()).unwrap();
        CommandOutput {
            status: Some(3),
            output: "said".into(),
            timed_out: false,
        }
    });
    let command = Command {
        shell: "build".into(),
        directory: "/opt/app/current".into(),
        user: Some("rosey".into()),
        env: std::collections::BTreeMap::new(),
        timeout: Duration::from_secs(1),
    };
    assert_eq!(host.run(&command).unwrap().status, Some(3));
    let made = path("/opt/app/releases/1/made/by");
    assert_eq!(host.read(made).unwrap(), b"build");
    assert_eq!(host.entry(made).unwrap().unwrap().owner.user, "rosey");
    assert!(host.unsynced() > 0);
}
