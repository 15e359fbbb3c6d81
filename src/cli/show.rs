//! `rosey show`: one run, step by step, as this controller saw it.

use std::fmt::Write;

use serde_json::Value;

use crate::history::{History, RunDetail, StepRow};
use crate::model::{Event, EventKind};
use crate::report::table::table;
use crate::report::{duration, message};

use super::Session;
use super::arguments;
use super::conducting::print_data;
use super::error::CommandError;
use super::exit::Exit;
use super::history::{ending, moment, path, unreadable, who};

pub(super) fn run(session: &Session, arguments: &arguments::Show) -> Result<Exit, CommandError> {
    let path = path(session)?;
    let Some(history) = History::find(&path).map_err(unreadable)? else {
        let message = format!("no runs were recorded in {}", path.display());
        return Err(CommandError::new(Exit::ERROR, message));
    };
    let detail = history.run(&arguments.run).map_err(unreadable)?;
    if arguments.json {
        print_data(&document(&detail)?.to_string())?;
    } else {
        print_data(text(&detail).trim_end())?;
    }
    Ok(Exit::DONE)
}

fn document(detail: &RunDetail) -> Result<Value, CommandError> {
    let mut document = serde_json::to_value(detail)
        .map_err(|error| CommandError::new(Exit::ERROR, format!("the run as JSON: {error}")))?;
    if let Value::Object(fields) = &mut document {
        fields.insert("format_version".to_owned(), "1.0".into());
    }
    Ok(document)
}

/// The run for a person; times are of this controller's clock, in UTC.
fn text(detail: &RunDetail) -> String {
    let run = &detail.run;
    let mut text = format!("{} {}: {}\n", run.command, run.environment, ending(run));
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(text, "  {name:<11} {value}");
        }
    };
    say("run", Some(run.run.clone()));
    say("began", Some(moment(&run.started)));
    say("ended", run.ended.as_deref().map(moment));
    say("exit code", run.exit_code.map(|code| code.to_string()));
    say("version", run.version.clone());
    say(
        "generation",
        run.generation.map(|number| number.to_string()),
    );
    say("who", Some(who(&run.author)));
    say("why", run.author.reason.clone());
    say("commit", run.author.commit.clone());
    say("job", run.author.ci_job.clone());
    say("hosts", Some(run.hosts.join(", ")));
    say("only", Some(run.only.join(", ")));
    say("except", Some(run.except.join(", ")));
    text += &steps(&detail.taken);
    text += &gates(detail);
    text += &others(&detail.events);
    text += &stood(detail);
    text
}

fn steps(taken: &[StepRow]) -> String {
    if taken.is_empty() {
        return String::new();
    }
    let row = |step: &StepRow| {
        vec![
            format!(" {}", clock(&step.started)),
            step.host.clone(),
            step.app.clone(),
            step.action.clone(),
            step.resource.clone(),
            step.elapsed.map(duration).unwrap_or_default(),
            step.result
                .clone()
                .unwrap_or_else(|| "not seen to end".to_owned()),
        ]
    };
    let head = [
        " began", "host", "app", "step", "resource", "took", "result",
    ];
    let mut text = format!("\nsteps\n{}", table(&head, taken.iter().map(row).collect()));
    for step in taken {
        if let Some(error) = &step.error {
            let _ = writeln!(text, "\n  {}: {}", step.step, error.replace('\n', "\n    "));
        }
    }
    text
}

fn gates(detail: &RunDetail) -> String {
    if detail.gates.is_empty() {
        return String::new();
    }
    let rows = detail.gates.iter().map(|gate| {
        let when = match (gate.baseline, gate.back) {
            (true, _) => "before",
            (_, true) => "back",
            _ => "new",
        };
        vec![
            format!(" {}", clock(&gate.at)),
            gate.host.clone(),
            gate.app.clone(),
            gate.gate.clone(),
            when.to_owned(),
            gate.verdict.clone(),
            gate.detail.clone(),
        ]
    });
    let head = [" read", "host", "app", "gate", "when", "verdict", "detail"];
    format!("\ngates\n{}", table(&head, rows.collect()))
}

/// What the tables don't tell already.
fn others(events: &[Event]) -> String {
    let told = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::RunStarted { .. }
                | EventKind::StepStarted { .. }
                | EventKind::StepDone { .. }
                | EventKind::StepFailed { .. }
                | EventKind::GateRead { .. }
                | EventKind::Outcome(_)
        )
    };
    let mut text = String::new();
    for event in events.iter().filter(|event| !told(&event.kind)) {
        let said = message(&event.kind).replace('\n', "\n    ");
        let _ = writeln!(text, "  {} {said}", clock(&event.time));
    }
    if text.is_empty() {
        text
    } else {
        format!("\nbeside\n{text}")
    }
}

/// What stood on each host at the end.
fn stood(detail: &RunDetail) -> String {
    if detail.stood.is_empty() {
        return String::new();
    }
    let rows = detail.stood.iter().map(|it| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let healthy = it
            .healthy
            .map(|healthy| if healthy { "yes" } else { "no" }.to_owned());
        vec![
            format!(" {}", it.host),
            it.app.clone(),
            or_dash(it.generation.map(|number| number.to_string())),
            or_dash(it.release.clone()),
            or_dash(it.version.clone()),
            healthy.unwrap_or_else(|| "unknown".to_owned()),
        ]
    });
    let head = [
        " host",
        "app",
        "generation",
        "release",
        "version",
        "healthy",
    ];
    format!("\nat its end\n{}", table(&head, rows.collect()))
}

/// The time of day of an RFC 3339 time.
fn clock(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%H:%M:%S").to_string(),
        Err(_) => time.to_owned(),
    }
}
