//! The lock of an app: one run at a time, gone with the process that holds it.
//!
//! `flock` on a file in the registry, and beside it who holds it and why. Whether somebody holds
//! it is read from that, and from whether the process named there still lives: reading takes no lock.
//! This file works on this machine itself, not through the ports: a lock is no state of a host.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use super::protocol::Holder;

/// How long a helper that is asked to end may take to do so.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lock that is held. Dropping it gives it back.
#[derive(Debug)]
pub struct AppLock {
    file: File,
    holder: PathBuf,
}

/// Who holds a lock, as it is written beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    holder: Holder,
    /// The kernel's boot id.
    boot: String,
    /// When the process began, in the kernel's ticks since boot: numbers of processes are used again.
    began: u64,
}

impl AppLock {
    /// Tries to take the lock in an app's directory of the registry; none when another holds it.
    ///
    /// # Errors
    /// When it can't be known whether it is held.
    pub fn try_take(state: &Path, holder: &Holder) -> io::Result<Option<Self>> {
        let Some(lock) = Self::try_flock(state)? else {
            return Ok(None);
        };
        lock.write_holder(holder)?;
        Ok(Some(lock))
    }

    /// The same for who must get on also where there is no room to write down who holds it.
    ///
    /// # Errors
    /// When it can't be known whether it is held.
    pub fn try_take_unnamed(state: &Path, holder: &Holder) -> io::Result<Option<Self>> {
        let lock = Self::try_flock(state)?;
        if let Some(lock) = &lock {
            // Nobody is told then who is at it; that it is held holds all the same.
            drop(lock.write_holder(holder));
        }
        Ok(lock)
    }

    fn try_flock(state: &Path) -> io::Result<Option<Self>> {
        let path = state.join("lock");
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // A run that took the whole app away may have removed the file meanwhile: then this is no lock.
            let same = fs::metadata(&path).is_ok_and(|now| {
                file.metadata()
                    .is_ok_and(|held| (now.dev(), now.ino()) == (held.dev(), held.ino()))
            });
            if !same {
                continue;
            }
            return Ok(Some(Self {
                file,
                holder: state.join("holder.json"),
            }));
        }
    }

    fn write_holder(&self, holder: &Holder) -> io::Result<()> {
        let written = Written {
            holder: holder.clone(),
            boot: boot_id(),
            began: began(holder.process).unwrap_or_default(),
        };
        let new = self.holder.with_extension("new");
        fs::write(&new, serde_json::to_vec(&written)?)?;
        fs::rename(&new, &self.holder)
    }
}

impl Drop for AppLock {
    fn drop(&mut self) {
        // What is left here names a process that is gone: nobody believes it. The lock goes with the file.
        drop(fs::remove_file(&self.holder));
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Who holds the lock in an app's directory of the registry; none when nobody does.
#[must_use]
pub fn holder(state: &Path) -> Option<Holder> {
    let text = fs::read(state.join("holder.json")).ok()?;
    let written: Written = serde_json::from_slice(&text).ok()?;
    let lives = written.boot == boot_id() && began(written.holder.process) == Some(written.began);
    lives.then_some(written.holder)
}

/// Ends the process that holds the lock in an app's directory: asked first, then killed. Only if it
/// is still the very process that wrote its name there.
///
/// # Errors
/// When it can't be ended.
pub fn end_holder(state: &Path, expected: &Holder) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for signal in [Signal::TERM, Signal::KILL] {
        if holder(state).as_ref() != Some(expected) {
            return Ok(());
        }
        let process = i32::try_from(expected.process).ok().and_then(Pid::from_raw);
        let process = process.ok_or_else(|| io::Error::other("its holder has no process"))?;
        // Opened before it is looked at once more: the handle can't come to mean another process.
        let handle = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
        if holder(state).as_ref() != Some(expected) {
            return Ok(());
        }
        rustix::process::pidfd_send_signal(&handle, signal)?;
        let mut ended = [PollFd::new(&handle, PollFlags::IN)];
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = Timespec {
            tv_sec: i64::try_from(left.as_secs() + 1).unwrap_or(1),
            tv_nsec: 0,
        };
        rustix::event::poll(&mut ended, Some(&wait))?;
    }
    match holder(state) {
        Some(still) if &still == expected => Err(io::Error::other(
            "its holder can't be killed: it hangs inside the kernel, and only a reboot ends it",
        )),
        _ => Ok(()),
    }
}

/// When a process began, in ticks since boot; none when it is gone, or only not yet waited for
/// (proc_pid_stat(5): state and starttime).
fn began(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let began = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(began)
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppName, Author, RunId};

    fn example(run: &str) -> Holder {
        Holder {
            app: AppName::new("bot").unwrap(),
            run: RunId(run.to_owned()),
            author: Author::default(),
            command: "apply".to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
            process: std::process::id(),
        }
    }

    #[test]
    fn one_at_a_time_and_back_again() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(holder(state.path()), None);
        let first = AppLock::try_take(state.path(), &example("1")).unwrap();
        assert!(first.is_some());
        assert_eq!(holder(state.path()), Some(example("1")));
        assert!(
            AppLock::try_take(state.path(), &example("2"))
                .unwrap()
                .is_none()
        );
        assert_eq!(holder(state.path()), Some(example("1")));
        drop(first);
        assert_eq!(holder(state.path()), None);
        assert!(
            AppLock::try_take(state.path(), &example("2"))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_holder_is_ended_and_nobody_else_is() {
        let state = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let mut hanging = example("1");
        hanging.process = child.id();
        let lock = AppLock::try_take(state.path(), &hanging).unwrap();
        let mut other = hanging.clone();
        other.run = RunId("2".to_owned());
        end_holder(state.path(), &other).unwrap();
        assert_eq!(holder(state.path()), Some(hanging.clone()));
        end_holder(state.path(), &hanging).unwrap();
        assert_eq!(holder(state.path()), None);
        assert!(!child.wait().unwrap().success());
        drop(lock);
    }

    #[test]
    fn a_holder_that_is_gone_holds_nothing() {
        let state = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let mut holder_gone = example("1");
        holder_gone.process = gone.id();
        gone.wait().unwrap();
        let lock = AppLock::try_take(state.path(), &holder_gone).unwrap();
        assert_eq!(holder(state.path()), None);
        drop(lock);
    }
}
