//! From a value as written to a value with a type, or to what was expected.
//!
//! Must not know which word the value belongs to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::names::{
    AccountName, AppName, EnvironmentName, HostName, InvalidName, Mode, RemotePath, ServiceName,
    Tag, TaskName, TreePath, VariableName,
};

pub use super::node::Scalar;
use super::quantity;

/// When the templates in a quoted string are rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Templating {
    /// Never: it is given to somebody else as it stands.
    Never,
    /// While the declaration is read, with the environment's own variables.
    Now,
    /// For each host, when the plan is made.
    Later {
        /// Whether a secret may appear in what it renders to.
        secrets: bool,
    },
}

/// Says why a value doesn't fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// What is wrong with it, for the label; without it the value as found is shown.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Mismatch {
    /// Says what is wrong with the value.
    pub fn because(why: impl Into<String>) -> Self {
        Self {
            label: Some(why.into()),
            help: None,
        }
    }
}

/// A type that a single value of KDL can be read as.
pub trait FromScalar: Sized {
    /// What is expected, with its article: "a duration with its unit".
    const EXPECTED: &'static str;
    /// How such a value is written.
    const EXAMPLE: &'static str;
    /// When templates in it are rendered, if it is a string.
    const TEMPLATING: Templating = Templating::Now;

    /// Takes the value.
    ///
    /// # Errors
    /// Says why it doesn't fit.
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch>;
}

/// A string that is never a template: it goes to a shell, which has its own syntax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verbatim(pub String);

/// A template without secrets, rendered for each host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub String);

/// A template that may hold secrets, rendered for each host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretTemplate(pub Template);

/// A value to compare with: a template, a number, a boolean or nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TemplatedValue {
    /// Nothing at all.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A string, rendered for each host.
    Template(Template),
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Size(pub u64);

/// A share of a whole, in percent.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(pub f64);

fn string(scalar: &Scalar) -> Result<&str, Mismatch> {
    match scalar {
        Scalar::String(text) if text.contains('\0') => {
            Err(Mismatch::because("a NUL byte is in it"))
        }
        Scalar::String(text) => Ok(text),
        _ => Err(Mismatch::default()),
    }
}

fn some_string(scalar: &Scalar) -> Result<String, Mismatch> {
    match string(scalar)? {
        "" => Err(Mismatch::because("it is empty")),
        text => Ok(text.to_owned()),
    }
}

impl FromScalar for String {
    const EXPECTED: &'static str = "a text";
    const EXAMPLE: &'static str = "\"…\"";
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        some_string(scalar)
    }
}

impl FromScalar for Verbatim {
    const EXPECTED: &'static str = "a command";
    const EXAMPLE: &'static str = "\"…\"";
    const TEMPLATING: Templating = Templating::Never;
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        some_string(scalar).map(Self)
    }
}

impl FromScalar for Template {
    const EXPECTED: &'static str = "a text";
    const EXAMPLE: &'static str = "\"…\"";
    const TEMPLATING: Templating = Templating::Later { secrets: false };
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        some_string(scalar).map(Self)
    }
}

impl FromScalar for SecretTemplate {
    const EXPECTED: &'static str = "a text";
    const EXAMPLE: &'static str = "\"…\"";
    const TEMPLATING: Templating = Templating::Later { secrets: true };
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        // The value of an environment variable may well be empty, or a number.
        let text = match scalar {
            Scalar::Integer(number) => number.to_string(),
            other => string(other)?.to_owned(),
        };
        Ok(Self(Template(text)))
    }
}

impl FromScalar for TemplatedValue {
    const EXPECTED: &'static str = "a value: a text, a number, #true, #false or #null";
    const EXAMPLE: &'static str = "\"…\"";
    const TEMPLATING: Templating = Templating::Later { secrets: false };
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        Ok(match scalar {
            Scalar::String(text) => Self::Template(Template(text.clone())),
            Scalar::Integer(number) => Self::Integer(
                i64::try_from(*number)
                    .map_err(|_| Mismatch::because("it has more than 64 bits"))?,
            ),
            Scalar::Float(number) if number.is_finite() => Self::Float(*number),
            Scalar::Float(_) => return Err(Mismatch::because("it is not a number")),
            Scalar::Bool(yes) => Self::Bool(*yes),
            Scalar::Null => Self::Null,
        })
    }
}

impl FromScalar for bool {
    const EXPECTED: &'static str = "#true or #false";
    const EXAMPLE: &'static str = "#true";
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        match scalar {
            Scalar::Bool(yes) => Ok(*yes),
            Scalar::String(text) if text == "true" || text == "false" => Err(Mismatch {
                label: None,
                help: Some(format!("KDL 2 writes it with a hash: `#{text}`")),
            }),
            _ => Err(Mismatch::default()),
        }
    }
}

macro_rules! whole_numbers {
    ($($type:ty, $expected:literal);* $(;)?) => {$(
        impl FromScalar for $type {
            const EXPECTED: &'static str = $expected;
            const EXAMPLE: &'static str = "1";
            fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
                match scalar {
                    Scalar::Integer(number) => <$type>::try_from(*number).map_err(|_| Mismatch::default()),
                    Scalar::String(text) if text.parse::<$type>().is_ok() => {
                        Err(Mismatch { label: None, help: Some("write the number without quotes".to_owned()) })
                    }
                    _ => Err(Mismatch::default()),
                }
            }
        }
    )*};
}

whole_numbers! {
    u16, "a whole number from 0 to 65535";
    u32, "a whole number from 0 to 4294967295";
    i64, "a whole number";
}

impl FromScalar for Duration {
    const EXPECTED: &'static str = "a duration with its unit, such as \"30s\" or \"5m\"";
    const EXAMPLE: &'static str = "\"30s\"";
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        match scalar {
            Scalar::Integer(_) | Scalar::Float(_) => Err(Mismatch {
                label: Some(format!("found {} without a unit", scalar.describe())),
                help: Some(format!(
                    "`\"{0}s\"` for seconds, `\"{0}m\"` for minutes",
                    scalar.describe()
                )),
            }),
            other => quantity::duration(string(other)?).map_err(Mismatch::because),
        }
    }
}

impl FromScalar for Size {
    const EXPECTED: &'static str = "a size with its unit, such as \"512MiB\"";
    const EXAMPLE: &'static str = "\"512MiB\"";
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        quantity::size(string(scalar)?)
            .map(Self)
            .map_err(Mismatch::because)
    }
}

impl FromScalar for Percent {
    const EXPECTED: &'static str = "a share in percent, such as \"50%\"";
    const EXAMPLE: &'static str = "\"50%\"";
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        quantity::percent(string(scalar)?)
            .map(Self)
            .map_err(Mismatch::because)
    }
}

impl FromScalar for Mode {
    const EXPECTED: &'static str = "a mode in quotes, such as \"0640\"";
    const EXAMPLE: &'static str = "\"0640\"";
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        match scalar {
            Scalar::Integer(number) => Err(Mismatch {
                label: None,
                help: Some(format!("write it in quotes: `\"{number:04}\"`")),
            }),
            other => string(other)?
                .parse()
                .map_err(|error: InvalidName| Mismatch::because(error.why)),
        }
    }
}

macro_rules! names {
    ($($type:ident, $expected:literal, $example:literal);* $(;)?) => {$(
        impl FromScalar for $type {
            const EXPECTED: &'static str = $expected;
            const EXAMPLE: &'static str = $example;
            fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
                $type::new(string(scalar)?).map_err(|error| Mismatch::because(error.why))
            }
        }
    )*};
}

names! {
    EnvironmentName, "the name of an environment", "\"prod\"";
    HostName, "the name of a host", "\"web-1\"";
    Tag, "a tag", "\"web\"";
    AppName, "the name of an app", "\"web\"";
    TaskName, "the name of a task", "\"migrate\"";
    ServiceName, "the name of a service", "\"web\"";
    AccountName, "the name of a user or group", "\"www-data\"";
    VariableName, "the name of a variable", "\"port\"";
    RemotePath, "an absolute path on the server", "\"/opt/web\"";
    TreePath, "a relative path that stays inside", "\"config/web.conf\"";
}
