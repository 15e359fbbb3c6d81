//! What only the machine tells that the declaration is read on: which directories
//! of it no app may take, and whether the files of secrets are there.
//!
//! Must not know what is deployed. Its home directories are handed in.

use std::path::{Path, PathBuf};

use super::app::App;
use super::environment::Environment;
use super::host::expand_home;
use super::problem::Problem;
use super::root;
use super::secret::SecretSource;

/// Who reads the declaration, as far as directories go.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// Their home directories: what `$HOME` says, which `~/` stands for, and what the machine's list of users
    /// says, where it is another.
    pub homes: Vec<PathBuf>,
}

/// Everything that is wrong with the environment on this machine.
pub(crate) fn check(environment: &Environment, here: &Here) -> Vec<Problem> {
    let mut problems = Vec::new();
    for secret in &environment.secrets {
        let SecretSource::File(path) = &secret.source else {
            continue;
        };
        let path = match here.homes.first() {
            Some(home) => expand_home(path, home),
            None => path.clone(),
        };
        // Who may not look behind a directory is told when the value is needed.
        if path.try_exists().is_ok_and(|there| !there) {
            let (name, shown) = (&secret.name, path.display());
            let message = format!("the secret `{name}` is missing: {shown} does not exist");
            let problem = Problem::new(message).at(secret.source_place, "not there");
            problems.push(problem.help(format!("put its value into {shown}")));
        }
    }
    let is_here = |app: &&App| {
        let mut hosts = app.hosts.iter().filter_map(|name| environment.host(name));
        hosts.any(super::host::Host::is_local)
    };
    for app in environment.apps.iter().filter(is_here) {
        let path = Path::new(app.root.as_str());
        let Some(why) = taken(&real(path), app, here) else {
            continue;
        };
        let problem = Problem::new(format!("{} can't be the root of an app", app.root));
        problems.push(problem.at(app.root_place, why).help(root::OWN_DIRECTORY));
    }
    problems
}

/// Whose directory the root is already.
fn taken(root: &Path, app: &App, here: &Here) -> Option<String> {
    // In a container who has no home has the root directory.
    let homes = here.homes.iter().filter(|home| **home != Path::new("/"));
    for home in homes.map(|home| real(home)) {
        let own = home.join(root::IN_HOME);
        if root == home {
            return Some("it is your home directory".to_owned());
        } else if home.starts_with(root) {
            return Some(format!("your home directory is in it: {}", home.display()));
        } else if own.starts_with(root) {
            return Some(format!("rosey's own is in it: {}", own.display()));
        }
    }
    let source = real(app.source.as_ref()?.origin.directory());
    // One inside of its source is left out of it.
    if root == source {
        Some("it is the app's own source".to_owned())
    } else if source.starts_with(root) {
        Some(format!(
            "the app's own source is in it: {}",
            source.display()
        ))
    } else {
        None
    }
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|ancestor| {
        let rest = path.strip_prefix(ancestor).ok()?;
        let there = ancestor.canonicalize().ok()?;
        Some(there.components().chain(rest.components()).collect())
    });
    there.unwrap_or_else(|| path.to_owned())
}
