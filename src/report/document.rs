//! The JSON of the contract. Fields may be added; what is here stays.

use serde_json::{Value, json};

use crate::model::{Event, EventKind, Outcome, Plan};

use super::event::message;
use super::plan::PlanView;

/// The version of all documents; its first number changes only when a reader must change.
pub const FORMAT_VERSION: &str = "1.0";

/// `plan --json`.
#[must_use]
pub fn plan_document(view: &PlanView<'_>) -> Value {
    let version = match view.versions.len() {
        1 => view.versions.values().next().cloned(),
        _ => None,
    };
    json!({
        "format_version": FORMAT_VERSION,
        "environment": view.environment,
        "version": version,
        "versions": view.versions,
        "changes": !view.plan.is_empty(),
        "variables": view.variables,
        "steps": plan_steps(view.plan),
        "undo": plan_steps(view.undo),
        "findings": view.findings,
    })
}

fn plan_steps(plan: &Plan) -> Vec<Value> {
    let step = |step: &crate::model::Step| {
        json!({
            "id": step.id,
            "host": step.resource.host,
            "app": step.resource.app,
            "kind": step.kind,
            "resource": format!("{} {}", step.resource.kind, step.resource.name),
            "action": step.action,
            "reasons": step.reasons,
            "label": step.label,
            "wave": step.wave,
            "after": step.after,
        })
    };
    plan.steps.iter().map(step).collect()
}

/// One line of `apply --json`.
///
/// # Panics
/// Never: events are plain data.
#[must_use]
pub fn event_line(event: &Event) -> String {
    let mut value = serde_json::to_value(event).expect("BUG: an event is plain data");
    if let EventKind::Outcome(outcome) = &event.kind {
        value = outcome_json(outcome);
        value["time"] = event.time.clone().into();
    }
    value["message"] = message(&event.kind).into();
    value.to_string()
}

/// The outcome: `hosts` holds an object for each host, an array where the host has several apps.
#[must_use]
pub fn outcome_json(outcome: &Outcome) -> Value {
    json!({
        "type": "outcome",
        "run": outcome.run,
        "outcome": outcome.outcome,
        "exit_code": outcome.exit_code,
        "hosts": super::table::hosts_json(&outcome.hosts),
    })
}
