//! The helper's end of the stream: one thread that listens, and a queue of what it heard.
//!
//! The listener answers heartbeats itself, so that the longest step isn't taken for a dead helper,
//! and stops steps under way when the controller wants them back or is gone. Nothing here knows what
//! a request does.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::{Frame, FrameError, encode_bytes, encode_message, read_frame, write_frame};
use super::protocol::{Message, PACK_CREDIT, Reply, Request};
use crate::apply::Cancel;
use crate::model::{AppName, EventKind};

/// The way to the controller. Once it is gone, what is sent is dropped: the listener sees the end.
#[derive(Clone)]
pub(super) struct Out(Arc<Mutex<Box<dyn Write + Send>>>);

impl Out {
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(stream))))
    }

    pub fn send(&self, message: &Message) -> Result<(), FrameError> {
        let frame = encode_message(message)?;
        write_frame(&mut *lock(&self.0), &frame)
    }

    pub fn bytes(&self, bytes: &[u8]) -> Result<(), FrameError> {
        let frame = encode_bytes(bytes)?;
        write_frame(&mut *lock(&self.0), &frame)
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
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    Request {
        id: u64,
        request: Box<Request>,
    },
    Bytes(Vec<u8>),
    PackEnd {
        id: u64,
        bytes: u64,
    },
    Credit {
        id: u64,
        taken: u64,
    },
    /// The controller is gone, or talks nonsense.
    Lost(String),
}

/// Who is to stop beginning steps: an app that is to go back, or everything.
#[derive(Default)]
pub(super) struct Cancels {
    apps: Mutex<BTreeMap<AppName, Arc<Cancel>>>,
}

impl Cancels {
    /// The one of an app's run, made where there is none.
    pub fn of(&self, app: &AppName) -> Arc<Cancel> {
        lock(&self.apps).entry(app.clone()).or_default().clone()
    }

    /// A new run of an app: nobody has asked it to stop.
    pub fn renew(&self, app: &AppName) {
        lock(&self.apps).insert(app.clone(), Arc::default());
    }

    fn ask_all(&self) {
        for cancel in lock(&self.apps).values() {
            cancel.ask();
        }
    }
}

/// The queue of what was heard.
pub(super) struct Inbox {
    heard: Receiver<Heard>,
    /// What came while something else was being waited for.
    kept: VecDeque<Heard>,
    lost: bool,
    /// Bytes of the pack under way that have been acknowledged.
    taken: Arc<AtomicU64>,
}

impl Inbox {
    /// So many bytes of the pack under way will have been acknowledged.
    pub fn take(&self, bytes: u64) {
        self.taken.store(bytes, Ordering::SeqCst);
    }

    /// What comes next, in the order in which it came.
    pub fn next(&mut self) -> Heard {
        match self.kept.pop_front() {
            Some(heard) => heard,
            None => self.receive(),
        }
    }

    /// The next of what belongs to a pack, in either direction; anything else is kept for later.
    pub fn next_of_pack(&mut self) -> Heard {
        loop {
            match self.receive() {
                heard @ Heard::Request { .. } => self.kept.push_back(heard),
                heard @ Heard::Lost(_) => {
                    self.kept.push_back(Heard::Lost(String::new()));
                    return heard;
                }
                heard => return heard,
            }
        }
    }

    fn receive(&mut self) -> Heard {
        let gone = || Heard::Lost("the controller is gone".to_owned());
        if self.lost {
            return gone();
        }
        let heard = self.heard.recv().unwrap_or_else(|_| gone());
        self.lost = matches!(heard, Heard::Lost(_));
        heard
    }
}

/// Listens in a thread of its own until the stream ends.
pub(super) fn listen(stream: impl Read + Send + 'static, out: Out, cancels: Arc<Cancels>) -> Inbox {
    let (sender, heard) = channel();
    let taken = Arc::new(AtomicU64::new(0));
    let acknowledged = taken.clone();
    std::thread::spawn(move || {
        let reason = match hear(stream, &out, &cancels, &acknowledged, &sender) {
            Ok(()) => "the controller is gone".to_owned(),
            Err(error) => error.to_string(),
        };
        cancels.ask_all();
        // The session may have ended first.
        drop(sender.send(Heard::Lost(reason)));
    });
    Inbox {
        heard,
        kept: VecDeque::new(),
        lost: false,
        taken,
    }
}

fn hear(
    mut stream: impl Read,
    out: &Out,
    cancels: &Cancels,
    taken: &AtomicU64,
    sender: &Sender<Heard>,
) -> Result<(), FrameError> {
    let mut arrived = 0;
    while let Some(frame) = read_frame(&mut stream)? {
        let heard = match frame {
            Frame::Bytes(bytes) => {
                arrived += bytes.len() as u64;
                // Who sends beyond the credit would fill this host's memory.
                if arrived > taken.load(Ordering::SeqCst) + 2 * PACK_CREDIT {
                    return Err(FrameError::TooLong {
                        length: arrived,
                        limit: PACK_CREDIT,
                    });
                }
                Heard::Bytes(bytes)
            }
            Frame::Message(message) => match *message {
                Message::Heartbeat => {
                    out.send(&Message::Alive)?;
                    continue;
                }
                Message::Request { id, request } => {
                    if let Request::GoBack { app, .. } = &request {
                        cancels.of(app).ask();
                    }
                    if let Request::Pack { .. } = &request {
                        arrived = 0;
                        taken.store(0, Ordering::SeqCst);
                    }
                    Heard::Request {
                        id,
                        request: Box::new(request),
                    }
                }
                Message::PackEnd { id, bytes } => Heard::PackEnd { id, bytes },
                Message::Credit { id, taken } => Heard::Credit { id, taken },
                // The helper's own words come from nobody else.
                Message::Reply { .. } | Message::Event { .. } | Message::Alive => continue,
            },
        };
        if sender.send(heard).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
