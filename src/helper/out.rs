//! The way to the controller: frames wait in a queue, and a thread of its own writes them.
//!
//! So nobody but a sender with much to say waits for a slow stream, and once the controller is gone
//! nobody does: what can't be written any more must not hold up the way back.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{FrameError, encode_bytes, encode_message};
use super::protocol::{Message, Reply};
use crate::model::EventKind;

/// Bytes that may wait to be written before who says more waits too.
const ROOM: usize = 1 << 20;

/// How long the last words may take to leave.
const PARTING: Duration = Duration::from_secs(2);

/// The way to the controller. Once it is gone, what is sent is dropped: the listener sees the end.
#[derive(Clone)]
pub(super) struct Out {
    line: Arc<Line>,
    #[expect(dead_code, reason = "the writer ends when the last of these goes")]
    end: Arc<End>,
}

struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Vec<u8>>,
    /// Bytes of these frames.
    waiting: usize,
    /// Nothing more will be said: the writer ends with the last frame.
    closing: bool,
    /// Nobody listens any more: the writer ends at once.
    gone: bool,
    /// The writer has ended, and the stream with it.
    ended: bool,
}

impl State {
    fn is_over(&self) -> bool {
        self.closing || self.gone || self.ended
    }
}

/// The last handle on a line.
struct End(Arc<Line>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.changed.notify_all();
    }
}

impl Out {
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        let line = Arc::new(Line {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let written = line.clone();
        std::thread::spawn(move || written.write_all(stream));
        let end = Arc::new(End(line.clone()));
        Self { line, end }
    }

    pub fn send(&self, message: &Message) -> Result<(), FrameError> {
        self.raw(encode_message(message)?)
    }

    pub fn bytes(&self, bytes: &[u8]) -> Result<(), FrameError> {
        self.raw(encode_bytes(bytes)?)
    }

    /// Sends bytes as they are.
    pub fn raw(&self, bytes: Vec<u8>) -> Result<(), FrameError> {
        let mut state = self.line.lock();
        while state.waiting > ROOM && !state.is_over() {
            state = self.line.wait(state);
        }
        self.line.push(state, bytes)
    }

    /// A sign of life. It waits for nobody: with much on the way, that is sign enough.
    pub fn alive(&self) -> Result<(), FrameError> {
        let frame = encode_message(&Message::Alive)?;
        let state = self.line.lock();
        if state.waiting > ROOM && !state.is_over() {
            return Ok(());
        }
        self.line.push(state, frame)
    }

    /// Answers a request.
    pub fn reply(&self, id: u64, reply: Reply) {
        // Nobody is there to be told that nobody is there; what the work came to is in the journal.
        drop(self.send(&Message::Reply { id, reply }));
    }

    /// Tells what happened on the way to an answer.
    pub fn event(&self, id: u64, event: EventKind) {
        drop(self.send(&Message::Event { id, event }));
    }

    /// Nobody listens any more: nothing is written from here on, and nobody waits for that.
    pub fn give_up(&self) {
        let mut state = self.line.lock();
        state.gone = true;
        state.frames.clear();
        self.line.changed.notify_all();
    }

    /// Nothing more is to be said. What was said is written as far as somebody reads it.
    pub fn close(&self) {
        self.line.lock().closing = true;
        self.line.changed.notify_all();
    }

    /// Waits a little until everything is written, then gives up.
    pub fn finish(&self) {
        let deadline = Instant::now() + PARTING;
        self.close();
        let mut state = self.line.lock();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.line.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.give_up();
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut state: MutexGuard<'_, State>, bytes: Vec<u8>) -> Result<(), FrameError> {
        if state.is_over() {
            return Err(FrameError::Stream(io::ErrorKind::BrokenPipe.into()));
        }
        state.waiting += bytes.len();
        state.frames.push_back(bytes);
        self.changed.notify_all();
        Ok(())
    }

    fn write_all(&self, mut stream: impl Write) {
        let mut state = self.lock();
        loop {
            if state.gone {
                break;
            }
            let Some(frame) = state.frames.pop_front() else {
                if state.closing {
                    break;
                }
                state = self.wait(state);
                continue;
            };
            drop(state);
            let written = stream.write_all(&frame).and_then(|()| stream.flush());
            state = self.lock();
            state.waiting -= frame.len();
            state.gone |= written.is_err();
            self.changed.notify_all();
        }
        drop(state);
        // Closed before anybody is told so.
        drop(stream);
        let mut state = self.lock();
        state.ended = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_controller_that_reads_nothing_holds_nobody_up_once_it_is_given_up() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let out = Out::new(writer);
        let sender = {
            let out = out.clone();
            // More than the pipe and the queue take.
            std::thread::spawn(move || {
                let mut sent = 0;
                while out.bytes(&[0; 1 << 16]).is_ok() {
                    sent += 1;
                }
                sent
            })
        };
        while out.line.lock().waiting <= ROOM {
            std::thread::yield_now();
        }
        out.alive().unwrap();
        out.give_up();
        assert!(sender.join().unwrap() >= 16);
        assert!(out.alive().is_err());
    }

    #[test]
    fn what_was_said_is_written_before_the_end() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let out = Out::new(writer);
        for byte in 0..100 {
            out.raw(vec![byte; 100]).unwrap();
        }
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        out.finish();
        assert_eq!(read.join().unwrap().len(), 100 * 100);
    }
}
