//! Processes as /proc shows them. See proc_pid_stat(5), proc_pid_environ(5).
//!
//! A process may end between any two reads; then it simply isn't there.

use std::fs;
use std::io;

/// What identifies a process and places it among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its number.
    pub(super) id: u32,
    /// Whether it has ended and only waits for its parent to notice.
    pub(super) zombie: bool,
    /// Its parent's number.
    pub(super) parent: u32,
    /// Its session's number.
    pub(super) session: u32,
    /// When it was started, in clock ticks since boot: with the number it names it for one boot.
    pub(super) started: u64,
}

/// The numbers of all processes.
pub(super) fn all() -> io::Result<Vec<u32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.parse().ok()) {
            all.push(id);
        }
    }
    Ok(all)
}

/// A process; none when it isn't there.
pub(super) fn process(id: u32) -> Option<Process> {
    parse(id, &fs::read(format!("/proc/{id}/stat")).ok()?)
}

/// A process that is alive, not only unnoticed by its parent.
pub(super) fn alive(id: u32) -> Option<Process> {
    process(id).filter(|process| !process.zombie)
}

/// Whether a process was started with a line like `NAME=value` in its environment; false where that
/// can't be read.
pub(super) fn has_in_environment(id: u32, line: &str) -> bool {
    fs::read(format!("/proc/{id}/environ")).is_ok_and(|environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == line.as_bytes())
    })
}

fn parse(id: u32, stat: &[u8]) -> Option<Process> {
    // The name is in brackets and may hold anything, brackets too: what follows the last is fixed.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Process {
        id,
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_field() {
        let stat = b"42 (a) Z (b) S 7 42 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 5 6";
        let process = parse(42, stat).unwrap();
        assert_eq!(
            process,
            Process {
                id: 42,
                zombie: false,
                parent: 7,
                session: 41,
                started: 123_456,
            }
        );
        assert_eq!(parse(42, b"42 (a"), None);
    }

    #[test]
    fn this_process_is_there() {
        let own = std::process::id();
        assert!(all().unwrap().contains(&own));
        assert_eq!(alive(own).unwrap().id, own);
    }
}
