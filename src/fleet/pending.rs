//! What is waited for while no event tells of it: whoever looks shall know why nothing happens yet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::few;

/// Where it is shown.
pub trait Screen: Send {
    /// Shows what is waited for, and for how long by now.
    fn show(&mut self, text: &str, passed: Duration);
    /// Nothing is waited for any more, or something else is to be seen.
    fn clear(&mut self);
}

/// All that is waited for. Clones share it.
///
/// Where it is shown may stand still, as a terminal does that somebody has stopped. So nobody who begins or ends
/// something waits for the screen: only [`show`](Self::show), and who is about to use the screen himself.
#[derive(Clone, Default)]
pub struct Pending {
    open: Arc<Mutex<BTreeMap<u64, Open>>>,
    next: Arc<AtomicU64>,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Default)]
struct Shown {
    screen: Option<Box<dyn Screen>>,
    /// How many phases of a command that want it shown are under way.
    wanted: usize,
    /// How many want nothing shown at the moment.
    hiding: usize,
}

struct Open {
    doing: &'static str,
    name: String,
    since: Instant,
}

impl Pending {
    /// Shown there. The default is shown nowhere.
    #[must_use]
    pub fn on(screen: Box<dyn Screen>) -> Self {
        let shown = Shown {
            screen: Some(screen),
            ..Shown::default()
        };
        Self {
            shown: Arc::new(Mutex::new(shown)),
            ..Self::default()
        }
    }

    /// From now on something is waited for, until what is returned is dropped: `connecting to` a host's name.
    #[must_use]
    pub fn begin(&self, doing: &'static str, name: impl ToString) -> Waited {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let open = Open {
            doing,
            name: name.to_string(),
            since: Instant::now(),
        };
        locked(&self.open).insert(number, open);
        Waited {
            pending: self.clone(),
            number,
        }
    }

    /// A phase of a command in which no event tells of anything. What is waited for may be shown, until what is
    /// returned is dropped.
    #[must_use]
    pub fn phase(&self) -> Phase {
        locked(&self.shown).wanted += 1;
        Phase(self.clone())
    }

    /// Shows what is waited for at this moment.
    pub fn show(&self, now: Instant) {
        let mut shown = locked(&self.shown);
        let is_wanted = shown.wanted > 0 && shown.hiding == 0;
        let Some(screen) = shown.screen.as_mut().filter(|_| is_wanted) else {
            return;
        };
        let told = {
            let open = locked(&self.open);
            let since = open.values().map(|it| it.since).min();
            since.map(|since| (sentence(&open), now.saturating_duration_since(since)))
        };
        match told {
            Some((text, passed)) => screen.show(&text, passed),
            None => screen.clear(),
        }
    }

    /// Shows nothing, until what is returned is dropped: a person is asked.
    #[must_use]
    pub fn hide(&self) -> Hidden {
        let mut shown = locked(&self.shown);
        shown.hiding += 1;
        shown.clear();
        drop(shown);
        Hidden(self.clone())
    }
}

impl Shown {
    fn clear(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.clear();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after each use, so a panic elsewhere leaves nothing half done here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that is waited for.
pub struct Waited {
    pending: Pending,
    number: u64,
}

impl Waited {
    /// It goes on with something else.
    pub fn goes_on(&self, doing: &'static str) {
        if let Some(open) = locked(&self.pending.open).get_mut(&self.number) {
            open.doing = doing;
        }
    }
}

impl Drop for Waited {
    fn drop(&mut self) {
        locked(&self.pending.open).remove(&self.number);
    }
}

/// What is waited for may be shown for as long as there is one.
pub struct Phase(Pending);

impl Drop for Phase {
    fn drop(&mut self) {
        let mut shown = locked(&self.0.shown);
        shown.wanted -= 1;
        // At once: what is said next must not come beside it.
        if shown.wanted == 0 {
            shown.clear();
        }
    }
}

/// Nothing is shown for as long as there is one.
pub struct Hidden(Pending);

impl Drop for Hidden {
    fn drop(&mut self) {
        locked(&self.0.shown).hiding -= 1;
    }
}

fn sentence(open: &BTreeMap<u64, Open>) -> String {
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for it in open.values() {
        names.entry(it.doing).or_default().push(it.name.clone());
    }
    let parts = names
        .into_iter()
        .map(|(doing, names)| format!("{} {}", doing, few(names)));
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl Screen for Seen {
        fn show(&mut self, text: &str, passed: Duration) {
            let text = format!("{text}, {} s", passed.as_secs());
            self.0.lock().unwrap().push(text);
        }

        fn clear(&mut self) {
            self.0.lock().unwrap().push("cleared".to_owned());
        }
    }

    #[test]
    fn it_is_shown_while_it_lasts_in_a_phase_and_is_not_hidden() {
        let seen = Seen::default();
        let pending = Pending::on(Box::new(seen.clone()));
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        let one = pending.begin("connecting to", "web1");
        pending.show(later(1));
        let phase = pending.phase();
        let two = pending.begin("connecting to", "web2");
        let source = pending.begin("reading the source of", "bot");
        pending.show(later(5));
        drop(source);
        two.goes_on("bringing rosey to");
        pending.show(later(6));
        let hidden = pending.hide();
        pending.show(later(7));
        drop(hidden);
        drop(one);
        pending.show(later(8));
        drop(phase);
        pending.show(later(9));
        let seen = seen.0.lock().unwrap().clone();
        assert_eq!(
            seen,
            [
                "connecting to web1 and web2; reading the source of bot, 5 s",
                "bringing rosey to web2; connecting to web1, 6 s",
                "cleared",
                "bringing rosey to web2, 8 s",
                "cleared"
            ]
        );
    }
}
