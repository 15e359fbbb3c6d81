//! Our side of the library's callbacks: judge the host key, remember why a connection ended.
//!
//! A server that wants to open channels toward us is refused: rosey asks for no forwarding.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, Error};

use super::host_key::{HostKey, HostKeyCheck, HostKeyError};
use super::printable::printable;

/// What is done with the key that a server shows.
pub(crate) enum KeyPolicy {
    Judge(Box<HostKeyCheck>),
    /// Only look at it and hang up: `rosey trust`.
    Look,
}

/// What the callbacks learnt, for those who hold the connection.
#[derive(Debug, Default, Clone)]
pub(crate) struct Learnt(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    refusal: Option<HostKeyError>,
    shown: Option<HostKey>,
    ended: Option<String>,
}

impl Learnt {
    fn with<T>(&self, f: impl FnOnce(&mut Facts) -> T) -> T {
        // The facts are plain values, whole after each assignment, so poison means nothing here.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take_refusal(&self) -> Option<HostKeyError> {
        self.with(|facts| facts.refusal.take())
    }

    pub(crate) fn shown(&self) -> Option<HostKey> {
        self.with(|facts| facts.shown.clone())
    }

    /// Why the connection ended, in the server's words or the library's.
    pub(crate) fn ended(&self) -> Option<String> {
        self.with(|facts| facts.ended.as_deref().map(printable))
    }
}

pub(crate) struct Client {
    pub(crate) policy: KeyPolicy,
    pub(crate) learnt: Learnt,
}

impl Handler for Client {
    type Error = Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Error> {
        self.learnt
            .with(|facts| facts.shown = Some(HostKey::new(shown.public_key())));
        let KeyPolicy::Judge(check) = &self.policy else {
            return Ok(false);
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        match check.judge(shown, now) {
            Ok(()) => Ok(true),
            Err(refusal) => {
                self.learnt.with(|facts| facts.refusal = Some(refusal));
                Ok(false)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Error>) -> Result<(), Error> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (info.message.trim().to_owned(), Ok(())),
            DisconnectReason::Error(error) => (error.to_string(), Err(error)),
        };
        self.learnt.with(|facts| facts.ended = Some(text));
        result
    }

    // Dropping the handle is the refusal.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }
}
