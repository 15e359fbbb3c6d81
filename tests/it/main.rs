//! Tests of the whole program: on this machine, and against real servers in the lab.
//!
//! Whatever needs the lab (root, namespaces, Debian hosts) stands below the module `lab`, by which name `tests/run` and
//! `.config/nextest.toml` know it. Everything else runs for anybody, anywhere.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on ends here, and says where"
)]

#[allow(
    dead_code,
    reason = "a vocabulary for tests; not every word is in use at every moment"
)]
mod support;

mod commands;
mod examples;
mod lab;
mod local;
mod snapshot;
mod ssh;
mod structure;
