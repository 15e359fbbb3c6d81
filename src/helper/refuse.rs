//! From what failed to a refusal: one place that says of which kind each failure is.

use super::ledger::LedgerError;
use super::protocol::{Refusal, RefusalKind};
use super::registry::RegistryError;
use crate::apply::{JournalError, TakeError};
use crate::content::{ContentError, PackError};
use crate::host::HostError;

/// A refusal with its words.
pub(super) fn refusal(kind: RefusalKind, message: impl Into<String>) -> Refusal {
    Refusal {
        kind,
        message: message.into(),
    }
}

fn of_host(error: &HostError) -> RefusalKind {
    if error.kind.is_temporary() {
        RefusalKind::ForNow
    } else {
        RefusalKind::Host
    }
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        refusal(of_host(&error), error.to_string())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        refusal(
            RefusalKind::Host,
            format!("the lock can't be taken: {error}"),
        )
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        let kind = match &error {
            LedgerError::Host(error) => of_host(error),
            LedgerError::UnknownFormat { .. } | LedgerError::Damaged { .. } => {
                RefusalKind::UnknownFormat
            }
        };
        refusal(kind, error.to_string())
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Host(error) => error.into(),
            RegistryError::Ledger(error) => error.into(),
            RegistryError::UnknownFormat { .. } => {
                refusal(RefusalKind::UnknownFormat, error.to_string())
            }
            RegistryError::MadeMeanwhile { .. } => refusal(RefusalKind::Stale, error.to_string()),
        }
    }
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        let kind = match &error {
            JournalError::Host(error) => of_host(error),
            JournalError::UnknownFormat { .. } => RefusalKind::UnknownFormat,
            JournalError::Record { .. } => RefusalKind::Internal,
        };
        refusal(kind, error.to_string())
    }
}

impl From<TakeError> for Refusal {
    fn from(error: TakeError) -> Self {
        let kind = if error.is_temporary() {
            RefusalKind::ForNow
        } else {
            RefusalKind::Host
        };
        refusal(kind, error.to_string())
    }
}

impl From<ContentError> for Refusal {
    fn from(error: ContentError) -> Self {
        refusal(RefusalKind::Host, error.to_string())
    }
}

impl From<PackError> for Refusal {
    fn from(error: PackError) -> Self {
        refusal(RefusalKind::Host, error.to_string())
    }
}
