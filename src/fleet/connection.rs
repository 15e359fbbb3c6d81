//! One helper, over one stream: requests out, events and answers back.
//!
//! A task reads and hands each frame to the request that it belongs to; a task writes; a task
//! keeps the pulse. When the stream ends, or the helper is silent for too long, every request
//! under way fails with [`ConnectionLost`]: the end of a stream is never an answer.

use std::any::Any;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{mpsc, oneshot, watch};

use super::ask::AskError;
use super::pending::{Pending, Waited};
use crate::helper::frame::{self, Frame};
use crate::helper::protocol::{Message, Reply, Request};
use crate::helper::wire;
use crate::model::{EventKind, HostName};

/// Frames that may wait for the writer.
const OUTGOING: usize = 16;

/// However short the guard time is, a host that nothing is under way on may be silent for so long.
const UNLOCKED_PATIENCE: Duration = Duration::from_secs(10);

/// A stream to a helper, with what is known of it beside its bytes.
pub struct Transport {
    /// What the helper says.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What it is told.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// The end of what it wrote to its standard error.
    pub last_words: Arc<dyn Fn() -> String + Send + Sync>,
    /// Held for as long as the connection is: the session below it.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// How often a sign of life is sent, and how long one may fail to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// The time between two heartbeats.
    pub every: Duration,
    /// Silence for longer than this is a lost connection, once the host is locked.
    pub patience: Duration,
    /// The same before that, when no guard runs and a busy machine needn't be a lost one.
    pub unlocked_patience: Duration,
    /// How long a host on which something is under way may hear nothing of us.
    pub guard: Duration,
}

impl Pulse {
    /// The pulse for a guard time: it's given up before the host itself does, so that the
    /// others are on their way back when it begins.
    #[must_use]
    pub fn for_guard(guard: Duration) -> Self {
        let every = (guard / 5).clamp(Duration::from_millis(100), Duration::from_secs(10));
        let patience = (guard / 2).max(every * 2);
        Self {
            every,
            patience,
            unlocked_patience: patience.max(UNLOCKED_PATIENCE),
            guard,
        }
    }
}

/// The stream to a helper ended or fell silent. What became of requests under way isn't known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the connection to {host} was lost: {reason}{}", said(.last_words))]
pub struct ConnectionLost {
    /// The host.
    pub host: HostName,
    /// How.
    pub reason: String,
    /// The end of the helper's standard error, or nothing.
    pub last_words: String,
}

fn said(last_words: &str) -> String {
    match last_words.trim() {
        "" => String::new(),
        words => format!("\n{words}"),
    }
}

/// Takes what happens on the way to an answer.
pub(super) type Sink = Arc<dyn Fn(EventKind) + Send + Sync>;

/// A connection to one host's helper. Clones share it; it's closed when the last one goes.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Vec<u8>>,
    next: Arc<AtomicU64>,
    pulse: Pulse,
    pending: Pending,
    /// Frames of bytes don't say whose they are: one pack at a time goes out.
    pub(super) sending: Arc<tokio::sync::Mutex<()>>,
    /// And one comes in.
    pub(super) receiving: Arc<tokio::sync::Mutex<()>>,
}

struct Shared {
    host: HostName,
    last_words: Arc<dyn Fn() -> String + Send + Sync>,
    table: Mutex<Table>,
    lost: watch::Sender<Option<ConnectionLost>>,
}

struct Table {
    open: BTreeMap<u64, Open>,
    /// Who gets the bytes of a pack that comes in.
    incoming: Option<mpsc::UnboundedSender<Incoming>>,
    lost: Option<ConnectionLost>,
    heard: Instant,
    /// How long it may be silent as things stand.
    patience: Duration,
}

/// A request under way.
struct Open {
    answer: oneshot::Sender<Result<Reply, ConnectionLost>>,
    sink: Sink,
    credit: Option<watch::Sender<u64>>,
    _waited: Waited,
}

/// What a host does, in words that its name follows.
fn doing(request: &Request) -> &'static str {
    match request {
        Request::Hello { .. } => "starting rosey on",
        Request::Told { .. }
        | Request::Conceal { .. }
        | Request::Survey { .. }
        | Request::Observe { .. }
        | Request::Manifests { .. }
        | Request::Lacking { .. } => "reading what is on",
        Request::Gates { .. } => "reading the gates of",
        _ => "waiting for the answer of",
    }
}

/// A part of a pack that comes in.
pub(super) enum Incoming {
    /// Bytes of it.
    Bytes(Vec<u8>),
    /// That was all, so many bytes.
    End(u64),
}

/// What a request will get.
pub(super) struct Answer {
    /// Its name in the session.
    pub(super) id: u64,
    reply: oneshot::Receiver<Result<Reply, ConnectionLost>>,
    shared: Arc<Shared>,
}

impl Answer {
    /// Waits for the one answer; may be called again after it was dropped in the middle.
    pub(super) async fn wait(&mut self) -> Result<Reply, ConnectionLost> {
        match (&mut self.reply).await {
            Ok(answer) => answer,
            Err(_) => Err(self.shared.describe("rosey is ending")),
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Whole after each use, so a panic elsewhere leaves nothing half done here.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, reason: &str) -> ConnectionLost {
        ConnectionLost {
            host: self.host.clone(),
            reason: reason.to_owned(),
            last_words: (self.last_words)(),
        }
    }

    /// The first reason stands. Every request under way fails with it.
    fn fail(&self, reason: &str) {
        let lost = self.describe(reason);
        let open = {
            let mut table = self.table();
            if table.lost.is_some() {
                return;
            }
            table.lost = Some(lost.clone());
            table.incoming = None;
            std::mem::take(&mut table.open)
        };
        for (_, open) in open {
            // Who no longer waits doesn't need to know.
            open.answer.send(Err(lost.clone())).ok();
        }
        self.lost.send_replace(Some(lost));
    }

    /// Hands a frame to whom it concerns. What comes for a request that nobody knows is a fault of the helper.
    fn take(&self, frame: Frame) -> Result<(), String> {
        let mut table = self.table();
        let message = match frame {
            Frame::Bytes(bytes) => {
                let incoming = table
                    .incoming
                    .as_ref()
                    .ok_or("bytes that nobody asked for")?;
                // Who gave up on a pack lets the rest of it pass.
                incoming.send(Incoming::Bytes(bytes)).ok();
                return Ok(());
            }
            Frame::Message(message) => *message,
        };
        match message {
            Message::Reply { id, reply } => {
                let open = table
                    .open
                    .remove(&id)
                    .ok_or("an answer that nobody waits for")?;
                drop(table);
                open.answer.send(Ok(reply)).ok();
            }
            Message::Event { id, event } => {
                // Of work whose answer came first, or that nobody asked for: no reason to lose a host.
                let Some(open) = table.open.get(&id) else {
                    return Ok(());
                };
                let sink = open.sink.clone();
                drop(table);
                sink(event);
            }
            Message::Credit { id, taken } => {
                // It may come after the answer, when the helper has refused the rest of a pack.
                if let Some(credit) = table.open.get(&id).and_then(|open| open.credit.as_ref()) {
                    credit.send_replace(taken);
                }
            }
            Message::PackEnd { bytes, .. } => {
                let incoming = table.incoming.take().ok_or("the end of no pack")?;
                incoming.send(Incoming::End(bytes)).ok();
            }
            Message::Alive => {}
            Message::Request { .. } | Message::Heartbeat => {
                return Err("what only a controller says".to_owned());
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Talks to the helper at the other end of a stream.
    #[must_use]
    pub fn open(host: HostName, transport: Transport, pulse: Pulse) -> Self {
        let Transport {
            reader,
            writer,
            last_words,
            keep,
        } = transport;
        let shared = Arc::new(Shared {
            host,
            last_words,
            table: Mutex::new(Table {
                open: BTreeMap::new(),
                incoming: None,
                lost: None,
                heard: Instant::now(),
                patience: pulse.unlocked_patience,
            }),
            lost: watch::channel(None).0,
        });
        let (outgoing, frames) = mpsc::channel(OUTGOING);
        tokio::spawn(read_all(shared.clone(), reader, keep));
        tokio::spawn(write_all(shared.clone(), writer, frames));
        tokio::spawn(keep_pulse(
            shared.clone(),
            outgoing.downgrade(),
            pulse.every,
        ));
        Self {
            shared,
            outgoing,
            next: Arc::new(AtomicU64::new(1)),
            pulse,
            pending: Pending::default(),
            sending: Arc::default(),
            receiving: Arc::default(),
        }
    }

    /// The same, with somebody who is told of each request that is waited for.
    #[must_use]
    pub fn watched(self, pending: Pending) -> Self {
        Self { pending, ..self }
    }

    /// The host's name in the declaration.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.shared.host
    }

    /// How the connection was lost, if it was.
    #[must_use]
    pub fn lost(&self) -> Option<ConnectionLost> {
        self.shared.table().lost.clone()
    }

    /// From now on the host's guard runs, and it is given up before it gives us up. Says how long the guard is.
    pub(super) fn guarded(&self) -> Duration {
        let mut table = self.shared.table();
        table.patience = self.pulse.patience;
        table.heard = Instant::now();
        self.pulse.guard
    }

    /// Returns when the connection is lost.
    pub async fn wait_lost(&self) -> ConnectionLost {
        let mut lost = self.shared.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(lost) => lost.clone(),
            Err(_) => None,
        }
        .unwrap_or_else(|| self.shared.describe("rosey is ending"))
    }

    /// Asks something, and says what happens on the way to whoever wants to know.
    pub(super) async fn ask(&self, request: Request, sink: Sink) -> Result<Answer, AskError> {
        self.start(request, sink, None).await
    }

    /// The same, with a place for the credit that the helper gives.
    pub(super) async fn start(
        &self,
        request: Request,
        sink: Sink,
        credit: Option<watch::Sender<u64>>,
    ) -> Result<Answer, AskError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let waited = self.pending.begin(doing(&request), self.host());
        let frame = frame::encode_message(&Message::Request { id, request });
        let frame = frame.map_err(|error| AskError::Content {
            host: self.host().clone(),
            reason: error.to_string(),
        })?;
        let (answer, reply) = oneshot::channel();
        {
            let mut table = self.shared.table();
            if let Some(lost) = &table.lost {
                return Err(lost.clone().into());
            }
            table.open.insert(
                id,
                Open {
                    answer,
                    sink,
                    credit,
                    _waited: waited,
                },
            );
        }
        self.send(frame).await?;
        Ok(Answer {
            id,
            reply,
            shared: self.shared.clone(),
        })
    }

    /// Sends a message that nothing answers.
    pub(super) async fn tell(&self, message: Message) -> Result<(), ConnectionLost> {
        self.send(encoded(&message)).await
    }

    /// Sends a part of a pack, of one frame at most.
    pub(super) async fn send_bytes(&self, bytes: &[u8]) -> Result<(), ConnectionLost> {
        let frame = frame::encode_bytes(bytes).expect("BUG: a part is no longer than a frame");
        self.send(frame).await
    }

    async fn send(&self, frame: Vec<u8>) -> Result<(), ConnectionLost> {
        if self.outgoing.send(frame).await.is_ok() {
            return Ok(());
        }
        Err(self
            .lost()
            .unwrap_or_else(|| self.shared.describe("nothing more can be written to it")))
    }

    /// From now on the bytes of a pack that comes in go here.
    pub(super) fn expect_pack(&self) -> mpsc::UnboundedReceiver<Incoming> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.shared.table().incoming = Some(sender);
        receiver
    }
}

/// A message without anything in it that could be too long.
fn encoded(message: &Message) -> Vec<u8> {
    frame::encode_message(message).expect("BUG: a short message fits in a frame")
}

async fn read_all(
    shared: Arc<Shared>,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    keep: Box<dyn Any + Send + Sync>,
) {
    let mut reader = Noted {
        stream: reader,
        shared: shared.clone(),
    };
    let mut lost = shared.lost.subscribe();
    let reason = loop {
        let frame = tokio::select! {
            frame = wire::read_frame(&mut reader) => frame,
            // The pulse gave it up, or nothing can be written any more.
            _ = lost.wait_for(Option::is_some) => break "it was given up".to_owned(),
        };
        match frame {
            Ok(Some(frame)) => {
                if let Err(what) = shared.take(frame) {
                    break format!("the helper sent {what}, which is a fault in rosey");
                }
            }
            Ok(None) => break "the helper ended, or the session with it".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    shared.fail(&reason);
    drop(keep);
}

/// A stream of which every byte is a sign of life: a long answer on a slow link is no silence.
struct Noted {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    shared: Arc<Shared>,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > filled {
            self.shared.table().heard = Instant::now();
        }
        read
    }
}

async fn write_all(
    shared: Arc<Shared>,
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
    mut frames: mpsc::Receiver<Vec<u8>>,
) {
    let mut lost = shared.lost.subscribe();
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            _ = lost.wait_for(Option::is_some) => None,
        };
        let Some(frame) = frame else { break };
        let written = tokio::select! {
            written = wire::write_frame(&mut writer, &frame) => written,
            _ = lost.wait_for(Option::is_some) => break,
        };
        if let Err(error) = written {
            shared.fail(&format!("writing to it failed: {error}"));
            break;
        }
    }
    // Closing is a courtesy: the helper also notices when the stream goes.
    writer.shutdown().await.ok();
}

async fn keep_pulse(shared: Arc<Shared>, outgoing: mpsc::WeakSender<Vec<u8>>, every: Duration) {
    let mut lost = shared.lost.subscribe();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut awake = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = lost.wait_for(Option::is_some) => return,
        }
        // Who stood still himself has heard nothing meanwhile, whoever spoke: he listens first.
        let slept = awake.elapsed() > 2 * every;
        awake = Instant::now();
        let Some(outgoing) = outgoing.upgrade() else {
            return;
        };
        let (silent, patience) = {
            let table = shared.table();
            (table.heard.elapsed(), table.patience)
        };
        if silent > patience && !slept {
            let seconds = silent.as_secs_f32();
            shared.fail(&format!("no sign of life for {seconds:.1} s"));
            return;
        }
        // A full queue is no silence of ours: the frames in it are signs of life too.
        outgoing.try_send(encoded(&Message::Heartbeat)).ok();
    }
}
