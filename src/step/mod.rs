//! One file a kind: everything that rosey knows about it.
//!
//! Start reading at [`kind`]. Nothing here knows of other hosts, the network or the order of steps.

pub mod kind;
pub mod backup;
pub mod restart;
pub mod run;
pub mod sync;
pub mod verify;
pub mod words;
