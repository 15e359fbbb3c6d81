//! The executor and the way back, over toy kinds on the host in memory.

mod back;
mod journal;
pub(crate) mod laws;
mod take;
pub(crate) mod toy;
