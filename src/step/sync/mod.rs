//! a `release`, `file` or `directory`, made as it should be.

pub mod declare;
pub mod desire;
