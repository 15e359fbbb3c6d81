//! gates, read after all that they use.

pub mod declare;
pub mod desire;
