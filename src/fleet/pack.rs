//! Moving packs over a connection, by credit.
//!
//! What is in a pack is no business of this file: bytes come from a source and go to a helper, or
//! the other way, and never more are on the way than the receiver has room for.

use std::io::{self, Write};

use tokio::sync::{OwnedMutexGuard, mpsc, watch};

use super::ask::AskError;
use super::connection::{Answer, Connection, ConnectionLost, Incoming};
use crate::helper::protocol::{AppAddress, Message, PACK_CREDIT, PACK_FRAME, Reply, Request};
use crate::model::Digest;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Parts of a pack that may wait between the one who makes them and the connection.
const WAITING: usize = 4;

/// Parts of a pack in their order; the error of whoever makes it ends it.
pub type PackParts = mpsc::Receiver<io::Result<Vec<u8>>>;

/// Makes a pack on a thread of its own, as fast as it is taken.
#[must_use]
pub fn made_by(make: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> PackParts {
    let (sender, parts) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut out = PartWriter {
            sender,
            part: Vec::with_capacity(PACK_FRAME),
        };
        let made = make(&mut out).and_then(|()| out.flush());
        if let Err(error) = made {
            // Where nobody takes parts any more nobody wants the error either.
            out.sender.blocking_send(Err(error)).ok();
        }
    });
    parts
}

struct PartWriter {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    part: Vec<u8>,
}

impl Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PACK_FRAME - self.part.len();
        let taken = bytes.len().min(room);
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PACK_FRAME {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PACK_FRAME));
        self.sender
            .blocking_send(Ok(part))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A pack that the helper waits for the end of.
struct OpenPack<'a> {
    connection: &'a Connection,
    id: u64,
    sent: u64,
    ended: bool,
}

impl OpenPack<'_> {
    fn message(&mut self) -> Message {
        self.ended = true;
        Message::PackEnd {
            id: self.id,
            bytes: self.sent,
        }
    }

    async fn end(mut self) -> Result<(), ConnectionLost> {
        let end = self.message();
        self.connection.tell(end).await
    }
}

impl Drop for OpenPack<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let end = self.message();
        let connection = self.connection.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // A connection that is lost needs no end of a pack.
            runtime.spawn(async move { connection.tell(end).await.ok() });
        }
    }
}

/// A pack that comes in. Nobody else's may before this one has passed, wanted or not: bytes don't
/// say whose they are.
struct Passing {
    connection: Connection,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    answer: Answer,
    turn: OwnedMutexGuard<()>,
}

impl Passing {
    /// Lets the rest of it pass, unasked for; a helper that waits for credit does nothing else.
    async fn pass(mut self) {
        let credit = Message::Credit {
            id: self.answer.id,
            taken: u64::MAX,
        };
        // A connection that is lost has nothing more to let pass.
        self.connection.tell(credit).await.ok();
        loop {
            tokio::select! {
                biased;
                part = self.incoming.recv() => match part {
                    Some(Incoming::Bytes(_)) => {}
                    Some(Incoming::End(_)) | None => break,
                },
                _ = self.answer.wait() => break,
            }
        }
        drop(self.turn);
    }
}

/// One of those, passed when nobody waits for it any more.
struct Fetching(Option<Passing>);

impl Drop for Fetching {
    fn drop(&mut self) {
        if let Some(passing) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(passing.pass());
        }
    }
}

impl Connection {
    /// Sends a pack. `progress` hears how many bytes are on their way or there.
    ///
    /// # Errors
    /// When the pack can't be made, the helper refuses it, or the host is out of reach.
    pub async fn send_pack(
        &self,
        app: AppAddress,
        mut parts: PackParts,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<(), AskError> {
        let _turn = self.sending.lock().await;
        let (credit, mut taken) = watch::channel(0u64);
        let request = Request::Pack { app };
        let mut answer = self.start(request, Arc::new(|_| {}), Some(credit)).await?;
        // Also after a fault, or when nobody waits any more: the helper finds the pack cut short,
        // refuses it, and is free for other things.
        let mut open = OpenPack {
            connection: self,
            id: answer.id,
            sent: 0,
            ended: false,
        };
        let mut fault = None;
        while let Some(part) = parts.recv().await {
            let part = match part {
                Ok(part) => part,
                Err(error) => {
                    fault = Some(error.to_string());
                    break;
                }
            };
            for frame in part.chunks(PACK_FRAME) {
                let size = frame.len() as u64;
                let sent = open.sent;
                let room = taken.wait_for(|taken| sent + size <= taken + PACK_CREDIT);
                tokio::select! {
                    // The sender of credit goes with the request: then the answer is there.
                    Ok(_) = room => {}
                    reply = answer.wait() => {
                        open.ended = true;
                        return self.early(reply?);
                    }
                }
                self.send_bytes(frame).await?;
                open.sent += size;
            }
            progress(open.sent);
        }
        open.end().await?;
        let reply = answer.wait().await?;
        match (fault, reply) {
            (Some(reason), _) => Err(AskError::Content {
                host: self.host().clone(),
                reason,
            }),
            (None, Reply::Done) => Ok(()),
            (None, Reply::Refused(refusal)) => Err(self.refused(refusal)),
            (None, _) => Err(self.unexpected("a pack")),
        }
    }

    /// An answer before the pack was over can only be a refusal.
    fn early(&self, reply: Reply) -> Result<(), AskError> {
        match reply {
            Reply::Refused(refusal) => Err(self.refused(refusal)),
            _ => Err(self.unexpected("a pack")),
        }
    }

    /// Fetches content from the host as a pack, whose parts go to `into`. Gives what was in it.
    ///
    /// # Errors
    /// When it is cut short, the helper refuses, or the host is out of reach. Nothing may be made
    /// of the parts then; `into` is told so.
    pub async fn fetch_pack(
        &self,
        app: AppAddress,
        digests: BTreeSet<Digest>,
        into: mpsc::Sender<io::Result<Vec<u8>>>,
    ) -> Result<BTreeSet<Digest>, AskError> {
        let fetched = self.fetch(app, digests, &into).await;
        if let Err(error) = &fetched {
            into.send(Err(io::Error::other(error.to_string())))
                .await
                .ok();
        }
        fetched
    }

    async fn fetch(
        &self,
        app: AppAddress,
        digests: BTreeSet<Digest>,
        into: &mpsc::Sender<io::Result<Vec<u8>>>,
    ) -> Result<BTreeSet<Digest>, AskError> {
        let turn = self.receiving.clone().lock_owned().await;
        let incoming = self.expect_pack();
        let request = Request::Supply { app, digests };
        let answer = self.ask(request, Arc::new(|_| {})).await?;
        let mut fetching = Fetching(Some(Passing {
            connection: self.clone(),
            incoming,
            answer,
            turn,
        }));
        let fetched = match &mut fetching.0 {
            Some(passing) => self.take_in(passing, into).await,
            None => unreachable!("BUG: what is fetched passes only once"),
        };
        // What was awaited to its end, or refused, needs no passing.
        fetching.0 = None;
        fetched
    }

    async fn take_in(
        &self,
        passing: &mut Passing,
        into: &mpsc::Sender<io::Result<Vec<u8>>>,
    ) -> Result<BTreeSet<Digest>, AskError> {
        let Passing {
            incoming, answer, ..
        } = passing;
        let mut taken = 0u64;
        let mut wanted = true;
        let said = loop {
            let part = tokio::select! {
                biased;
                part = incoming.recv() => part,
                reply = answer.wait() => return self.early(reply?).map(|()| BTreeSet::new()),
            };
            match part {
                Some(Incoming::Bytes(bytes)) => {
                    taken += bytes.len() as u64;
                    // The rest of what nobody wants any more has to pass before the next pack can.
                    wanted = wanted && into.send(Ok(bytes)).await.is_ok();
                    let id = answer.id;
                    self.tell(Message::Credit { id, taken }).await?;
                }
                Some(Incoming::End(bytes)) => break bytes,
                None => return Err(self.ended(answer).await),
            }
        };
        match answer.wait().await? {
            Reply::Supplied(digests) if said == taken => Ok(digests),
            Reply::Supplied(_) => Err(AskError::Content {
                host: self.host().clone(),
                reason: format!("{taken} bytes came of a pack of {said}"),
            }),
            Reply::Refused(refusal) => Err(self.refused(refusal)),
            _ => Err(self.unexpected("content")),
        }
    }

    async fn ended(&self, answer: &mut Answer) -> AskError {
        match answer.wait().await {
            Err(lost) => lost.into(),
            Ok(_) => self.unexpected("content"),
        }
    }
}
