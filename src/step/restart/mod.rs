//! a `service`, brought to enabled, active and fresh.

pub mod declare;
pub mod desire;
