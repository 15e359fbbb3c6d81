//! Gates: checks that belong to a generation, rendered for one host.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// All gates of one app on one host, with their clocks. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gates {
    /// How long the gates may take to become and stay healthy.
    pub within: u64,
    /// For how long without a break they must pass.
    pub stable: u64,
    /// The gates, in the order of the declaration.
    pub gates: Vec<Gate>,
}

/// One check, with all that is needed for making it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// How people know it: the kind and its first argument, as in `http http://127.0.0.1:8000/api/health`.
    pub name: String,
    /// What is checked.
    #[serde(flatten)]
    pub kind: GateKind,
}

/// What a gate checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "kebab-case")]
pub enum GateKind {
    /// The service is active and its main process stays the same.
    Process {
        /// The unit, as the app's manager knows it.
        unit: String,
        /// Where the built-in manager keeps its units, if that runs it; none for systemd.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process_directory: Option<String>,
    },
    /// An HTTP endpoint answers as it should.
    Http(HttpGate),
    /// Something accepts a TCP connection.
    Tcp {
        /// `host:port`.
        address: String,
        /// Milliseconds.
        timeout: u64,
    },
    /// An SQLite file is whole (`quick_check`) and can be read.
    Sqlite {
        /// The absolute path of the file.
        path: String,
    },
    /// A command exits with 0.
    Command {
        /// The command, for `sh -c`, run in the current release.
        run: String,
        /// The working directory.
        directory: String,
        /// The user to run it as; none for the helper's own.
        user: Option<String>,
        /// Environment variables; never a secret.
        env: BTreeMap<String, String>,
        /// Milliseconds.
        timeout: u64,
    },
}

/// An HTTP endpoint and what it must answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGate {
    /// The address, `http` or `https`.
    pub url: String,
    /// The status code expected.
    pub status: u16,
    /// Fields of the JSON body (dots lead into objects) with the values expected.
    pub json: BTreeMap<String, serde_json::Value>,
    /// Milliseconds that one request may take.
    pub timeout: u64,
    /// The 95th percentile of response times: at most these milliseconds over so many samples.
    pub p95: Option<(u64, u32)>,
    /// The error rate at most, read from two JSON fields.
    pub error_rate: Option<ErrorRate>,
}

/// An error rate, read from two fields of an HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRate {
    /// At most this many errors in a million.
    pub per_million: u64,
    /// The field that counts errors.
    pub errors: String,
    /// The field that counts all.
    pub of: String,
}

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// The gate couldn't be read (too few samples, the tool is missing): neither.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// What kind of failure a gate stands for; its exit code is in `cli`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateClass {
    /// The process isn't there.
    Process,
    /// A connection can't be made.
    Connection,
    /// A database isn't whole.
    Database,
    /// A command failed.
    Command,
    /// Too slow, or too many errors.
    Performance,
    /// The health endpoint answers otherwise than it should.
    Health,
}

/// What one gate said, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// The gate's name.
    pub gate: String,
    /// What it said.
    pub verdict: Verdict,
    /// What kind of failure it would be.
    pub class: GateClass,
    /// What was seen, for a person: `status is "degraded", expected "running"`.
    pub detail: String,
    /// Milliseconds that it took.
    pub elapsed: u64,
}

impl GateResult {
    /// What is told of a gate that passed before a run, where it fails after the way back.
    #[must_use]
    pub fn relapse(&self) -> Option<String> {
        let (gate, detail) = (&self.gate, &self.detail);
        (self.verdict == Verdict::Failed)
            .then(|| format!("{gate} passed before and fails now: {detail}"))
    }

    /// The same without what may not be told. Of a gate that passes only rosey's own words are.
    #[must_use]
    pub fn masked(mut self, mask: impl FnOnce(&str) -> String) -> Self {
        if self.verdict != Verdict::Passed {
            self.detail = mask(&self.detail);
        }
        self
    }
}
