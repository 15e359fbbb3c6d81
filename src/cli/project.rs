//! What a command is about: the environment, its secrets, and the sources of its apps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::discover::find_project;
use crate::config::{
    App, Environment, Here, Place, Problem, Rigour, SecretSource, Secrets, SourceOrigin,
    SystemSecrets, VersionSource, load_with,
};
use crate::content::build::{Build, build};
use crate::content::{
    GitSource, SourceError, SourceProblem, SourceTree, check_out, read_git, read_source,
};
use crate::model::names::{TreePath, Version};
use crate::model::{AppName, Masks};
use crate::step::desired::entry_path;
use crate::step::words::words;

use super::error::CommandError;
use super::exit::Exit;
use super::surroundings::Surroundings;

/// The project that the working directory is in, and one environment of it.
#[derive(Clone)]
pub struct Project {
    /// The directory that holds `environments/`.
    pub directory: PathBuf,
    /// The environment.
    pub environment: Environment,
}

/// The content of an app.
pub struct AppSource {
    /// Its tree, with what the build made.
    pub tree: SourceTree,
    /// Its version.
    pub version: Version,
    /// The commit that it is, where it is in git; `+changes` behind it where it isn't clean.
    pub commit: Option<String>,
}

impl Project {
    /// Opens an environment by its name; with none, `$ROSEY_ENV` or the only one.
    ///
    /// # Errors
    /// Exit code 3 when there is no such environment, or it is wrong.
    pub fn open(around: &Surroundings, name: Option<&str>) -> Result<Self, CommandError> {
        Self::open_with(around, name, Rigour::Whole)
    }

    /// The same for a command that is about what stands on the servers: it needs no source, and goes on
    /// whatever an unfinished edit has left there.
    ///
    /// # Errors
    /// Exit code 3 when there is no such environment, or what is written in it is wrong.
    pub fn open_standing(around: &Surroundings, name: Option<&str>) -> Result<Self, CommandError> {
        Self::open_with(around, name, Rigour::Written)
    }

    fn open_with(
        around: &Surroundings,
        name: Option<&str>,
        rigour: Rigour,
    ) -> Result<Self, CommandError> {
        let project = find_project(&around.directory).map_err(declaration)?;
        let name = name.or(around.environment.as_deref());
        let path = match name {
            Some(name) => project.environment(name),
            None => project.only_environment(),
        };
        let path = path.map_err(declaration)?;
        Self::load(around, path, &project.directory, rigour)
    }

    /// Every environment of the project.
    ///
    /// # Errors
    /// Exit code 3 when there is no project.
    pub fn all(
        around: &Surroundings,
        rigour: Rigour,
    ) -> Result<Vec<Result<Self, CommandError>>, CommandError> {
        let project = find_project(&around.directory).map_err(declaration)?;
        let paths = project.environments.iter();
        Ok(paths
            .map(|(_, path)| Self::load(around, path, &project.directory, rigour))
            .collect())
    }

    fn load(
        around: &Surroundings,
        path: &Path,
        directory: &Path,
        rigour: Rigour,
    ) -> Result<Self, CommandError> {
        // Messages name files as a person at this place would.
        let shown = path.strip_prefix(&around.directory).unwrap_or(path);
        let here = Here {
            homes: around.homes(),
        };
        let environment = load_with(shown, &words(), rigour, &here)
            .map_err(|errors| CommandError::at_places(Exit::DECLARATION, errors))?;
        Ok(Self {
            directory: directory.to_owned(),
            environment,
        })
    }

    /// Where history and caches lie, unless `$ROSEY_STATE` says otherwise.
    #[must_use]
    pub fn state(&self, around: &Surroundings) -> PathBuf {
        around.state_of(&self.directory)
    }

    /// The values of all secrets.
    ///
    /// # Errors
    /// Exit code 3, with every secret that is missing.
    pub fn secrets(&self, around: &Surroundings) -> Result<Arc<Secrets>, CommandError> {
        let port = SystemSecrets {
            home: around.home.clone(),
        };
        let secrets = self.environment.resolve_secrets(&port);
        secrets
            .map(Arc::new)
            .map_err(|errors| CommandError::at_places(Exit::DECLARATION, errors))
    }

    /// The values of the secrets that can be had without running a command; the others are left out.
    pub fn known_secrets(&self, around: &Surroundings) -> Secrets {
        let port = SystemSecrets {
            home: around.home.clone(),
        };
        self.environment.find_secrets(&port)
    }

    /// The environment variables that hold a secret: no command gets them, nor a helper on this machine. Only a
    /// `secret command=` does, for what it prints is kept as a secret, and it may need one to log in.
    pub fn secret_variables(&self) -> Vec<String> {
        let secrets = self.environment.secrets.iter();
        let variables = secrets.filter_map(|secret| match &secret.source {
            SecretSource::Variable(variable) => Some(variable.clone()),
            SecretSource::File(_) | SecretSource::Command { .. } => None,
        });
        variables.collect()
    }

    /// Builds and reads the sources of some apps. `version` is the one that must come out, and `masks` is
    /// what no error may hold.
    ///
    /// # Errors
    /// Exit code 3 when a source can't be deployed, 9 when the version is another.
    pub fn sources(
        &self,
        around: &Surroundings,
        apps: &[AppName],
        version: Option<&str>,
        masks: &Masks,
    ) -> Result<BTreeMap<AppName, Arc<AppSource>>, CommandError> {
        let mut sources = BTreeMap::new();
        for app in self
            .environment
            .apps
            .iter()
            .filter(|app| apps.contains(&app.name))
        {
            let source = self.source(around, app, version, masks)?;
            sources.insert(app.name.clone(), Arc::new(source));
        }
        Ok(sources)
    }

    fn source(
        &self,
        around: &Surroundings,
        app: &App,
        asked: Option<&str>,
        masks: &Masks,
    ) -> Result<AppSource, CommandError> {
        let refused = |error: SourceError| self.at(error.to_string(), place_of(app, &error));
        let (tree, commit) = match &app.source {
            None => (SourceTree::default(), None),
            Some(source) => match &source.origin {
                SourceOrigin::Directory(directory) => {
                    self.build((around, app), directory, asked, masks)?;
                    let mut exclude = source.exclude.clone();
                    exclude.extend(inside(directory, &self.state(around)));
                    exclude.extend(self.roots_here().filter_map(|root| inside(directory, root)));
                    let tree = read_source(directory, &exclude).map_err(refused)?;
                    (tree, around.commit_of(directory))
                }
                SourceOrigin::Git {
                    repository,
                    whole,
                    reference,
                    ..
                } => {
                    let wanted = GitSource {
                        directory: repository,
                        whole: *whole,
                        reference,
                    };
                    let tree = if app.build.is_some() {
                        let cache = self.state(around).join("cache");
                        let name = format!("{}.{}", self.environment.name, app.name);
                        let directory = check_out(&wanted, &cache, &name).map_err(refused)?;
                        self.build((around, app), &directory, asked, masks)?;
                        read_source(&directory, &source.exclude)
                    } else {
                        read_git(&wanted, &source.exclude)
                    };
                    let tree = tree.map_err(refused)?;
                    (tree, around.commit_named(repository, reference))
                }
            },
        };
        let version = version(app, &tree, asked)?;
        Ok(AppSource {
            tree,
            version,
            commit,
        })
    }

    /// Where apps are deployed to on this machine.
    fn roots_here(&self) -> impl Iterator<Item = &Path> {
        let environment = &self.environment;
        let is_here = |host| environment.host(host).is_some_and(|host| host.is_local());
        let here = environment.apps.iter();
        let here = here.filter(move |app| app.hosts.iter().any(is_here));
        here.map(|app| Path::new(app.root.as_str()))
    }

    fn build(
        &self,
        (around, app): (&Surroundings, &App),
        directory: &Path,
        asked: Option<&str>,
        masks: &Masks,
    ) -> Result<(), CommandError> {
        let Some(declared) = &app.build else {
            return Ok(());
        };
        let paths = |paths: &[TreePath]| paths.iter().map(entry_path).collect::<Vec<_>>();
        let (inputs, outputs) = (paths(&declared.inputs), paths(&declared.outputs));
        let scope = crate::config::Scope::new(
            self.environment.name.clone(),
            self.environment.variables.clone(),
        );
        let mut scope = scope.for_app(app.name.clone());
        if let Some(version) = version_before(app, directory, asked) {
            scope = scope.with_version(version);
        }
        let env = scope.command_environment();
        let run = &declared.run;
        let wanted = Build {
            run,
            inputs: &inputs,
            outputs: &outputs,
            env: &env,
            without: &self.secret_variables(),
            masks,
        };
        let cache = self.state(around).join("cache");
        build(directory, &wanted, &cache).map_err(|error| {
            let words = format!("the build of {} failed: {error}", app.name);
            self.at(words, declared.place)
        })?;
        Ok(())
    }

    /// What only shows when a source is read or built, on its place in the declaration.
    fn at(&self, words: String, place: Place) -> CommandError {
        let problem = Problem::new(words).at(place, "declared here");
        CommandError::at_places(Exit::DECLARATION, self.environment.errors(vec![problem]))
    }
}

/// Where a source is wrong: a commit that git doesn't know is one of `ref`.
fn place_of(app: &App, error: &SourceError) -> Place {
    let by_reference = |problem: &SourceProblem| {
        matches!(
            problem,
            SourceProblem::Reference { .. } | SourceProblem::NotInCommit { .. }
        )
    };
    match &app.source {
        None => app.place,
        Some(source) => match &source.origin {
            SourceOrigin::Git {
                reference_place, ..
            } if error.problems.iter().any(by_reference) => *reference_place,
            _ => source.place,
        },
    }
}

/// The version as far as it is known before a build; one that the build itself writes isn't.
fn version_before(app: &App, directory: &Path, asked: Option<&str>) -> Option<String> {
    match &app.version {
        Some(VersionSource::Stated(version)) => Some(version.to_string()),
        Some(VersionSource::File(path)) => {
            let path: &Path = path.as_ref();
            let mut made = app.build.iter().flat_map(|build| &build.outputs);
            if made.any(|output| path.starts_with(output)) {
                return None;
            }
            let text = std::fs::read_to_string(directory.join(path)).ok()?;
            Some(text.trim().to_owned())
        }
        None => asked.map(|asked| asked.strip_prefix('v').unwrap_or(asked).to_owned()),
    }
}

/// The pattern that leaves something of rosey's own out of a source around it, its state or what is deployed:
/// each run writes to it, so with it no two would deploy the same. None where it lies elsewhere, or isn't there
/// yet.
fn inside(source: &Path, state: &Path) -> Option<String> {
    let (source, state) = (source.canonicalize().ok()?, state.canonicalize().ok()?);
    let path = state.strip_prefix(source).ok()?.to_str()?;
    let mut pattern = String::from("/");
    for letter in path.chars() {
        // gitignore(5): what would mean something is taken by its letter.
        if "*?[]{}\\!#".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    (!path.is_empty()).then(|| pattern + "/")
}

/// The version of an app: what `--version` asks for and what is declared must agree.
fn version(app: &App, tree: &SourceTree, asked: Option<&str>) -> Result<Version, CommandError> {
    let wrong = |message: String| CommandError::new(Exit::DECLARATION, message);
    let declared = match &app.version {
        None => None,
        Some(VersionSource::Stated(version)) => Some(version.to_string()),
        Some(VersionSource::File(path)) => {
            let bytes = tree.read(&entry_path(path)).map_err(declaration)?;
            let bytes = bytes.ok_or_else(|| {
                wrong(format!(
                    "the source of {} has no file {path}, which `version` names",
                    app.name
                ))
            })?;
            Some(String::from_utf8_lossy(&bytes).trim().to_owned())
        }
    };
    let asked = asked.map(|version| version.strip_prefix('v').unwrap_or(version).to_owned());
    let version = match (declared, asked) {
        (Some(declared), Some(asked))
            if declared.strip_prefix('v').unwrap_or(&declared) != asked =>
        {
            let message = format!(
                "--version says {asked}, but the source of {} is {declared}",
                app.name
            );
            return Err(CommandError::new(Exit::UNAPPROVED, message)
                .hint("check out that version, or leave --version out"));
        }
        (Some(version), _) | (None, Some(version)) => version,
        (None, None) => "0".to_owned(),
    };
    Version::new(version).map_err(|error| wrong(format!("the version of {}: {error}", app.name)))
}

/// An error in what is declared, without a place in a file of its own.
pub fn declaration(error: impl std::fmt::Display) -> CommandError {
    CommandError::new(Exit::DECLARATION, error)
}
