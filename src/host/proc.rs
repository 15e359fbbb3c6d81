//! Processes as /proc shows them. See proc_pid_stat(5), proc_pid_environ(5).
//!
//! A process may end between any two reads; then it simply isn't there.

use std::fs;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// What identifies a process and places it among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its number.
    pub(super) id: u32,
    /// Whether it has ended and only waits for its parent to notice.
    pub(super) zombie: bool,
    /// Whether it is a thread of the kernel's.
    pub(super) kernel: bool,
    /// Whether its environment is laid out and empty; not so in the middle of an exec.
    pub(super) bare: bool,
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

/// The flag of a thread of the kernel's: PF_KTHREAD of the kernel's include/linux/sched.h.
const KERNEL: u32 = 0x0020_0000;
/// How long a process may take to turn into another program.
const CHANGE: Duration = Duration::from_secs(1);
/// How long an environment may look empty that is only about to be set.
const EMPTY: Duration = Duration::from_millis(5);
/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_micros(200);

/// Whether a process was started with a line like `NAME=value` in its environment; false where that
/// can't be read.
///
/// While a process turns into another program its environment reads as empty: then it is read again,
/// since a service must not be overlooked for having just begun.
pub(super) fn has_in_environment(process: &Process, line: &str) -> bool {
    has_where(process, |entries| entries.contains(&line))
}

/// The same for what is to be found out about all lines; those that are no text are left out.
pub(super) fn has_where(process: &Process, mut find: impl FnMut(&[&str]) -> bool) -> bool {
    if process.kernel {
        return false;
    }
    let begun = Instant::now();
    let mut changed = begun;
    loop {
        match environment(process.id) {
            Ok(environment) if environment.is_empty() => {}
            Ok(environment) => {
                let entries = environment.split(|byte| *byte == 0);
                let entries: Vec<&str> = entries
                    .filter_map(|entry| std::str::from_utf8(entry).ok())
                    .collect();
                return find(&entries);
            }
            Err(_) => return false,
        }
        match self::process(process.id) {
            Some(now) if now.started != process.started || now.zombie => return false,
            Some(now) if !now.bare => changed = Instant::now(),
            Some(_) => {}
            None => return false,
        }
        if changed.elapsed() > EMPTY || begun.elapsed() > CHANGE {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// A process's environment, by as few reads as can be: the file belongs to the program that ran when
/// it was opened, and ends early when that is replaced between two reads.
fn environment(id: u32) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(format!("/proc/{id}/environ"))?;
    let mut environment = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        match file.read(&mut environment[filled..])? {
            0 => break,
            count => filled += count,
        }
        if filled == environment.len() {
            environment.resize(filled * 2, 0);
        }
    }
    environment.truncate(filled);
    Ok(environment)
}

fn parse(id: u32, stat: &[u8]) -> Option<Process> {
    // The name is in brackets and may hold anything, brackets too: what follows the last is fixed.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Process {
        id,
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        kernel: fields.get(6)?.parse::<u32>().ok()? & KERNEL != 0,
        // The environment's two ends, which are 0 as long as there is none. See proc_pid_stat(5).
        bare: fields.get(47) == fields.get(48) && fields.get(48).is_some_and(|end| *end != "0"),
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
                kernel: false,
                bare: false,
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
