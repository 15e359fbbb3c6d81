//! copies of data, taken before anything may change it.

pub mod declare;
pub mod desire;
