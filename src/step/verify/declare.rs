//! The word `verify`: what a declaration says about being healthy.
//!
//! Must not know a host: only what is written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Percent, Problem, Reader, Template, TemplatedValue, Verbatim, Word};
use crate::host::{address_of, server_of};
use crate::model::names::{ServiceName, TreePath};

/// `verify { … }`.
pub const VERIFY: Word = Word {
    word: "verify",
    decode: |reader| serde_json::to_value(verify(reader)?).ok(),
    repeated: false,
    repeated_inside: &["process", "http", "json", "tcp", "sqlite", "command"],
};

/// What must hold for a generation to be healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyDeclaration {
    /// How long it may take to become healthy, and stay so.
    pub within: Duration,
    /// How long every gate must pass without a break.
    pub stable: Duration,
    /// The gates, in the order of the file.
    pub gates: Vec<GateDeclaration>,
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateDeclaration {
    /// The service is active and its main process stays the same.
    Process(ServiceName),
    /// An HTTP endpoint answers as it should.
    Http(HttpDeclaration),
    /// Something accepts a TCP connection.
    Tcp {
        /// `host:port`.
        address: Template,
        /// How long it may take.
        timeout: Option<Duration>,
    },
    /// An SQLite file, as `current/` shows it, is whole.
    Sqlite(TreePath),
    /// A command exits with 0.
    Command {
        /// What it is called.
        name: String,
        /// The shell command; never a template.
        run: String,
        /// How long it may take.
        timeout: Option<Duration>,
    },
}

/// An HTTP endpoint and what it must answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpDeclaration {
    /// The address.
    pub url: Template,
    /// The status expected; 200 when left out.
    pub status: u16,
    /// Fields of the answer, dots lead into objects.
    pub json: BTreeMap<String, TemplatedValue>,
    /// How long one request may take.
    pub timeout: Option<Duration>,
    /// How slow the slowest twentieth may begin to be.
    pub p95: Option<Percentile>,
    /// How many requests may fail.
    pub error_rate: Option<ErrorRateDeclaration>,
}

/// A bound on response times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentile {
    /// At most this.
    pub at_most: Duration,
    /// Over so many requests.
    pub samples: u32,
}

/// A bound on the share of errors, read from two fields of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorRateDeclaration {
    /// At most this.
    pub at_most: Percent,
    /// The field that counts errors.
    pub errors: String,
    /// The field that counts all.
    pub of: String,
}

/// How long becoming healthy may take where the declaration doesn't say.
const WITHIN: Duration = Duration::from_secs(60);
/// How long health must last where the declaration doesn't say.
const STABLE: Duration = Duration::from_secs(3);

fn verify(reader: &mut Reader<'_>) -> Option<VerifyDeclaration> {
    let within = reader.value::<Duration>("within").unwrap_or(WITHIN);
    let stable = reader.value::<Duration>("stable").unwrap_or(STABLE);
    let gates =
        reader.children_of(
            &["process", "http", "tcp", "sqlite", "command"],
            |child| match child.word() {
                "process" => process(child),
                "http" => http(child).map(GateDeclaration::Http),
                "tcp" => tcp(child),
                "sqlite" => child.argument::<TreePath>().map(GateDeclaration::Sqlite),
                _ => command(child),
            },
        );
    if stable >= within {
        let problem =
            Problem::new("`stable` must be shorter than `within`, or no app could ever be healthy");
        let problem = problem.at(
            reader.child_place("stable"),
            format!("{} s", stable.as_secs_f64()),
        );
        reader.problem(problem.help(format!("`within` is {} s here", within.as_secs_f64())));
    }
    Some(VerifyDeclaration {
        within,
        stable,
        gates,
    })
}

fn process(reader: &mut Reader<'_>) -> Option<GateDeclaration> {
    let place = reader.name_place();
    let name = reader.argument::<ServiceName>()?;
    reader.refers_to("service", name.as_str(), place);
    Some(GateDeclaration::Process(name))
}

fn http(reader: &mut Reader<'_>) -> Option<HttpDeclaration> {
    let place = reader.name_place();
    let url = reader.argument::<Template>();
    let status = reader.value::<u16>("status").unwrap_or(200);
    let timeout = reader.value::<Duration>("timeout");
    let json = reader.children("json", |child| {
        let field = child.argument::<String>();
        let expected = child.argument::<TemplatedValue>();
        Some((field?, expected?))
    });
    let p95 = reader.child("p95", |child| {
        let at_most = child.argument::<Duration>();
        let samples = child.required_property::<u32>("samples");
        Some(Percentile {
            at_most: at_most?,
            samples: samples?,
        })
    });
    let error_rate = reader.child("error-rate", |child| {
        let at_most = child.argument::<Percent>();
        let errors = child.required_property::<String>("errors");
        let of = child.required_property::<String>("of");
        Some(ErrorRateDeclaration {
            at_most: at_most?,
            errors: errors?,
            of: of?,
        })
    });
    if !(100..=599).contains(&status) {
        let problem = Problem::new(format!("{status} is no status of HTTP"))
            .at(reader.child_place("status"), "from 100 to 599");
        reader.problem(problem);
    }
    let url = url?;
    let begins = ["http://", "https://", "{{"];
    let fault = match begins.iter().any(|start| url.0.starts_with(start)) {
        false => Some("begins with http:// or https://"),
        true if is_template(&url.0) => None,
        true => server_of(&url.0).err(),
    };
    if let Some(why) = fault {
        reader.problem(no_web_address().at(place, why));
    }
    Some(HttpDeclaration {
        url,
        status,
        json: json.into_iter().collect(),
        timeout,
        p95,
        error_rate,
    })
}

fn tcp(reader: &mut Reader<'_>) -> Option<GateDeclaration> {
    let place = reader.name_place();
    let address = reader.argument::<Template>();
    let timeout = reader.property::<Duration>("timeout");
    let address = address?;
    if let Err(why) = address_of(&address.0)
        && !is_template(&address.0)
    {
        reader.problem(no_address().at(place, why));
    }
    Some(GateDeclaration::Tcp { address, timeout })
}

/// What it comes to is known when it is rendered, and seen then.
fn is_template(text: &str) -> bool {
    ["{{", "{%"].iter().any(|mark| text.contains(mark))
}

pub(super) fn no_web_address() -> Problem {
    Problem::new("`http` needs a web address")
}

pub(super) fn no_address() -> Problem {
    Problem::new("`tcp` needs an address and a port, such as \"127.0.0.1:4222\"")
}

fn command(reader: &mut Reader<'_>) -> Option<GateDeclaration> {
    let name = reader.argument::<String>();
    let run = reader.required_property::<Verbatim>("run");
    let timeout = reader.property::<Duration>("timeout");
    Some(GateDeclaration::Command {
        name: name?,
        run: run?.0,
        timeout,
    })
}
