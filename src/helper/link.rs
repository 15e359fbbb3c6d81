//! The helper's end of the stream: one thread that listens, one that notices silence, and a queue of
//! what was heard.
//!
//! The listener answers heartbeats itself, so that the longest step isn't taken for a dead helper,
//! and stops steps under way when the controller wants them back or is gone. It never waits: what it
//! heard waits in the queue. Nothing here knows what a request does.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::frame::{Frame, FrameError, read_frame};
use super::out::Out;
use super::protocol::{Message, PACK_CREDIT, Request};
use super::silence::{Noted, Silence};
use crate::apply::Cancel;
use crate::model::AppName;

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
    Lost(Loss),
    /// Something that can't wait is kept for later.
    Pressed,
}

fn is_back(heard: &Heard) -> bool {
    matches!(heard, Heard::Request { request, .. } if matches!(**request, Request::GoBack { .. }))
}

/// The controller is gone, or talks nonsense.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    /// How that was noticed.
    pub reason: String,
    /// For how long it had been silent by then.
    pub silent: Duration,
}

impl Loss {
    fn now(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            silent: Duration::ZERO,
        }
    }
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
    /// How long the controller may be silent.
    pub silence: Silence,
    /// Requests to go back that nobody has taken up yet.
    back: Arc<AtomicUsize>,
    /// Says how to go on to a listener that has heard of a lock and waits.
    turns: Sender<Turn>,
}

/// How a listener goes on that has heard of a lock: what follows may be for another process.
enum Turn {
    Listen,
    HandOver(Sender<Stream>),
}

/// The stream from the controller.
pub(super) type Stream = Box<dyn Read + Send>;

/// What listening needs to know.
pub(super) struct Listening {
    pub out: Out,
    pub cancels: Arc<Cancels>,
    /// Whether to wait, at every request for a lock, for [`Inbox::go_on`] or [`Inbox::hand_over`].
    pub may_hand_over: bool,
}

impl Inbox {
    /// So many bytes of the pack under way will have been acknowledged.
    pub fn take(&self, bytes: u64) {
        self.taken.store(bytes, Ordering::SeqCst);
    }

    /// The listener goes on after a request for a lock.
    pub fn go_on(&self) {
        // Only one that may hand over waits for this.
        drop(self.turns.send(Turn::Listen));
    }

    /// Listening ends after a request for a lock: gives the stream as it is from there on.
    pub fn hand_over(&self) -> Option<Stream> {
        let (sender, stream) = channel();
        self.turns.send(Turn::HandOver(sender)).ok()?;
        stream.recv().ok()
    }

    /// What comes next, in the order in which it came.
    pub fn next(&mut self) -> Heard {
        let heard = match self.kept.pop_front() {
            Some(heard) => heard,
            None => self.receive(),
        };
        if is_back(&heard) {
            self.back.fetch_sub(1, Ordering::SeqCst);
        }
        heard
    }

    /// Whether an app is to go back, or the controller is gone: what only sends gives way then.
    pub fn is_pressed(&self) -> bool {
        self.lost || self.back.load(Ordering::SeqCst) > 0
    }

    /// The next of what belongs to a pack, in either direction; anything else is kept for later.
    pub fn next_of_pack(&mut self) -> Heard {
        loop {
            match self.receive() {
                heard @ Heard::Request { .. } => {
                    let back = is_back(&heard);
                    self.kept.push_back(heard);
                    if back {
                        return Heard::Pressed;
                    }
                }
                Heard::Lost(loss) => {
                    self.kept.push_back(Heard::Lost(loss.clone()));
                    return Heard::Lost(loss);
                }
                heard => return heard,
            }
        }
    }

    fn receive(&mut self) -> Heard {
        let gone = || Heard::Lost(Loss::now("the controller is gone"));
        if self.lost {
            return gone();
        }
        let heard = self.heard.recv().unwrap_or_else(|_| gone());
        self.lost = matches!(heard, Heard::Lost(_));
        heard
    }
}

/// Listens in a thread of its own until the stream ends or the controller is silent for too long.
pub(super) fn listen(stream: Stream, listening: Listening) -> Inbox {
    let Listening {
        out,
        cancels,
        may_hand_over,
    } = listening;
    let (sender, heard) = channel();
    let (turns, turn) = channel();
    let taken = Arc::new(AtomicU64::new(0));
    let back = Arc::new(AtomicUsize::new(0));
    let silence = Silence::new();
    let watchdog = Watchdog {
        silence: silence.clone(),
        out: out.clone(),
        cancels: cancels.clone(),
        sender: sender.clone(),
    };
    std::thread::spawn(move || watchdog.watch());
    let mut ear = Ear {
        stream: Noted {
            stream,
            silence: silence.clone(),
        },
        out,
        cancels,
        taken: taken.clone(),
        back: back.clone(),
        sender,
        turn: may_hand_over.then_some(turn),
    };
    std::thread::spawn(move || {
        let reason = match ear.hear() {
            Ok(()) => "its stream ended".to_owned(),
            Err(error) => error.to_string(),
        };
        ear.stream.silence.end();
        ear.cancels.ask_all();
        // The session may have ended first.
        drop(ear.sender.send(Heard::Lost(Loss::now(reason))));
    });
    Inbox {
        heard,
        kept: VecDeque::new(),
        lost: false,
        taken,
        silence,
        back,
        turns,
    }
}

/// Turns silence into the loss of the controller.
struct Watchdog {
    silence: Silence,
    out: Out,
    cancels: Arc<Cancels>,
    sender: Sender<Heard>,
}

impl Watchdog {
    fn watch(self) {
        let Some(silent) = self.silence.wait() else {
            return;
        };
        self.cancels.ask_all();
        let reason = format!("nothing was heard of it for {:.1} s", silent.as_secs_f32());
        drop(self.sender.send(Heard::Lost(Loss { reason, silent })));
        // It may read no more either, which must hold nobody up; and should it come back after all,
        // the end of the stream tells it that this host goes its own way.
        self.out.give_up();
    }
}

/// Who listens.
struct Ear {
    stream: Noted<Stream>,
    out: Out,
    cancels: Arc<Cancels>,
    taken: Arc<AtomicU64>,
    back: Arc<AtomicUsize>,
    sender: Sender<Heard>,
    turn: Option<Receiver<Turn>>,
}

impl Ear {
    fn hear(&mut self) -> Result<(), FrameError> {
        let mut arrived = 0;
        while let Some(frame) = read_frame(&mut self.stream)? {
            if self.stream.silence.is_over() {
                return Ok(());
            }
            let heard = match frame {
                Frame::Bytes(bytes) => {
                    arrived += bytes.len() as u64;
                    // Who sends beyond the credit would fill this host's memory.
                    if arrived > self.taken.load(Ordering::SeqCst) + 2 * PACK_CREDIT {
                        return Err(FrameError::TooLong {
                            length: arrived,
                            limit: PACK_CREDIT,
                        });
                    }
                    Heard::Bytes(bytes)
                }
                Frame::Message(message) => match *message {
                    Message::Heartbeat => {
                        self.out.alive()?;
                        continue;
                    }
                    Message::Request { id, request } => {
                        if let Request::GoBack { app, .. } = &request {
                            self.cancels.of(app).ask();
                            self.back.fetch_add(1, Ordering::SeqCst);
                        }
                        if let Request::Pack { .. } = &request {
                            arrived = 0;
                            self.taken.store(0, Ordering::SeqCst);
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
            let locks = matches!(&heard, Heard::Request { request, .. } if matches!(**request, Request::Lock { .. }));
            if self.sender.send(heard).is_err() {
                return Ok(());
            }
            if let Some(turn) = self.turn.as_ref().filter(|_| locks) {
                match turn.recv() {
                    Ok(Turn::Listen) => {}
                    Ok(Turn::HandOver(taker)) => {
                        let stream = &mut self.stream.stream;
                        let stream = std::mem::replace(stream, Box::new(std::io::empty()));
                        // Who asked for it waits for it.
                        drop(taker.send(stream));
                        return Ok(());
                    }
                    Err(_) => return Ok(()),
                }
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
