//! The clock that no change of the time moves.

use std::fs;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::model::Moment;

/// Now.
pub(super) fn moment() -> Moment {
    Moment {
        boot: boot(),
        monotonic: microseconds(clock_gettime(ClockId::Monotonic)),
    }
}

/// The kernel's name for this boot; see random(4).
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The moment of a process's start as /proc tells it, in ticks since boot, never later than it was.
pub(super) fn moment_of_ticks(ticks: u64) -> Moment {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let since_boot = ticks.saturating_mul(1_000_000) / per_second;
    // /proc counts time asleep, the monotonic clock doesn't. See proc_pid_stat(5), clock_gettime(2).
    let asleep = microseconds(clock_gettime(ClockId::Boottime))
        .saturating_sub(microseconds(clock_gettime(ClockId::Monotonic)));
    Moment {
        boot: boot(),
        monotonic: since_boot.saturating_sub(asleep),
    }
}

fn microseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanoseconds / 1000
}
