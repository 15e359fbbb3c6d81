//! What runs on the server: one helper for a controller's session, started over SSH (or as a
//! child, for a local host), which reads the host, takes the steps of a run, and answers for the
//! way back from its journal.
//!
//! Start reading at [`protocol`]. Nothing here knows of other hosts or of the declaration.

pub mod frame;
pub mod protocol;
pub mod wire;
