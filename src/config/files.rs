//! The files that a declaration names: whether they are there, and whether
//! the templates among them can be rendered.
//!
//! Must not know what the files are for. Sources that are commits of a
//! repository are left to whoever reads the repository.

use std::path::Path;
use std::sync::Arc;

use super::app::App;
use super::check::scopes;
use super::environment::{Beside, Environment};
use super::place::{SourceFile, Sources};
use super::problem::Problem;
use super::secret::Secrets;
use super::source::SourceOrigin;
use super::template::Scope;
use super::word::{FileContent, NamedFile};

/// Checks every file that is named; texts of wrong templates are added to the sources.
pub(crate) fn check(
    environment: &Environment,
    beside: &Beside,
    sources: &mut Sources,
) -> Vec<Problem> {
    let secrets = Arc::new(Secrets::placeholders(&environment.secrets));
    let mut problems = Vec::new();
    for app in &environment.apps {
        let Some(source) = &app.source else {
            problems.extend(without_source(app));
            continue;
        };
        let directory = source.origin.directory();
        if !directory.is_dir() {
            let problem = Problem::new(format!(
                "the source {} is no directory",
                directory.display()
            ));
            problems.push(problem.at(source.place, "not there"));
            continue;
        }
        if matches!(source.origin, SourceOrigin::Git { .. }) {
            continue;
        }
        let own = beside
            .files
            .iter()
            .filter(|(name, _)| *name == app.name)
            .map(|(_, file)| file);
        let declared = app
            .declarations
            .iter()
            .flat_map(|declaration| &declaration.files);
        for file in own.chain(declared).filter(|file| !is_built(app, file)) {
            let found = match file.content {
                FileContent::Plain => std::fs::metadata(directory.join(&file.path)).map(|_| None),
                _ => std::fs::read(directory.join(&file.path)).map(Some),
            };
            match found {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    let checked = Checked {
                        environment,
                        app,
                        secrets: &secrets,
                        file,
                        directory,
                    };
                    problems.extend(checked.template(bytes, sources));
                }
                Err(error) => problems.push(unreadable(file, directory, &error)),
            }
        }
    }
    problems
}

fn without_source(app: &App) -> impl Iterator<Item = Problem> {
    let named = app
        .declarations
        .iter()
        .flat_map(|declaration| &declaration.files);
    named.map(|file| {
        Problem::new(format!(
            "{} can't be found: the app `{}` has no source",
            file.path, app.name
        ))
        .at(file.place, "in which tree?")
        .help("such as `source \"../NAME\"`")
    })
}

/// Whether the build makes the file, so that it need not be there yet.
fn is_built(app: &App, file: &NamedFile) -> bool {
    let Some(build) = &app.build else {
        return false;
    };
    let path: &Path = file.path.as_ref();
    build.outputs.is_empty() || build.outputs.iter().any(|output| path.starts_with(output))
}

fn unreadable(file: &NamedFile, directory: &Path, error: &std::io::Error) -> Problem {
    let shown = directory.display();
    let problem = match error.kind() {
        std::io::ErrorKind::NotFound => {
            let problem = Problem::new(format!("{} is not in the source {shown}", file.path))
                .at(file.place, "not there");
            let siblings = siblings(directory, file);
            return match siblings.is_empty() {
                true => problem,
                false => {
                    problem.help_nearest(file.path.as_str(), siblings.iter().map(String::as_str))
                }
            };
        }
        _ => Problem::new(format!(
            "failed to read {} in the source {shown}: {error}",
            file.path
        )),
    };
    problem.at(file.place, "can't be read")
}

/// The files beside the one that is missing, as they would be written; none if there are too many to show.
fn siblings(directory: &Path, file: &NamedFile) -> Vec<String> {
    let parent = Path::new(file.path.as_str())
        .parent()
        .unwrap_or(Path::new(""));
    let Ok(entries) = std::fs::read_dir(directory.join(parent)) else {
        return Vec::new();
    };
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files
        .map(|entry| {
            parent
                .join(entry.file_name())
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    if names.len() > 12 {
        let near = super::problem::nearest(file.path.as_str(), names.iter().map(String::as_str))
            .map(str::to_owned);
        return near.into_iter().collect();
    }
    names
}

struct Checked<'a> {
    environment: &'a Environment,
    app: &'a App,
    secrets: &'a Arc<Secrets>,
    file: &'a NamedFile,
    directory: &'a Path,
}

impl Checked<'_> {
    fn template(&self, bytes: Vec<u8>, sources: &mut Sources) -> Option<Problem> {
        let file = self.file;
        let Ok(text) = String::from_utf8(bytes) else {
            let problem = Problem::new(format!("the template {} is not UTF-8", file.path));
            return Some(problem.at(file.place, "not text"));
        };
        let secrets = file.content == FileContent::SecretTemplate;
        let wrong = |scope: Scope| {
            let leaked = if secrets {
                None
            } else {
                scope.names_secret(&text)
            };
            leaked.or_else(|| scope.misnames(&text))
        };
        let error = scopes(self.environment, self.app, self.secrets).find_map(wrong)?;
        let path = self.directory.join(&file.path);
        let shown = sources.shown(&path);
        let source = sources.add(SourceFile {
            shown,
            path,
            text: Arc::from(text),
        });
        Some(error.problem_in(source).at(file.place, "named here"))
    }
}
