//! One file a kind: everything that rosey knows about it.
//!
//! Start reading at [`kind`]. Nothing here knows of other hosts, the network or the order of steps.

pub mod attendant;
pub mod backup;
pub mod desired;
pub mod kind;
pub mod link;
#[cfg(test)]
mod local_tests;
pub mod prune;
pub mod registry;
pub mod restart;
pub mod run;
pub mod sync;
mod tail;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod words;
