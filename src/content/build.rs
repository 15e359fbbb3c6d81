//! The one command of the user's that runs on the controller: what makes the content, before it is read.
//!
//! It runs again only when its definition or inputs are others than last time, or when what it
//! made is no longer as it made it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::manifest::{EntryPath, Manifest};
use super::source::SourceError;
use super::walk::read_source;
use crate::model::{Digest, Masks};

/// A build as declared.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// For `sh -c`.
    pub run: &'a str,
    /// Paths whose content decides whether it runs again; all that isn't made when empty.
    pub inputs: &'a [EntryPath],
    /// Paths that it makes.
    pub outputs: &'a [EntryPath],
    /// Variables for the command, beside the controller's own environment.
    pub env: &'a BTreeMap<String, String>,
    /// Variables of the controller's that it must not see: those that hold a secret.
    pub without: &'a [String],
    /// What its output may not hold when it is shown.
    pub masks: &'a Masks,
}

/// Why there is no build.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The source can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The command can't be started.
    #[error("start `{run}` in {}: {cause}", directory.display())]
    Start {
        /// The command.
        run: String,
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The command failed.
    #[error("`{run}` {how} in {}\n{output}", directory.display())]
    Failed {
        /// The command.
        run: String,
        /// Where.
        directory: PathBuf,
        /// `exited with 2`.
        how: String,
        /// The end of what it printed.
        output: String,
    },
    /// It didn't make what it was to make.
    #[error("`{run}` did not make {output} in {}", directory.display())]
    NotMade {
        /// The command.
        run: String,
        /// Where.
        directory: PathBuf,
        /// What is missing.
        output: String,
    },
}

/// What the last build was made of, and what it made.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inputs: Digest,
    outputs: Digest,
}

/// How much of a failed build's output is shown.
const TAIL: usize = 4096;

/// Builds in a source directory unless nothing has changed since the last time; says whether it ran.
/// `cache` may be deleted at any moment.
///
/// # Errors
/// See [`BuildError`]. What the command made by then stays.
pub fn build(directory: &Path, build: &Build<'_>, cache: &Path) -> Result<bool, BuildError> {
    let before = read_source(directory, &[])?.manifest;
    let key = Digest::of(directory.as_os_str().as_encoded_bytes()).short();
    let stamp_file = cache.join(format!("build-{key}.json"));
    let inputs = inputs(&before, build);
    let stamp = Stamp {
        inputs,
        outputs: part(&before, build.outputs, true),
    };
    let last = std::fs::read(&stamp_file)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if last.as_ref() == Some(&stamp) && made(&before, build).is_none() {
        return Ok(false);
    }
    run(directory, build)?;
    let after = read_source(directory, &[])?.manifest;
    if let Some(output) = made(&after, build) {
        let (run, directory) = (build.run.to_owned(), directory.to_owned());
        return Err(BuildError::NotMade {
            run,
            directory,
            output,
        });
    }
    let stamp = Stamp {
        inputs,
        outputs: part(&after, build.outputs, true),
    };
    // A cache that can't be written only means that the next build runs again.
    let bytes = serde_json::to_vec(&stamp).unwrap_or_default();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(cache)
        .and_then(|()| std::fs::write(&stamp_file, bytes))
        .ok();
    Ok(true)
}

/// The digest of the definition and of all inputs.
fn inputs(tree: &Manifest, build: &Build<'_>) -> Digest {
    let content = if build.inputs.is_empty() {
        part(tree, build.outputs, false)
    } else {
        part(tree, build.inputs, true)
    };
    let names: BTreeSet<String> = build.outputs.iter().map(ToString::to_string).collect();
    let definition = serde_json::json!([build.run, names, build.env]);
    Digest::of(format!("{definition}\n{content}").as_bytes())
}

/// The digest of what lies at or below some paths, or of all that doesn't.
fn part(tree: &Manifest, paths: &[EntryPath], inside: bool) -> Digest {
    let below = |entry: &EntryPath| {
        paths.iter().any(|path| {
            let rest = entry.as_bytes().strip_prefix(path.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    };
    let entries = tree
        .entries
        .iter()
        .filter(|(path, _)| below(path) == inside);
    Manifest {
        entries: entries
            .map(|(path, entry)| (path.clone(), entry.clone()))
            .collect(),
    }
    .digest()
}

/// The first output that isn't there.
fn made(tree: &Manifest, build: &Build<'_>) -> Option<String> {
    let missing = build
        .outputs
        .iter()
        .find(|path| !tree.entries.contains_key(*path));
    missing.map(ToString::to_string)
}

fn run(directory: &Path, build: &Build<'_>) -> Result<(), BuildError> {
    let mut command = Command::new("sh");
    for name in build.without {
        command.env_remove(name);
    }
    let output = command
        .args(["-c", build.run])
        .current_dir(directory)
        .envs(build.env)
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| BuildError::Start {
            run: build.run.to_owned(),
            directory: directory.to_owned(),
            cause,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let how = match output.status.code() {
        Some(code) => format!("exited with {code}"),
        None => "was killed".to_owned(),
    };
    let mut words = output.stdout;
    words.extend(output.stderr);
    // Before it is cut: half a value is one, too.
    let words = build.masks.mask(&String::from_utf8_lossy(&words));
    let tail = words.ceil_char_boundary(words.len().saturating_sub(TAIL));
    Err(BuildError::Failed {
        run: build.run.to_owned(),
        directory: directory.to_owned(),
        how,
        output: words[tail..].trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::new(text).unwrap()
    }

    #[test]
    fn a_build_runs_again_only_when_something_has_changed() {
        let source = tempfile::tempdir().unwrap();
        let cache = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("in"), "one").unwrap();
        let env = BTreeMap::new();
        let declared = Build {
            run: "mkdir -p out && cp in out/made && echo again >> runs",
            inputs: &[path("in")],
            outputs: &[path("out")],
            env: &env,
            without: &[],
            masks: &Masks::default(),
        };
        let again = || build(source.path(), &declared, cache.path()).unwrap();
        assert!(again());
        assert!(!again());
        std::fs::write(source.path().join("in"), "two").unwrap();
        assert!(again());
        std::fs::write(source.path().join("out/made"), "by hand").unwrap();
        assert!(again());
        assert_eq!(
            std::fs::read_to_string(source.path().join("runs")).unwrap(),
            "again\n".repeat(3)
        );
    }

    #[test]
    fn a_build_that_fails_shows_the_end_of_its_output() {
        let source = tempfile::tempdir().unwrap();
        let env = BTreeMap::new();
        let declared = Build {
            run: "echo no such thing; exit 3",
            inputs: &[],
            outputs: &[],
            env: &env,
            without: &[],
            masks: &Masks::default(),
        };
        let error = build(source.path(), &declared, source.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("exited with 3"), "{error}");
        assert!(error.ends_with("no such thing"), "{error}");
    }

    #[test]
    fn an_output_that_was_not_made_is_named() {
        let source = tempfile::tempdir().unwrap();
        let env = BTreeMap::new();
        let declared = Build {
            run: "true",
            inputs: &[],
            outputs: &[path("dist")],
            env: &env,
            without: &[],
            masks: &Masks::default(),
        };
        let error = build(source.path(), &declared, source.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("did not make dist"), "{error}");
    }
}
