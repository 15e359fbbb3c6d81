//! The executor: takes the steps of a plan on one host, and takes a run back.
//!
//! Before each effect there is a record in the [`Journal`], synced; after it the resource is read
//! back. Nothing is decided here: what to do is in the plan, how to do it in the kinds. Nothing here
//! knows of other hosts, the network, the ledger or the helper's session.
//!
//! Start reading at [`step::take`], then [`graph::take_all`], then [`back::go_back`].

pub mod back;
pub mod graph;
pub mod journal;
pub mod record;
mod restores;
pub mod site;
pub mod step;
pub mod sweep;

pub use back::{Back, Returned, Unfinished, go_back};
pub use graph::{Batch, BatchOutcome, Cancel, take_all};
pub use journal::{Journal, JournalError};
pub use record::{Cause, Opened, Promise, Record, Settled, Told};
pub use site::Site;
pub use step::{Done, TakeError, Taking, Way};

#[cfg(test)]
pub(crate) mod tests;
