//! `rosey completions`: a completion script on stdout.

use std::io::Write;

use clap::CommandFactory;

use super::arguments::{self, Arguments};
use super::error::CommandError;
use super::exit::Exit;

pub(super) fn run(arguments: &arguments::Completions) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "rosey", &mut script);
    print(&script)
}

/// Prints what another program reads: half of it would be worse than none, so a closed stdout is told.
pub(super) fn print(text: &[u8]) -> Result<Exit, CommandError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text)
        .and_then(|()| out.flush())
        .map_err(|error| CommandError::new(Exit::ERROR, format!("stdout: {error}")))?;
    Ok(Exit::DONE)
}
