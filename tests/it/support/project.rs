//! A person's project directory: declarations, and the source that they deploy.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{checkout, copy_tree};

/// A directory that is removed with the handle.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
}

impl Project {
    /// An empty project.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rosey-project-")
            .tempdir()
            .expect("a temporary directory");
        Self { dir }
    }

    /// A project with a copy of the example bot in `bot/`, to be changed and broken as a test likes.
    pub fn with_bot() -> Self {
        let project = Self::new();
        copy_tree(&checkout().join("examples/bot"), &project.path("bot"));
        project
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.root().join(inside)
    }

    /// Writes a file, with the directories above it, and gives its path.
    pub fn write(&self, inside: &str, text: &str) -> PathBuf {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().expect("a file is inside the project"))
            .expect("directories can be made");
        std::fs::write(&path, text).expect("a file of the project can be written");
        path
    }

    /// Writes `environments/NAME.kdl`.
    pub fn environment(&self, name: &str, kdl: &str) -> PathBuf {
        self.write(&format!("environments/{name}.kdl"), kdl)
    }

    /// Replaces `old` by `new` in a file.
    ///
    /// # Panics
    /// When `old` is not in it: a test that changes nothing would prove nothing.
    pub fn replace(&self, inside: &str, old: &str, new: &str) {
        let path = self.path(inside);
        let text = std::fs::read_to_string(&path).expect("a file of the project can be read");
        assert!(text.contains(old), "{inside} has no {old:?} in it:\n{text}");
        self.write(inside, &text.replace(old, new));
    }
}
