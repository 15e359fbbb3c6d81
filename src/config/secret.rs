//! Secrets: where the declaration says they are, and their values once fetched.
//!
//! Values are wiped from memory when dropped and no `Debug` shows them. Must
//! not know what a secret is for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::model::Masks;
use crate::model::names::VariableName;

use super::node::Node;
use super::place::{Place, Sources};
use super::problem::{ConfigErrors, Problem};
use super::reader::Reader;
use super::scalar::Verbatim;

/// A secret as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// What templates call it.
    pub name: VariableName,
    /// Where its value is.
    pub source: SecretSource,
    /// Where it is declared.
    pub place: Place,
    /// Where its source is declared.
    pub source_place: Place,
}

/// Where the value of a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In an environment variable of the controller.
    Variable(String),
    /// In a file on the controller; a path in `~/` is resolved by the port.
    File(PathBuf),
    /// On the standard output of a shell command run on the controller, in that directory.
    Command {
        /// The command.
        command: String,
        /// Where it is run: beside the file that declares it.
        directory: PathBuf,
    },
}

/// A value that is wiped when dropped and that `Debug` doesn't show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes the value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself: only for where the declaration wants it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretValue(…)")
    }
}

/// All secrets of an environment with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<VariableName, SecretValue>);

impl Secrets {
    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &VariableName) -> Option<&SecretValue> {
        self.0.get(name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &VariableName> {
        self.0.keys()
    }

    /// What no word may hold.
    #[must_use]
    pub fn masks(&self) -> Masks {
        self.0.values().map(SecretValue::expose).collect()
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &SecretValue> {
        self.0.values()
    }

    /// Stands in for the values where only the names matter.
    #[must_use]
    pub fn placeholders<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let values = secrets
            .into_iter()
            .map(|secret| (secret.name.clone(), SecretValue::new("secret".to_owned())));
        Self(values.collect())
    }
}

impl FromIterator<(VariableName, SecretValue)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (VariableName, SecretValue)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The world that secrets are fetched from.
pub trait SecretPort {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>>;
    /// The content of a file.
    ///
    /// # Errors
    /// The file can't be read.
    fn read(&self, path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>>;
    /// The standard output of a shell command.
    ///
    /// # Errors
    /// How the command failed; never what it printed on its standard output.
    fn run(&self, command: &str, directory: &Path) -> Result<Zeroizing<Vec<u8>>, String>;
}

/// Fetches the values of all secrets.
///
/// # Errors
/// Every secret that is missing, with its place and what to set.
pub fn resolve(
    sources: &Sources,
    declared: &[Secret],
    port: &dyn SecretPort,
) -> Result<Secrets, ConfigErrors> {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for secret in declared {
        match fetch(secret, port) {
            Ok(value) => {
                values.insert(secret.name.clone(), value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(Secrets(values))
    } else {
        Err(ConfigErrors::new(sources, problems))
    }
}

/// Fetches the values that are there; no command is run for one.
pub fn find(declared: &[Secret], port: &dyn SecretPort) -> Secrets {
    let quiet = declared
        .iter()
        .filter(|secret| !matches!(secret.source, SecretSource::Command { .. }));
    let found = quiet.filter_map(|secret| Some((secret.name.clone(), fetch(secret, port).ok()?)));
    found.collect()
}

fn fetch(secret: &Secret, port: &dyn SecretPort) -> Result<SecretValue, Problem> {
    let name = &secret.name;
    let missing = |why: String, help: String| {
        Problem::new(format!("the secret `{name}` is missing: {why}"))
            .at(secret.place, "declared here")
            .help(help)
    };
    let (bytes, whence) = match &secret.source {
        SecretSource::Variable(variable) => {
            let bytes = port.variable(variable).ok_or_else(|| {
                missing(
                    format!("${variable} is not set"),
                    format!("set it first: `export {variable}=…`"),
                )
            })?;
            (bytes, format!("${variable}"))
        }
        SecretSource::File(path) => {
            let shown = path.display();
            let bytes = port.read(path).map_err(|error| {
                missing(
                    format!("{shown} can't be read: {error}"),
                    format!("put its value into {shown}"),
                )
            })?;
            (bytes, shown.to_string())
        }
        SecretSource::Command { command, directory } => {
            let bytes = port.run(command, directory).map_err(|why| {
                missing(
                    format!("its command failed: {why}"),
                    format!("try it: `cd {} && {command}`", directory.display()),
                )
            })?;
            (bytes, "its command".to_owned())
        }
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        missing(
            format!("{whence} gives something that is not UTF-8"),
            "secrets are text".to_owned(),
        )
    })?;
    // Files and commands end in a line feed that nobody means.
    let text = if matches!(secret.source, SecretSource::Variable(_)) {
        text
    } else {
        text.strip_suffix('\n').unwrap_or(text)
    };
    if text.is_empty() {
        return Err(missing(
            format!("{whence} is empty"),
            format!("give {whence} its value"),
        ));
    }
    Ok(SecretValue::new(text.to_owned()))
}

/// Reads `secret "name" env="…"`, or `file=`, or `command=`.
pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Secret> {
    let place = reader.name_place();
    let name = reader.argument::<VariableName>();
    let variable_place = reader.property_place("env");
    let variable = reader.property::<String>("env").map(SecretSource::Variable);
    let file_place = reader.property_place("file");
    let file = reader.property::<String>("file");
    let file = file.map(|path| SecretSource::File(reader.controller_path(&path, file_place)));
    let command_place = reader.property_place("command");
    let command = reader
        .property::<Verbatim>("command")
        .map(|Verbatim(command)| SecretSource::Command {
            command,
            directory: reader.controller_path("", command_place),
        });
    let given = ["env", "file", "command"].map(|name| has(reader.node(), name));
    if given.iter().filter(|there| **there).count() != 1 {
        reader.problem(
            Problem::new("a secret comes from one place: `env=`, `file=` or `command=`")
                .at(place, "one of them is needed")
                .help("such as `secret \"token\" env=\"TOKEN\"`"),
        );
        return None;
    }
    let sources = [
        (variable, variable_place),
        (file, file_place),
        (command, command_place),
    ];
    let mut sources = sources.into_iter();
    let (source, source_place) = sources.find_map(|(source, at)| Some((source?, at)))?;
    Some(Secret {
        name: name?,
        source,
        place,
        source_place,
    })
}

fn has(node: &Node, property: &str) -> bool {
    node.property(property).is_some()
}
