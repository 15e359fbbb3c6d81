//! A logged-in server on which commands are run.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::channel::{Channel, ChannelLost, ExitStatus};
use super::connect::Connection;
use super::target::Destination;

/// A connection to one server; clones share it, and it closes with the last one.
#[derive(Clone)]
pub struct Session {
    to: Arc<Destination>,
    connection: Arc<Connection>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// What a command gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The end of it, at most 64 KiB.
    pub stderr: String,
}

/// A command couldn't be run, or its end isn't known.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("run a command on {host}: the connection is lost ({reason})")]
    Disconnected { host: String, reason: String },
    #[error(
        "run a command on {host}: the server opens no channel ({reason}); is MaxSessions too low in its sshd_config?"
    )]
    NoChannel { host: String, reason: String },
    #[error("run a command on {host}: it printed more than {limit} bytes")]
    TooMuchOutput { host: String, limit: usize },
    #[error(transparent)]
    Lost(#[from] ChannelLost),
}

impl RunError {
    /// Whether a new connection may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::Lost(_))
    }
}

/// Commands that are run whole answer in a few lines; the helper has a channel.
const OUTPUT_LIMIT: usize = 16 << 20;
const OPEN_PATIENCE: Duration = Duration::from_secs(30);

impl Session {
    pub(crate) fn new(to: Destination, connection: Arc<Connection>) -> Self {
        Self {
            to: Arc::new(to),
            connection,
        }
    }

    /// The host's name in the declaration.
    pub fn host(&self) -> &str {
        &self.to.name
    }

    /// Where and as whom we are logged in.
    pub fn destination(&self) -> &Destination {
        &self.to
    }

    pub fn is_closed(&self) -> bool {
        self.connection.handle.is_closed()
    }

    /// Runs a command to its end. The command is read by the user's login shell.
    ///
    /// # Errors
    /// The connection broke: what the command did is unknown. A command that fails is no
    /// error: its status says so.
    pub async fn run(&self, command: &str, stdin: &[u8]) -> Result<Output, RunError> {
        let mut channel = self.exec(command).await?;
        // The channel's own task reads meanwhile, so a command that prints first can't block us.
        // A command that doesn't read its input to the end says what it thinks by its status.
        if channel.write_all(stdin).await.is_ok() {
            channel.shutdown().await.ok();
        }
        let mut stdout = Vec::new();
        let limit = OUTPUT_LIMIT as u64 + 1;
        // A read error is a lost connection, of which `wait` knows more.
        (&mut channel)
            .take(limit)
            .read_to_end(&mut stdout)
            .await
            .ok();
        if stdout.len() > OUTPUT_LIMIT {
            return Err(RunError::TooMuchOutput {
                host: self.to.name.clone(),
                limit: OUTPUT_LIMIT,
            });
        }
        let exit = channel.wait().await?;
        Ok(Output {
            status: exit.status,
            stdout,
            stderr: exit.stderr,
        })
    }

    /// Starts a command and gives its input and output as one stream.
    pub async fn exec(&self, command: &str) -> Result<Channel, RunError> {
        let host = || self.to.name.clone();
        let opened = self.connection.handle.channel_open_session();
        let channel = match tokio::time::timeout(OPEN_PATIENCE, opened).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                return Err(RunError::NoChannel {
                    host: host(),
                    reason: format!("{reason:?}"),
                });
            }
            Ok(Err(error)) => return Err(self.disconnected(&error.to_string())),
            Err(_) => return Err(self.disconnected("no answer within 30 s")),
        };
        // The answer to the request comes through the channel's task, which saves a round trip.
        channel
            .exec(true, command)
            .await
            .map_err(|e| self.disconnected(&e.to_string()))?;
        Ok(Channel::new(
            host(),
            channel,
            self.connection.learnt.clone(),
        ))
    }

    /// Ends the quick acknowledgements of the handshake, before bulk data begins to flow.
    pub(crate) fn stop_quick_acknowledgements(&self) {
        self.connection.stop_quick_acknowledgements();
    }

    /// Says goodbye to the server. Other clones find the connection closed.
    pub async fn close(&self) {
        let bye = self
            .connection
            .handle
            .disconnect(russh::Disconnect::ByApplication, "", "");
        // Closing is a courtesy: the server also notices when the socket goes.
        tokio::time::timeout(Duration::from_secs(2), bye).await.ok();
    }

    fn disconnected(&self, error: &str) -> RunError {
        RunError::Disconnected {
            host: self.to.name.clone(),
            reason: self
                .connection
                .learnt
                .ended()
                .unwrap_or_else(|| error.to_owned()),
        }
    }
}
