//! The word `service`: what a declaration says about a running program.
//!
//! Must not know a host: only what is written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Claimed, FileContent, Problem, Reader, Template, Word};
use crate::model::names::{RemotePath, ServiceName, TreePath};
use crate::step::run::declare::environment;

/// `service "name" { … }`.
pub const SERVICE: Word = Word {
    word: "service",
    decode: |reader| serde_json::to_value(service(reader)?).ok(),
    repeated: true,
    repeated_inside: &[],
};

/// A program that is kept running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDeclaration {
    /// What it is called.
    pub name: ServiceName,
    /// Where its definition comes from.
    pub definition: ServiceDefinition,
    /// Environment variables; their values may hold secrets.
    pub environment: BTreeMap<String, Template>,
    /// What is done when something that it uses has changed.
    pub restart: Restart,
    /// How long it may take to be active.
    pub start_timeout: Option<Duration>,
    /// How long it may take to end.
    pub stop_timeout: Option<Duration>,
    /// Paths on the server that it uses beside its release and definition.
    pub uses: Vec<RemotePath>,
    /// Whether a service that somebody else made is taken over.
    pub adopt: bool,
}

/// Where the definition of a service comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceDefinition {
    /// A unit file of the source, rendered.
    Unit(TreePath),
    /// A command, run in `current/`, for which rosey writes the unit.
    Exec(Template),
    /// It is somebody else's: only restarted or reloaded.
    External,
}

crate::choice! {
    /// What is done when something that a service uses has changed.
    Restart {
        /// It is restarted.
        OnChange = "on-change",
        /// It is told to read its files again.
        Reload = "reload",
        /// Nothing: the plan says so.
        Never = "never",
    }
}

fn service(reader: &mut Reader<'_>) -> Option<ServiceDeclaration> {
    let place = reader.name_place();
    let name = reader.argument::<ServiceName>();
    let external = reader.flag("external");
    let adopt = reader.flag("adopt");
    let unit = reader.child("unit", |child| {
        let place = child.name_place();
        let unit = child.argument::<TreePath>()?;
        child.names_file(&unit, place, FileContent::Template);
        Some(unit)
    });
    let exec = reader.value::<Template>("exec");
    let environment = reader.child("env", environment).unwrap_or_default();
    let restart = reader
        .value::<Restart>("restart")
        .unwrap_or(Restart::OnChange);
    let start_timeout = reader.value::<Duration>("start-timeout");
    let stop_timeout = reader.value::<Duration>("stop-timeout");
    let uses = reader.values::<RemotePath>("uses");

    let mut given: Vec<&str> = Vec::new();
    given.extend(reader.has_child("unit").then_some("unit"));
    given.extend(reader.has_child("exec").then_some("exec"));
    given.extend(external.then_some("external"));
    let describe = reader.name().unwrap_or_default().to_owned();
    match given.as_slice() {
        [_] => {}
        [] => reader.problem(
            Problem::new(format!("the service `{describe}` needs `unit`, `exec` or `external=#true`"))
                .at(place, "nothing says what it is")
                .help("`exec \"python3 server.py\"` lets rosey write the unit")
            .absent(),
        ),
        [first, .., second] => reader.problem(
            Problem::new(format!("the service `{describe}` has both `{first}` and `{second}`"))
                .at(place, "one or the other")
                .help("`unit` is a file of the source, `exec` a command, `external` somebody else's service"),
        ),
    }
    if restart == Restart::Reload && reader.has_child("exec") {
        let problem = Problem::new("what rosey writes for `exec` can't be reloaded")
            .at(reader.child_place("restart"), "nothing says how");
        reader.problem(
            problem.help(
                "use `unit` with a file that has an `ExecReload=`, or `restart \"on-change\"`",
            ),
        );
    }
    if external && !environment.is_empty() {
        let problem = Problem::new("the environment of an external service is not ours to set");
        reader.problem(problem.at(reader.child_place("env"), "leave it out"));
    }
    let name = name?;
    if !external {
        reader.claim(Claimed::Unit(name.unit()), place);
    }
    let definition = match (unit, exec) {
        _ if external => ServiceDefinition::External,
        (Some(unit), _) => ServiceDefinition::Unit(unit),
        (None, exec) => ServiceDefinition::Exec(exec?),
    };
    Some(ServiceDeclaration {
        name,
        definition,
        environment,
        restart,
        start_timeout,
        stop_timeout,
        uses,
        adopt,
    })
}
