//! Who listens on a TCP port, as the host shows it.

use std::net::{IpAddr, Ipv6Addr};

/// A socket that somebody listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address that it takes connections for; an unspecified one for all of the host's.
    pub address: IpAddr,
    /// The processes that hold it. Empty where none may be looked into, or none has it.
    pub processes: Vec<LiveProcess>,
}

/// A process, as a person is told of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LiveProcess {
    /// Its number.
    pub id: u32,
    /// The name of its program. Never its arguments, which may hold anybody's secrets.
    pub program: String,
    /// The unit or scope that systemd runs it in, where there is one.
    pub unit: Option<String>,
}

impl Listener {
    /// Whether it would answer who asks this host by such an address of its own: `127.0.0.1`,
    /// `localhost`, `::1`.
    ///
    /// A socket on `::` is taken to answer IPv4 too, as it does unless it was told not to
    /// (ipv6(7), `IPV6_V6ONLY`), which isn't shown.
    #[must_use]
    pub fn answers(&self, host: &str) -> bool {
        let address = self.address.to_canonical();
        if self.is_on_all_ipv6() {
            return true;
        }
        match host.parse::<IpAddr>() {
            Ok(asked) if address.is_unspecified() => asked.is_ipv4(),
            Ok(asked) => asked == address,
            Err(_) => address.is_unspecified() || address.is_loopback(),
        }
    }

    /// Whether it may leave who asks by an IPv4 address alone, so that another can listen beside it.
    #[must_use]
    pub fn may_be_ipv6_only(&self, host: &str) -> bool {
        self.is_on_all_ipv6() && host.parse().is_ok_and(|asked: IpAddr| asked.is_ipv4())
    }

    fn is_on_all_ipv6(&self) -> bool {
        self.address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}

/// Whether a name or address can only mean the host itself.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(address: &str, host: &str) -> bool {
        let listener = Listener {
            address: address.parse().unwrap(),
            processes: Vec::new(),
        };
        listener.answers(host)
    }

    #[test]
    fn a_socket_answers_for_its_own_address_or_for_all() {
        for (address, host) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("0.0.0.0", "localhost"),
            ("::", "127.0.0.1"),
            ("::", "::1"),
            ("::1", "localhost"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ] {
            assert!(answers(address, host), "{address} {host}");
        }
        for (address, host) in [
            ("10.0.0.1", "127.0.0.1"),
            ("10.0.0.1", "localhost"),
            ("127.0.0.2", "127.0.0.1"),
            ("::1", "127.0.0.1"),
            ("0.0.0.0", "::1"),
        ] {
            assert!(!answers(address, host), "{address} {host}");
        }
    }

    #[test]
    fn what_may_be_elsewhere_is_no_loopback() {
        assert!(["127.0.0.1", "127.1.2.3", "::1", "localhost"].map(is_loopback) == [true; 4]);
        assert!(["10.0.0.1", "example.org", "0.0.0.0"].map(is_loopback) == [false; 3]);
    }
}
