//! The template engine, set up strictly, and the values that it sees.
//!
//! Must not know whose templates are rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use crate::model::names::VariableName;

use super::super::secret::Secrets;
use super::super::value::Value;
use super::strict;

/// Instructions that one rendering may take: enough for any file, and an end to every loop.
const FUEL: u64 = 5_000_000;

/// A copy of the one engine that there is, which costs next to nothing.
pub(super) fn engine() -> Environment<'static> {
    static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(strict_engine);
    ENGINE.clone()
}

fn strict_engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    let mut syntax = SyntaxConfig::builder();
    let syntax = syntax.keep_trailing_newline(true).build();
    engine.set_syntax(syntax.expect("BUG: the engine's own delimiters are valid"));
    engine.set_fuel(Some(FUEL));
    strict::guard(&mut engine);
    engine.set_formatter(|output, state, value| match value.kind() {
        // As configuration files write them, not as Python does.
        ValueKind::Bool => Ok(write!(output, "{}", value.is_true())?),
        ValueKind::Seq | ValueKind::Map
            if value.downcast_object_ref::<SecretLookup>().is_none() =>
        {
            strict::refuse_undefined(state, value)?;
            let text = serde_json::to_string(value).map_err(|error| {
                Error::new(ErrorKind::BadSerialization, "it can't be written as JSON")
                    .with_source(error)
            })?;
            Ok(output.write_str(&text)?)
        }
        ValueKind::Iterable => {
            strict::refuse_undefined(state, value)?;
            minijinja::escape_formatter(output, state, value)
        }
        _ => minijinja::escape_formatter(output, state, value),
    });
    engine.set_debug(true);
    // It would print every value that the template could have, secrets among them.
    engine.remove_global("debug");
    engine
}

pub(super) fn engine_value(value: &Value) -> minijinja::Value {
    match value {
        Value::Bool(yes) => (*yes).into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(engine_value).collect(),
        Value::Map(values) => {
            let values: BTreeMap<String, minijinja::Value> = values
                .iter()
                .map(|(name, value)| (name.clone(), engine_value(value)))
                .collect();
            values.into()
        }
    }
}

/// What templates see as `secret`: it notes what is looked at and can't be listed.
pub(super) struct SecretLookup {
    secrets: Arc<Secrets>,
    used: Mutex<BTreeSet<VariableName>>,
}

impl SecretLookup {
    pub fn new(secrets: Arc<Secrets>) -> Arc<Self> {
        let used = Mutex::default();
        Arc::new(Self { secrets, used })
    }

    pub fn take_used(&self) -> BTreeSet<VariableName> {
        std::mem::take(&mut self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for SecretLookup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("secrets")
    }
}

impl Object for SecretLookup {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let name = VariableName::new(key.as_str()?).ok()?;
        let value = self.secrets.get(&name)?;
        let value = minijinja::Value::from(value.expose());
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name);
        Some(value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}
