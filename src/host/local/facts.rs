//! What this machine says of itself.

use std::fs;
use std::path::Path;

use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::system::uname;

use crate::host::port::{HostErrorKind, Space};
use crate::model::HostFacts;

use super::LocalHost;

/// Now, to the millisecond, as RFC 3339 in UTC.
pub(super) fn time() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_millisecond(now.as_millisecond())
        .unwrap_or(now)
        .to_string()
}

/// Room on the file system of a path.
pub(super) fn space(path: &Path) -> Result<Space, HostErrorKind> {
    let found = file_system(path)?;
    Ok(Space {
        // As `df` says it, for root too: beyond that ext4 has what is root's reserve, which no app gets, and what
        // nobody gets.
        bytes: found.f_bavail.saturating_mul(found.f_frsize),
        // btrfs makes inodes as they are needed and says that it has none.
        inodes: if found.f_files == 0 {
            u64::MAX
        } else {
            found.f_favail
        },
    })
}

/// Whether the file system of a path takes no writes: itself, or where it is mounted.
pub(super) fn is_read_only(path: &Path) -> Result<bool, HostErrorKind> {
    Ok(file_system(path)?
        .f_flag
        .contains(StatVfsMountFlags::RDONLY))
}

/// The file system of the nearest directory that is there.
fn file_system(path: &Path) -> Result<StatVfs, HostErrorKind> {
    for place in path.ancestors() {
        match statvfs(place) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            found => return Ok(found?),
        }
    }
    Err(HostErrorKind::NotFound)
}

impl LocalHost {
    /// All facts, read now.
    pub(super) fn all_facts(&self) -> HostFacts {
        let own = geteuid();
        let user = match self.accounts.account(&own.as_raw().to_string()) {
            Ok(Some(account)) => account.name,
            // A number without a name is a fact too, as in a container.
            Ok(None) | Err(_) => own.as_raw().to_string(),
        };
        HostFacts {
            platform: platform(),
            system: system(),
            user,
            root: own.is_root(),
            systemd: is_systemd(),
            clock: jiff::Timestamp::now().as_second(),
        }
    }
}

/// `linux-x86_64-gnu`, or `-musl` where only that C library is there.
fn platform() -> String {
    let machine = uname().machine().to_string_lossy().into_owned();
    let musl = format!("/lib/ld-musl-{machine}.so.1");
    let library = if Path::new(&musl).exists() && !Path::new("/etc/debian_version").exists() {
        "musl"
    } else {
        "gnu"
    };
    format!("linux-{machine}-{library}")
}

/// PRETTY_NAME of os-release(5).
fn system() -> String {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|value| value.trim_matches(['"', '\'']).to_owned())
        .unwrap_or_default()
}

/// Whether PID 1 is systemd and runs the system; see sd_booted(3).
fn is_systemd() -> bool {
    fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd")
        && Path::new("/run/systemd/system").is_dir()
}
