//! A run recorded from its events and read back, and files that are of no use.

use std::path::PathBuf;

use rusqlite::Connection;

use super::{About, DriftReport, History, HistoryError};
use crate::model::gate::GateClass;
use crate::model::{
    Action, AppName, Author, Event, EventKind, GateResult, HostName, HostOutcome, Outcome,
    OutcomeKind, RunId, StepId, StepKind, Verdict, Wave,
};

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".rosey/rosey.db");
    (directory, path)
}

fn host() -> HostName {
    HostName::new("bot-1").unwrap()
}

fn app() -> AppName {
    AppName::new("bot").unwrap()
}

fn author() -> Author {
    Author {
        user: "ann".to_owned(),
        machine: "desk".to_owned(),
        commit: Some("3fa9c1d".to_owned()),
        reason: Some("the new greeting".to_owned()),
        ..Author::default()
    }
}

fn started(run: &str) -> EventKind {
    EventKind::RunStarted {
        run: RunId(run.to_owned()),
        environment: "prod".to_owned(),
        command: "apply".to_owned(),
        author: author(),
        steps: 2,
        hosts: vec![host()],
    }
}

fn begun(step: &str) -> EventKind {
    EventKind::StepStarted {
        host: host(),
        app: app(),
        step: StepId(step.to_owned()),
        kind: StepKind::LINK,
        action: Action::Update,
        resource: "link /opt/bot/current".to_owned(),
        within: None,
    }
}

fn failed_run(run: &str) -> Vec<EventKind> {
    let done = |step: &str| EventKind::StepDone {
        host: host(),
        app: app(),
        step: StepId(step.to_owned()),
        action: Some(Action::Update),
        back: false,
        changed: true,
        elapsed: 12,
    };
    let transfer = |sent, done| EventKind::Transfer {
        host: host(),
        app: app(),
        files: 3,
        bytes: 100,
        sent,
        done,
    };
    vec![
        started(run),
        transfer(10, false),
        transfer(40, true),
        EventKind::WaveStarted {
            wave: Wave(1),
            of: 1,
            hosts: vec![host()],
        },
        begun("link"),
        done("link"),
        begun("restart"),
        EventKind::StepFailed {
            host: host(),
            app: app(),
            step: StepId("restart".to_owned()),
            error: "bot.service failed".to_owned(),
            elapsed: 900,
        },
        begun("link"),
        done("link"),
        EventKind::GateRead {
            host: host(),
            app: app(),
            result: GateResult {
                gate: "process bot".to_owned(),
                verdict: Verdict::Passed,
                class: GateClass::Process,
                detail: "active".to_owned(),
                elapsed: 4,
            },
            baseline: true,
            back: false,
            step: None,
        },
        EventKind::Outcome(Outcome {
            run: Some(RunId(run.to_owned())),
            outcome: OutcomeKind::RolledBack,
            exit_code: 7,
            hosts: [(
                host(),
                vec![HostOutcome {
                    app: "bot".to_owned(),
                    generation: Some(4),
                    release: Some("1.4-abc".to_owned()),
                    version: Some("1.4".to_owned()),
                    healthy: Some(true),
                }],
            )]
            .into(),
        }),
    ]
}

fn record(path: &std::path::Path, events: Vec<EventKind>) {
    let about = About {
        version: Some("1.5".to_owned()),
        only: vec!["eu".to_owned()],
        except: Vec::new(),
    };
    let (sender, recorder) = History::open(path).unwrap().record(about).unwrap();
    for (second, kind) in events.into_iter().enumerate() {
        let time = format!("2026-11-20T12:00:{second:02}Z");
        sender.send(Event { time, kind }).unwrap();
    }
    drop(sender);
    recorder.finish().unwrap();
}

#[test]
fn a_run_is_read_back_as_it_was_told() {
    let (_directory, path) = place();
    record(&path, failed_run("20261120T120000Z-3fa9c1"));
    let history = History::open(&path).unwrap();
    let runs = history.runs(Some("prod"), 10).unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].author, author());
    assert_eq!(runs[0].only, ["eu"]);
    assert_eq!(runs[0].version.as_deref(), Some("1.5"));
    assert_eq!(runs[0].outcome.as_deref(), Some("rolled-back"));
    assert_eq!(runs[0].exit_code, Some(7));
    assert_eq!(runs[0].ended.as_deref(), Some("2026-11-20T12:00:11Z"));
    let detail = history.run("20261120").unwrap();
    let steps: Vec<_> = detail
        .taken
        .iter()
        .map(|it| {
            (
                it.step.as_str(),
                it.result.as_deref(),
                it.elapsed,
                it.error.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("link", Some("changed"), Some(12), None),
            (
                "restart",
                Some("failed"),
                Some(900),
                Some("bot.service failed")
            ),
            ("link", Some("changed"), Some(12), None),
        ]
    );
    assert_eq!(detail.gates[0].class, "process");
    assert!(detail.gates[0].baseline);
    assert_eq!(detail.stood[0].healthy, Some(true));
    // All but the transfer while it was under way.
    assert_eq!(detail.events.len(), failed_run("x").len() - 1);
    assert!(matches!(
        detail.events.last().unwrap().kind,
        EventKind::Outcome(_)
    ));
}

#[test]
fn a_run_whose_end_was_not_seen_has_no_outcome() {
    let (_directory, path) = place();
    record(&path, vec![started("one"), begun("link")]);
    let detail = History::open(&path).unwrap().run("one").unwrap();
    assert_eq!((detail.run.outcome, detail.run.ended), (None, None));
    assert_eq!(detail.taken[0].result, None);
}

#[test]
fn a_run_that_was_planned_anew_was_refused_as_stale() {
    let (_directory, path) = place();
    let run = RunId("one".to_owned());
    record(&path, vec![started("one"), EventKind::PlannedAnew { run }]);
    let run = History::open(&path).unwrap().run("one").unwrap().run;
    assert_eq!(run.outcome.as_deref(), Some("refused"));
    assert_eq!(run.exit_code, Some(6));
}

#[test]
fn runs_are_found_by_a_beginning_that_only_one_has() {
    let (_directory, path) = place();
    record(&path, vec![started("2026-a")]);
    record(&path, vec![started("2026-ab")]);
    let history = History::open(&path).unwrap();
    assert_eq!(history.run("2026-ab").unwrap().run.run, "2026-ab");
    // A whole name counts, also where another one begins with it.
    assert_eq!(history.run("2026-a").unwrap().run.run, "2026-a");
    let several = history.run("2026").unwrap_err();
    assert_eq!(
        several.to_string(),
        "several runs begin with 2026: 2026-a, 2026-ab"
    );
    assert!(matches!(
        history.run("2027"),
        Err(HistoryError::NoSuchRun { .. })
    ));
    // A percent sign or an underscore is no pattern.
    assert!(history.run("%").is_err());
    assert_eq!(history.runs(Some("test"), 10).unwrap(), []);
    let newest = &history.runs(None, 1).unwrap()[0];
    assert_eq!(newest.run, "2026-ab");
}

#[test]
fn what_begins_no_run_is_no_run() {
    let (_directory, path) = place();
    let refused = EventKind::Outcome(Outcome {
        run: None,
        outcome: OutcomeKind::Refused,
        exit_code: 5,
        hosts: std::collections::BTreeMap::new(),
    });
    record(&path, vec![refused]);
    assert_eq!(History::open(&path).unwrap().runs(None, 10).unwrap(), []);
}

#[test]
fn tables_are_brought_up_to_date_step_by_step_and_keep_what_is_in_them() {
    let (_directory, path) = place();
    record(&path, failed_run("one"));
    // As the first version left it: without what came later.
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "DROP TABLE drift_reports; DROP TABLE audit; ALTER TABLE gates DROP COLUMN back; \
         DELETE FROM refinery_schema_history WHERE version > 1",
    )
    .unwrap();
    drop(old);
    let history = History::open(&path).unwrap();
    assert_eq!(history.drift_reports("prod", 1).unwrap(), []);
    assert_eq!(history.runs(None, 10).unwrap().len(), 1);
    let gates = history.run("one").unwrap().gates;
    assert_eq!((gates.len(), gates[0].back), (1, false));
}

#[test]
fn a_file_of_a_later_version_is_left_alone() {
    let (_directory, path) = place();
    drop(History::open(&path).unwrap());
    let later = Connection::open(&path).unwrap();
    later
        .execute_batch(
            "INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')",
        )
        .unwrap();
    drop(later);
    let error = History::open(&path).unwrap_err();
    assert!(matches!(error, HistoryError::Version { .. }), "{error}");
    assert!(error.to_string().contains("only the past is lost"));
}

#[test]
fn a_file_that_is_no_database_is_an_error_that_says_what_to_do() {
    let (_directory, path) = place();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(
        &path,
        "this is no database at all, but it is long enough to be one",
    )
    .unwrap();
    let error = History::open(&path).unwrap_err();
    assert!(error.to_string().contains("It may be deleted"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = History::open(&file.join("rosey.db")).unwrap_err();
    assert!(matches!(error, HistoryError::Directory { .. }), "{error}");
}

#[test]
fn where_nothing_was_recorded_nothing_is_made() {
    let (_directory, path) = place();
    assert!(History::find(&path).unwrap().is_none());
    assert!(!path.exists());
}

#[test]
fn a_file_that_breaks_in_the_middle_ends_nothing_but_the_record() {
    let (_directory, path) = place();
    let history = History::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("DROP TABLE events").unwrap();
    let (sender, recorder) = history.record(About::default()).unwrap();
    for kind in failed_run("one") {
        let time = "2026-11-20T12:00:00Z".to_owned();
        sender.send(Event { time, kind }).ok();
    }
    let error = recorder.finish().unwrap_err();
    assert!(
        error.to_string().contains("failed to write the history"),
        "{error}"
    );
}

#[test]
fn drift_and_audit_are_kept() {
    let (_directory, path) = place();
    let history = History::open(&path).unwrap();
    let report = DriftReport {
        environment: "prod".to_owned(),
        at: "2026-11-20T12:00:00Z".to_owned(),
        drifted: true,
        findings: serde_json::json!([{"path": "/etc/nginx/sites-enabled/bot"}]),
    };
    history.keep_drift(&report).unwrap();
    assert_eq!(history.drift_reports("prod", 5).unwrap(), [report]);
    let at = "2026-11-20T12:00:00Z";
    history
        .audit(Some("prod"), at, &author(), ("unlock", "run 20261120"))
        .unwrap();
    let rows = history.audited(Some("prod"), 5).unwrap();
    assert_eq!(
        (rows[0].user.as_str(), rows[0].action.as_str()),
        ("ann", "unlock")
    );
}

#[test]
fn the_last_restart_of_each_service_is_known() {
    let (_directory, path) = place();
    let restarted = |elapsed| {
        let step = "a/bot/service:bot.service";
        let EventKind::StepStarted {
            host,
            app,
            step,
            within,
            ..
        } = begun(step)
        else {
            unreachable!("a step begins")
        };
        let began = EventKind::StepStarted {
            host: host.clone(),
            app: app.clone(),
            step: step.clone(),
            kind: StepKind::RESTART,
            action: Action::Restart,
            resource: "bot.service".to_owned(),
            within,
        };
        let done = EventKind::StepDone {
            host,
            app,
            step,
            action: Some(Action::Restart),
            back: false,
            changed: true,
            elapsed,
        };
        [began, done]
    };
    for (run, elapsed) in [("20261120T120000Z-1", 900), ("20261120T130000Z-2", 300)] {
        let mut events = vec![started(run)];
        events.extend(restarted(elapsed));
        record(&path, events);
    }
    let history = History::open(&path).unwrap();
    let key = (
        host().to_string(),
        app().to_string(),
        "bot.service".to_owned(),
    );
    assert_eq!(history.restarts("prod").unwrap(), [(key, 300)].into());
    assert!(history.restarts("test").unwrap().is_empty());
}
