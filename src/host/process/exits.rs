//! How services ended that this very process started.
//!
//! Each child has a thread that waits for it, so none stays as a zombie, and what it ended with is
//! known for as long as this process lives. Another rosey can only see that a process is gone.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::record::Record;

/// By number and ticks.
static EXITS: Mutex<Option<HashMap<(u32, u64), ExitStatus>>> = Mutex::new(None);

/// Waits for a child in the background.
pub(super) fn watch(mut child: Child, ticks: u64) {
    let id = child.id();
    thread::spawn(move || {
        // Nothing can be told about a child that can't be waited for.
        if let Ok(status) = child.wait() {
            let mut exits = EXITS.lock().unwrap_or_else(PoisonError::into_inner);
            exits.get_or_insert_default().insert((id, ticks), status);
        }
    });
}

/// How a recorded process ended, if it is known.
pub(super) fn of(record: &Record) -> Option<ExitStatus> {
    let exits = EXITS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (record.process, record.ticks);
    exits.as_ref()?.get(&key).copied()
}

/// In words.
pub(super) fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
