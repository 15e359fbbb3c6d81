//! One file a command; `error` turns every failure into words, a hint and an exit code.
//!
//! Start reading at [`main`]. What several commands share: `project` (the declaration and its
//! sources), `surroundings` (what is read of the world around the program), `deployment` (the hosts
//! of a command and what is known of them), `conducting` (a run with its consumers).

mod anew;
mod approval;
mod apply;
mod arguments;
mod check;
mod completions;
mod conducting;
mod deployment;
mod doctor;
mod drift;
mod error;
mod exit;
mod freeze;
mod gate;
mod healing;
mod helper;
mod history;
mod init;
mod marking;
mod man;
mod notes;
mod once;
mod plan;
mod project;
mod protection;
mod release_hold;
mod recording;
mod registered;
mod remove;
mod restarts;
mod restating;
mod renewal;
mod restoring;
mod rollback;
mod settling;
mod siblings;
mod say;
mod show;
mod status;
mod steady;
mod surroundings;
mod trust;
mod unfreeze;
mod unlock;
mod unread;
mod variables;
mod verify;
mod waiting;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::fleet::pending::Pending;
use crate::report::display::{Display, PendingLine, Volume};
use arguments::{Arguments, Command};
use conducting::print_refused;
use error::CommandError;
use exit::Exit;
use surroundings::Surroundings;

/// How often it is shown what is waited for.
const SHOWING: Duration = Duration::from_millis(100);

/// What every command gets.
struct Session {
    around: Surroundings,
    /// Where a person looks.
    display: Display,
    /// What is waited for while no event tells of it.
    pending: Pending,
}

/// Runs the command line; its exit code is the program's.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().ok();
            // Asking for help is no error; anything else is wrong use.
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            if arguments::wants_outcome(std::env::args_os().skip(1)) {
                let words = error.to_string();
                let words = words.trim_end().trim_start_matches("error: ");
                print_refused(&CommandError::new(Exit::ERROR, words));
            }
            return ExitCode::from(Exit::ERROR.0);
        }
    };
    let ended = match arguments.command {
        // On a server: no runtime, no name lookups, nothing but the helper.
        Command::Helper(ref helper) => helper::run(helper),
        _ => on_the_controller(arguments),
    };
    match ended {
        Ok(exit) => ExitCode::from(exit.0),
        Err(error) => {
            if let Some(text) = error.text() {
                // A terminal that was closed takes no words.
                writeln!(anstream::stderr(), "{text}").ok();
            }
            ExitCode::from(error.exit.0)
        }
    }
}

fn on_the_controller(arguments: Arguments) -> Result<Exit, CommandError> {
    // Both ring and another provider may be linked; what uses TLS must not have to guess.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let volume = match (arguments.quiet, arguments.verbose) {
        (true, _) => Volume::Quiet,
        (false, 0) => Volume::Usual,
        (false, _) => Volume::Verbose,
    };
    let around = Surroundings::read()?;
    let display = Display::new(volume, around.terminal);
    // Where a program reads, nobody looks.
    let pending = if arguments::wants_json(std::env::args_os()) {
        Pending::default()
    } else {
        Pending::on(Box::new(PendingLine::on(display.clone())))
    };
    let session = Session {
        pending,
        display,
        around,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            CommandError::new(Exit::ERROR, format!("threads can't be started: {error}"))
        })?;
    let pending = session.pending.clone();
    // A thread of its own: a terminal that stands still must hold up nobody else.
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(SHOWING);
            pending.show(Instant::now());
        }
    });
    let ended = runtime.block_on(dispatch(&session, arguments.command));
    // A thread that waits for a person's answer or for a host must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn dispatch(session: &Session, command: Command) -> Result<Exit, CommandError> {
    match command {
        Command::Plan(plan) => plan::run(session, plan).await,
        Command::Apply(apply) => apply::run(session, apply).await,
        Command::Rollback(rollback) => rollback::run(session, rollback).await,
        Command::Remove(remove) => remove::run(session, remove).await,
        Command::Drift(drift) => drift::run(session, drift).await,
        Command::Verify(verify) => verify::run(session, verify).await,
        Command::Status(status) => status::run(session, status).await,
        Command::ReleaseHold(hold) => release_hold::run(session, hold).await,
        Command::Unlock(unlock) => unlock::run(session, unlock).await,
        Command::Init(init) => init::run(session, &init),
        Command::Doctor(doctor) => doctor::run(session, doctor).await,
        Command::History(history) => history::run(session, &history),
        Command::Show(show) => show::run(session, &show),
        Command::Check(check) => check::run(session, &check),
        Command::Trust(trust) => trust::run(session, trust).await,
        Command::Freeze(freeze) => freeze::run(session, freeze).await,
        Command::Unfreeze(unfreeze) => unfreeze::run(session, unfreeze).await,
        Command::Completions(shell) => completions::run(&shell),
        Command::Man => man::run(),
        Command::Helper(helper) => helper::run(&helper),
    }
}
