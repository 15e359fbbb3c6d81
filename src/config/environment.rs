//! An environment: everything that its files declare, in types.
//!
//! Must not know the files themselves (see `include`) nor any step kind.

use std::sync::Arc;

use crate::model::names::{AppName, EnvironmentName, HostName, TreePath};

use super::app::{self, App};
use super::host::{self, Host};
use super::node::Node;
use super::notify::{self, Notification};
use super::place::{Place, Sources};
use super::problem::{ConfigErrors, Problem};
use super::reader::Reader;
use super::rollout::{self, Protect, Rollout};
use super::scalar::Verbatim;
use super::secret::{self, Secret, Secrets};
use super::session::Session;
use super::source;
use super::template::Scope;
use super::value::{Variables, variables};
use super::word::{NamedFile, Text, Word};

/// Paths that differ without meaning anything, wherever they are.
const ALWAYS_IGNORED: [&str; 2] = ["__pycache__/", "*.pyc"];

/// An environment as declared.
#[derive(Debug, Clone)]
pub struct Environment {
    /// What it is called: the stem of its file.
    pub name: EnvironmentName,
    /// Its file, absolute.
    pub path: std::path::PathBuf,
    /// The files that it was read from, for messages.
    pub sources: Arc<Sources>,
    /// The variables that every app and host has.
    pub variables: Variables,
    /// What must hold on every host; checked when the declaration was read.
    pub asserts: Vec<Assert>,
    /// Where secrets come from.
    pub secrets: Vec<Secret>,
    /// All hosts, in the order of the file.
    pub hosts: Vec<Host>,
    /// All apps, in the order of the file.
    pub apps: Vec<App>,
    /// How a change goes over the hosts.
    pub rollout: Rollout,
    /// Paths inside a release that make no difference, in the syntax of `.gitignore`.
    pub drift_ignore: Vec<String>,
    /// What `apply` insists on.
    pub protect: Protect,
    /// Who is told how a run ended.
    pub notify: Vec<Notification>,
}

/// Something that must hold on every host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assert {
    /// An expression over the variables.
    pub expression: String,
    /// What is said when it doesn't hold.
    pub message: Option<String>,
    /// Where it is declared.
    pub place: Place,
}

impl Environment {
    /// The host of that name.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == *name)
    }

    /// The app of that name.
    #[must_use]
    pub fn app(&self, name: &AppName) -> Option<&App> {
        self.apps.iter().find(|app| app.name == *name)
    }

    /// What templates of the app may name on that host; version and secrets are added by the caller.
    #[must_use]
    pub fn scope(&self, app: &AppName, host: &Host) -> Scope {
        Scope::new(self.name.clone(), self.variables.clone())
            .for_app(app.clone())
            .on_host(
                host.name.clone(),
                host.address().to_owned(),
                &host.variables,
            )
    }

    /// Fetches the values of all secrets.
    ///
    /// # Errors
    /// Every secret that is missing, with its place and what to set.
    pub fn resolve_secrets(&self, port: &dyn secret::SecretPort) -> Result<Secrets, ConfigErrors> {
        secret::resolve(&self.sources, &self.secrets, port)
    }

    /// The values of those secrets that are there and need no command.
    #[must_use]
    pub fn find_secrets(&self, port: &dyn secret::SecretPort) -> Secrets {
        secret::find(&self.secrets, port)
    }

    /// A file of an app's source, as messages show files.
    #[must_use]
    pub fn shown_source(&self, app: &App, file: &TreePath) -> String {
        let directory = app.source.as_ref().map(|source| source.origin.directory());
        match directory {
            Some(directory) => self.sources.shown(&directory.join(file)),
            None => file.to_string(),
        }
    }

    /// Puts problems that were found later on their places in the declaration.
    #[must_use]
    pub fn errors(&self, problems: Vec<Problem>) -> ConfigErrors {
        ConfigErrors::new(&self.sources, problems)
    }
}

/// What is read beside the environment itself, for the checks that follow.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Templated strings outside of the kinds' declarations.
    pub texts: Vec<Text>,
    /// Files of the source that an app itself names, by app.
    pub files: Vec<(AppName, NamedFile)>,
    /// Declarations that something is wrong with, by app: their words and names.
    pub spoiled: Vec<(AppName, (String, String))>,
}

/// Reads the merged tree; what is wrong goes to the session.
pub(crate) fn decode(
    root: &Node,
    name: EnvironmentName,
    path: std::path::PathBuf,
    words: &[Word],
    session: &Session<'_>,
) -> (Environment, Beside) {
    let mut reader = Reader::new(root, session);
    // They are merged already: what is asked for here is only that the word is known.
    reader.children("include", |_| None::<()>);
    *session.scope.borrow_mut() = Scope::new(name.clone(), Variables::new());
    let variables = reader.child("vars", variables).unwrap_or_default();
    *session.scope.borrow_mut() = Scope::new(name.clone(), variables.clone());

    let asserts = reader.children("assert", decode_assert);
    let secrets = reader.children("secret", secret::decode);
    let hosts = reader.children("host", host::decode);
    let mut beside = Beside::default();
    let apps = reader.children("app", |child| {
        if let Some(app) = child.name().and_then(|name| AppName::new(name).ok()) {
            let scope = Scope::new(name.clone(), variables.clone()).for_app(app);
            *session.scope.borrow_mut() = scope;
        }
        let app = app::decode(child, &hosts, words);
        let notes = std::mem::take(&mut *session.notes.borrow_mut());
        beside.texts.extend(notes.texts);
        let app = app?;
        let files = notes.files.into_iter();
        let spoiled = notes.spoiled.into_iter();
        beside
            .files
            .extend(files.map(|file| (app.name.clone(), file)));
        beside
            .spoiled
            .extend(spoiled.map(|one| (app.name.clone(), one)));
        Some(app)
    });
    *session.scope.borrow_mut() = Scope::new(name.clone(), variables.clone());
    let rollout = reader.child("rollout", rollout::decode).unwrap_or_default();
    let ignored = reader.child("drift", |drift| {
        drift.child("ignore", |ignore| Some(source::patterns(ignore)))
    });
    let protect = reader
        .child("protect", rollout::decode_protect)
        .unwrap_or_default();
    let notify = reader.child("notify", notify::decode).unwrap_or_default();
    beside
        .texts
        .extend(std::mem::take(&mut *session.notes.borrow_mut()).texts);
    reader.done();

    let mut drift_ignore: Vec<String> = ALWAYS_IGNORED
        .iter()
        .map(|pattern| (*pattern).to_owned())
        .collect();
    for pattern in ignored.unwrap_or_default() {
        if !drift_ignore.contains(&pattern) {
            drift_ignore.push(pattern);
        }
    }
    let sources = Arc::new(session.sources.clone());
    let environment = Environment {
        name,
        path,
        sources,
        variables,
        asserts,
        secrets,
        hosts,
        apps,
        rollout,
        drift_ignore,
        protect,
        notify,
    };
    (environment, beside)
}

fn decode_assert(reader: &mut Reader<'_>) -> Option<Assert> {
    let place = reader.name_place();
    let expression = reader.argument::<Verbatim>();
    let message = reader.property::<String>("message");
    Some(Assert {
        expression: expression?.0,
        message,
        place,
    })
}
