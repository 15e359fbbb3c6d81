//! Finds environments: `environments/NAME.kdl`, from a directory upward.
//!
//! Must not know what is in them. The directory to start from is handed in.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::names::EnvironmentName;

use super::problem::nearest;

/// The directory, beside which the project's own state is kept too.
pub const DIRECTORY: &str = "environments";

/// The environments of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The directory that holds `environments/`.
    pub directory: PathBuf,
    /// All environments by name, sorted, each with its file.
    pub environments: Vec<(EnvironmentName, PathBuf)>,
}

/// Says why no environment was found.
#[derive(Debug, Error)]
pub enum DiscoverError {
    /// No directory on the way up has environments.
    #[error("no directory `environments` in {start} or above it; `rosey init` makes a first one")]
    NoProject {
        /// Where the search began.
        start: PathBuf,
    },
    /// The directory can't be listed.
    #[error("failed to list {directory}: {source}")]
    Unreadable {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no environment of that name.
    #[error("no environment `{name}` in {directory}{}", hint(name, known))]
    NoSuchEnvironment {
        /// The name as given.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
        /// What is there.
        known: Vec<String>,
    },
    /// Nothing was named, and more or less than one is there.
    #[error("{directory} has {} environments, so name one{}", known.len(), list(known))]
    Ambiguous {
        /// Where was looked.
        directory: PathBuf,
        /// What is there.
        known: Vec<String>,
    },
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!(": {}", known.join(", "))
    }
}

fn hint(name: &str, known: &[String]) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known.is_empty() => "; it is empty, and `rosey init` makes a first one".to_owned(),
        None => format!("; there is {}", known.join(", ")),
    }
}

/// Finds the project that `start` is in.
///
/// # Errors
/// There is none, or it can't be read.
pub fn find_project(start: &Path) -> Result<Project, DiscoverError> {
    let found = start
        .ancestors()
        .map(|directory| directory.join(DIRECTORY))
        .find(|directory| directory.is_dir());
    let Some(environments) = found else {
        return Err(DiscoverError::NoProject {
            start: start.to_owned(),
        });
    };
    let unreadable = |source| DiscoverError::Unreadable {
        directory: environments.clone(),
        source,
    };
    let mut known = Vec::new();
    for entry in std::fs::read_dir(&environments).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let is_environment =
            path.extension().is_some_and(|extension| extension == "kdl") && path.is_file();
        if let Some(name) = stem
            .filter(|_| is_environment)
            .and_then(|stem| EnvironmentName::new(stem).ok())
        {
            known.push((name, path));
        }
    }
    known.sort();
    let directory = environments.parent().unwrap_or(start).to_owned();
    Ok(Project {
        directory,
        environments: known,
    })
}

impl Project {
    /// The file of the environment of that name.
    ///
    /// # Errors
    /// There is none; says which there are.
    pub fn environment(&self, name: &str) -> Result<&Path, DiscoverError> {
        let found = self
            .environments
            .iter()
            .find(|(known, _)| known.as_str() == name);
        let missing = || DiscoverError::NoSuchEnvironment {
            name: name.to_owned(),
            directory: self.directory.join(DIRECTORY),
            known: self.names(),
        };
        found.map(|(_, path)| path.as_path()).ok_or_else(missing)
    }

    /// The file of the only environment.
    ///
    /// # Errors
    /// There is none, or there are several; says which.
    pub fn only_environment(&self) -> Result<&Path, DiscoverError> {
        match self.environments.as_slice() {
            [(_, path)] => Ok(path),
            _ => Err(DiscoverError::Ambiguous {
                directory: self.directory.join(DIRECTORY),
                known: self.names(),
            }),
        }
    }

    fn names(&self) -> Vec<String> {
        self.environments
            .iter()
            .map(|(name, _)| name.to_string())
            .collect()
    }
}
