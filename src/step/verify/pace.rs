//! Time, as waiting for health sees it.

use std::time::{Duration, Instant};

/// A clock that can be waited on.
pub trait Pace {
    /// How long it has been running.
    fn now(&self) -> Duration;

    /// Lets time pass.
    fn wait(&self, time: Duration);
}

/// The time of this machine, which no change of its clock moves.
#[derive(Debug, Clone, Copy)]
pub struct RealPace {
    begin: Instant,
}

impl RealPace {
    /// Runs from now on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
        }
    }
}

impl Default for RealPace {
    fn default() -> Self {
        Self::new()
    }
}

impl Pace for RealPace {
    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
