//! Ending processes, and never another one that has got the same number since.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::port::HostErrorKind;
use super::proc::{self, Process};
use super::program::timespec;

/// How long killed processes may take to go: one that waits for a disk goes when the disk answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Processes that belong together: a session, whatever carries its mark in the environment (also in
/// a session of its own), and the children of all these.
#[derive(Debug, Clone)]
pub(super) struct Family {
    /// The process that began the session; none where only the mark is known.
    pub(super) leader: Option<Process>,
    /// A line of the environment that only its members have.
    pub(super) mark: String,
}

impl Family {
    /// Its live members.
    pub(super) fn members(&self) -> std::io::Result<Vec<Process>> {
        let own = std::process::id();
        let all: Vec<Process> = proc::all()?
            .into_iter()
            .filter(|id| *id != own)
            .filter_map(proc::process)
            .collect();
        // The number is the session's as long as a member lives, also when the leader is gone. Another
        // process under that number means that the session has ended and the number came round again.
        let session = self.leader.as_ref().and_then(|leader| {
            let other =
                |process: &Process| process.id == leader.id && process.started != leader.started;
            (!all.iter().any(other)).then_some(leader.id)
        });
        let belongs = |process: &&Process| {
            Some(process.session) == session || proc::has_in_environment(process, &self.mark)
        };
        let mut members: BTreeSet<u32> = all
            .iter()
            .filter(belongs)
            .map(|process| process.id)
            .collect();
        loop {
            let children: Vec<u32> = all
                .iter()
                .filter(|process| members.contains(&process.parent))
                .map(|process| process.id)
                .filter(|id| !members.contains(id))
                .collect();
            if children.is_empty() {
                break;
            }
            members.extend(children);
        }
        Ok(all
            .into_iter()
            .filter(|process| members.contains(&process.id) && !process.zombie)
            .collect())
    }

    /// Sends every member a signal and waits until none is left, or the time runs out; says whether
    /// none is left.
    pub(super) fn end(&self, signal: Signal, patience: Duration) -> Result<bool, HostErrorKind> {
        let deadline = Instant::now() + patience;
        let mut told: BTreeSet<(u32, u64)> = BTreeSet::new();
        loop {
            let members = self.members()?;
            if members.is_empty() {
                return Ok(true);
            }
            let mut held = Vec::new();
            for process in &members {
                let Some(handle) = hold(process)? else {
                    continue;
                };
                // Told once: a second TERM means "at once" to many programs. One forked meanwhile is new.
                if told.insert((process.id, process.started)) {
                    match pidfd_send_signal(&handle, signal) {
                        Ok(()) | Err(Errno::SRCH) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                held.push(handle);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // One that went away meanwhile may have been the last: look again instead of waiting.
            if held.len() == members.len() {
                wait(&held, left)?;
            }
        }
    }

    /// Kills every member.
    pub(super) fn kill(&self) -> Result<(), HostErrorKind> {
        if self.end(Signal::KILL, PATIENCE)? {
            return Ok(());
        }
        Err(HostErrorKind::other(
            "its processes don't go away, even killed",
        ))
    }
}

/// Sends a process a signal; false when it is gone.
pub(super) fn signal(process: &Process, signal: Signal) -> Result<bool, HostErrorKind> {
    let Some(handle) = hold(process)? else {
        return Ok(false);
    };
    match pidfd_send_signal(&handle, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// A handle to exactly this process; none when it is gone. Once held, the number can't come to mean
/// another one.
fn hold(process: &Process) -> Result<Option<OwnedFd>, HostErrorKind> {
    let Some(id) = i32::try_from(process.id).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    let handle = match pidfd_open(id, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let same = proc::alive(process.id).is_some_and(|now| now.started == process.started);
    Ok(same.then_some(handle))
}

/// Waits until one of the processes ends, or the time runs out.
fn wait(held: &[OwnedFd], patience: Duration) -> Result<(), HostErrorKind> {
    let mut waiting: Vec<PollFd<'_>> = held
        .iter()
        .map(|handle| PollFd::new(handle, PollFlags::IN))
        .collect();
    match poll(&mut waiting, Some(&timespec(patience))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
