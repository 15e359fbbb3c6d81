//! The word `backup`: what a declaration says about data to be kept.
//!
//! Must not know a host: only what is written.

use serde::{Deserialize, Serialize};

use crate::config::{Problem, Reader, Word};
use crate::model::names::TreePath;

/// `backup { … }`.
pub const BACKUP: Word = Word {
    word: "backup",
    decode: |reader| serde_json::to_value(backup(reader)?).ok(),
    repeated: false,
    repeated_inside: &["sqlite", "path"],
};

/// Data that is copied before anything may change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDeclaration {
    /// SQLite files, as `current/` shows them, copied through SQLite.
    pub sqlite: Vec<TreePath>,
    /// Files and directories, as `current/` shows them.
    pub paths: Vec<TreePath>,
    /// Whether the way back puts the data back.
    pub restore: Restore,
}

crate::choice! {
    /// When data is put back from a backup.
    Restore {
        /// Only when a person asks for it.
        Never = "never",
        /// On the way back of the run that took the backup, too.
        Undo = "undo",
    }
}

fn backup(reader: &mut Reader<'_>) -> Option<BackupDeclaration> {
    let sqlite = reader.children("sqlite", |child| Some(child.some_arguments::<TreePath>()));
    let paths = reader.children("path", |child| Some(child.some_arguments::<TreePath>()));
    let restore = reader.value::<Restore>("restore").unwrap_or(Restore::Never);
    let declaration = BackupDeclaration {
        sqlite: sqlite.into_iter().flatten().collect(),
        paths: paths.into_iter().flatten().collect(),
        restore,
    };
    if declaration.sqlite.is_empty() && declaration.paths.is_empty() {
        let problem = Problem::new("`backup` needs something to keep")
            .at(reader.place(), "`sqlite` or `path` is missing");
        reader.problem(problem.help("such as `sqlite \"data/app.db\"`"));
    }
    Some(declaration)
}
