//! What runs on the server: one helper for a controller's session, started over SSH (or as a
//! child, for a local host), which reads the host, takes the steps of a run, and answers for the
//! way back from its journal.
//!
//! Where systemd is PID 1, what the session started only reads: a run is served by a unit, to which it
//! is a wire from the first lock on ([`handing`], [`unit`]). [`recover()`] takes back what neither came
//! to the end of.
//!
//! Start reading at [`protocol`], then at [`session`]: each request is answered in the file that is
//! named after it. Nothing here knows of other hosts or of the declaration.

mod app;
mod begin;
pub mod belonging;
mod content;
mod findings;
mod forget;
pub mod frame;
mod gates;
mod handing;
mod hidden;
pub mod ledger;
mod link;
pub mod lock;
mod locking;
mod misplaced;
mod observe;
mod out;
mod owner;
pub mod protocol;
mod ports;
mod prune;
mod recover;
mod recovery;
mod refuse;
pub mod registry;
mod returning;
mod running;
mod serve;
pub mod session;
mod standing;
mod silence;
mod survey;
mod unit;
mod units;
mod venv;
pub mod wire;

pub use gates::{GateReader, GateRequest};
pub use serve::{digest_self, leave_terminal, recover, serve, serve_unit};
pub use session::{Options, serve_on};
pub use standing::cannot_be_taken_back;

#[cfg(test)]
mod tests;
