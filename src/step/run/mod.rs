//! a `task`: a command whose effect is stamped.
//!
//! A task with `output` makes a directory below `built/`, once for its definition and inputs. One
//! without runs in the release and must leave that as it was; what it did is known by its stamp alone.
//! Each stamp remembers the one before it, so that going back there means to undo what came since,
//! and nothing else does.
//!
//! Start reading at `kind.rs`. Nothing here knows what a command does.

mod build;
mod command;
pub mod declare;
pub mod desire;
mod kind;
mod plain;
mod settings;
mod stamp;
#[cfg(test)]
mod tests;

pub use command::environment;
pub use kind::Task;
pub use stamp::prune_unused;
