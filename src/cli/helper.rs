//! `rosey helper`: what runs on a server. People never type it.

use std::io::Write;

use crate::helper::{GateRequest, Options, leave_terminal, recover, serve, serve_unit};
use crate::model::GateResult;
use crate::step::registry::registry;
use crate::step::verify::pace::RealPace;
use crate::step::verify::{self, Settling};

use super::arguments;
use super::error::CommandError;
use super::exit::Exit;

/// Serves a controller on standard input and output or as a unit, recovers, or prints the program's digest.
pub(super) fn run(arguments: &arguments::Helper) -> Result<Exit, CommandError> {
    let failed = |error: String| CommandError::new(Exit::ERROR, error);
    if arguments.digest {
        let digest = crate::helper::digest_self().map_err(|error| failed(error.to_string()))?;
        writeln!(std::io::stdout(), "{digest}").map_err(|error| failed(error.to_string()))?;
        return Ok(Exit::DONE);
    }
    let state = std::env::var_os("ROSEY_HELPER_STATE").map(std::path::PathBuf::from);
    leave_terminal();
    let mut options = Options::usual(registry(), read_gates, state, log)
        .map_err(|error| failed(format!("the helper can't begin: {error}")))?;
    options.home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    Ok(Exit(match &arguments.unit {
        Some(socket) => serve_unit(socket, options),
        None if arguments.recover => recover(&options),
        None => serve(std::io::stdin(), std::io::stdout(), &options),
    }))
}

/// For the journal of the host, where the helper is a unit.
fn log(words: &str) {
    // Where nobody takes it, it is in the ledger all the same.
    writeln!(std::io::stderr(), "{words}").ok();
}

/// Reads gates once, or waits until it is decided what they say.
fn read_gates(request: &GateRequest<'_>) -> Vec<GateResult> {
    let cancelled = || request.cancel.is_asked();
    if !request.settle {
        return verify::read(request.host, request.gates, &cancelled);
    }
    let settling = Settling {
        host: request.host,
        pace: &RealPace::new(),
        cancelled: &cancelled,
        told: &|_| {},
    };
    verify::settle(&settling, request.gates)
}
