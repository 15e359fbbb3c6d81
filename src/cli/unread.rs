//! Hosts that couldn't be read, beside those that could: what is known is told, and what isn't named.

use std::collections::BTreeMap;

use crate::fleet::ask::AskError;
use crate::fleet::reach::ReachError;
use crate::model::HostName;

use super::deployment::{asking, unreachable_hosts};
use super::error::CommandError;
use super::exit::Exit;

/// Hosts that couldn't be read.
#[derive(Default)]
pub(super) struct Unread {
    /// Each with why: `unreachable` in documents.
    pub hosts: BTreeMap<HostName, String>,
    /// What to say of them.
    pub errors: Vec<CommandError>,
}

impl Unread {
    /// Hosts that aren't there.
    pub fn missing(missing: &[(HostName, ReachError)]) -> Self {
        let why = missing.iter();
        let errors = (!missing.is_empty()).then(|| unreachable_hosts(missing));
        Self {
            hosts: why
                .map(|(host, it)| (host.clone(), it.to_string()))
                .collect(),
            errors: errors.into_iter().collect(),
        }
    }

    /// Hosts that were there, and refuse or are lost.
    pub fn add(&mut self, lost: &[AskError]) {
        if lost.is_empty() {
            return;
        }
        let why = lost.iter();
        self.hosts
            .extend(why.map(|it| (it.host().clone(), it.to_string())));
        self.errors.push(asking(lost));
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// How a command ends that has told all that it could: as it would, if nothing was missing.
    ///
    /// # Errors
    /// Exit code 4 with everything that is to be said of hosts which couldn't be read.
    pub fn end(self, exit: Exit) -> Result<Exit, CommandError> {
        let mut errors = self.errors.into_iter();
        let Some(first) = errors.next() else {
            return Ok(exit);
        };
        let others = errors.map(|it| it.words());
        Err(others.fold(first, CommandError::hint))
    }
}
