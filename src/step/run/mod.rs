//! a `task`: a command whose effect is stamped.

pub mod declare;
