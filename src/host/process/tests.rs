//! The built-in manager with real processes.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::host::port::{
    Activity, HostError, Manager, ReadHost, ServiceAct, ServiceStatus, Unit, WriteHost,
};
use crate::host::{LocalHost, ending, proc};
use crate::model::Moment;

use super::Service;
use super::record::Record;
use super::unit::Definition;
use super::words;

/// A manager's directory with one unit; its processes end with the test.
struct Managed {
    host: LocalHost,
    unit: Unit,
    service: Service,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Drop for Managed {
    fn drop(&mut self) {
        // The test has failed or is over; either way nothing may stay behind.
        let _ = self.service.family(None).kill();
    }
}

fn managed(definition: &str) -> Managed {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let definition = definition.replace("DIR", path.to_str().unwrap());
    fs::write(path.join("app.service"), definition).unwrap();
    Managed {
        host: LocalHost::new(),
        unit: Unit {
            manager: Manager::Process {
                directory: path.to_str().unwrap().to_owned(),
            },
            name: "app.service".to_owned(),
        },
        service: Service::new(&path, "app.service").unwrap(),
        path,
        _directory: directory,
    }
}

/// A service that runs this shell script.
fn script(text: &str) -> Managed {
    let managed = managed("[Service]\nExecStart=/bin/sh DIR/script\nTimeoutStopSec=5\n");
    fs::write(managed.path.join("script"), text).unwrap();
    managed
}

const QUIET: &str = "exec tail -f /dev/null";

impl Managed {
    fn act(&self, act: ServiceAct) -> Result<(), HostError> {
        self.host.manage(&self.unit, &act, Duration::from_secs(20))
    }

    fn status(&self) -> ServiceStatus {
        self.host.service(&self.unit).unwrap()
    }

    fn log(&self) -> Vec<String> {
        self.host.service_log(&self.unit, 100, None)
    }

    /// Waits until a file has a whole line, and gives it.
    fn line(&self, name: &str) -> String {
        let path = self.path.join(name);
        let text = || {
            fs::read_to_string(&path)
                .ok()
                .filter(|text| text.ends_with('\n'))
        };
        until(name, || text().is_some());
        text().unwrap().trim().to_owned()
    }
}

/// Waits for a condition, at most ten seconds.
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn a_service_is_started_seen_restarted_and_stopped() {
    let app = script("echo began; exec tail -f /dev/null");
    let status = app.status();
    assert!(status.exists && !status.failed && status.main_process.is_none());
    assert_eq!(status.words, "inactive (dead)");
    let before = app.host.moment();
    app.act(ServiceAct::DaemonReload).unwrap();
    app.act(ServiceAct::Start).unwrap();
    let first = app.status();
    assert_eq!(
        (first.activity, first.words.as_str()),
        (Activity::Active, "active (running)")
    );
    assert!(first.started.clone().unwrap().is_after(&before));
    let process = first.main_process.unwrap();
    assert_eq!(
        proc::alive(process).unwrap().session,
        process,
        "a session of its own"
    );
    app.act(ServiceAct::Start).unwrap();
    assert_eq!(app.status(), first, "the same again does nothing");
    until("the first start in the log", || app.log() == ["began"]);
    app.act(ServiceAct::Restart).unwrap();
    let second = app.status();
    assert_ne!(second.main_process, first.main_process);
    assert!(
        second
            .started
            .clone()
            .unwrap()
            .is_after(&first.started.unwrap())
    );
    assert_eq!(proc::alive(process), None);
    until("both starts in the log", || app.log() == ["began", "began"]);
    let since = |moment| app.host.service_log(&app.unit, 100, moment);
    assert_eq!(since(second.started.as_ref()), ["began"], "of this start");
    app.act(ServiceAct::Stop).unwrap();
    app.act(ServiceAct::Stop).unwrap();
    let status = app.status();
    assert_eq!(
        (status.activity, status.failed),
        (Activity::Inactive, false)
    );
    assert_eq!(status.words, "inactive (dead)");
    assert!(!app.path.join("app.service.run").exists());
}

#[test]
fn a_program_that_cannot_be_run_is_an_error_that_says_why() {
    let table = [
        (
            "ExecStart=/no/such",
            "can't run /no/such: No such file or directory",
        ),
        ("ExecStart=DIR/app.service", "Permission denied"),
        (
            "ExecStart=no-such-program",
            "there is no program \"no-such-program\" in /usr",
        ),
        (
            "WorkingDirectory=DIR/none\nExecStart=cat",
            "none is not there",
        ),
        (
            "EnvironmentFile=DIR/none\nExecStart=cat",
            "its EnvironmentFile",
        ),
        ("ExecStart=cat \"x", "has a \" that is not closed"),
        ("Restart=no", "app.service has no ExecStart"),
        (
            "User=no-such-user\nExecStart=cat",
            "this host has no user \"no-such-user\"",
        ),
    ];
    for (lines, words) in table {
        let app = managed(&format!("[Service]\n{lines}\n"));
        let error = app.act(ServiceAct::Start).unwrap_err().to_string();
        assert!(error.starts_with("start app.service: "), "{error}");
        assert!(error.contains(words), "{error}");
        assert_eq!(app.status().activity, Activity::Inactive);
    }
}

#[test]
fn a_service_that_ends_by_itself_says_how() {
    let table = [
        ("echo no; exit 3", "failed (exited with 3)", true),
        ("kill -9 $$", "failed (killed by signal 9)", true),
        ("exit 0", "inactive (exited with 0)", false),
    ];
    for (text, words, failed) in table {
        let app = script(text);
        app.act(ServiceAct::Start).unwrap();
        until(words, || app.status().words == words);
        let status = app.status();
        assert_eq!(
            (status.failed, status.activity),
            (failed, Activity::Inactive)
        );
        app.act(ServiceAct::ResetFailed).unwrap();
        assert_eq!(app.status().words, "inactive (dead)");
    }
}

#[test]
fn a_process_that_was_started_and_not_written_down_is_found_and_adopted() {
    let app = script(QUIET);
    app.act(ServiceAct::Start).unwrap();
    let before = app.status();
    fs::remove_file(app.path.join("app.service.run")).unwrap();
    let found = app.status();
    assert_eq!(found.main_process, before.main_process);
    let (found, exact) = (found.started.unwrap(), before.started.unwrap());
    assert!(
        exact.monotonic.abs_diff(found.monotonic) < 1_000_000,
        "about the same time"
    );
    app.act(ServiceAct::Start).unwrap();
    assert!(app.path.join("app.service.run").exists());
    assert_eq!(app.status().main_process, before.main_process);
    fs::remove_file(app.path.join("app.service.run")).unwrap();
    app.act(ServiceAct::Stop).unwrap();
    assert_eq!(proc::alive(before.main_process.unwrap()), None);
}

#[test]
fn a_process_is_found_by_its_mark_while_it_turns_into_another_program() {
    let app = script("exec /bin/sh \"$0\"");
    app.act(ServiceAct::Start).unwrap();
    let family = app.service.family(None);
    for round in 0..100 {
        assert_eq!(family.members().unwrap().len(), 1, "round {round}");
    }
}

#[test]
fn another_process_under_a_remembered_number_is_left_alone() {
    let app = script(QUIET);
    let mut other = std::process::Command::new("cat")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let ticks = proc::process(other.id()).unwrap().started;
    let record = |ticks, boot: &str| Record {
        process: other.id(),
        ticks,
        started: Moment {
            boot: boot.to_owned(),
            monotonic: 1,
        },
        log: 0,
    };
    let boot = app.host.moment().boot;
    for (record, words) in [
        (record(ticks + 1, &boot), "failed (its process is gone)"),
        (record(ticks, "another-boot"), "inactive (dead)"),
    ] {
        record.write(&app.service).unwrap();
        assert_eq!(app.status().words, words);
        app.act(ServiceAct::Stop).unwrap();
        assert!(proc::alive(other.id()).is_some());
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn stopping_ends_all_that_was_started_and_kills_what_does_not_listen() {
    let app = managed("[Service]\nExecStart=/bin/sh DIR/script\nTimeoutStopSec=300ms\n");
    let text = "cd $(dirname $0); trap '' TERM\n\
                setsid sh -c 'echo $$ > far; exec tail -f /dev/null' &\n\
                sh -c 'echo $$ > near; exec tail -f /dev/null' &\n\
                echo ready > main; while :; do wait; done";
    fs::write(app.path.join("script"), text).unwrap();
    app.act(ServiceAct::Start).unwrap();
    let ids = [app.line("far"), app.line("near")].map(|id| id.parse().unwrap());
    app.line("main");
    let main = app.status().main_process.unwrap();
    app.act(ServiceAct::Stop).unwrap();
    for id in ids.into_iter().chain([main]) {
        assert_eq!(proc::alive(id), None);
    }
}

#[test]
fn a_kill_signal_is_asked_first_and_waited_for() {
    let app = managed("[Service]\nExecStart=/bin/sh DIR/script\nKillSignal=SIGUSR1\n");
    let text = "cd $(dirname $0); trap 'echo asked > end; exit 0' USR1\n\
                mkfifo pipe; echo ready > main; read never < pipe";
    fs::write(app.path.join("script"), text).unwrap();
    app.act(ServiceAct::Start).unwrap();
    app.line("main");
    app.act(ServiceAct::Stop).unwrap();
    assert_eq!(app.line("end"), "asked");
}

#[test]
fn what_a_dead_main_process_left_is_ended_before_the_next_start() {
    let app = script("cd $(dirname $0); sh -c 'echo $$ > left; exec tail -f /dev/null' & exit 1");
    app.act(ServiceAct::Start).unwrap();
    let left: u32 = app.line("left").parse().unwrap();
    until("the end", || app.status().failed);
    assert!(proc::alive(left).is_some());
    fs::write(app.path.join("script"), QUIET).unwrap();
    app.act(ServiceAct::Start).unwrap();
    assert_eq!(proc::alive(left), None);
    assert_eq!(app.status().activity, Activity::Active);
}

#[test]
fn a_killed_child_of_ours_is_no_zombie_that_counts_as_alive() {
    let app = script(QUIET);
    app.act(ServiceAct::Start).unwrap();
    let process = proc::alive(app.status().main_process.unwrap()).unwrap();
    assert!(ending::signal(&process, Signal::KILL).unwrap());
    until("the end", || {
        app.status().words == "failed (killed by signal 9)"
    });
    app.act(ServiceAct::Start).unwrap();
    assert_eq!(app.status().activity, Activity::Active);
}

#[test]
fn a_service_gets_its_environment_and_directory_and_nothing_of_ours() {
    let app = managed(
        "[Unit]\nExecStart=not here\n[Service]\nType=simple\n\
         Environment=\"GREETING=good day\" PORT=80\n# a comment\nEnvironment=PORT=8000\n\
         EnvironmentFile=DIR/env\nEnvironmentFile=-DIR/none\n\
         WorkingDirectory=DIR/work\nExecStart=bin/show \\\n  ${PORT} '$PORT' \"two words\" $MANY\n",
    );
    fs::write(
        app.path.join("env"),
        "# no\nMANY=one  two\nQUOTED=\"a b\"\n",
    )
    .unwrap();
    fs::create_dir_all(app.path.join("work/bin")).unwrap();
    let program = app.path.join("work/bin/show");
    let text = "#!/bin/sh\npwd\necho \"$GREETING|$QUOTED|$LANG|${CARGO_HOME-none}\"\nfor word; do echo \"<$word>\"; done\n";
    fs::write(&program, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).unwrap();
    app.act(ServiceAct::Start).unwrap();
    let work = app.path.join("work").display().to_string();
    let expected = [
        work.as_str(),
        "good day|a b|C.UTF-8|none",
        "<8000>",
        "<8000>",
        "<two words>",
        "<one>",
        "<two>",
    ];
    until("its output", || app.log().len() == expected.len());
    assert_eq!(app.log(), expected);
    assert_eq!(app.host.service_log(&app.unit, 1, None), ["<two>"]);
}

#[test]
fn a_service_runs_as_its_user_where_we_are_root() {
    let is_root = rustix::process::geteuid().is_root();
    let other = if is_root { "nobody" } else { "root" };
    let app = managed(&format!("[Service]\nUser={other}\nExecStart=id -un\n"));
    let started = app.act(ServiceAct::Start);
    if is_root {
        started.unwrap();
        until("its output", || app.log() == ["nobody"]);
    } else {
        let error = started.unwrap_err().to_string();
        assert!(
            error.ends_with("only root may run something as root"),
            "{error}"
        );
    }
}

#[test]
fn reloading_needs_a_hangup_that_is_declared() {
    let app = script(
        "cd $(dirname $0); trap 'echo again > hup' HUP; echo > main; tail -f /dev/null & while :; do wait; done",
    );
    let error = app.act(ServiceAct::Reload).unwrap_err().to_string();
    assert!(error.contains("is not running"), "{error}");
    app.act(ServiceAct::Start).unwrap();
    app.line("main");
    let error = app.act(ServiceAct::Reload).unwrap_err().to_string();
    assert!(
        error.contains("has no `ExecReload=kill -HUP $MAINPID`"),
        "{error}"
    );
    let mut unit = fs::read_to_string(app.path.join("app.service")).unwrap();
    unit.push_str("ExecReload=/bin/kill -HUP $MAINPID\n");
    fs::write(app.path.join("app.service"), unit).unwrap();
    let before = app.status();
    app.act(ServiceAct::Reload).unwrap();
    assert_eq!(app.line("hup"), "again");
    assert_eq!(app.status(), before);
}

#[test]
fn enabling_is_a_mark_and_an_unknown_unit_is_told() {
    let app = script(QUIET);
    for (act, enabled) in [
        (ServiceAct::Enable, true),
        (ServiceAct::Enable, true),
        (ServiceAct::Disable, false),
        (ServiceAct::Disable, false),
    ] {
        app.act(act).unwrap();
        assert_eq!(app.status().enabled, enabled);
    }
    app.act(ServiceAct::Start).unwrap();
    fs::remove_file(app.path.join("app.service")).unwrap();
    let status = app.status();
    assert!(!status.exists && status.activity == Activity::Active);
    app.act(ServiceAct::Stop).unwrap();
    for act in [ServiceAct::Start, ServiceAct::Enable] {
        let error = app.act(act).unwrap_err().to_string();
        assert!(error.contains("there is no unit"), "{error}");
    }
    let strange = Unit {
        name: "../app.service".to_owned(),
        ..app.unit.clone()
    };
    app.host.service(&strange).unwrap_err();
}

#[test]
fn a_definition_is_read_as_systemd_reads_it() {
    let text = "[Unit]\nDescription=x\n\n[Service]\nExecStart=\nExecStart=-/bin/x %n %%h \\\n; comment\n  more\n\
                TimeoutStopSec=1min 30s\nKillSignal=SIGQUIT\nUnknownKey=fine\n[Install]\nWantedBy=multi-user.target\n";
    let definition = Definition::parse(text, "app.service").unwrap();
    let none = |_: &str| None;
    let words = definition.command(&none).unwrap();
    assert_eq!(words, ["/bin/x", "app.service", "%h", "more"]);
    assert_eq!(definition.stop_patience, Duration::from_secs(90));
    assert_eq!(definition.kill_signal, Signal::QUIT);
    let wrong = [
        ("[Service]\nExecStart", "is no `Key=value`"),
        (
            "[Service]\nExecStart=x\nTimeoutStopSec=soon",
            "no time span",
        ),
        (
            "[Service]\nExecStart=x\nKillSignal=SIGNONE",
            "no signal that is known here",
        ),
    ];
    for (text, words) in wrong {
        let error = Definition::parse(text, "app.service")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(words) && error.contains("app.service"),
            "{error}"
        );
    }
}

#[test]
fn words_are_split_at_spaces_outside_of_quotes() {
    let table: [(&str, &[&str]); 6] = [
        ("a  b\tc", &["a", "b", "c"]),
        (r#"a "b c" 'd "e"'"#, &["a", "b c", "d \"e\""]),
        (r#"key="a b"c """#, &["key=a bc", ""]),
        (r"a\sb \x41 \\", &["a b", "A", "\\"]),
        ("", &[]),
        ("ä ö", &["ä", "ö"]),
    ];
    for (text, expected) in table {
        assert_eq!(words::split(text).unwrap(), expected, "{text:?}");
    }
    words::split("a 'b").unwrap_err();
    words::split(r"a\q").unwrap_err();
}

#[test]
fn variables_are_filled_in_without_a_shell() {
    let variable = |name: &str| match name {
        "A" => Some("one two".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let table: [(&str, &[&str]); 7] = [
        ("$A", &["one", "two"]),
        ("${A}", &["one two"]),
        ("x${A}y", &["xone twoy"]),
        ("x$A", &["x$A"]),
        ("$EMPTY", &[]),
        ("${NONE}", &[""]),
        ("$$A${", &["$A${"]),
    ];
    for (word, expected) in table {
        assert_eq!(words::fill(word, &variable), expected, "{word:?}");
    }
}

#[test]
fn an_environment_file_is_lines_with_quotes_and_comments() {
    let text = "A=1\n# B=2\n; C=3\n\nD = a b  \nE=\"x \\\"y\\\" \\n\nz\"  \nF='$A \\'\nno value\nG=a\\\nb\nH=\n I=end";
    let all = words::environment_file(text);
    let all: Vec<(&str, &str)> = all
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("A", "1"),
        ("D", "a b"),
        ("E", "x \"y\" \\n\nz"),
        ("F", "$A \\"),
        ("G", "ab"),
        ("H", ""),
        ("I", "end"),
    ];
    assert_eq!(all, expected);
}
