//! The stream of what happens in a run. Nobody who listens is ever waited for.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::model::{Event, EventKind};

/// Gives the time of an event: RFC 3339, UTC.
pub type Clock = fn() -> String;

/// Where events go: to every consumer alike. Clones share the consumers.
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    consumers: Vec<UnboundedSender<Event>>,
}

impl Events {
    /// A stream with these consumers. One that goes away is passed over from then on.
    #[must_use]
    pub fn new(clock: Clock, consumers: Vec<UnboundedSender<Event>>) -> Self {
        Self {
            shared: Arc::new(Shared { clock, consumers }),
        }
    }

    /// Tells every consumer, without waiting.
    pub fn emit(&self, kind: EventKind) {
        let event = Event {
            time: (self.shared.clock)(),
            kind,
        };
        for consumer in &self.shared.consumers {
            // A consumer that has gone wanted no more events; the run goes on without it.
            consumer.send(event.clone()).ok();
        }
    }

    /// Something worth saying.
    pub(crate) fn note(&self, host: Option<&crate::model::HostName>, text: impl Into<String>) {
        self.emit(EventKind::Note {
            host: host.cloned(),
            text: text.into(),
        });
    }

    /// The time by the clock of this stream.
    #[must_use]
    pub fn now(&self) -> String {
        (self.shared.clock)()
    }
}
