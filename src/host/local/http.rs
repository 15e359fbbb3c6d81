//! One GET, by a small client of its own.
//!
//! It opens a connection for each request, follows no redirect, keeps no cookie and knows no proxy:
//! a gate asks one server, and wants to know what that one says.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::host::probe::{BODY_LIMIT, HttpAnswer, HttpRequest, ProbeError};

use super::names;
use super::probe::{share, unreachable};

/// Where a request goes.
struct Target {
    /// A name or an address without brackets.
    host: String,
    port: u16,
    /// The value of the `Host` header.
    authority: String,
    path: String,
    encrypted: bool,
}

/// Asks, and waits for the whole answer.
pub(super) fn get(request: &HttpRequest) -> Result<HttpAnswer, ProbeError> {
    get_trusting(request, trusted)
}

fn get_trusting(
    request: &HttpRequest,
    trusted: impl FnOnce() -> Result<RootCertStore, ProbeError>,
) -> Result<HttpAnswer, ProbeError> {
    let target = Target::of(&request.url)
        .map_err(|why| ProbeError::Unable(format!("{:?} can't be asked: {why}", request.url)))?;
    let roots = target.encrypted.then(trusted).transpose()?;
    let unable = |error: std::io::Error| ProbeError::Unable(format!("can't ask: {error}"));
    let deadline = Instant::now() + request.timeout;
    // The caller may be inside a runtime of its own, where no other may be waited for.
    std::thread::scope(|scope| {
        let asking = std::thread::Builder::new()
            .name("http gate".to_owned())
            .spawn_scoped(scope, || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(unable)?;
                runtime.block_on(ask(&target, roots, deadline))
            })
            .map_err(unable)?;
        asking
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The server that an address of the web names, by name or number, and the port.
///
/// # Errors
/// Why it can't be asked: no such address, or one that nothing could be asked at.
pub fn server_of(url: &str) -> Result<(String, u16), &'static str> {
    Target::of(url).map(|target| (target.host, target.port))
}

impl Target {
    fn of(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is no web address")?;
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("it begins neither with http:// nor with https://"),
        };
        let authority = uri.authority().ok_or("it names no server")?;
        if authority.as_str().contains('@') {
            return Err("a user or password doesn't belong into it");
        }
        // `Uri` gives none for a port that it can't hold, as for one that isn't there.
        let written = authority.as_str().strip_prefix(authority.host());
        let port = match written.map(|rest| rest.trim_start_matches(':')) {
            None | Some("") => {
                if encrypted {
                    443
                } else {
                    80
                }
            }
            Some(port) => port_of(port).ok_or("its port is not from 1 to 65535")?,
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            host,
            port,
            authority: authority.to_string(),
            path: path.to_owned(),
            encrypted,
        })
    }
}

/// A port that something can listen on.
pub(super) fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

/// The certificates that this machine trusts.
fn trusted() -> Result<RootCertStore, ProbeError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let words = "this host has no root certificates (the package ca-certificates)";
        return Err(ProbeError::Unable(words.to_owned()));
    }
    Ok(roots)
}

async fn ask(
    target: &Target,
    roots: Option<RootCertStore>,
    deadline: Instant,
) -> Result<HttpAnswer, ProbeError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let addresses = names::addresses(&target.host, target.port, left)?;
    let begin = Instant::now();
    let stream = connect(&addresses, deadline).await?;
    let silent = || {
        let words = format!(
            "{} took the connection and didn't answer in time",
            target.authority
        );
        ProbeError::Answer(words)
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let exchange = async {
        match roots {
            None => exchange(target, TokioIo::new(stream)).await,
            Some(roots) => {
                let stream = encrypt(target, roots, stream).await?;
                exchange(target, TokioIo::new(stream)).await
            }
        }
    };
    let (status, body) = timeout(left, exchange).await.map_err(|_| silent())??;
    Ok(HttpAnswer {
        status,
        body,
        elapsed: begin.elapsed(),
    })
}

async fn connect(
    addresses: &[std::net::SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, ProbeError> {
    let mut last = ProbeError::Connection("the name has no address".to_owned());
    for (index, at) in addresses.iter().enumerate() {
        let share: Duration = share(deadline, addresses.len() - index);
        last = match timeout(share, TcpStream::connect(at)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => unreachable(*at, &error),
            Err(_) => unreachable(*at, &std::io::ErrorKind::TimedOut.into()),
        };
    }
    Err(last)
}

async fn encrypt(
    target: &Target,
    roots: RootCertStore,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ProbeError> {
    // Named here, because the program's other libraries could bring a second one.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Unable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| ProbeError::Unable(format!("{:?} is no server's name", target.host)))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| {
            let words = format!("no encrypted connection to {}: {error}", target.authority);
            ProbeError::Connection(words)
        })
}

async fn exchange<I>(target: &Target, stream: I) -> Result<(u16, Vec<u8>), ProbeError>
where
    I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| {
        let why = if error.is_incomplete_message() || error.is_closed() || ends_early(&error) {
            "closed the connection before the answer was complete".to_owned()
        } else if error.is_parse() {
            "doesn't speak HTTP".to_owned()
        } else {
            format!("broke off: {}", innermost(&error))
        };
        ProbeError::Answer(format!("{} {why}", target.authority))
    };
    let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
    let driver = tokio::spawn(connection);
    let request = Request::get(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, "rosey")
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| ProbeError::Unable(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), BODY_LIMIT).collect().await;
    driver.abort();
    match body {
        Ok(body) => Ok((status, body.to_bytes().to_vec())),
        Err(error) if error.is::<LengthLimitError>() => {
            let words = format!("{} answers with more than 1 MiB", target.authority);
            Err(ProbeError::Answer(words))
        }
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => broken(*error),
            Err(error) => ProbeError::Answer(error.to_string()),
        }),
    }
}

/// Whether a body ends before the length that was announced.
fn ends_early(error: &hyper::Error) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::UnexpectedEof)
}

/// The cause that says most.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
