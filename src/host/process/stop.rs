//! Stopping all of a service.

use std::time::{Duration, Instant};

use crate::host::port::HostErrorKind;

use super::record::{self, Record};
use super::unit::Definition;
use super::{Main, Service};

impl Service {
    /// Asks every process of the service to end, and kills what is left after its time. Nothing
    /// running is fine.
    pub(super) fn stop(&self, deadline: Instant) -> Result<(), HostErrorKind> {
        let leader = self.main()?.map(|Main { process, .. }| process);
        // Without a definition (it was removed first) the service is stopped as any other.
        let (signal, patience) = match Definition::read(self) {
            Ok(definition) => (definition.kill_signal, definition.stop_patience),
            Err(_) => (Definition::KILL_SIGNAL, Definition::STOP_PATIENCE),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let family = self.family(leader);
        if !family.end(signal, patience.min(left))? {
            family.kill()?;
        }
        record::forget(self, "run")
    }

    /// Ends what a main process that is gone has left behind, as systemd does by control group.
    pub(super) fn clear(&self) -> Result<(), HostErrorKind> {
        let family = self.family(None);
        if !family.end(Definition::KILL_SIGNAL, Duration::from_secs(2))? {
            family.kill()?;
        }
        if Record::read(self)?.is_some() {
            record::forget(self, "run")?;
        }
        Ok(())
    }
}
