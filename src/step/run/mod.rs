//! a `task`: a command whose effect is stamped.

pub mod declare;
pub mod desire;
