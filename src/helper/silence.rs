//! How long the controller has been silent: one that has said nothing for the guard time is lost,
//! whatever its stream still looks like.
//!
//! Time is the kernel's monotonic clock: a clock that is set means nothing here. Bytes count, not
//! frames: a large one on a slow link is no silence.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Waking up later than this after the time was up means that this process stood still.
const LATE: Duration = Duration::from_millis(50);

/// How long the listener then gets to hear what came meanwhile.
const GRACE: Duration = Duration::from_millis(250);

/// When the controller was heard last, and how long it may be silent.
#[derive(Clone)]
pub(super) struct Silence(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    heard: Instant,
    /// None while nothing depends on it.
    guard: Option<Duration>,
    over: bool,
}

impl Silence {
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                heard: Instant::now(),
                guard: None,
                over: false,
            }),
            changed: Condvar::new(),
        }))
    }

    /// From now on silence for so long means that the controller is lost; `zero` that none does.
    pub fn arm(&self, guard: Duration) {
        let mut state = self.lock();
        state.guard = (!guard.is_zero()).then_some(guard);
        state.heard = Instant::now();
        self.0.changed.notify_all();
    }

    /// Nothing depends on it any more.
    pub fn disarm(&self) {
        self.arm(Duration::ZERO);
    }

    /// The controller was heard just now.
    fn note(&self) {
        self.lock().heard = Instant::now();
    }

    /// Nobody listens any more.
    pub fn end(&self) {
        self.lock().over = true;
        self.0.changed.notify_all();
    }

    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Waits until the controller was silent for too long, and says how long; none when listening
    /// ended before. It ends with that.
    pub fn wait(&self) -> Option<Duration> {
        let mut state = self.lock();
        loop {
            if state.over {
                return None;
            }
            let Some(guard) = state.guard else {
                state = self
                    .0
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let silent = state.heard.elapsed();
            let left = guard.saturating_sub(silent);
            if left.is_zero() {
                state.over = true;
                return Some(silent);
            }
            let begun = Instant::now();
            state = self.wait_for(state, left);
            if begun.elapsed() > left + LATE {
                // The listener stood still too: what came meanwhile waits to be heard.
                state = self.wait_for(state, GRACE);
            }
        }
    }

    fn wait_for<'s>(&self, state: MutexGuard<'s, State>, time: Duration) -> MutexGuard<'s, State> {
        let waited = self.0.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of which every byte is a sign of life.
pub(super) struct Noted<R> {
    pub stream: R,
    pub silence: Silence,
}

impl<R: Read> Read for Noted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        if count > 0 {
            self.silence.note();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Duration = Duration::from_millis(200);

    #[test]
    fn only_silence_for_the_whole_time_counts() {
        let silence = Silence::new();
        silence.arm(GUARD);
        let waiting = silence.clone();
        let watchdog = std::thread::spawn(move || waiting.wait());
        let begun = Instant::now();
        let mut noted = Noted {
            stream: io::repeat(0),
            silence: silence.clone(),
        };
        // Bytes of one frame, each well within the time, all together beyond it.
        while begun.elapsed() < 3 * GUARD {
            assert!(!silence.is_over());
            noted.read_exact(&mut [0]).unwrap();
            std::thread::yield_now();
        }
        let last = Instant::now();
        let silent = watchdog.join().unwrap().unwrap();
        assert!(silent >= GUARD, "{silent:?}");
        assert!(last.elapsed() >= GUARD - LATE);
    }

    #[test]
    fn without_a_guard_time_silence_means_nothing() {
        let silence = Silence::new();
        let waiting = silence.clone();
        let watchdog = std::thread::spawn(move || waiting.wait());
        silence.arm(Duration::from_millis(1));
        silence.disarm();
        silence.end();
        // Either it was disarmed in time, or its millisecond had passed by then.
        let silent = watchdog.join().unwrap();
        assert!(silent.is_none_or(|silent| silent >= Duration::from_millis(1)));
        assert_eq!(silence.wait(), None);
    }
}
