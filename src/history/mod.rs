//! What happened, kept on the controller: runs, steps, gates, drift reports, audit, in SQLite.
//!
//! It is a consumer of the event stream like any other: it has a thread of its own, nobody waits
//! for it, and no fault of it ends a run. Deleting the file breaks nothing but the past. Nothing
//! here knows hosts, plans or how a run is conducted. Start reading at [`History`].

mod error;
mod query;
mod record;
mod reports;
mod store;
#[cfg(test)]
mod tests;

pub use error::HistoryError;
pub use query::{GateRow, HostRow, RunDetail, RunRow, StepRow};
pub use record::{About, Recorder};
pub use reports::{AuditRow, DriftReport};
pub use store::History;
