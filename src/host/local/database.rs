//! SQLite databases of this machine.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::host::database::Databases;
use crate::host::error::Context;
use crate::host::port::{HostError, HostErrorKind};

use super::{LocalHost, entry, read};

/// What every SQLite file begins with (sqlite.org/fileformat2.html, "Magic Header String").
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

impl Databases for LocalHost {
    fn check_database(&self, path: &Path, timeout: Duration) -> Result<Vec<String>, HostError> {
        check(path, timeout).context("check the database", path)
    }
}

fn check(path: &Path, timeout: Duration) -> Result<Vec<String>, HostErrorKind> {
    let Some(connection) = open(path, timeout)? else {
        return Ok(vec!["file is not a database".to_owned()]);
    };
    let handle = connection.get_interrupt_handle();
    let (done, ended) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if ended.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
                handle.interrupt();
            }
        });
        let found = quick_check(&connection);
        drop(done);
        found
    })
}

/// Opens a database so that no file is made; none when it is no database.
fn open(path: &Path, timeout: Duration) -> Result<Option<Connection>, HostErrorKind> {
    let mut header = Vec::new();
    read::open(path)?.take(20).read_to_end(&mut header)?;
    if !header.is_empty() && !header.starts_with(MAGIC) {
        return Ok(None);
    }
    // A database that is in WAL mode and has no WAL is used by nobody now. Opened as usual SQLite
    // would make `-wal` and `-shm` for it even in order to read (sqlite.org/wal.html, "Read-Only Databases").
    let in_wal_mode = header.get(18..20) == Some(&[2, 2]);
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let immutable = in_wal_mode && entry::stat(Path::new(&log))?.is_none();
    let uri = uri(path, immutable);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(uri, flags).map_err(words)?;
    connection.busy_timeout(timeout).map_err(words)?;
    Ok(Some(connection))
}

fn quick_check(connection: &Connection) -> Result<Vec<String>, HostErrorKind> {
    let found = connection
        .prepare("PRAGMA quick_check(10)")
        .and_then(|mut statement| {
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<Result<Vec<_>, _>>()
        });
    match found {
        Ok(mut lines) => {
            lines.retain(|line| line != "ok");
            Ok(lines)
        }
        // Some damage shows as an error instead of as an answer.
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Ok(vec![error.to_string()])
            }
            _ => Err(words(error)),
        },
    }
}

fn words(error: rusqlite::Error) -> HostErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => HostErrorKind::TimedOut,
        Some(ErrorCode::DatabaseBusy) => HostErrorKind::other("somebody keeps it locked"),
        _ => HostErrorKind::Other(error.to_string()),
    }
}

/// A path as SQLite takes it with options behind it (sqlite.org/uri.html).
fn uri(path: &Path, immutable: bool) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            byte => uri += &format!("%{byte:02X}"),
        }
    }
    uri += "?mode=ro";
    if immutable {
        uri += "&immutable=1";
    }
    uri.into()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::host::ReadHost;

    const LONG: Duration = Duration::from_secs(20);

    fn names(host: &LocalHost, directory: &Path) -> Vec<String> {
        let names = host.list(directory).unwrap();
        let text = |name: std::ffi::OsString| name.into_string().unwrap();
        names.into_iter().map(text).collect()
    }

    fn filled(path: &Path, mode: &str) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection
            .pragma_update(None, "journal_mode", mode)
            .unwrap();
        connection
            .execute_batch(
                "CREATE TABLE quotes (text TEXT);
                 WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 2000)
                 INSERT INTO quotes SELECT 'quote number ' || n FROM many;
                 CREATE INDEX by_text ON quotes (text);",
            )
            .unwrap();
        connection
    }

    #[test]
    fn a_whole_database_is_read_without_making_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let host = LocalHost::new();
        for mode in ["wal", "delete"] {
            let path = directory.path().join(format!("a ?#%{mode}.db"));
            drop(filled(&path, mode));
            let before = names(&host, directory.path());
            assert_eq!(host.check_database(&path, LONG), Ok(Vec::new()), "{mode}");
            assert_eq!(names(&host, directory.path()), before, "{mode}");
        }
    }

    #[test]
    fn a_database_in_use_is_read_beside_its_user() {
        let directory = tempfile::tempdir().unwrap();
        let host = LocalHost::new();
        for mode in ["wal", "delete"] {
            let path = directory.path().join(format!("{mode}.db"));
            let connection = filled(&path, mode);
            assert_eq!(host.check_database(&path, LONG), Ok(Vec::new()), "{mode}");
            connection.execute("DELETE FROM quotes", []).unwrap();
            assert_eq!(host.check_database(&path, LONG), Ok(Vec::new()), "{mode}");
        }
    }

    #[test]
    fn damage_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let host = LocalHost::new();
        let path = directory.path().join("rosey.db");
        drop(filled(&path, "delete"));
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0xAA; 6000], 3 * 4096).unwrap();
        let found = host.check_database(&path, LONG).unwrap();
        assert!(!found.is_empty());
        std::fs::write(
            &path,
            "no database at all, but long enough to look like one",
        )
        .unwrap();
        let found = host.check_database(&path, LONG).unwrap();
        assert_eq!(found, ["file is not a database"]);
        // SQLite makes an empty file where it will make a database.
        std::fs::write(&path, "").unwrap();
        assert_eq!(host.check_database(&path, LONG), Ok(Vec::new()));
    }

    #[test]
    fn a_locked_database_is_no_damaged_one() {
        let directory = tempfile::tempdir().unwrap();
        let host = LocalHost::new();
        let path = directory.path().join("rosey.db");
        let connection = filled(&path, "delete");
        connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let error = host
            .check_database(&path, Duration::from_millis(1))
            .unwrap_err();
        assert!(
            error.to_string().ends_with("somebody keeps it locked"),
            "{error}"
        );
    }
}
