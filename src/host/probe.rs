//! The port through which a host is asked as its clients would ask it: over its network.
//!
//! Only a gate probes; who plans has a [`ReadHost`](super::ReadHost), and that can't.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many bytes of an answer's body are read at most.
pub const BODY_LIMIT: usize = 1 << 20;

/// One GET.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// The address, `http` or `https`.
    pub url: String,
    /// How long everything together may take, from looking up the name to the end of the body.
    pub timeout: Duration,
}

/// What was answered, whatever the status. Redirects aren't followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The body, at most [`BODY_LIMIT`] bytes.
    pub body: Vec<u8>,
    /// From the beginning of the connection to the end of the body.
    pub elapsed: Duration,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ProbeError {
    /// Nothing could be asked: the address makes no sense, or the host lacks what asking needs.
    #[error("{0}")]
    Unable(String),
    /// There was no connection: the name is unknown, nothing listens, or nobody is to be trusted there.
    #[error("{0}")]
    Connection(String),
    /// There was a connection, and no answer that can be used.
    #[error("{0}")]
    Answer(String),
}

/// A host's own network.
pub trait Probe {
    /// Asks over HTTP, from the host itself.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    fn http(&self, request: &HttpRequest) -> Result<HttpAnswer, ProbeError>;

    /// Makes a TCP connection to `host:port` from the host itself, and ends it.
    ///
    /// # Errors
    /// When there is none in time.
    fn tcp(&self, address: &str, timeout: Duration) -> Result<(), ProbeError>;
}
