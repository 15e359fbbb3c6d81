//! What is kept beside runs: drift reports, and who did what that is no run.

use rusqlite::params;
use serde::Serialize;

use super::error::HistoryError;
use super::record::json;
use super::store::History;
use crate::model::Author;

/// What `drift` found once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftReport {
    /// The environment.
    pub environment: String,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// Whether it found differences.
    pub drifted: bool,
    /// What it found, as `drift --json` prints it.
    pub findings: serde_json::Value,
}

/// Something that somebody did and that is no run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    /// The environment, where it's about one.
    pub environment: Option<String>,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// Who.
    pub user: String,
    /// From where.
    pub machine: String,
    /// The actor that the CI system names.
    pub ci_actor: Option<String>,
    /// The command: `unlock`, `release-hold`.
    pub action: String,
    /// To what, and why.
    pub detail: String,
}

impl History {
    /// Keeps a drift report.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep_drift(&self, report: &DriftReport) -> Result<(), HistoryError> {
        let DriftReport {
            environment,
            at,
            drifted,
            findings,
        } = report;
        let kept = self.connection.execute(
            "INSERT INTO drift_reports (environment, at, drifted, findings) VALUES (?1, ?2, ?3, ?4)",
            params![environment, at, drifted, json(findings)],
        );
        kept.map(drop).map_err(|cause| self.write(cause))
    }

    /// The latest drift reports of an environment, the newest first.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn drift_reports(
        &self,
        environment: &str,
        limit: u32,
    ) -> Result<Vec<DriftReport>, HistoryError> {
        self.rows(
            "SELECT environment, at, drifted, findings FROM drift_reports WHERE environment = ?1 \
             ORDER BY number DESC LIMIT ?2",
            params![environment, limit],
            |row| {
                let findings: String = row.get(3)?;
                Ok(DriftReport {
                    environment: row.get(0)?,
                    at: row.get(1)?,
                    drifted: row.get(2)?,
                    findings: serde_json::from_str(&findings).unwrap_or_default(),
                })
            },
        )
    }

    /// Keeps what somebody did.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn audit(
        &self,
        environment: Option<&str>,
        at: &str,
        author: &Author,
        (action, detail): (&str, &str),
    ) -> Result<(), HistoryError> {
        let kept = self.connection.execute(
            "INSERT INTO audit (environment, at, user, machine, ci_actor, action, detail) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                environment,
                at,
                author.user,
                author.machine,
                author.ci_actor,
                action,
                detail
            ],
        );
        kept.map(drop).map_err(|cause| self.write(cause))
    }

    /// What was done last that is no run, the newest first.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn audited(
        &self,
        environment: Option<&str>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, HistoryError> {
        self.rows(
            "SELECT environment, at, user, machine, ci_actor, action, detail FROM audit \
             WHERE ?1 IS NULL OR environment = ?1 ORDER BY number DESC LIMIT ?2",
            params![environment, limit],
            |row| {
                Ok(AuditRow {
                    environment: row.get(0)?,
                    at: row.get(1)?,
                    user: row.get(2)?,
                    machine: row.get(3)?,
                    ci_actor: row.get(4)?,
                    action: row.get(5)?,
                    detail: row.get(6)?,
                })
            },
        )
    }
}
