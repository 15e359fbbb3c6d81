//! Who listens on a TCP port: the kernel's tables, and the processes that hold the sockets.
//!
//! See proc_pid_net(5), /proc/net/tcp, and proc_pid_fd(5).

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::host::cgroup;
use crate::host::listening::{Listener, LiveProcess};
use crate::host::port::HostErrorKind;
use crate::host::proc;

/// The state LISTEN: TCP_LISTEN of the kernel's include/net/tcp_states.h.
const LISTEN: &str = "0A";

/// A line of the kernel's tables.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// The sockets that somebody listens on at a port.
pub(super) fn on(port: u16) -> Result<Vec<Listener>, HostErrorKind> {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match fs::read_to_string(table) {
            Ok(text) => sockets.extend(text.lines().skip(1).filter_map(listening)),
            // A kernel without IPv6 has no such table.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    sockets.retain(|socket| socket.port == port);
    if sockets.is_empty() {
        return Ok(Vec::new());
    }
    let processes = proc::all()?;
    let listener = |socket: Socket| Listener {
        address: socket.address,
        processes: holders(&processes, socket.inode),
    };
    Ok(sockets.into_iter().map(listener).collect())
}

/// A line's socket, where somebody listens on it.
fn listening(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.get(3) != Some(&LISTEN) {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(Socket {
        address: self::address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// An address as the kernel writes it: words of 32 bits, each in the order of this machine.
fn address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Some(Ipv4Addr::from(bytes).into()),
        Err(_) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
    }
}

/// Those of some processes that hold a socket. What may not be looked into counts as not there.
fn holders(processes: &[u32], inode: u64) -> Vec<LiveProcess> {
    let name = format!("socket:[{inode}]");
    let holds = |process: &&u32| {
        let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else {
            return false;
        };
        let mut targets = files.flatten().map(|file| fs::read_link(file.path()));
        targets.any(|target| target.is_ok_and(|target| target.as_os_str() == name.as_str()))
    };
    let holding: BTreeSet<u32> = processes.iter().filter(holds).copied().collect();
    holding.into_iter().map(live).collect()
}

fn live(id: u32) -> LiveProcess {
    let program = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    LiveProcess {
        id,
        program: program.trim_end().to_owned(),
        unit: cgroup::unit_of(id),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_of_the_table_is_read_where_somebody_listens() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0";
        let socket = Socket {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 8080,
            inode: 4711,
        };
        // The words are in the order of the machine that wrote them.
        if cfg!(target_endian = "little") {
            assert_eq!(listening(line), Some(socket));
        }
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        let six = "00000000000000000000000001000000";
        if cfg!(target_endian = "little") {
            assert_eq!(address(six), Some(Ipv6Addr::LOCALHOST.into()));
        }
        assert_eq!(address("0100007"), None);
    }

    #[test]
    fn this_process_is_found_at_what_it_listens_on() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(at) else {
                // This machine has no IPv6.
                continue;
            };
            let bound = listener.local_addr().unwrap();
            let found = on(bound.port()).unwrap();
            let found = found.iter().find(|it| it.address == bound.ip()).unwrap();
            let ids: Vec<_> = found.processes.iter().map(|process| process.id).collect();
            assert!(ids.contains(&std::process::id()), "{found:?}");
        }
    }
}
