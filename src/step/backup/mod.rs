//! Backups: data that is copied before anything could change it, and put back on the way back.
//!
//! An attendant: a backup accompanies changes and never makes a plan. What `backup` in an
//! environment declares is read by [`declare`], wanted by [`desire`], and done by [`Backups`].

mod copy;
pub mod declare;
pub mod desire;
mod kind;
mod manifest;
mod restore;
#[cfg(test)]
mod tests;

pub use kind::{Backups, FROM};
pub(super) use manifest::is_whole;
