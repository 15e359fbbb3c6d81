//! An app's gates, as the step that waits for them after everything else.
//!
//! They are never part of a state: nothing is compared, and an act of reading has nothing to undo.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Declaration, Word};
use crate::host::{HostError, HostErrorKind, WriteHost};
use crate::model::{
    Gate, GateKind, GateResult, Gates, ResourceKind, Step, StepKind, Value, Verdict,
};
use crate::step::attendant::Act;
use crate::step::desired::Desired;
use crate::step::kind::{StepContext, StepError};
use crate::step::tail::tail;

use super::pace::RealPace;
use super::process::unit;
use super::settle::{Settling, settle};
use super::{declare, desire};

/// How many lines of a log are looked at for some that tell something.
const LOOKED_AT: usize = 1000;

/// The gates of apps.
pub struct GatesKind;

impl Act for GatesKind {
    const RESOURCE: ResourceKind = desire::GATES;
    const STEP: StepKind = StepKind::VERIFY;
    const WORD: Word = declare::VERIFY;

    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::desire(declaration, desired);
    }

    fn within(&self, step: &Step) -> Option<u64> {
        gates(step).ok().map(|gates| gates.within)
    }

    fn act(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        let gates = gates(step)?;
        // Each gate that doesn't pass, with what was found.
        let open = RefCell::new(BTreeMap::new());
        let settling = Settling {
            host: context.host,
            pace: &RealPace::new(),
            cancelled: context.cancelled,
            told: &|news| (context.waits)(waited_for(&mut open.borrow_mut(), news, &gates)),
        };
        let results = settle(&settling, &gates);
        (context.gates)(results.clone());
        let failed = results
            .iter()
            .any(|result| result.verdict == Verdict::Failed);
        if results
            .iter()
            .all(|result| result.verdict == Verdict::Passed)
        {
            return Ok(());
        }
        let words = in_words(&results);
        Err(if failed && !(context.cancelled)() {
            StepError::Gates(format!("{words}{}", logs(context.host, &gates, &results)))
        } else {
            StepError::Inconclusive(words)
        })
    }
}

/// The gates that a step is to read.
fn gates(step: &Step) -> Result<Gates, HostError> {
    let settings = step.to.as_ref().map(|to| &to.settings);
    let text = settings
        .and_then(|settings| settings.get("gates"))
        .and_then(Value::as_text)
        .unwrap_or_default();
    serde_json::from_str(text).map_err(|error| HostError {
        doing: "understand".to_owned(),
        path: step.resource.to_string(),
        kind: HostErrorKind::Other(error.to_string()),
    })
}

/// What is being waited for after gates were read once more, in words.
fn waited_for(open: &mut BTreeMap<String, String>, news: &[GateResult], gates: &Gates) -> String {
    for read in news {
        if read.verdict == Verdict::Passed {
            open.remove(&read.gate);
        } else {
            open.insert(read.gate.clone(), read.detail.clone());
        }
    }
    match open.first_key_value() {
        Some((gate, detail)) => {
            let first = detail.lines().next().unwrap_or_default();
            format!("{gate}: {first}")
        }
        None => {
            let stable = Duration::from_millis(gates.stable);
            format!("the gates to go on passing for {} s", stable.as_secs_f64())
        }
    }
}

/// What doesn't pass, a line each.
fn in_words(results: &[GateResult]) -> String {
    let mut open: Vec<&GateResult> = results
        .iter()
        .filter(|result| result.verdict != Verdict::Passed)
        .collect();
    if open.iter().any(|result| result.verdict == Verdict::Failed) {
        open.retain(|result| result.verdict == Verdict::Failed);
    }
    let lines: Vec<String> = open
        .into_iter()
        .map(|result| format!("{}: {}", result.gate, result.detail))
        .collect();
    lines.join("\n")
}

/// A log without the lines that an app writes because its health is asked for: they tell nothing, and
/// are so many that what does is lost among them.
fn without_looks<'a>(lines: &'a [String], gates: &'a Gates) -> impl Iterator<Item = &'a str> {
    let request = |gate: &Gate| match &gate.kind {
        GateKind::Http(http) => {
            let (_, rest) = http.url.split_once("://")?;
            let path = rest.find('/').map_or("/", |at| &rest[at..]);
            Some(format!("GET {path} "))
        }
        _ => None,
    };
    let requests: Vec<String> = gates.gates.iter().filter_map(request).collect();
    let is_look = move |line: &str| requests.iter().any(|request| line.contains(request));
    lines
        .iter()
        .map(String::as_str)
        .filter(move |line| !is_look(line))
}

/// The last lines of the logs of the services whose gates failed; where none did, of all that have
/// gates: what another gate found wrong is most likely told there.
fn logs(host: &dyn WriteHost, gates: &Gates, results: &[GateResult]) -> String {
    let services = gates
        .gates
        .iter()
        .zip(results)
        .filter_map(|(gate, result)| {
            let GateKind::Process {
                unit: name,
                process_directory,
            } = &gate.kind
            else {
                return None;
            };
            let unit = unit(name, process_directory.as_deref());
            Some((unit, result.verdict == Verdict::Failed))
        });
    let services: Vec<_> = services.collect();
    let any = services.iter().any(|(_, failed)| *failed);
    services
        .iter()
        .filter(|(_, failed)| *failed || !any)
        .map(|(unit, _)| {
            // What an earlier start of it had to say is no news.
            let since = host.service(unit).ok().and_then(|status| status.started);
            let lines = host.service_log(unit, LOOKED_AT, since.as_ref());
            let tail = tail(without_looks(&lines, gates));
            if tail.is_empty() {
                return tail;
            }
            format!("\nthe log of {} ends:{tail}", unit.name)
        })
        .collect()
}
