//! What a host says of itself.

use serde::{Deserialize, Serialize};

/// A point in time on one host that no clock change moves: which boot, and how far into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The kernel's boot id.
    pub boot: String,
    /// Microseconds of CLOCK_MONOTONIC, the clock of systemd's `…TimestampMonotonic` properties.
    pub monotonic: u64,
}

impl Moment {
    /// Whether `self` is later than `other`. Anything of an earlier boot is earlier than all of this one.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        self.boot == other.boot && self.monotonic > other.monotonic
    }
}

/// Facts about a host that plans depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// `linux`, the architecture and the C library, as in `linux-x86_64`; part of the digest of tasks with output.
    pub platform: String,
    /// `PRETTY_NAME` of os-release, or empty.
    pub system: String,
    /// The user that the helper runs as.
    pub user: String,
    /// Whether that is root.
    pub root: bool,
    /// Whether PID 1 is systemd.
    pub systemd: bool,
    /// Seconds since 1970 by the host's clock when the facts were read.
    pub clock: i64,
}
