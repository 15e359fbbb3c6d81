//! The socket under a connection, and the settings of the SSH library.
//!
//! The values were measured (docs of the project's dependencies): Nagle's algorithm costs
//! 43 ms on every command, a delayed acknowledgement 40 ms in the handshake, and a window
//! of 16 MiB is what a download needs on a line with a long way.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::{Preferred, cipher, client};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that acknowledges at once for as long as it is told to.
///
/// TCP_QUICKACK isn't permanent (tcp(7)), so it is set again after each read.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    quick: Arc<AtomicBool>,
}

/// Ends the quick acknowledgements of a wire; bulk data is better off without.
#[derive(Debug, Clone)]
pub(crate) struct QuickAck(Arc<AtomicBool>);

impl QuickAck {
    pub(crate) fn stop(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Wire {
    /// Tries the addresses in their order and gives the last error; each has its share of the time.
    pub(crate) async fn connect(
        addresses: &[IpAddr],
        port: u16,
        patience: Duration,
    ) -> io::Result<(Self, QuickAck)> {
        let count = u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for &address in addresses {
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            match tokio::time::timeout(patience / count, connecting).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    let quick = Arc::new(AtomicBool::new(true));
                    let wire = Self {
                        stream,
                        quick: quick.clone(),
                    };
                    return Ok((wire, QuickAck(quick)));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if result.is_ready() && self.quick.load(Ordering::Relaxed) {
            // Only speed depends on it, and a socket may refuse it.
            rustix::net::sockopt::set_tcp_quickack(&self.stream, true).ok();
        }
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The library's settings; `preferred` says which host keys to ask for.
pub(crate) fn config(preferred: Preferred) -> client::Config {
    client::Config {
        nodelay: true,
        window_size: 16 << 20,
        maximum_packet_size: 32768,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        preferred,
        ..client::Config::default()
    }
}

/// The preferred algorithms before anything is known of the host.
pub(crate) fn preferred() -> Preferred {
    const WITH_AES: &[cipher::Name] = &[
        cipher::AES_256_GCM,
        cipher::CHACHA20_POLY1305,
        cipher::AES_256_CTR,
        cipher::AES_128_CTR,
    ];
    const WITHOUT_AES: &[cipher::Name] = &[
        cipher::CHACHA20_POLY1305,
        cipher::AES_256_GCM,
        cipher::AES_256_CTR,
        cipher::AES_128_CTR,
    ];
    let ciphers = if has_aes() { WITH_AES } else { WITHOUT_AES };
    Preferred {
        cipher: Cow::Borrowed(ciphers),
        ..Preferred::DEFAULT
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}
