//! `rosey helper`: what runs on a server. People never type it.

use std::io::Write;

use crate::helper::{GateRequest, Options, serve};
use crate::model::GateResult;
use crate::step::registry::registry;
use crate::step::verify::pace::RealPace;
use crate::step::verify::{self, Settling};

use super::arguments;
use super::error::CommandError;
use super::exit::Exit;

/// Serves a controller on standard input and output, or prints the program's digest.
pub(super) fn run(arguments: &arguments::Helper) -> Result<Exit, CommandError> {
    let failed = |error: String| CommandError::new(Exit::ERROR, error);
    if arguments.digest {
        let digest = crate::helper::digest_self().map_err(|error| failed(error.to_string()))?;
        writeln!(std::io::stdout(), "{digest}").map_err(|error| failed(error.to_string()))?;
        return Ok(Exit::DONE);
    }
    let state = std::env::var_os("ROSEY_HELPER_STATE").map(std::path::PathBuf::from);
    let mut options = Options::usual(registry(), read_gates, state)
        .map_err(|error| failed(format!("the helper can't begin: {error}")))?;
    options.home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    Ok(Exit(serve(std::io::stdin(), std::io::stdout(), &options)))
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
