//! Looking back: the list of runs, and one of them step by step.

use std::collections::BTreeMap;

use rusqlite::{Row, params};
use serde::Serialize;

use super::error::HistoryError;
use super::store::History;
use crate::model::{Author, Event};

/// A run in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// Its name.
    pub run: String,
    /// The environment.
    pub environment: String,
    /// `apply`, `rollback`, `remove` or `heal`.
    pub command: String,
    /// The version that it brought.
    pub version: Option<String>,
    /// Who, from where and why.
    pub author: Author,
    /// The words of `--only`.
    pub only: Vec<String>,
    /// The words of `--except`.
    pub except: Vec<String>,
    /// The hosts.
    pub hosts: Vec<String>,
    /// How many steps its plan had.
    pub steps: u64,
    /// The generation that it made.
    pub generation: Option<u64>,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// When it ended; none while it goes on, or when its end wasn't seen from here.
    pub ended: Option<String>,
    /// How it ended, by the word of the contract.
    pub outcome: Option<String>,
    /// The exit code.
    pub exit_code: Option<u8>,
}

/// One run, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: RunRow,
    /// What stood on each host at its end.
    pub stood: Vec<HostRow>,
    /// Its steps, in the order in which they began.
    pub taken: Vec<StepRow>,
    /// The gates that were read, in their order.
    pub gates: Vec<GateRow>,
    /// Everything else that happened.
    pub events: Vec<Event>,
}

/// What stood on a host at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostRow {
    /// The host.
    pub host: String,
    /// The app.
    pub app: String,
    /// The generation.
    pub generation: Option<u64>,
    /// Its release.
    pub release: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Whether it was healthy; none when it couldn't be read.
    pub healthy: Option<bool>,
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepRow {
    /// The host.
    pub host: String,
    /// The app.
    pub app: String,
    /// Its name in the plan.
    pub step: String,
    /// Its kind.
    pub kind: String,
    /// What it did.
    pub action: String,
    /// To what.
    pub resource: String,
    /// When it began.
    pub started: String,
    /// When it ended; none where that wasn't seen.
    pub ended: Option<String>,
    /// Milliseconds.
    pub elapsed: Option<u64>,
    /// `changed`, `unchanged` or `failed`.
    pub result: Option<String>,
    /// What failed.
    pub error: Option<String>,
}

/// A gate that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateRow {
    /// The host.
    pub host: String,
    /// The app.
    pub app: String,
    /// Its name.
    pub gate: String,
    /// What it said.
    pub verdict: String,
    /// What kind of failure it stands for.
    pub class: String,
    /// What was seen.
    pub detail: String,
    /// Milliseconds.
    pub elapsed: u64,
    /// Whether it was read before the first change.
    pub baseline: bool,
    /// Whether it was read after the way back.
    pub back: bool,
    /// When.
    pub at: String,
}

impl History {
    /// The latest runs, the newest first.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn runs(&self, environment: Option<&str>, limit: u32) -> Result<Vec<RunRow>, HistoryError> {
        let sql = format!(
            "SELECT {RUN} FROM runs WHERE ?1 IS NULL OR environment = ?1 \
             ORDER BY started DESC, id DESC LIMIT ?2"
        );
        self.rows(&sql, params![environment, limit], run_row)
    }

    /// How long the last restart of each service took, in milliseconds: by host, app and service.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn restarts(
        &self,
        environment: &str,
    ) -> Result<BTreeMap<(String, String, String), u64>, HistoryError> {
        // The other columns are of the row with the largest number (SQLite, "Bare columns in an
        // aggregate query").
        let rows = self.rows(
            "SELECT steps.host, steps.app, steps.resource, steps.elapsed, max(steps.number) \
             FROM steps JOIN runs ON runs.id = steps.run \
             WHERE runs.environment = ?1 AND steps.action = 'restart' AND steps.result = 'changed' \
             AND steps.elapsed IS NOT NULL GROUP BY steps.host, steps.app, steps.resource",
            [environment],
            |row| {
                Ok((
                    (row.get(0)?, row.get(1)?, row.get(2)?),
                    row.get::<_, i64>(3)?.unsigned_abs(),
                ))
            },
        )?;
        Ok(rows.into_iter().collect())
    }

    /// One run by its name, or by a beginning that only one has.
    ///
    /// # Errors
    /// When none or several begin so, or the file can't be read.
    pub fn run(&self, name: &str) -> Result<RunDetail, HistoryError> {
        let sql =
            format!("SELECT {RUN} FROM runs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id");
        let mut matching = self.rows(&sql, [name], run_row)?;
        if let Some(exact) = matching.iter().position(|run| run.run == name) {
            matching = vec![matching.swap_remove(exact)];
        }
        let Some(run) = matching.pop() else {
            let run = name.to_owned();
            return Err(HistoryError::NoSuchRun { run });
        };
        if !matching.is_empty() {
            let mut names: Vec<_> = matching.into_iter().map(|run| run.run).collect();
            names.push(run.run);
            return Err(HistoryError::Ambiguous {
                run: name.to_owned(),
                matching: names,
            });
        }
        let id = [run.run.as_str()];
        let stood = self.rows(
            "SELECT host, app, generation, release, version, healthy FROM run_hosts \
             WHERE run = ?1 ORDER BY host, app",
            id,
            host_row,
        )?;
        let taken = self.rows(
            "SELECT host, app, step, kind, action, resource, started, ended, elapsed, result, error \
             FROM steps WHERE run = ?1 ORDER BY number",
            id,
            step_row,
        )?;
        let gates = self.rows(
            "SELECT host, app, gate, verdict, class, detail, elapsed, baseline, back, at FROM gates \
             WHERE run = ?1 ORDER BY number",
            id,
            gate_row,
        )?;
        let events = self.rows(
            "SELECT event FROM events WHERE run = ?1 ORDER BY number",
            id,
            |row| row.get::<_, String>(0),
        )?;
        // What a later version wrote and this one doesn't know is left out.
        let events = events
            .iter()
            .filter_map(|event| serde_json::from_str(event).ok());
        Ok(RunDetail {
            stood,
            taken,
            gates,
            events: events.collect(),
            run,
        })
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, HistoryError> {
        let read = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare(sql)?;
            let rows = statement.query_map(parameters, row)?;
            rows.collect()
        };
        read().map_err(|cause| self.read(cause))
    }
}

/// The columns of a run, in the order in which [`run_row`] reads them.
const RUN: &str = "id, environment, command, version, user, machine, ci_actor, ci_job, source, \
                   reason, only_names, except_names, hosts, steps, generation, started, ended, \
                   outcome, exit_code";

fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        run: row.get(0)?,
        environment: row.get(1)?,
        command: row.get(2)?,
        version: row.get(3)?,
        author: Author {
            user: row.get(4)?,
            machine: row.get(5)?,
            ci_actor: row.get(6)?,
            ci_job: row.get(7)?,
            commit: row.get(8)?,
            reason: row.get(9)?,
        },
        only: words(row, 10)?,
        except: words(row, 11)?,
        hosts: words(row, 12)?,
        steps: number(row, 13)?.unwrap_or(0),
        generation: number(row, 14)?,
        started: row.get(15)?,
        ended: row.get(16)?,
        outcome: row.get(17)?,
        exit_code: row.get(18)?,
    })
}

fn host_row(row: &Row<'_>) -> rusqlite::Result<HostRow> {
    Ok(HostRow {
        host: row.get(0)?,
        app: row.get(1)?,
        generation: number(row, 2)?,
        release: row.get(3)?,
        version: row.get(4)?,
        healthy: row.get(5)?,
    })
}

fn step_row(row: &Row<'_>) -> rusqlite::Result<StepRow> {
    Ok(StepRow {
        host: row.get(0)?,
        app: row.get(1)?,
        step: row.get(2)?,
        kind: row.get(3)?,
        action: row.get(4)?,
        resource: row.get(5)?,
        started: row.get(6)?,
        ended: row.get(7)?,
        elapsed: number(row, 8)?,
        result: row.get(9)?,
        error: row.get(10)?,
    })
}

fn gate_row(row: &Row<'_>) -> rusqlite::Result<GateRow> {
    Ok(GateRow {
        host: row.get(0)?,
        app: row.get(1)?,
        gate: row.get(2)?,
        verdict: row.get(3)?,
        class: row.get(4)?,
        detail: row.get(5)?,
        elapsed: number(row, 6)?.unwrap_or(0),
        baseline: row.get(7)?,
        back: row.get(8)?,
        at: row.get(9)?,
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let number: Option<i64> = row.get(column)?;
    Ok(number.and_then(|number| u64::try_from(number).ok()))
}

fn words(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}
