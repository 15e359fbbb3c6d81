//! The laws over a session: what a controller asks, with an answer that is lost, a request that comes twice or too
//! late, a controller that falls silent, a helper that dies, a full disk, and a clock that jumps.
//!
//! The shapes are those of the laws of one host (`apply/tests/laws`), and so is what a host must be like in the end.
//! There every primitive is struck; here every request, by what only a stream between two programs can do.
//! [`journey`] is a run as a controller takes it, [`faults`] what goes wrong.

mod faults;
mod journey;
mod planted;
mod suite;
