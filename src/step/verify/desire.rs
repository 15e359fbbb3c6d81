//! What `verify` wants: gates, rendered for one host.

use crate::config::{Declaration, Problem, TemplatedValue};
use crate::host::{Manager, address_of, server_of};
use crate::model::gate::{ErrorRate, HttpGate};
use crate::model::{Action, Gate, GateKind, Gates, Label, Resource, ResourceKind, StepKind};
use crate::step::attendant::{Attendant, Turn};
use crate::step::desired::Desired;

use super::declare::{
    GateDeclaration, HttpDeclaration, VerifyDeclaration, no_address, no_web_address,
};

/// The resource kind of an app's gates: never part of a state, only the name of their step.
pub const GATES: ResourceKind = ResourceKind::new("gates");

const TIMEOUT: u64 = 5_000;

/// The gates, and the attendant that reads them.
pub fn desire(declaration: &Declaration, desired: &mut Desired<'_>) {
    let verify: VerifyDeclaration = Desired::typed(declaration);
    desired.gates.within = verify.within.as_millis() as u64;
    desired.gates.stable = verify.stable.as_millis() as u64;
    for gate in &verify.gates {
        if let Some(gate) = rendered(gate, declaration, desired) {
            desired.gates.gates.push(gate);
        }
    }
    let resource = desired.id(GATES, desired.site.app.name.to_string());
    let attendant = attendant(resource, &desired.gates);
    desired.attendants.push(attendant);
}

/// The attendant that reads gates after everything else.
///
/// # Panics
/// Never: gates are plain data.
#[must_use]
pub fn attendant(resource: crate::model::ResourceId, gates: &Gates) -> Attendant {
    let gates = serde_json::to_string(gates).expect("BUG: gates are plain data");
    Attendant {
        resource,
        kind: StepKind::VERIFY,
        action: Action::Check,
        with: Resource::new().setting("gates", gates),
        label: Label::Reversible,
        turn: Turn::Last,
        disturbs: Vec::new(),
        lone: false,
    }
}

fn rendered(
    gate: &GateDeclaration,
    declaration: &Declaration,
    desired: &mut Desired<'_>,
) -> Option<Gate> {
    let milliseconds =
        |time: Option<std::time::Duration>| time.map_or(TIMEOUT, |time| time.as_millis() as u64);
    Some(match gate {
        GateDeclaration::Process(service) => {
            let kind = GateKind::Process {
                unit: service.unit(),
                process_directory: match desired.site.manager {
                    Manager::Systemd => None,
                    Manager::Process { directory } => Some(directory.clone()),
                },
            };
            Gate {
                name: format!("process {service}"),
                kind,
            }
        }
        GateDeclaration::Http(http) => {
            let gate = http_gate(http, declaration, desired)?;
            Gate {
                name: format!("http {}", gate.url),
                kind: GateKind::Http(gate),
            }
        }
        GateDeclaration::Tcp { address, timeout } => {
            let template = &address.0;
            let address = seen(template, declaration, desired)?;
            if let Err(why) = address_of(&address) {
                let problem = no_address().at(declaration.place_of(template), why);
                desired
                    .problems
                    .push(problem.help(format!("it comes to {address:?}")));
                return None;
            }
            let kind = GateKind::Tcp {
                address: address.clone(),
                timeout: milliseconds(*timeout),
            };
            Gate {
                name: format!("tcp {address}"),
                kind,
            }
        }
        GateDeclaration::Sqlite(path) => {
            let kind = GateKind::Sqlite {
                path: desired.real_path(path),
            };
            Gate {
                name: format!("sqlite {path}"),
                kind,
            }
        }
        GateDeclaration::Command { name, run, timeout } => {
            let user = desired
                .site
                .root
                .then(|| desired.site.app_owner.user.clone());
            let kind = GateKind::Command {
                run: run.clone(),
                directory: desired.release().path.to_string_lossy().into_owned(),
                user,
                env: desired.command_environment(),
                timeout: milliseconds(*timeout),
            };
            Gate {
                name: format!("command {name}"),
                kind,
            }
        }
    })
}

fn http_gate(
    http: &HttpDeclaration,
    declaration: &Declaration,
    desired: &mut Desired<'_>,
) -> Option<HttpGate> {
    let url = seen(&http.url.0, declaration, desired)?;
    if let Err(why) = server_of(&url) {
        let problem = no_web_address().at(declaration.place_of(&http.url.0), why);
        desired
            .problems
            .push(problem.help(format!("it comes to {url:?}")));
        return None;
    }
    let mut json = std::collections::BTreeMap::new();
    for (field, expected) in &http.json {
        let expected = match expected {
            TemplatedValue::Null => serde_json::Value::Null,
            TemplatedValue::Bool(value) => (*value).into(),
            TemplatedValue::Integer(value) => (*value).into(),
            TemplatedValue::Float(value) => (*value).into(),
            TemplatedValue::Template(template) => seen(&template.0, declaration, desired)?.into(),
        };
        json.insert(field.clone(), expected);
    }
    Some(HttpGate {
        url,
        status: http.status,
        json,
        timeout: http.timeout.map_or(TIMEOUT, |time| time.as_millis() as u64),
        p95: http
            .p95
            .as_ref()
            .map(|p95| (p95.at_most.as_millis() as u64, p95.samples)),
        error_rate: http.error_rate.as_ref().map(|rate| ErrorRate {
            per_million: (rate.at_most.0 * 10_000.0).round() as u64,
            errors: rate.errors.clone(),
            of: rate.of.clone(),
        }),
    })
}

/// A templated string that people will see: no secret may be in it.
fn seen(template: &str, declaration: &Declaration, desired: &mut Desired<'_>) -> Option<String> {
    let rendered = desired.render(declaration, template)?;
    if rendered.is_secret() {
        let problem = Problem::new("a gate can't hold a secret: gates are kept and shown")
            .at(declaration.place_of(template), "here");
        desired
            .problems
            .push(problem.help("use `command`, and let it read the secret from a file"));
        return None;
    }
    Some(rendered.text.to_string())
}
