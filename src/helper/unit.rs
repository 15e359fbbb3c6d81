//! The helper of a run as a unit of PID 1's, and this process as the wire to it.
//!
//! What an SSH session starts ends with it, at the latest when somebody kills it. So where PID 1 is
//! systemd a run is not served by the process that the session started but by a transient unit, which
//! PID 1 starts again if it dies. This process makes a socket in a directory that is only root's, the
//! unit connects to it, and from then on bytes are copied both ways until either end ends. A unit that
//! finds no socket was started again: it recovers.

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::frame::{Frame, encode_message, read_frame, write_frame};
use super::out::Out;
use super::protocol::{Message, Reply, Request};
use crate::host::{Transient, start_transient};
use crate::model::RunId;

/// Where the sockets are, each only until it was connected to.
const DIRECTORY: &str = "/run/rosey";

/// How long the unit may take to connect, and to answer what it is told first.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long what the unit has said last may take to leave.
const PARTING: Duration = Duration::from_secs(2);

/// How often the controller gets a sign of life meanwhile.
const PULSE: Duration = Duration::from_millis(200);

/// The unit of a run, to be started.
pub(super) struct RunUnit<'a> {
    pub run: &'a RunId,
    pub program: &'a Path,
    /// Whether services may be among what it starts, so that its end must not end them.
    pub leave_processes: bool,
}

impl RunUnit<'_> {
    /// Starts it and waits for it to connect.
    pub fn start(&self) -> io::Result<UnixStream> {
        let process = std::process::id();
        let run: String = self
            .run
            .0
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let socket = Socket::bind(&format!("{run:.32}-{process}"))?;
        let path = socket.path.to_string_lossy().into_owned();
        let name = format!("rosey-run-{:.64}", unit_name(&self.run.0));
        let description = format!("rosey: the run {}", self.run);
        let mut unit = Transient {
            name: &name,
            description: &description,
            program: self.program,
            arguments: &["helper", "--unit", &path],
            leave_processes: self.leave_processes,
        };
        if let Err(first) = start_transient(&unit) {
            // The same run under two names of this host, or one that ended just now and isn't collected yet.
            let other = format!("{name}-{process}");
            unit.name = &other;
            start_transient(&unit).map_err(|_| first)?;
        }
        socket.accept()
    }
}

/// Letters, digits and dashes: what a unit's name may hold and nobody has to escape.
fn unit_name(run: &str) -> String {
    run.chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .collect()
}

/// Sends signs of life while something takes its time; none any more once this is dropped.
pub(super) struct Pulse {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    pub fn begin(out: &Out) -> Self {
        let (end, ended) = channel();
        let out = out.clone();
        let thread = std::thread::spawn(move || {
            let go_on = || ended.recv_timeout(PULSE) == Err(RecvTimeoutError::Timeout);
            while go_on() && out.alive().is_ok() {}
        });
        Self {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.end.take();
        // Waited for: between the bytes of a wire a sign of life would be nonsense.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A socket that one process connects to once.
struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    fn bind(name: &str) -> io::Result<Self> {
        let path = Path::new(DIRECTORY).join(name);
        loop {
            match DirBuilder::new().mode(0o700).create(DIRECTORY) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            match UnixListener::bind(&path) {
                Ok(listener) => return Ok(Self { path, listener }),
                // Another run has ended and taken the directory away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // A process of the same number, long gone.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => fs::remove_file(&path)?,
                Err(error) => return Err(error),
            }
        }
    }

    fn accept(self) -> io::Result<UnixStream> {
        let time = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        let mut waiting = [PollFd::new(&self.listener, PollFlags::IN)];
        if poll(&mut waiting, Some(&time))? == 0 {
            return Err(io::Error::other("it was started and doesn't connect"));
        }
        Ok(self.listener.accept()?.0)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        forget(&self.path);
    }
}

/// Takes a socket's name away, and the directory if it was the last. What isn't there is as good.
fn forget(path: &Path) {
    drop(fs::remove_file(path));
    drop(fs::remove_dir(DIRECTORY));
}

/// Connects to the process that started this unit; none when it was started again, and nobody waits.
pub(super) fn connect(path: &Path) -> Option<UnixStream> {
    let stream = UnixStream::connect(path).ok();
    forget(path);
    stream
}

/// Asks the unit something before it is the controller's.
pub(super) fn ask(mut unit: &UnixStream, request: Request) -> io::Result<Reply> {
    unit.set_read_timeout(Some(PATIENCE))?;
    let message = encode_message(&Message::Request { id: 0, request }).map_err(io::Error::other)?;
    write_frame(&mut unit, &message).map_err(io::Error::other)?;
    let reply = loop {
        match read_frame(&mut unit).map_err(io::Error::other)? {
            Some(Frame::Message(message)) => {
                if let Message::Reply { reply, .. } = *message {
                    break reply;
                }
            }
            Some(Frame::Bytes(_)) => {}
            None => return Err(io::Error::other("it ended at once")),
        }
    };
    unit.set_read_timeout(None)?;
    Ok(reply)
}

/// Passes a first message on, then copies bytes both ways until either end ends.
pub(super) fn wire(
    mut controller: impl Read + Send + 'static,
    first: &Message,
    out: &Out,
    unit: UnixStream,
) -> io::Result<()> {
    let first = encode_message(first).map_err(io::Error::other)?;
    let mut to = unit.try_clone()?;
    to.write_all(&first)?;
    std::thread::spawn(move || {
        // How it ended is all the same: the unit hears that the controller is gone.
        drop(io::copy(&mut controller, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    let mut from = unit.try_clone()?;
    let answers = out.clone();
    let (end, ended) = channel();
    std::thread::spawn(move || {
        let mut part = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut part) {
            if answers.raw(part[..read].to_vec()).is_err() {
                break;
            }
        }
        drop(from.shutdown(Shutdown::Both));
        end.send(()).ok();
    });
    // The end of the unit, also while nobody reads what it has said.
    let mut hung_up = [PollFd::new(&unit, PollFlags::RDHUP)];
    while let Err(rustix::io::Errno::INTR) = poll(&mut hung_up, None) {}
    ended.recv_timeout(PARTING).ok();
    out.finish();
    Ok(())
}

/// A socket that tells its other end when nothing more is written to it.
pub(super) struct Closing(pub UnixStream);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        drop(self.0.shutdown(Shutdown::Both));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_ends_with_either_end() {
        for unit_ends in [true, false] {
            let (here, mut unit) = UnixStream::pair().unwrap();
            let (heard, mut controller) = io::pipe().unwrap();
            let (mut answers, out) = io::pipe().unwrap();
            let copying =
                std::thread::spawn(move || wire(heard, &Message::Heartbeat, &Out::new(out), here));
            let first = read_frame(&mut unit).unwrap();
            assert!(matches!(first, Some(Frame::Message(it)) if matches!(*it, Message::Heartbeat)));
            let mut part = [0; 3];
            controller.write_all(b"ask").unwrap();
            unit.read_exact(&mut part).unwrap();
            unit.write_all(b"yes").unwrap();
            answers.read_exact(&mut part).unwrap();
            assert_eq!(&part, b"yes");
            if unit_ends {
                drop(unit);
            } else {
                drop(controller);
                assert_eq!(unit.read(&mut part).unwrap(), 0);
                drop(unit);
            }
            copying.join().unwrap().unwrap();
            assert_eq!(answers.read(&mut part).unwrap(), 0);
        }
    }

    #[test]
    fn a_name_holds_nothing_to_escape() {
        assert_eq!(unit_name("2026T1/../x y"), "2026T1----x-y");
    }
}
