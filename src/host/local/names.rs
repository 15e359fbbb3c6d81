//! Addresses of names, by the machine's own `getent`.
//!
//! Never by getaddrinfo: see the module's documentation in `local/mod.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::host::probe::ProbeError;
use crate::host::program::ask;

/// The addresses of a name or an address, at least one, in the order in which to try them.
pub(super) fn addresses(
    name: &str,
    port: u16,
    patience: Duration,
) -> Result<Vec<SocketAddr>, ProbeError> {
    let found = if let Ok(address) = name.parse() {
        vec![address]
    } else if name.eq_ignore_ascii_case("localhost") {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    } else {
        look_up(name, patience)?
    };
    Ok(found
        .into_iter()
        .map(|address| SocketAddr::new(address, port))
        .collect())
}

fn look_up(name: &str, patience: Duration) -> Result<Vec<IpAddr>, ProbeError> {
    let unknown = || ProbeError::Connection(format!("no host is called {name}"));
    // It would be taken for an option, and no host is called so.
    if name.is_empty() || name.starts_with('-') {
        return Err(unknown());
    }
    let said = ask("getent", &["ahosts", name], patience)
        .map_err(|error| ProbeError::Unable(format!("can't look up {name} by getent: {error}")))?;
    if said.timed_out {
        let words = format!("the name service didn't say in time where {name} is");
        return Err(ProbeError::Connection(words));
    }
    let found = parse(&said.output);
    if found.is_empty() {
        return Err(unknown());
    }
    Ok(found)
}

/// Reads the answer of `getent ahosts`: one line for each address and socket type.
fn parse(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let first = line.split_whitespace().next();
        if let Some(address) = first.and_then(|word| word.parse().ok())
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_named_once() {
        let text = "10.0.0.1 STREAM web\n10.0.0.1 DGRAM\n10.0.0.1 RAW\nfd00::1 STREAM\n";
        let expected: Vec<IpAddr> = ["10.0.0.1", "fd00::1"]
            .iter()
            .map(|word| word.parse().unwrap())
            .collect();
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn what_looks_like_an_option_is_no_name() {
        let said = addresses("--service", 80, Duration::from_secs(1));
        assert!(matches!(said, Err(ProbeError::Connection(_))), "{said:?}");
    }
}
