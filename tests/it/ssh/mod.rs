//! Reaching a real sshd: who gets in, which servers are believed, what a command's end means.

mod commands;
mod host_keys;
mod jump;
mod login;
mod server;
mod unreachable;
mod upload;
