//! Copies of SQLite databases that are in use.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

/// How long a writer is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// Pages that are copied between two looks at whether somebody wants to write; all at once where the
/// database is small.
const PAGES: i32 = 4096;

/// Copies a database into an empty file and checks the copy; the error is in SQLite's words.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let wrong = copy_and_check(from, to).map_err(|error| error.to_string())?;
    if wrong == ["ok"] {
        Ok(())
    } else {
        Err(format!("the copy is damaged: {}", wrong.join("; ")))
    }
}

fn copy_and_check(from: &Path, to: &Path) -> rusqlite::Result<Vec<String>> {
    // A link in its place could lead root elsewhere. Without the right to write, a database in WAL
    // mode can't be read while nobody else has it open.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let source = Connection::open_with_flags(from, flags)?;
    source.busy_timeout(BUSY)?;
    let mut copy = Connection::open_with_flags(to, flags)?;
    Backup::new(&source, &mut copy)?.run_to_completion(PAGES, Duration::ZERO, None)?;
    // By the same connection: another one that may only read would leave a `-wal` beside the copy.
    let mut statement = copy.prepare("PRAGMA quick_check")?;
    let words = statement.query_map([], |row| row.get(0))?;
    words.collect()
}
