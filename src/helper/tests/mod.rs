//! Whole sessions over a pipe, on this machine, in a directory of their own.

mod beside;
mod client;
mod commits;
mod foreign;
mod forget;
mod laws;
mod misplaced;
mod paths;
mod recovered;
mod runs;
mod standing;
mod struck;
