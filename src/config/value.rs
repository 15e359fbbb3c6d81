//! Variables: the values that templates, asserts and commands get.
//!
//! Must not know what a variable is used for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::names::VariableName;

use super::grammar::ITEM;
use super::node::{Entry, Node, Scalar};
use super::problem::Problem;
use super::reader::Reader;
use super::session::Session;

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text; never a template.
    String(String),
    /// Several values.
    List(Vec<Value>),
    /// Named values.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// The value as an environment variable of a command carries it: texts
    /// plain, lists and maps as JSON.
    #[must_use]
    pub fn for_command(&self) -> String {
        match self {
            Self::String(text) => text.clone(),
            other => serde_json::to_string(other).unwrap_or_default(),
        }
    }
}

/// The variables of one `vars`.
pub type Variables = BTreeMap<VariableName, Value>;

/// Names that templates use for something else.
const TAKEN: [&str; 5] = ["version", "app", "environment", "host", "secret"];

/// Reads the children of `vars`.
pub(crate) fn variables(reader: &mut Reader<'_>) -> Option<Variables> {
    let session = reader.session();
    reader.skip_children();
    let mut variables = Variables::new();
    for node in &reader.node().children {
        let Some(name) = name(node, session) else {
            continue;
        };
        if TAKEN.contains(&name.as_str()) {
            session.problem(
                Problem::new(format!("a variable can't be called `{name}`"))
                    .at(node.word_place, "this name is taken")
                    .help(format!("in templates `{name}` is what rosey itself knows")),
            );
            continue;
        }
        if let Some(value) = node_value(node, session) {
            variables.insert(name, value);
        }
    }
    Some(variables)
}

fn name(node: &Node, session: &Session<'_>) -> Option<VariableName> {
    match VariableName::new(node.word.as_str()) {
        Ok(name) => Some(name),
        Err(error) => {
            let problem = Problem::new(format!("{:?} can't be the name of a variable", node.word));
            session.problem(problem.at(node.word_place, error.why));
            None
        }
    }
}

/// One argument is the value, several are a list, children and properties a map, children `-` a list.
fn node_value(node: &Node, session: &Session<'_>) -> Option<Value> {
    let mixed =
        !node.arguments.is_empty() && (!node.properties.is_empty() || !node.children.is_empty());
    if mixed {
        session.problem(
            Problem::new(format!("`{}` is both a value and a map", node.word))
                .at(node.word_place, "one or the other")
                .help("values follow the name, or named values stand inside the braces"),
        );
        return None;
    }
    match node.arguments.as_slice() {
        [] if node.children.iter().any(|child| child.word == ITEM) => list(node, session),
        [] if node.children.is_empty() && node.properties.is_empty() => {
            session.problem(
                Problem::new(format!("`{}` has no value", node.word))
                    .at(node.word_place, "nothing follows")
                    .help("`#true` and `#false` are values too"),
            );
            None
        }
        [] => map(node, session),
        [single] => scalar(single, session),
        several => several
            .iter()
            .map(|entry| scalar(entry, session))
            .collect::<Option<Vec<_>>>()
            .map(Value::List),
    }
}

fn list(node: &Node, session: &Session<'_>) -> Option<Value> {
    let mut items = Vec::new();
    for child in &node.children {
        if child.word == ITEM {
            items.extend(node_value(child, session));
        } else {
            let problem = Problem::new(format!("`{}` is both a list and a map", node.word));
            session.problem(problem.at(child.word_place, "an item of a list starts with `-`"));
        }
    }
    Some(Value::List(items))
}

fn map(node: &Node, session: &Session<'_>) -> Option<Value> {
    let mut values = BTreeMap::new();
    for property in &node.properties {
        if let Some(value) = scalar(&property.value, session) {
            values.insert(property.name.clone(), value);
        }
    }
    for child in &node.children {
        if let Some(property) = node.property(&child.word) {
            session.problem(
                Problem::new(format!("`{}` is given twice", child.word))
                    .at(child.word_place, "again here")
                    .at(property.name_place, "first here"),
            );
        } else if let Some(value) = node_value(child, session) {
            values.insert(child.word.clone(), value);
        }
    }
    Some(Value::Map(values))
}

fn scalar(entry: &Entry, session: &Session<'_>) -> Option<Value> {
    let refuse = |why: &str| {
        session.problem(Problem::new("this can't be the value of a variable").at(entry.place, why));
        None
    };
    match &entry.value {
        Scalar::String(text) => Some(Value::String(text.clone())),
        Scalar::Bool(yes) => Some(Value::Bool(*yes)),
        Scalar::Float(number) if number.is_finite() => Some(Value::Float(*number)),
        Scalar::Integer(number) => match i64::try_from(*number) {
            Ok(number) => Some(Value::Integer(number)),
            Err(_) => refuse("it has more than 64 bits"),
        },
        Scalar::Float(_) => refuse("it is not a number"),
        Scalar::Null => refuse("nothing is no value; leave the variable out"),
    }
}
