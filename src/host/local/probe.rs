//! Asking over this machine's network.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::host::probe::{HttpAnswer, HttpRequest, Probe, ProbeError};

use super::{LocalHost, http, names};

impl Probe for LocalHost {
    fn http(&self, request: &HttpRequest) -> Result<HttpAnswer, ProbeError> {
        http::get(request)
    }

    fn tcp(&self, address: &str, timeout: Duration) -> Result<(), ProbeError> {
        let deadline = Instant::now() + timeout;
        let (name, port) = address_of(address).map_err(|why| {
            ProbeError::Unable(format!("{address:?} is no address with a port: {why}"))
        })?;
        let addresses = names::addresses(name, port, timeout)?;
        let mut last = None;
        for (index, at) in addresses.iter().enumerate() {
            let share = share(deadline, addresses.len() - index);
            match TcpStream::connect_timeout(at, share) {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(unreachable(*at, &error)),
            }
        }
        Err(last.unwrap_or_else(|| ProbeError::Connection(format!("{address} has no address"))))
    }
}

/// What each of some addresses may take of the time that is left; never nothing, which would mean
/// no limit.
pub(super) fn share(deadline: Instant, addresses: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    let parts = u32::try_from(addresses.max(1)).unwrap_or(u32::MAX);
    (left / parts).max(Duration::from_millis(1))
}

/// Why an address can't be reached, in words.
pub(super) fn unreachable(at: SocketAddr, error: &io::Error) -> ProbeError {
    let why = match error.kind() {
        ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        ErrorKind::TimedOut => "it took too long".to_owned(),
        _ => error.to_string(),
    };
    ProbeError::Connection(format!("no connection to {at}: {why}"))
}

/// The name or address of `host:port`, with an IPv6 address in brackets, and the port.
///
/// # Errors
/// Why it is no such address.
pub fn address_of(address: &str) -> Result<(&str, u16), &'static str> {
    let (name, port) = address.rsplit_once(':').ok_or("the port is missing")?;
    let name = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or("a bracket is missing")?,
        None if name.contains(':') => return Err("an IPv6 address stands in brackets"),
        None => name,
    };
    let port = http::port_of(port).ok_or("its port is not from 1 to 65535")?;
    Ok((name, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_address_is_split_at_its_port() {
        assert_eq!(address_of("127.0.0.1:80"), Ok(("127.0.0.1", 80)));
        assert_eq!(address_of("[::1]:80"), Ok(("::1", 80)));
        assert_eq!(address_of("web:4222"), Ok(("web", 4222)));
        let wrong = ["web", "web:", "web:70000", "web:0", "::1:80", "[::1:80"];
        for wrong in wrong {
            assert!(address_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn something_listens_or_nothing_does() {
        let host = LocalHost::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(host.tcp(&format!("127.0.0.1:{port}"), SECOND), Ok(()));
        assert_eq!(host.tcp(&format!("localhost:{port}"), SECOND), Ok(()));
        drop(listener);
        let refused = host.tcp(&format!("127.0.0.1:{port}"), SECOND).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("no connection to 127.0.0.1:{port}: nothing listens there")
        );
    }
}
