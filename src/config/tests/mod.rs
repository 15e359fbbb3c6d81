//! Tests of the loader as a whole: files in, environment or diagnostics out.

mod checks;
mod contract;
mod fuzz;
mod here;
mod includes;
mod limits;
mod templates;
mod words;

use std::path::{Path, PathBuf};

use miette::{GraphicalReportHandler, GraphicalTheme};
use serde::{Deserialize, Serialize};

use super::{ConfigErrors, Environment, Reader, Template, Word, load};

/// A project in a directory of its own.
pub(crate) struct Project {
    directory: tempfile::TempDir,
}

impl Project {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("environments")).unwrap();
        Self { directory }
    }

    /// A project with one environment of that text.
    pub fn with(text: &str) -> Self {
        let project = Self::new();
        project.write("environments/prod.kdl", text);
        project
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn load(&self) -> Result<Environment, ConfigErrors> {
        load(&self.path().join("environments/prod.kdl"), &toy_words())
    }

    /// The report of everything that is wrong, without this machine's paths.
    pub fn errors(&self) -> String {
        let errors = self
            .load()
            .map(|_| ())
            .expect_err("the declaration is wrong");
        self.show(&errors)
    }

    pub fn show(&self, errors: &ConfigErrors) -> String {
        let mut report = String::new();
        let theme = GraphicalTheme::unicode_nocolor();
        GraphicalReportHandler::new_themed(theme)
            .with_width(120)
            .render_report(&mut report, errors)
            .unwrap();
        let directory = self.path().display().to_string();
        let lines = report
            .replace(&format!("{directory}/"), "")
            .replace(&directory, "DIR");
        lines
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// A kind as a test sees one: enough to reach every way that a declaration is noted.
#[derive(Debug, Serialize, Deserialize)]
struct Toy {
    size: Option<u32>,
    says: Option<Template>,
}

pub(crate) fn toy_words() -> Vec<Word> {
    vec![Word {
        word: "toy",
        decode: |reader| serde_json::to_value(toy(reader)).ok(),
        repeated: true,
        repeated_inside: &[],
    }]
}

fn toy(reader: &mut Reader<'_>) -> Toy {
    reader.optional_argument::<String>();
    Toy {
        size: reader.property("size"),
        says: reader.value("says"),
    }
}
