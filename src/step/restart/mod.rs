//! a `service`, brought to enabled, active and fresh.
//!
//! A service's resource says whether it is enabled, active and fresh; its unit is a `file` of its
//! own. One that is neither enabled nor active is absent, whatever its unit: what would be left of it
//! is that file. Fresh means that the main process was started after rosey's last change of
//! anything that the service uses, so a restart can't be lost, and one by hand is no difference.
//!
//! Start reading at `kind.rs`. Nothing here knows why something that is used has changed.

mod act;
mod beside;
pub mod declare;
pub mod desire;
mod kind;
mod parts;
mod settings;
mod stale;
mod status;
#[cfg(test)]
mod tests;

pub use beside::{NOTED, beside};
pub use kind::Service;
pub use settings::unit_of;
