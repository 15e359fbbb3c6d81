//! Recording a run from its events, on a thread of its own.

use rusqlite::{Connection, named_params, params};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::error::HistoryError;
use super::store::History;
use crate::model::{Event, EventKind, Outcome, OutcomeKind, RunId};

/// The exit code of a run whose plan was stale, which the command didn't end with: it planned anew.
const STALE: u8 = 6;

/// What is worth knowing of a run and isn't in its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The version that it brings; none for a rollback or remove.
    pub version: Option<String>,
    /// The words of `--only`.
    pub only: Vec<String>,
    /// The words of `--except`.
    pub except: Vec<String>,
}

/// A thread that records one run.
#[derive(Debug)]
pub struct Recorder {
    thread: std::thread::JoinHandle<Result<(), HistoryError>>,
}

impl Recorder {
    /// Waits until everything up to the outcome is recorded, or every sender is gone.
    ///
    /// # Errors
    /// The first thing that couldn't be written; a warning, no more.
    pub fn finish(self) -> Result<(), HistoryError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl History {
    /// Records the run whose events are sent. Sending never waits; the run goes on whatever becomes
    /// of the record.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn record(self, about: About) -> Result<(UnboundedSender<Event>, Recorder), HistoryError> {
        let (sender, receiver) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || take_all(&self, &about, receiver))
            .map_err(HistoryError::Thread)?;
        Ok((sender, Recorder { thread }))
    }
}

/// Takes events until the outcome. After a fault the rest is let pass, so that nothing piles up.
fn take_all(
    history: &History,
    about: &About,
    mut events: UnboundedReceiver<Event>,
) -> Result<(), HistoryError> {
    let mut run = None;
    let mut result = Ok(());
    while let Some(event) = events.blocking_recv() {
        if result.is_ok() {
            result = take(&history.connection, &mut run, about, &event);
        }
        if matches!(
            event.kind,
            EventKind::Outcome(_) | EventKind::PlannedAnew { .. }
        ) {
            break;
        }
    }
    result.map_err(|cause| history.write(cause))
}

fn take(
    connection: &Connection,
    run: &mut Option<RunId>,
    about: &About,
    event: &Event,
) -> rusqlite::Result<()> {
    if let EventKind::RunStarted { run: started, .. } = &event.kind {
        begin(connection, about, event)?;
        *run = Some(started.clone());
    }
    // What is said before a run begins, or instead of one, belongs to none.
    let Some(run) = run.as_ref().map(|run| run.0.as_str()) else {
        return Ok(());
    };
    if !matches!(event.kind, EventKind::Transfer { done: false, .. }) {
        keep(connection, run, event)?;
    }
    let at = event.time.as_str();
    match &event.kind {
        EventKind::StepStarted {
            host,
            app,
            step,
            kind,
            action,
            resource,
            ..
        } => {
            connection
                .prepare_cached(
                    "INSERT INTO steps (run, host, app, step, kind, action, resource, started) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    run,
                    host.as_str(),
                    app.as_str(),
                    step.0,
                    kind.as_str(),
                    action.as_str(),
                    resource,
                    at
                ])?;
        }
        EventKind::StepDone {
            step,
            changed,
            elapsed,
            ..
        } => {
            let result = if *changed { "changed" } else { "unchanged" };
            end_step(connection, run, (&step.0, at, *elapsed), (result, None))?;
        }
        EventKind::StepFailed {
            step,
            error,
            elapsed,
            ..
        } => {
            let how = ("failed", Some(error.as_str()));
            end_step(connection, run, (&step.0, at, *elapsed), how)?;
        }
        EventKind::GateRead {
            host,
            app,
            result,
            baseline,
            back,
            step: _,
        } => {
            connection.prepare_cached(
                "INSERT INTO gates (run, host, app, gate, verdict, class, detail, elapsed, baseline, back, at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                run,
                host.as_str(),
                app.as_str(),
                result.gate,
                result.verdict.to_string(),
                word(&result.class),
                result.detail,
                whole(result.elapsed),
                baseline,
                back,
                at
            ])?;
        }
        EventKind::Committed { generation, .. } => {
            connection.execute(
                "UPDATE runs SET generation = ?2 WHERE id = ?1",
                params![run, whole(*generation)],
            )?;
        }
        EventKind::Outcome(outcome) => end(connection, run, at, outcome)?,
        EventKind::PlannedAnew { run } => {
            connection.execute(
                "UPDATE runs SET ended = ?2, outcome = ?3, exit_code = ?4 WHERE id = ?1",
                params![run.0, at, OutcomeKind::Refused.as_str(), STALE],
            )?;
        }
        _ => {}
    }
    Ok(())
}

fn begin(connection: &Connection, about: &About, event: &Event) -> rusqlite::Result<()> {
    let EventKind::RunStarted {
        run,
        environment,
        command,
        author,
        steps,
        hosts,
    } = &event.kind
    else {
        return Ok(());
    };
    connection.execute(
        "INSERT INTO runs (id, environment, command, version, user, machine, ci_actor, ci_job, \
         source, reason, only_names, except_names, hosts, steps, started) \
         VALUES (:id, :environment, :command, :version, :user, :machine, :ci_actor, :ci_job, \
         :source, :reason, :only, :except, :hosts, :steps, :started)",
        named_params! {
            ":id": run.0,
            ":environment": environment,
            ":command": command,
            ":version": about.version,
            ":user": author.user,
            ":machine": author.machine,
            ":ci_actor": author.ci_actor,
            ":ci_job": author.ci_job,
            ":source": author.commit,
            ":reason": author.reason,
            ":only": json(&about.only),
            ":except": json(&about.except),
            ":hosts": json(hosts),
            ":steps": whole(*steps as u64),
            ":started": event.time,
        },
    )?;
    Ok(())
}

fn keep(connection: &Connection, run: &str, event: &Event) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO events (run, event) VALUES (?1, ?2)")?
        .execute(params![run, json(event)])?;
    Ok(())
}

/// Ends the step that was begun last under that name: on the way back it may be taken again.
fn end_step(
    connection: &Connection,
    run: &str,
    (step, at, elapsed): (&str, &str, u64),
    (result, error): (&str, Option<&str>),
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE steps SET ended = ?3, elapsed = ?4, result = ?5, error = ?6 WHERE number = \
             (SELECT max(number) FROM steps WHERE run = ?1 AND step = ?2)",
        )?
        .execute(params![run, step, at, whole(elapsed), result, error])?;
    Ok(())
}

fn end(connection: &Connection, run: &str, at: &str, outcome: &Outcome) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE runs SET ended = ?2, outcome = ?3, exit_code = ?4 WHERE id = ?1",
        params![run, at, outcome.outcome.as_str(), outcome.exit_code],
    )?;
    for (host, apps) in &outcome.hosts {
        for app in apps {
            connection.execute(
                "INSERT OR REPLACE INTO run_hosts (run, host, app, generation, release, version, healthy) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    run,
                    host.as_str(),
                    app.app,
                    app.generation.map(whole),
                    app.release,
                    app.version,
                    app.healthy
                ],
            )?;
        }
    }
    Ok(())
}

/// SQLite's whole numbers have a sign; none of ours is near their end.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("BUG: plain values can be written as JSON")
}

/// The word of a plain enum as JSON writes it.
fn word(value: &impl serde::Serialize) -> String {
    json(value).trim_matches('"').to_owned()
}
