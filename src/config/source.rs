//! Where an app's content comes from: a directory or a commit, what is built
//! from it, and what its version is.
//!
//! Must not know how content is read or carried.

use std::path::{Component, Path, PathBuf};

use crate::model::names::{TreePath, Version};

use super::place::Place;
use super::problem::Problem;
use super::reader::Reader;
use super::scalar::Verbatim;
use super::word::FileContent;

/// Where content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A directory or a commit.
    pub origin: SourceOrigin,
    /// What is left out, in the syntax of `.gitignore`.
    pub exclude: Vec<String>,
    /// Where it is declared.
    pub place: Place,
}

/// A directory or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceOrigin {
    /// A directory of the controller, as it is.
    Directory(PathBuf),
    /// A commit of a repository on the controller.
    Git {
        /// The work tree or bare repository, or a directory inside.
        repository: PathBuf,
        /// Whether the repository is meant as a whole, wherever inside of it the directory is.
        whole: bool,
        /// A commit, tag or branch.
        reference: String,
        /// Where the reference is declared.
        reference_place: Place,
    },
}

impl SourceOrigin {
    /// The directory that is named.
    pub(crate) fn directory(&self) -> &Path {
        match self {
            Self::Directory(directory)
            | Self::Git {
                repository: directory,
                ..
            } => directory,
        }
    }
}

/// What is run on the controller to finish the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// A shell command, run in the source.
    pub run: String,
    /// What it depends on; everything when empty.
    pub inputs: Vec<TreePath>,
    /// What it makes; it may change anything when empty.
    pub outputs: Vec<TreePath>,
    /// Where it is declared.
    pub place: Place,
}

/// What the version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionSource {
    /// This.
    Stated(String),
    /// The first line of that file of the source.
    File(TreePath),
}

pub(crate) fn decode_source(reader: &mut Reader<'_>) -> Option<Source> {
    let place = reader.name_place();
    let directory = reader.optional_argument::<String>();
    let git_place = reader.property_place("git");
    let git = reader.property::<String>("git");
    let reference_place = match reader.property_place("ref") {
        word if word == reader.place() => git_place,
        place => place,
    };
    let reference = reader.property::<String>("ref");
    let exclude = reader
        .child("exclude", |exclude| Some(patterns(exclude)))
        .unwrap_or_default();
    let origin = match (directory, git) {
        (Some(directory), None) => {
            if reference.is_some() {
                let problem = Problem::new("`ref` needs `git=` before it")
                    .at(reader.property_place("ref"), "of which repository?");
                reader.problem(problem.help("such as `source git=\".\" ref=\"v1.4.2\"`"));
            }
            SourceOrigin::Directory(reader.controller_path(&directory, place))
        }
        (None, Some(repository)) => {
            let reference = reference.unwrap_or_else(|| "HEAD".to_owned());
            if repository.contains("://") || reference.starts_with('-') {
                let problem = Problem::new(
                    "`git` needs a repository on this machine, and `ref` a commit, tag or branch",
                );
                reader.problem(problem.at(git_place, "clone it first"));
            }
            let mut parts = Path::new(&repository).components();
            SourceOrigin::Git {
                // It is written in `environments/`, which nobody means to deploy.
                whole: parts.all(|part| part == Component::CurDir),
                repository: reader.controller_path(&repository, git_place),
                reference,
                reference_place,
            }
        }
        _ => {
            let problem = Problem::new("`source` needs a directory, or `git=` with `ref=`")
                .at(reader.place(), "one of the two");
            reader.problem(problem);
            return None;
        }
    };
    let place = match origin {
        SourceOrigin::Directory(_) => place,
        SourceOrigin::Git { .. } => git_place,
    };
    Some(Source {
        origin,
        exclude,
        place,
    })
}

/// Patterns in the syntax of `.gitignore`.
pub(crate) fn patterns(reader: &mut Reader<'_>) -> Vec<String> {
    let mut patterns = Vec::new();
    for (pattern, place) in reader.placed_arguments::<Verbatim>() {
        let mut builder = ignore::gitignore::GitignoreBuilder::new("/");
        if let Err(error) = builder.add_line(None, &pattern.0) {
            let why = match &error {
                ignore::Error::Glob { err, .. } => err.clone(),
                other => other.to_string(),
            };
            reader.problem(Problem::new("this pattern can't be read").at(place, why));
        } else if pattern.0.split('/').any(|part| part == "..") {
            reader.problem(
                Problem::new("this pattern leaves the tree")
                    .at(place, "\"..\" is not allowed in it"),
            );
        } else {
            patterns.push(pattern.0);
        }
    }
    patterns
}

pub(crate) fn decode_build(reader: &mut Reader<'_>) -> Option<Build> {
    let place = reader.name_place();
    let run = reader.argument::<Verbatim>();
    let inputs = reader.values::<TreePath>("inputs");
    let outputs = reader.values::<TreePath>("output");
    Some(Build {
        run: run?.0,
        inputs,
        outputs,
        place,
    })
}

pub(crate) fn decode_version(reader: &mut Reader<'_>) -> Option<VersionSource> {
    let place = reader.name_place();
    let stated = reader.optional_argument::<String>();
    let file_place = reader.property_place("file");
    let file = reader.property::<TreePath>("file");
    match (stated, file) {
        (Some(stated), None) => {
            if let Err(error) = Version::new(stated.as_str()) {
                reader.problem(Problem::new("`version` needs a version").at(place, error.why));
            }
            Some(VersionSource::Stated(stated))
        }
        (None, Some(file)) => {
            reader.names_file(&file, file_place, FileContent::Plain);
            Some(VersionSource::File(file))
        }
        _ => {
            let problem = Problem::new("`version` needs a text, or `file=`")
                .at(reader.place(), "one of the two");
            reader.problem(problem.help("such as `version file=\"VERSION\"`"));
            None
        }
    }
}
