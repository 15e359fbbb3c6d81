//! The helper as a program: this machine, one controller.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::gates::GateReader;
use super::recover as recovering;
use super::session::{Options, serve_on};
use super::unit::{self, Closing};
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

/// Serves as the unit of a run whoever waits at this socket; when nobody does, this unit's program died
/// and was started again, and what it was at is taken back.
pub fn serve_unit(socket: &Path, options: Options) -> u8 {
    let options = Options {
        units: false,
        ..options
    };
    let streams = unit::connect(socket).and_then(|stream| {
        let heard = stream.try_clone().ok()?;
        Some((heard, Closing(stream)))
    });
    match streams {
        Some((heard, said)) => serve(heard, said, &options),
        None => recover(&options),
    }
}

/// Begins a session of its own, so that no terminal's interrupt or hang-up reaches this process.
pub fn leave_terminal() {
    // It can't where it leads one already, and needs not.
    rustix::process::setsid().ok();
}

/// Takes back what was cut off on this machine and nobody is at.
pub fn recover(options: &Options) -> u8 {
    recovering::recover(&LocalHost::new(), options);
    0
}

impl Options {
    /// What the helper is usually started with; `state` is where its registry is, where that isn't
    /// the usual place; `log` hears what happens when no controller is there.
    ///
    /// # Errors
    /// When the program can't be read, or the kernel has no randomness.
    pub fn usual(
        kinds: &'static [&'static dyn Kind],
        gates: GateReader,
        state: Option<PathBuf>,
        log: fn(&str),
    ) -> io::Result<Self> {
        let mut seal = [0; 32];
        let filled = rustix::rand::getrandom(&mut seal, rustix::rand::GetRandomFlags::empty())?;
        if filled != seal.len() {
            return Err(io::Error::other("the kernel gave too little randomness"));
        }
        Ok(Self {
            program: digest_self()?,
            // With its registry elsewhere a helper has no part in what belongs to the host.
            units: state.is_none(),
            state,
            home: None,
            seal,
            kinds,
            gates,
            workers: WORKERS,
            retry: RETRY,
            log,
            locks: None,
        })
    }
}

/// blake3 of this program, as both ends compare it.
///
/// # Errors
/// When it can't be read.
pub fn digest_self() -> io::Result<String> {
    digest_of(Path::new("/proc/self/exe"))
}

/// The same of another copy.
pub(super) fn digest_of(program: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap(program)?;
    Ok(hasher.finalize().to_hex().to_string())
}
