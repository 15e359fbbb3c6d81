//! This machine.
//!
//! Every path is opened with openat2 so that no link on the way is followed (`open.rs`), and every
//! change is one system call on the directory so opened. Nothing resolves names through the C
//! library: the binary is static, and a static getpwnam loads another distribution's modules.
//!
//! Start reading at `open.rs`. Services are in `crate::host::systemd` and `crate::host::process`.

mod accounts;
mod copy;
mod database;
mod entry;
mod facts;
mod http;
mod listeners;
mod make;
mod names;
mod open;
mod probe;
mod processes;
mod read;
mod run;
mod services;
mod sqlite;
#[cfg(test)]
mod tests;
mod write;

use accounts::Accounts;
pub use http::server_of;
pub use probe::address_of;
pub(super) use run::MARK as COMMAND_MARK;

/// This machine, as the user that the program runs as.
#[derive(Debug, Default)]
pub struct LocalHost {
    accounts: Accounts,
}

impl LocalHost {
    /// This machine. Nothing is read until it is asked for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
