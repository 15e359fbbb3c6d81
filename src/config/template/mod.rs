//! Templates: rendered strictly, with what one host of one app may know, and
//! with an account of the secrets that went in.
//!
//! The one module, with `engine` and `strict` below it, that names `minijinja`. Must not know where a template came
//! from: the caller puts the place to an error.

mod engine;
mod strict;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use minijinja::ErrorKind;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::model::names::{AppName, EnvironmentName, HostName, VariableName};

use self::engine::{SecretLookup, engine, engine_value};
use super::place::{Place, SourceFile, Sources};
use super::problem::{ConfigErrors, Problem, nearest};
use super::secret::Secrets;
use super::value::{Value, Variables};

const OTHERWISE: &str = "`x is defined` and `x | default(…)` tell what to do without it";

/// Everything that a template may name.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    variables: Variables,
    environment: Option<EnvironmentName>,
    app: Option<AppName>,
    version: Option<String>,
    host: Option<(HostName, String)>,
    secrets: Arc<Secrets>,
}

/// What a template gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text; it may hold secrets.
    pub text: Zeroizing<String>,
    /// The secrets that the template looked at.
    pub secrets: BTreeSet<VariableName>,
}

impl Rendered {
    /// Whether the text may hold a secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        !self.secrets.is_empty()
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: &str = if self.is_secret() { "…" } else { &self.text };
        formatter
            .debug_struct("Rendered")
            .field("text", &text)
            .field("secrets", &self.secrets)
            .finish()
    }
}

/// Says why a template gives no text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TemplateError {
    message: String,
    /// Where in the template, in bytes.
    range: Option<Range<usize>>,
    help: Option<String>,
}

impl TemplateError {
    /// The error of a string of the declaration, on the string.
    #[must_use]
    pub fn into_problem(self, place: Place) -> Problem {
        let problem = Problem::new(self.message).at(place, "here");
        match self.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    /// The error of a template file, on its place in the file.
    #[must_use]
    pub fn in_file(&self, shown: &str, text: &str) -> ConfigErrors {
        let mut sources = Sources::default();
        let source = sources.add(SourceFile {
            shown: shown.to_owned(),
            path: shown.into(),
            text: Arc::from(text),
        });
        ConfigErrors::new(&sources, vec![self.problem_in(source)])
    }

    pub(crate) fn problem_in(&self, source: u32) -> Problem {
        let range = self.range.clone().unwrap_or(0..0);
        let problem = Problem::new(self.message.clone())
            .at(Place::new(source, range.start, range.len()), "here");
        match &self.help {
            Some(help) => problem.help(help.clone()),
            None => problem,
        }
    }
}

impl Scope {
    /// What every app of the environment knows.
    #[must_use]
    pub fn new(environment: EnvironmentName, variables: Variables) -> Self {
        Self {
            variables,
            environment: Some(environment),
            ..Self::default()
        }
    }

    /// Adds the app.
    #[must_use]
    pub fn for_app(mut self, app: AppName) -> Self {
        self.app = Some(app);
        self
    }

    /// Adds the host, whose own variables replace those of the environment.
    #[must_use]
    pub fn on_host(mut self, name: HostName, address: String, variables: &Variables) -> Self {
        self.host = Some((name, address));
        self.variables.extend(
            variables
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        self
    }

    /// Adds the version that is deployed.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Adds the secrets.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<Secrets>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Renders a template.
    ///
    /// # Errors
    /// The template is wrong, or names something that is not known.
    pub fn render(&self, template: &str) -> Result<Rendered, TemplateError> {
        let lookup = SecretLookup::new(Arc::clone(&self.secrets));
        let context = self.context(&lookup);
        let engine = engine();
        let compiled = engine
            .template_from_str(template)
            .map_err(|error| self.explain(&error, template, &[]))?;
        let result = compiled.render(context);
        let secrets = lookup.take_used();
        let error = match result {
            Ok(text) => {
                return Ok(Rendered {
                    text: Zeroizing::new(text),
                    secrets,
                });
            }
            Err(error) => error,
        };
        let unknown = self.unknown(compiled.undeclared_variables(true));
        // What the engine says may quote a value, and the value may be a secret; of what is not there it
        // quotes the template alone.
        if secrets.is_empty() || error.kind() == ErrorKind::UndefinedError {
            return Err(self.explain(&error, template, &unknown));
        }
        Err(match unknown.is_empty() {
            true => TemplateError {
                message: format!(
                    "a template that uses a secret can't be rendered: {}",
                    error.kind()
                ),
                range: error.range(),
                help: None,
            },
            false => self.unknown_names(&unknown, template),
        })
    }

    /// Whether an expression over the variables holds.
    ///
    /// # Errors
    /// The expression is wrong, or names something that is not known.
    pub fn holds(&self, expression: &str) -> Result<bool, TemplateError> {
        let lookup = SecretLookup::new(Arc::default());
        let engine = engine();
        let compiled = engine
            .compile_expression(expression)
            .map_err(|error| self.explain(&error, expression, &[]))?;
        let unknown = self.unknown(compiled.undeclared_variables(true));
        match compiled.eval(self.context(&lookup)) {
            // An undefined result is no error to the engine, but it is a guess to us.
            Ok(value) if value.is_undefined() => Err(self.unknown_names(&unknown, expression)),
            Ok(value) => Ok(value.is_true()),
            Err(error) => Err(self.explain(&error, expression, &unknown)),
        }
    }

    /// What commands get of this as environment variables: no secret among them.
    #[must_use]
    pub fn command_environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                environment.insert(format!("ROSEY_{name}"), value);
            }
        };
        set(
            "ENVIRONMENT",
            self.environment.as_ref().map(ToString::to_string),
        );
        set("APP", self.app.as_ref().map(ToString::to_string));
        set("VERSION", self.version.clone());
        set("HOST", self.host.as_ref().map(|(name, _)| name.to_string()));
        set(
            "HOST_ADDRESS",
            self.host.as_ref().map(|(_, address)| address.clone()),
        );
        for (name, value) in &self.variables {
            set(
                &format!("VAR_{}", name.as_str().to_uppercase()),
                Some(value.for_command()),
            );
        }
        environment
    }

    /// Renders a string of the declaration itself, which can't hold a secret.
    pub(crate) fn render_now(&self, text: &str) -> Result<String, TemplateError> {
        if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
            return Ok(text.to_owned());
        }
        if let Some(error) = self.names_secret(text) {
            return Err(error);
        }
        let early = |error: TemplateError| TemplateError {
            help: error.help.map(|help| {
                format!("{help}; hosts and the version are not known yet where this stands")
            }),
            ..error
        };
        self.render(text)
            .map(|rendered| rendered.text.to_string())
            .map_err(early)
    }

    /// Says so if a template that must not names a secret.
    pub(crate) fn names_secret(&self, template: &str) -> Option<TemplateError> {
        let engine = engine();
        let compiled = engine.template_from_str(template).ok()?;
        compiled
            .undeclared_variables(false)
            .contains("secret")
            .then(|| TemplateError {
                message: "a secret can't stand here: its value would be seen".to_owned(),
                range: template
                    .find("secret")
                    .map(|start| start..start + "secret".len()),
                help: Some("secrets belong into a rendered file or into `env`".to_owned()),
            })
    }

    /// Says so if a template is wrong, or names something that is not known: found
    /// before the values are, so what values alone would spoil is not reported.
    pub(crate) fn misnames(&self, template: &str) -> Option<TemplateError> {
        let engine = engine();
        let compiled = match engine.template_from_str(template) {
            Ok(compiled) => compiled,
            Err(error) => return Some(self.explain(&error, template, &[])),
        };
        if self.unknown(compiled.undeclared_variables(true)).is_empty() {
            return None;
        }
        // `x | default(…)` and the like may do without what is not known: only rendering tells.
        self.render(template).err()
    }

    fn context(&self, lookup: &Arc<SecretLookup>) -> minijinja::Value {
        let mut context: BTreeMap<String, minijinja::Value> = self
            .variables
            .iter()
            .map(|(name, value)| (name.to_string(), engine_value(value)))
            .collect();
        let mut set = |name: &str, value: Option<minijinja::Value>| {
            if let Some(value) = value {
                context.insert(name.to_owned(), value);
            }
        };
        set(
            "environment",
            self.environment.as_ref().map(|name| name.as_str().into()),
        );
        set("app", self.app.as_ref().map(|name| name.as_str().into()));
        set("version", self.version.as_deref().map(Into::into));
        set(
            "host",
            self.host.as_ref().map(|(name, address)| {
                let fields = [("name", name.as_str()), ("address", address.as_str())];
                fields
                    .into_iter()
                    .map(|(field, value)| (field, minijinja::Value::from(value)))
                    .collect::<BTreeMap<_, _>>()
                    .into()
            }),
        );
        set(
            "secret",
            Some(minijinja::Value::from_dyn_object(Arc::clone(lookup))),
        );
        minijinja::Value::from(context)
    }

    /// The names of a template that this scope doesn't have.
    fn unknown(&self, used: impl IntoIterator<Item = String>) -> Vec<String> {
        let known = self.known();
        let engine = engine();
        let mut unknown: Vec<String> = used
            .into_iter()
            .filter(|name| {
                let root = name.split('.').next().unwrap_or(name);
                let is_function = engine.globals().any(|(global, _)| global == root);
                let by_path = ["secret", "host"].contains(&root) && name.contains('.');
                let found = if by_path {
                    known.iter().any(|known| known == name)
                } else {
                    known
                        .iter()
                        .any(|known| known.split('.').next() == Some(root))
                };
                !found && !is_function
            })
            .collect();
        unknown.sort();
        unknown
    }

    /// All names, those of the host and secrets with their dot.
    fn known(&self) -> Vec<String> {
        let mut known: Vec<String> = self.variables.keys().map(ToString::to_string).collect();
        let mut add = |name: &str, there: bool| {
            if there {
                known.push(name.to_owned());
            }
        };
        add("environment", self.environment.is_some());
        add("app", self.app.is_some());
        add("version", self.version.is_some());
        add("host.name", self.host.is_some());
        add("host.address", self.host.is_some());
        known.extend(self.secrets.names().map(|name| format!("secret.{name}")));
        known
    }

    fn explain(
        &self,
        error: &minijinja::Error,
        template: &str,
        unknown: &[String],
    ) -> TemplateError {
        if error.kind() == ErrorKind::UndefinedError {
            let written = error.detail().and_then(undefined);
            let is_told = |name: &String| {
                written.is_none_or(|written| {
                    let mut both = [(name.as_str(), written), (written, name)].into_iter();
                    both.any(|(long, short)| {
                        long.strip_prefix(short)
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                    })
                })
            };
            let named = match written {
                Some(written) if !unknown.iter().any(is_told) => self.missing(written),
                _ => self.unknown_names(unknown, template),
            };
            // The engine's place is that of what was done with it.
            let range = error.range().map(|range| {
                let within = template.get(range.clone()).zip(written);
                let found = within.and_then(|(text, written)| {
                    let start = range.start + text.find(written)?;
                    Some(start..start + written.len())
                });
                found.unwrap_or(range)
            });
            return TemplateError {
                range: range.or(named.range),
                ..named
            };
        }
        let what = match error.kind() {
            ErrorKind::SyntaxError => "this can't be read".to_owned(),
            ErrorKind::OutOfFuel => "this takes too long to render".to_owned(),
            kind => kind.to_string(),
        };
        let message = match error.detail() {
            Some(detail) => format!("{what}: {detail}"),
            None => what,
        };
        TemplateError {
            message,
            range: error.range(),
            help: None,
        }
    }

    /// A field or an item that what is known doesn't have.
    fn missing(&self, written: &str) -> TemplateError {
        let (parent, field) = written.rsplit_once('.').unwrap_or(("", written));
        let mut path = parent.split('.');
        let root = path.next().and_then(|name| {
            self.variables
                .iter()
                .find(|(known, _)| known.as_str() == name)
        });
        let parent_value = path.try_fold(root.map(|(_, value)| value), |value, name| match value {
            Some(Value::Map(fields)) => Some(fields.get(name)),
            _ => None,
        });
        let near = match parent_value.flatten() {
            Some(Value::Map(fields)) => nearest(field, fields.keys().map(String::as_str)),
            _ => None,
        };
        TemplateError {
            message: format!("`{written}` is not known here"),
            range: None,
            help: Some(match near {
                Some(near) => format!("did you mean `{parent}.{near}`?"),
                None => OTHERWISE.to_owned(),
            }),
        }
    }

    fn unknown_names(&self, unknown: &[String], template: &str) -> TemplateError {
        let known = self.known();
        let Some(first) = unknown.first() else {
            return TemplateError {
                message: "a value that is not there is used".to_owned(),
                range: None,
                help: Some(OTHERWISE.to_owned()),
            };
        };
        let range = template
            .find(first.as_str())
            .map(|start| start..start + first.len());
        let quoted: Vec<String> = unknown.iter().map(|name| format!("`{name}`")).collect();
        let verb = if unknown.len() == 1 { "is" } else { "are" };
        let help = match nearest(first, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        TemplateError {
            message: format!("{} {verb} not known here", quoted.join(", ")),
            range,
            help: Some(help),
        }
    }
}

/// What isn't there, as the template writes it: the engine says "`lim.rate` is undefined".
fn undefined(detail: &str) -> Option<&str> {
    let (written, _) = detail.strip_prefix('`')?.split_once("` is undefined")?;
    // It begins so where the engine doesn't know what stands before.
    (!written.starts_with("(...)")).then_some(written)
}
