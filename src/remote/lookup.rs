//! Finds the addresses of a host name.
//!
//! rosey is linked statically, and getaddrinfo of a static glibc loads the machine's
//! own NSS modules, which can abort the program (measured: SIGABRT on Debian 11,
//! SIGFPE on Debian 13). So `getent` is asked, a program of the machine itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("no such host name")]
    Unknown,
    #[error("the name service gave no answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("can't start getent, which looks up names")]
    Getent(#[source] io::Error),
}

/// Gives the addresses of a name in the order in which to try them, at least one.
pub(crate) async fn addresses(name: &str, patience: Duration) -> Result<Vec<IpAddr>, LookupError> {
    // A zone ("fe80::1%eth0") is left to getent as well.
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    if name.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    // It would be taken for an option, and no host is called so.
    if name.starts_with('-') {
        return Err(LookupError::Unknown);
    }
    let mut command = Command::new("getent");
    command
        .arg("ahosts")
        .arg(name)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(patience, command.output())
        .await
        .map_err(|_| LookupError::Silent(patience))?
        .map_err(LookupError::Getent)?;
    let found = read(&String::from_utf8_lossy(&output.stdout));
    if found.is_empty() {
        Err(LookupError::Unknown)
    } else {
        Ok(found)
    }
}

/// Reads the answer of `getent ahosts`: one line for each address and socket type.
fn read(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let address = line
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok());
        if let Some(address) = address.filter(|a| !found.contains(a)) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_taken_once_in_order() {
        let text = "2001:db8::1     STREAM bot\n2001:db8::1     DGRAM\n10.0.0.1        STREAM\nfe80::1%eth0 STREAM\n10.0.0.1 RAW\n";
        let found: Vec<String> = read(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["2001:db8::1", "10.0.0.1"]);
    }

    #[tokio::test]
    async fn addresses_need_no_lookup() {
        let patience = Duration::from_secs(5);
        assert_eq!(
            addresses("10.1.2.3", patience).await.unwrap(),
            [IpAddr::from([10, 1, 2, 3])]
        );
        assert!(!addresses("localhost", patience).await.unwrap().is_empty());
    }
}
