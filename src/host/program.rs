//! Running a child to its end or to a deadline, and keeping what it printed.

use std::io::{ErrorKind, PipeReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How much of what a child prints is kept: the last 64 KiB.
const KEPT: usize = 64 * 1024;

/// How often it is looked whether somebody still wants a child to run.
const LOOK: Duration = Duration::from_millis(100);

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// Whether something was cut off before.
    cut: bool,
}

impl Tail {
    fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        // Twice the size before cutting, so that a byte is moved once, not with every read.
        if self.bytes.len() > 2 * KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
            self.cut = true;
        }
    }

    /// As text, beginning with a whole character.
    pub(super) fn text(&self) -> String {
        let mut kept = &self.bytes[self.bytes.len().saturating_sub(KEPT)..];
        if self.cut || kept.len() < self.bytes.len() {
            let is_rest = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
            kept = &kept[kept.iter().take(3).take_while(is_rest).count()..];
        }
        String::from_utf8_lossy(kept).into_owned()
    }
}

/// Waits for a child while reading what it prints.
///
/// Gives its exit status, or none when the deadline came first, or nobody wanted it any more; then it still runs. What it started
/// may hold the pipe open for ever, so the pipe is read only as long as the child itself lives.
pub(super) fn follow(
    child: &mut Child,
    mut output: PipeReader,
    tail: &mut Tail,
    deadline: Instant,
    wanted: &dyn Fn() -> bool,
) -> std::io::Result<Option<ExitStatus>> {
    let flags = fcntl_getfl(&output)?;
    fcntl_setfl(&output, flags | OFlags::NONBLOCK)?;
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut waiting = vec![PollFd::new(&process, PollFlags::IN)];
        if open {
            waiting.push(PollFd::new(&output, PollFlags::IN));
        }
        match poll(&mut waiting, Some(&timespec(left.min(LOOK)))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ended = !waiting[0].revents().is_empty();
        open &= drain(&mut output, tail, deadline)?;
        if ended {
            return child.wait().map(Some);
        }
        if left.is_zero() || !wanted() {
            return Ok(None);
        }
    }
}

/// Reads what is there now; false at the end of the stream.
fn drain(output: &mut PipeReader, tail: &mut Tail, deadline: Instant) -> std::io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => tail.push(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // A child that prints without end must not outrun its deadline.
        if Instant::now() >= deadline {
            return Ok(true);
        }
    }
}

/// A time span as system calls take it.
pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec {
        tv_sec: i64::from(i32::MAX),
        tv_nsec: 0,
    })
}

/// What a program of the system's said.
#[derive(Debug)]
pub(super) struct Said {
    /// Whether it exited with 0, 1 and so on; none when it was killed or its time ran out.
    pub(super) status: Option<i32>,
    /// Whether its time ran out.
    pub(super) timed_out: bool,
    /// Both its streams in the order of arrival.
    pub(super) output: String,
}

/// Runs a program of the system's, such as `systemctl`, without input and in plain English.
pub(super) fn ask(program: &str, arguments: &[&str], timeout: Duration) -> std::io::Result<Said> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_COLORS", "0")
        .env("SYSTEMD_PAGER", "")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn()?;
    // It holds the pipe's writing end, without whose closing the end of output is never seen.
    drop(command);
    let mut tail = Tail::default();
    let status = match follow(
        &mut child,
        reader,
        &mut tail,
        Instant::now() + timeout,
        &|| true,
    ) {
        Ok(status) => status,
        Err(error) => {
            end(&mut child)?;
            return Err(error);
        }
    };
    if status.is_none() {
        end(&mut child)?;
    }
    Ok(Said {
        status: status.and_then(|status| status.code()),
        timed_out: status.is_none(),
        output: tail.text(),
    })
}

fn end(child: &mut Child) -> std::io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}
