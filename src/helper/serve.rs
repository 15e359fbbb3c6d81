//! The helper as a program: this machine, one controller.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::gates::GateReader;
use super::session::{Options, serve_on};
use crate::host::LocalHost;
use crate::step::kind::Kind;

/// How often a way back is tried again that the host refuses for now (no space, read-only).
const RETRY: Duration = Duration::from_secs(1);

/// Steps of one app at a time.
const WORKERS: usize = 4;

/// Serves a controller on this machine until its stream ends; the exit code.
pub fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    options: &Options,
) -> u8 {
    serve_on(&LocalHost::new(), input, output, options)
}

impl Options {
    /// What the helper is usually started with; `state` is where its registry is, where that isn't
    /// the usual place.
    ///
    /// # Errors
    /// When the program can't be read, or the kernel has no randomness.
    pub fn usual(
        kinds: &'static [&'static dyn Kind],
        gates: GateReader,
        state: Option<PathBuf>,
    ) -> io::Result<Self> {
        let mut seal = [0; 32];
        let filled = rustix::rand::getrandom(&mut seal, rustix::rand::GetRandomFlags::empty())?;
        if filled != seal.len() {
            return Err(io::Error::other("the kernel gave too little randomness"));
        }
        Ok(Self {
            program: digest_self()?,
            state,
            home: None,
            seal,
            kinds,
            gates,
            workers: WORKERS,
            retry: RETRY,
        })
    }
}

/// blake3 of this program, as both ends compare it.
///
/// # Errors
/// When it can't be read.
pub fn digest_self() -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap("/proc/self/exe")?;
    Ok(hasher.finalize().to_hex().to_string())
}
