//! The journal of a run on one host: what was begun, written and synced before it changes anything.
//!
//! A file of records: length (`u32`), check (8 bytes), JSON. The check covers the record and the
//! check of the one before it, so that what an earlier write left behind a torn end is never taken
//! for a record. The file is allocated for the whole run, its way back included, before the first
//! record is written, and appears under its name with that record complete: a file whose first
//! record can't be read was written by another program, and is left alone.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use serde::Deserialize;
use thiserror::Error;

use super::record::{FORMAT, Opened, Record, Told};
use crate::host::{HostError, HostErrorKind, Owner, ReadHost, WriteHost};

const HEADER: usize = 12;

/// Times that the way back may be cut off and taken again before the journal needs further space.
const TRIES: usize = 4;

/// Bytes that a `Begin` or an `End` takes at most beside the names in it.
const SMALL_RECORD: usize = 512;

/// Why a journal can't be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A primitive failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Another program wrote it.
    #[error(
        "the journal {path} has the format {format:?}, which this version of rosey doesn't know; nothing was touched. Use the version that wrote it"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        format: String,
    },
    /// A record can't be written as JSON.
    #[error("the journal {path} can't take a record: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// An open journal. Records may come from several threads.
pub struct Journal<'h> {
    host: &'h dyn WriteHost,
    path: PathBuf,
    state: Mutex<Position>,
}

struct Position {
    told: Told,
    end: u64,
    size: u64,
    check: [u8; 8],
}

impl<'h> Journal<'h> {
    /// Makes a journal in place of one that is settled. When this returns, the run is open.
    ///
    /// # Errors
    /// When there is no room for the whole run, or the file can't be written.
    pub fn create(
        host: &'h dyn WriteHost,
        path: &Path,
        opened: Opened,
        owner: &Owner,
    ) -> Result<Self, JournalError> {
        let told = Told::new(opened.clone());
        let steps = opened.plan.steps.len();
        let (record, check) = encode(path, &Record::Opened(Box::new(opened)), [0; 8])?;
        // A try to go back writes at most each step with both its states, which `Opened` has too.
        let size = record.len() * (1 + 2 * TRIES) + steps * SMALL_RECORD * 2 * (1 + TRIES) + 4096;
        let size = size as u64;
        let new = path.with_extension("new");
        match host.remove_file(&new) {
            Err(error) if error.kind != HostErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        host.write_file(&new, &mut Cursor::new(&record), 0o600, owner)?;
        host.allocate(&new, size)?;
        host.sync(&new)?;
        host.replace(&new, path)?;
        host.sync(path.parent().unwrap_or(path))?;
        let end = record.len() as u64;
        Ok(Self {
            host,
            path: path.to_owned(),
            state: Mutex::new(Position {
                told,
                end,
                size,
                check,
            }),
        })
    }

    /// Opens a journal that is there, for going on with it; none when there is none.
    ///
    /// # Errors
    /// When it can't be read, or another program wrote it.
    pub fn open(host: &'h dyn WriteHost, path: &Path) -> Result<Option<Self>, JournalError> {
        let position = read_position(host.as_read(), path)?;
        Ok(position.map(|position| Self {
            host,
            path: path.to_owned(),
            state: Mutex::new(position),
        }))
    }

    /// Adds a record and makes it durable.
    ///
    /// # Errors
    /// When it can't be written; then what it announces must not be done.
    pub fn append(&self, record: &Record) -> Result<(), JournalError> {
        let mut state = self.lock();
        let (bytes, check) = encode(&self.path, record, state.check)?;
        let end = state.end + bytes.len() as u64;
        if end > state.size {
            let size = (2 * state.size).max(end + 4096);
            self.host.allocate(&self.path, size)?;
            state.size = size;
        }
        self.host.write_at(&self.path, state.end, &bytes)?;
        self.host.sync(&self.path)?;
        state.end = end;
        state.check = check;
        state.told.take_in(record);
        Ok(())
    }

    /// Makes durable what was read: who wrote it may have been cut off just before.
    ///
    /// # Errors
    /// When that can't be done; then nothing may be done that relies on it.
    pub fn sync(&self) -> Result<(), JournalError> {
        Ok(self.host.sync(&self.path)?)
    }

    /// What it says by now.
    #[must_use]
    pub fn told(&self) -> Told {
        self.lock().told.clone()
    }

    /// Asks something of what it says by now, without a copy.
    pub fn ask<T>(&self, question: impl FnOnce(&Told) -> T) -> T {
        question(&self.lock().told)
    }

    fn lock(&self) -> MutexGuard<'_, Position> {
        // A thread that panicked while it held this had not changed it: changes come last in `append`.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a journal says; none when there is none.
///
/// # Errors
/// When it can't be read, or another program wrote it.
pub fn read(host: &dyn ReadHost, path: &Path) -> Result<Option<Told>, JournalError> {
    Ok(read_position(host, path)?.map(|position| position.told))
}

fn read_position(host: &dyn ReadHost, path: &Path) -> Result<Option<Position>, JournalError> {
    let bytes = match host.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind == HostErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let unknown = |format: String| JournalError::UnknownFormat {
        path: path.to_owned(),
        format,
    };
    let (json, mut end, mut check) =
        decode(&bytes, 0, [0; 8]).ok_or_else(|| unknown("none".to_owned()))?;
    let opened = match serde_json::from_slice(json) {
        Ok(Record::Opened(opened)) => opened,
        _ => {
            return Err(unknown(
                format_of(json).unwrap_or_else(|| "none".to_owned()),
            ));
        }
    };
    if opened.format != FORMAT {
        return Err(unknown(opened.format));
    }
    let mut told = Told::new(*opened);
    while let Some((json, next, next_check)) = decode(&bytes, end, check) {
        // A record that is whole and not understood was not torn: going on without it would be a guess.
        let record = serde_json::from_slice(json)
            .map_err(|_| unknown(format!("{FORMAT} with an unknown record")))?;
        told.take_in(&record);
        (end, check) = (next, next_check);
    }
    Ok(Some(Position {
        told,
        end: end as u64,
        size: bytes.len() as u64,
        check,
    }))
}

/// What a first record that isn't understood says of itself.
fn format_of(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct First {
        opened: Format,
    }
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    let first: First = serde_json::from_slice(json).ok()?;
    let format = first.opened.format;
    Some(if format == FORMAT {
        format!("a broken {FORMAT}")
    } else {
        format
    })
}

fn encode(
    path: &Path,
    record: &Record,
    before: [u8; 8],
) -> Result<(Vec<u8>, [u8; 8]), JournalError> {
    let json = serde_json::to_vec(record).map_err(|source| JournalError::Record {
        path: path.to_owned(),
        source,
    })?;
    let check = check_of(&json, before);
    let length = u32::try_from(json.len()).map_err(|_| HostError {
        doing: "append to".to_owned(),
        path: path.display().to_string(),
        kind: HostErrorKind::Other("a plan of more than 4 GiB has no room in a journal".to_owned()),
    })?;
    let mut bytes = Vec::with_capacity(HEADER + json.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&check);
    bytes.extend_from_slice(&json);
    Ok((bytes, check))
}

/// The record at an offset, the offset after it and its check; none where no whole record is.
fn decode(bytes: &[u8], at: usize, before: [u8; 8]) -> Option<(&[u8], usize, [u8; 8])> {
    let header = bytes.get(at..at.checked_add(HEADER)?)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let start = at + HEADER;
    let json = bytes.get(start..start.checked_add(length)?)?;
    let check = check_of(json, before);
    (check == header[4..]).then_some((json, start + length, check))
}

fn check_of(json: &[u8], before: [u8; 8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before);
    hasher.update(json);
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    check
}
