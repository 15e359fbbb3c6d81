//! KDL to an environment, with every error on its place, all at once.
//!
//! A file and its includes become one tree (`include`, `merge`), a typed
//! [`Reader`] takes it apart (`environment`, `host`, `app`, …), and what only
//! the whole shows is checked last (`check`, `files`). The words of step kinds
//! are handed in, so no kind is known here; nothing here knows a server, and
//! the only effect is to read the files that the declaration names.
//!
//! Start reading at [`load`]; kinds start at [`Word`] and [`Reader`].

mod app;
mod check;
mod choice;
pub mod discover;
mod environment;
mod files;
mod grammar;
mod here;
mod host;
mod include;
mod limits;
mod merge;
mod node;
mod notify;
mod parse;
mod place;
mod problem;
pub mod quantity;
mod reader;
mod rollout;
mod root;
mod scalar;
mod secret;
mod secret_system;
mod session;
mod source;
mod template;
mod value;
mod word;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::model::names::EnvironmentName;

pub use app::{App, Keep, Manager, Owner};
pub use environment::{Assert, Environment};
pub use here::Here;
pub use host::{Elevation, Host, HostKey, Reach, SshTarget, expand_home};
pub use notify::{Notification, NotificationTarget, NotifyOn};
pub use place::{Place, Sources};
pub(crate) use problem::nearest;
pub use problem::{ConfigErrors, Problem};
pub use reader::Reader;
pub use rollout::{OnFailure, Protect, Rollout, WaveSize};
pub use scalar::{
    FromScalar, Mismatch, Percent, Scalar, SecretTemplate, Size, Template, TemplatedValue,
    Templating, Verbatim,
};
pub use secret::{Secret, SecretPort, SecretSource, SecretValue, Secrets};
pub use secret_system::SystemSecrets;
pub use source::{Build, Source, SourceOrigin, VersionSource};
pub use template::{Rendered, Scope, TemplateError};
pub use value::{Value, Variables};
pub use word::{Claim, Claimed, Declaration, FileContent, NamedFile, Reference, Text, Word};

/// How much of a declaration has to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rigour {
    /// All of it, with the files that it names and what it asserts: it is to be deployed.
    Whole,
    /// What is written in it. What is on the servers is known to their ledgers, so nothing is asked of
    /// sources and asserts that an unfinished edit may have left wrong.
    Written,
}

/// Loads the environment whose file is at `path`; `words` are the step kinds'.
///
/// # Errors
/// Everything that is wrong with the file, its includes and the files that
/// they name.
pub fn load(path: &Path, words: &[Word]) -> Result<Environment, ConfigErrors> {
    load_with(path, words, Rigour::Whole, &Here::default())
}

/// The same with as much as has to be right, and who reads it.
///
/// # Errors
/// Everything that is wrong with the file and its includes, and of the rest what has to be right.
pub fn load_with(
    path: &Path,
    words: &[Word],
    rigour: Rigour,
    here: &Here,
) -> Result<Environment, ConfigErrors> {
    let grammar = grammar::Grammar::environment(words);
    let include::Loaded {
        mut sources,
        nodes,
        mut problems,
        incomplete,
    } = include::load(path, &grammar);
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name = match EnvironmentName::new(stem) {
        Ok(name) => name,
        Err(error) => {
            problems.push(Problem::new(format!(
                "{} can't be an environment: {}",
                path.display(),
                error.why
            )));
            return Err(ConfigErrors::new(&sources, problems));
        }
    };
    let absolute = sources
        .paths()
        .next()
        .map_or_else(|| path.to_owned(), Path::to_owned);
    let root = node::Node::of_environment(nodes);

    let session = session::Session::new(&sources);
    let (mut environment, beside) = environment::decode(&root, name, absolute, words, &session);
    let misread = session.misread.into_inner();
    let read = session.problems.into_inner();
    // What an unknown word has inside isn't known either, nor whether it may be there twice.
    problems.retain(|problem| {
        problem
            .place()
            .is_none_or(|place| !misread.contains(&place))
    });
    if incomplete {
        // What is missing may be in the file that can't be read, so it would be no news.
        problems.extend(read.into_iter().filter(|problem| !problem.is_absence()));
        return Err(ConfigErrors::new(&sources, problems));
    }
    problems.extend(read);
    problems.extend(check::check(&environment, &beside));
    if rigour == Rigour::Whole {
        problems.extend(check::asserts(&environment));
        problems.extend(here::check(&environment, here));
        problems.extend(files::check(&environment, &beside, &mut sources));
    }
    if problems.is_empty() {
        environment.sources = Arc::new(sources);
        Ok(environment)
    } else {
        Err(ConfigErrors::new(&sources, problems))
    }
}
