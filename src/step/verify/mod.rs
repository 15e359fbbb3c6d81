//! gates, read after all that they use.
//!
//! Start reading at [`settle`](fn@settle), which waits for health, or at `look.rs`, which reads one gate once.

pub mod declare;
pub mod desire;
mod http;
mod json;
mod kind;
mod look;
pub mod pace;
mod process;
mod settle;
#[cfg(test)]
mod tests;

pub use kind::GatesKind;
pub use look::read;
pub use settle::{Settling, settle};
