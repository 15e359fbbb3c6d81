//! Starts the helper on a server, with the rights that the declaration asks for.

use super::channel::{Channel, ChannelLost, Exit};
use super::printable::printable;
use super::session::{RunError, Session};
use super::sudo::{self, SudoRefusal};
use super::upload::RemoteHelper;
use crate::model::shell;

/// Why a helper ended, or didn't begin.
#[derive(Debug, thiserror::Error)]
pub enum HelperEnd {
    #[error(transparent)]
    Sudo(#[from] SudoRefusal),
    #[error("run the helper on {host}: it is gone from {path}; the next contact brings it again")]
    Vanished { host: String, path: String },
    #[error("run the helper on {host}: it ended with {status}: {last}", status = .exit.status, last = last_words(.exit))]
    Ended { host: String, exit: Exit },
    #[error(transparent)]
    Lost(#[from] ChannelLost),
}

impl HelperEnd {
    /// Whether a new contact may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Vanished { .. } | Self::Lost(_))
    }
}

fn last_words(exit: &Exit) -> String {
    let last = exit.stderr.trim_end().lines().next_back();
    last.map_or_else(|| "it said nothing".to_owned(), printable)
}

/// Starts the helper with these arguments and gives its input and output.
///
/// When the stream ends early, `explain_end` says why.
pub async fn start_helper(
    session: &Session,
    helper: &RemoteHelper,
    arguments: &[&str],
) -> Result<Channel, RunError> {
    let mut words = sudo::prefix(session.destination().r#become).to_vec();
    words.push(&helper.path);
    words.extend(arguments);
    session.exec(&shell::join(words)).await
}

/// Closes the helper's input, waits for it, and says how it ended.
///
/// # Errors
/// Anything but an exit status of 0.
pub async fn explain_end(
    session: &Session,
    helper: &RemoteHelper,
    channel: Channel,
) -> Result<(), HelperEnd> {
    let exit = channel.finish().await?;
    if exit.status.is_success() {
        return Ok(());
    }
    let to = session.destination();
    let host = to.name.clone();
    // Asked first: sudo, too, says that it found no such command.
    let missing = exit.stderr.contains(&helper.path)
        && ["not found", "No such file"]
            .iter()
            .any(|word| exit.stderr.contains(word));
    if missing {
        return Err(HelperEnd::Vanished {
            host,
            path: helper.path.clone(),
        });
    }
    if let Some(refusal) = sudo::refusal(to, &exit) {
        return Err(refusal.into());
    }
    Err(HelperEnd::Ended { host, exit })
}
