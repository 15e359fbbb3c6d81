//! Exit codes, the same everywhere.

use crate::model::gate::GateClass;

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done, or nothing to do.
    pub const DONE: Self = Self(0);
    /// An internal error, or wrong use.
    pub const ERROR: Self = Self(1);
    /// Differences.
    pub const DIFFERENCES: Self = Self(2);
    /// The declaration is wrong.
    pub const DECLARATION: Self = Self(3);
    /// A host can't be reached or refuses us.
    pub const UNREACHABLE: Self = Self(4);
    /// Locked, frozen, held, or a run is under way.
    pub const LOCKED: Self = Self(5);
    /// The saved plan is stale, expired or was applied already.
    pub const STALE: Self = Self(6);
    /// The apply failed; a person is needed.
    pub const STUCK: Self = Self(8);
    /// Approval, reason, version or saved plan is missing; or a gate was inconclusive.
    pub const UNAPPROVED: Self = Self(9);
    /// Planning found that it can't work.
    pub const BLOCKED: Self = Self(10);
    /// Hosts that can't be read are still going back by themselves, or stand new unconfirmed.
    pub const GOING_BACK: Self = Self(18);

    /// Cancelled by a signal with this number; everything is as it was.
    #[must_use]
    pub fn cancelled_by(signal: u8) -> Self {
        Self(128 + signal)
    }

    /// Whether a signal is the reason.
    #[must_use]
    pub fn is_cancelled(self) -> bool {
        self.0 > 128
    }

    /// The code of the first gate that failed.
    #[must_use]
    pub fn of_gate(class: GateClass) -> Self {
        Self(match class {
            GateClass::Process => 11,
            GateClass::Connection => 12,
            GateClass::Database => 13,
            GateClass::Command => 14,
            GateClass::Performance => 15,
            GateClass::Health => 16,
        })
    }
}
