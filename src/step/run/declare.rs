//! The word `task`: what a declaration says about a command.
//!
//! Must not know a host: only what is written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Problem, Reader, SecretTemplate, Template, Verbatim, Word};
use crate::model::names::{AccountName, TaskName, TreePath};

/// `task "name" { … }`.
pub const TASK: Word = Word {
    word: "task",
    decode: |reader| serde_json::to_value(task(reader)?).ok(),
    repeated: true,
    repeated_inside: &[],
};

/// A command whose effect is stamped by the digest of its definition and inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDeclaration {
    /// What it is called.
    pub name: TaskName,
    /// The shell command; never a template.
    pub run: String,
    /// The shell command that takes it back; never a template.
    pub undo: Option<String>,
    /// What in the release it depends on.
    pub inputs: Vec<TreePath>,
    /// What it makes, once for the same inputs.
    pub output: Option<TreePath>,
    /// Who runs it; the app's owner when left out.
    pub user: Option<AccountName>,
    /// How long it may take; the helper's default when left out.
    pub timeout: Option<Duration>,
    /// Whether it runs on one host for all.
    pub once: bool,
    /// Whether the release before can live with what it did.
    pub compatible: bool,
    /// Environment variables; their values may hold secrets.
    pub environment: BTreeMap<String, Template>,
}

fn task(reader: &mut Reader<'_>) -> Option<TaskDeclaration> {
    let name = reader.argument::<TaskName>();
    let once = reader.flag("once");
    let compatible = reader.flag("compatible");
    let run = reader.required_child("run", Reader::argument::<Verbatim>);
    let undo = reader.value::<Verbatim>("undo");
    let inputs = reader.values::<TreePath>("inputs");
    let output = reader.value::<TreePath>("output");
    let user = reader.value::<AccountName>("user");
    let timeout = reader.value::<Duration>("timeout");
    let environment = reader.child("env", environment).unwrap_or_default();
    if once && output.is_some() {
        reader.problem(
            Problem::new("a `once` task can't have an `output`")
                .at(reader.child_place("output"), "each host has its own release")
                .help("leave out `once` to make the output on every host, or `output` to run it on one"),
        );
    }
    if output.is_some() && undo.is_some() {
        reader.problem(
            Problem::new("a task with an `output` needs no `undo`")
                .at(reader.child_place("undo"), "never run")
                .help("its output goes with the release"),
        );
    }
    Some(TaskDeclaration {
        name: name?,
        run: run?.0,
        undo: undo.map(|undo| undo.0),
        inputs,
        output,
        user,
        timeout,
        once,
        compatible,
        environment,
    })
}

/// Reads `env NAME="value"…`.
pub(in crate::step) fn environment(reader: &mut Reader<'_>) -> Option<BTreeMap<String, Template>> {
    let mut environment = BTreeMap::new();
    for (name, place, SecretTemplate(value)) in reader.every_property::<SecretTemplate>() {
        let starts_well = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let rest_is_plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if starts_well && rest_is_plain {
            environment.insert(name, value);
        } else {
            let problem = Problem::new(format!(
                "{name:?} can't be the name of an environment variable"
            ));
            reader
                .problem(problem.at(place, "letters, digits and '_' are allowed, no digit first"));
        }
    }
    Some(environment)
}
