//! Ending a run from outside: by a signal, or because a person wants it.

use tokio::sync::watch;

/// How often and by what a run was cancelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cancel {
    /// The number of the first signal; none while nobody wants the run to end.
    pub signal: Option<u8>,
    /// Whether a further one came: then the waiting ends, not the way back.
    pub again: bool,
}

/// The side that cancels.
#[derive(Debug)]
pub struct Canceller(watch::Sender<Cancel>);

impl Canceller {
    /// A run that nobody has cancelled yet.
    #[must_use]
    pub fn new() -> (Self, Cancelling) {
        let (sender, receiver) = watch::channel(Cancel::default());
        (Self(sender), Cancelling(receiver))
    }

    /// A signal has come.
    pub fn signal(&self, number: u8) {
        self.0.send_modify(|cancel| match cancel.signal {
            None => cancel.signal = Some(number),
            Some(_) => cancel.again = true,
        });
    }
}

/// The side that is cancelled.
#[derive(Debug, Clone)]
pub struct Cancelling(watch::Receiver<Cancel>);

impl Cancelling {
    /// One that is never cancelled.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::channel(Cancel::default()).1)
    }

    /// Returns the signal when the run is to end.
    pub async fn wanted(&self) -> u8 {
        let mut cancel = self.0.clone();
        if let Ok(cancel) = cancel.wait_for(|cancel| cancel.signal.is_some()).await
            && let Some(signal) = cancel.signal
        {
            return signal;
        }
        std::future::pending().await
    }

    /// The signal, when the run is to end by now.
    pub(super) fn signal(&self) -> Option<u8> {
        self.0.borrow().signal
    }

    /// Returns when the waiting is to end too.
    pub async fn impatient(&self) {
        let mut cancel = self.0.clone();
        if cancel.wait_for(|cancel| cancel.again).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
