//! One file a command; `error` turns every failure into words, a hint and an exit code.

mod arguments;
mod error;
mod exit;
mod project;
mod surroundings;
