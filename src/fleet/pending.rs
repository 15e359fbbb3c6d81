//! What is waited for while no event tells of it: whoever looks shall know why nothing happens yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::few;

/// Where it is shown.
pub trait Screen: Send {
    /// Shows what is waited for, and for how long by now.
    fn show(&mut self, text: &str, passed: Duration);
    /// Nothing is waited for any more, or something else is to be shown.
    fn clear(&mut self);
}

/// All that is waited for. Clones share it.
#[derive(Clone, Default)]
pub struct Pending {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<u64, Open>,
    next: u64,
    /// How many want nothing shown at the moment.
    hiding: usize,
    screen: Option<Box<dyn Screen>>,
}

struct Open {
    doing: &'static str,
    name: String,
    since: Instant,
}

impl Pending {
    /// Shown there, each time that [`show`](Self::show) is called. The default is shown nowhere.
    #[must_use]
    pub fn on(screen: Box<dyn Screen>) -> Self {
        let state = State {
            screen: Some(screen),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// From now on something is waited for, until what is returned is dropped: `connecting to` a host's name.
    #[must_use]
    pub fn begin(&self, doing: &'static str, name: impl ToString) -> Waited {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let open = Open {
            doing,
            name: name.to_string(),
            since: Instant::now(),
        };
        state.open.insert(number, open);
        drop(state);
        Waited {
            pending: self.clone(),
            number,
        }
    }

    /// Shows what is waited for at this moment.
    pub fn show(&self, now: Instant) {
        let mut state = self.state();
        let State {
            open,
            hiding: 0,
            screen: Some(screen),
            ..
        } = &mut *state
        else {
            return;
        };
        if let Some(since) = open.values().map(|it| it.since).min() {
            screen.show(&sentence(open), now.saturating_duration_since(since));
        }
    }

    /// Shows nothing, until what is returned is dropped: something else is shown, or a person is asked.
    #[must_use]
    pub fn hide(&self) -> Hidden {
        let mut state = self.state();
        state.hiding += 1;
        state.clear();
        drop(state);
        Hidden(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after each use, so a panic elsewhere leaves nothing half done here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.clear();
        }
    }
}

/// Something that is waited for.
pub struct Waited {
    pending: Pending,
    number: u64,
}

impl Waited {
    /// It goes on with something else.
    pub fn goes_on(&self, doing: &'static str) {
        if let Some(open) = self.pending.state().open.get_mut(&self.number) {
            open.doing = doing;
            open.since = Instant::now();
        }
    }
}

impl Drop for Waited {
    fn drop(&mut self) {
        let mut state = self.pending.state();
        state.open.remove(&self.number);
        // At once: what is said next must not come beside it.
        if state.open.is_empty() {
            state.clear();
        }
    }
}

/// Nothing is shown for as long as there is one.
pub struct Hidden(Pending);

impl Drop for Hidden {
    fn drop(&mut self) {
        self.0.state().hiding -= 1;
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
    fn it_is_shown_while_it_lasts_and_is_not_hidden() {
        let seen = Seen::default();
        let pending = Pending::on(Box::new(seen.clone()));
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        pending.show(later(1));
        let (one, two) = (
            pending.begin("connecting to", "web1"),
            pending.begin("connecting to", "web2"),
        );
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
        drop(two);
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
