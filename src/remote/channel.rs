//! A running command on a server: bytes in, bytes out, its last words and its end.
//!
//! One unread channel stops a whole connection of the library, so a task of its own always
//! reads. The reader's side is bounded by an error, not by waiting: who sends more than
//! `UNREAD_LIMIT` bytes that nobody fetches breaks the agreement about credits.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{oneshot, watch};
use tokio_util::bytes::{Buf, Bytes};

use super::handler::Learnt;

/// Bytes that may wait for the reader.
const UNREAD_LIMIT: usize = 256 << 20;
/// How much of the standard error is kept: its end, where programs say why they died.
const STDERR_LIMIT: usize = 64 << 10;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    Code(u32),
    Signal { name: String, message: String },
}

impl ExitStatus {
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal { name, .. } => write!(f, "signal {name}"),
        }
    }
}

/// A command's end and the end of its standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    pub status: ExitStatus,
    pub stderr: String,
}

/// The connection broke before the command's end was known: what it did is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "hear from {host} how the command ended: the connection was lost ({reason}); what it did is unknown"
)]
pub struct ChannelLost {
    pub host: String,
    pub reason: String,
    pub stderr: String,
}

/// The standard input and output of a command as one stream, its standard error kept aside.
///
/// Reading gives zero bytes at the end of the output, and an error when the connection was
/// lost instead; success is only what `finish` says. Dropping it closes the channel; the
/// command notices by the end of its input.
pub struct Channel {
    host: String,
    inbox: Arc<Inbox>,
    writer: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    ended: watch::Receiver<Option<End>>,
    /// Closing this tells the task to close the channel.
    _open: oneshot::Sender<()>,
}

#[derive(Debug, Clone)]
enum End {
    Exited(ExitStatus),
    Lost(String),
}

#[derive(Default)]
struct Inbox(Mutex<Mail>);

#[derive(Default)]
struct Mail {
    output: VecDeque<Bytes>,
    unread: usize,
    stderr: VecDeque<u8>,
    /// No more output comes: properly, or because of this.
    output_end: Option<Result<(), String>>,
    /// The command is over or out of reach, so nothing can be written.
    over: bool,
    /// Nobody reads any more.
    discard: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Inbox {
    fn with<T>(&self, f: impl FnOnce(&mut Mail) -> T) -> T {
        // Whole after each call, so a panic elsewhere leaves nothing half done here.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes output; false when the reader is too far behind.
    fn take_output(&self, data: Bytes) -> bool {
        self.with(|mail| {
            if mail.discard {
                return true;
            }
            mail.unread += data.len();
            mail.output.push_back(data);
            wake(&mut mail.reader);
            mail.unread <= UNREAD_LIMIT
        })
    }

    fn take_stderr(&self, data: &[u8]) {
        self.with(|mail| {
            mail.stderr.extend(data);
            let surplus = mail.stderr.len().saturating_sub(STDERR_LIMIT);
            mail.stderr.drain(..surplus);
        });
    }

    /// The first word counts: an end that was proper stays so.
    fn end_output(&self, end: Result<(), String>) {
        self.with(|mail| {
            mail.output_end.get_or_insert(end);
            wake(&mut mail.reader);
        });
    }

    fn end_input(&self) {
        self.with(|mail| {
            mail.over = true;
            wake(&mut mail.writer);
        });
    }

    fn stderr(&self) -> String {
        self.with(|mail| String::from_utf8_lossy(mail.stderr.make_contiguous()).into_owned())
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Channel {
    /// Takes over a channel on which a command was started, and begins to read it.
    pub(crate) fn new(host: String, channel: russh::Channel<Msg>, learnt: Learnt) -> Self {
        let (read, write) = channel.split();
        let writer: Pin<Box<dyn AsyncWrite + Send>> = Box::pin(write.make_writer());
        let inbox = Arc::new(Inbox::default());
        let (end, ended) = watch::channel(None);
        let (open, dropped) = oneshot::channel();
        let drain = Drain {
            read,
            write,
            inbox: inbox.clone(),
            learnt,
            dropped,
        };
        tokio::spawn(async move {
            end.send_replace(Some(drain.run().await));
        });
        Self {
            host,
            inbox,
            writer: Some(writer),
            ended,
            _open: open,
        }
    }

    /// The end of what the command has said on its standard error so far.
    pub fn stderr(&self) -> String {
        self.inbox.stderr()
    }

    /// What the command says on its standard error, readable for as long as anybody wants, whatever
    /// became of the stream by then.
    pub fn last_words(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let inbox = self.inbox.clone();
        Arc::new(move || inbox.stderr())
    }

    /// Waits for the command's end; its input stays open and its output is kept for reading.
    ///
    /// May be called again, with the same answer.
    pub async fn wait(&mut self) -> Result<Exit, ChannelLost> {
        let end = match self.ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone(),
            // The task was dropped with the runtime.
            Err(_) => None,
        };
        let stderr = self.stderr();
        match end {
            Some(End::Exited(status)) => Ok(Exit { status, stderr }),
            Some(End::Lost(reason)) => Err(ChannelLost {
                host: self.host.clone(),
                reason,
                stderr,
            }),
            None => {
                let reason = "rosey is ending".to_owned();
                Err(ChannelLost {
                    host: self.host.clone(),
                    reason,
                    stderr,
                })
            }
        }
    }

    /// Closes the command's input, passes over the rest of its output, and waits for its end.
    pub async fn finish(mut self) -> Result<Exit, ChannelLost> {
        self.inbox.with(|mail| {
            mail.discard = true;
            mail.output.clear();
        });
        if let Some(mut writer) = self.writer.take() {
            // A command that is gone needs no end of input; how it ended is what is asked.
            writer.shutdown().await.ok();
        }
        self.wait().await
    }
}

struct Drain {
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    inbox: Arc<Inbox>,
    learnt: Learnt,
    dropped: oneshot::Receiver<()>,
}

impl Drain {
    async fn run(mut self) -> End {
        let end = self.read_all().await;
        self.inbox.end_output(match &end {
            End::Exited(_) => Ok(()),
            End::Lost(reason) => Err(reason.clone()),
        });
        self.inbox.end_input();
        end
    }

    async fn read_all(&mut self) -> End {
        let mut status = None;
        let mut fault: Option<String> = None;
        let mut closing = false;
        loop {
            let message = tokio::select! {
                message = self.read.wait() => message,
                _ = &mut self.dropped, if !closing => {
                    closing = true;
                    self.inbox.with(|mail| mail.discard = true);
                    self.write.close().await.ok();
                    continue;
                }
            };
            match message {
                Some(ChannelMsg::Data { data }) => {
                    if !self.inbox.take_output(data) && fault.is_none() {
                        let text = "it sent more than was asked for, and nobody read it";
                        fault = Some(text.to_owned());
                        self.inbox.end_output(Err(text.to_owned()));
                        self.inbox.with(|mail| mail.discard = true);
                        self.write.close().await.ok();
                    }
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => self.inbox.take_stderr(&data),
                Some(ChannelMsg::Eof) => self.inbox.end_output(Ok(())),
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    status = Some(ExitStatus::Code(exit_status));
                }
                Some(ChannelMsg::ExitSignal {
                    signal_name,
                    error_message,
                    ..
                }) => {
                    let name = match signal_name {
                        russh::Sig::Custom(name) => name,
                        other => format!("{other:?}"),
                    };
                    status = Some(ExitStatus::Signal {
                        name,
                        message: error_message,
                    });
                }
                Some(ChannelMsg::Failure) => {
                    fault = Some("the server refuses to run commands for this user".to_owned());
                    self.write.close().await.ok();
                }
                Some(ChannelMsg::Close) => {
                    let text = "the server closed the channel without saying how the command ended";
                    return end_of(status, fault, || text.to_owned());
                }
                None => {
                    let learnt = &self.learnt;
                    return end_of(status, fault, || {
                        learnt.ended().unwrap_or_else(|| "it broke off".to_owned())
                    });
                }
                Some(_) => {}
            }
        }
    }
}

fn end_of(
    status: Option<ExitStatus>,
    fault: Option<String>,
    otherwise: impl FnOnce() -> String,
) -> End {
    match (fault, status) {
        (Some(fault), _) => End::Lost(fault),
        (None, Some(status)) => End::Exited(status),
        (None, None) => End::Lost(otherwise()),
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The buffer may hold bytes of an earlier read already.
        let before = buffer.filled().len();
        self.inbox.with(|mail| {
            while let Some(front) = mail.output.front_mut() {
                let length = front.len().min(buffer.remaining());
                buffer.put_slice(&front[..length]);
                front.advance(length);
                mail.unread -= length;
                if !front.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                mail.output.pop_front();
                if buffer.remaining() == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            match &mail.output_end {
                _ if buffer.filled().len() > before => Poll::Ready(Ok(())),
                Some(Ok(())) => Poll::Ready(Ok(())),
                Some(Err(reason)) => Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::ConnectionReset,
                    reason.clone(),
                ))),
                None => {
                    mail.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // The library's writer waits for window for ever, even when the connection is gone.
        let over = self.inbox.with(|mail| {
            mail.writer = Some(cx.waker().clone());
            mail.over
        });
        match &mut self.writer {
            Some(writer) if !over => writer.as_mut().poll_write(cx, bytes),
            _ => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.writer {
            Some(writer) => writer.as_mut().poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.inbox.with(|mail| mail.over) {
            return Poll::Ready(Ok(()));
        }
        match &mut self.writer {
            Some(writer) => writer.as_mut().poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_standard_error_is_kept() {
        let inbox = Inbox::default();
        inbox.take_stderr(&vec![b'a'; STDERR_LIMIT]);
        inbox.take_stderr(b"the end");
        let stderr = inbox.stderr();
        assert_eq!(stderr.len(), STDERR_LIMIT);
        assert!(stderr.ends_with("athe end"));
    }

    #[test]
    fn no_status_is_never_success() {
        let lost = end_of(None, None, || "gone".to_owned());
        assert!(matches!(lost, End::Lost(reason) if reason == "gone"));
        let fault = end_of(
            Some(ExitStatus::Code(0)),
            Some("too much".to_owned()),
            String::new,
        );
        assert!(matches!(fault, End::Lost(_)));
    }
}
