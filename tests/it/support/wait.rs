//! Waiting for a condition, in the one place where a test may let time pass.

use std::time::{Duration, Instant};

/// Returns as soon as `condition` holds; panics with `what` when it doesn't within `limit`.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < limit,
            "waited {limit:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
