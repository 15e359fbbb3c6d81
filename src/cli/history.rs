//! `rosey history`: past runs, as this controller saw them.

use std::path::PathBuf;

use serde_json::json;

use crate::config::discover::find_project;
use crate::history::{History, HistoryError, RunRow};
use crate::model::Author;
use crate::report::table::table;

use super::Session;
use super::arguments;
use super::conducting::print_data;
use super::error::CommandError;
use super::exit::Exit;
use super::project::declaration;
use super::say::say;

pub(super) fn run(session: &Session, arguments: &arguments::History) -> Result<Exit, CommandError> {
    let path = path(session)?;
    let environment = arguments.environment.as_deref();
    let runs = match History::find(&path).map_err(unreadable)? {
        Some(history) => history
            .runs(environment, arguments.limit)
            .map_err(unreadable)?,
        None => Vec::new(),
    };
    if arguments.json {
        let document = json!({ "format_version": "1.0", "environment": environment, "runs": runs });
        print_data(&document.to_string())?;
    } else if !runs.is_empty() {
        print_data(listed(&runs).trim_end())?;
    }
    if runs.is_empty() {
        let of = environment
            .map(|name| format!(" of {name}"))
            .unwrap_or_default();
        say!("no runs{of} were recorded in {}", path.display());
        let name = environment.unwrap_or("ENV");
        say!("what the servers know of theirs: rosey rollback {name} --list");
    }
    Ok(Exit::DONE)
}

/// Where the history lies. The declarations needn't be right to look back.
pub(super) fn path(session: &Session) -> Result<PathBuf, CommandError> {
    let around = &session.around;
    // With `$ROSEY_STATE` there needn't be a project.
    let project = match find_project(&around.directory) {
        Ok(project) => project.directory,
        Err(_) if around.state.is_some() => around.directory.clone(),
        Err(error) => return Err(declaration(error)),
    };
    Ok(around.history_of(&project))
}

/// A history that is there and can't be read.
pub(super) fn unreadable(error: HistoryError) -> CommandError {
    CommandError::new(Exit::ERROR, error)
}

fn listed(runs: &[RunRow]) -> String {
    let row = |run: &RunRow| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            run.run.clone(),
            moment(&run.started),
            run.environment.clone(),
            run.command.clone(),
            or_dash(run.version.clone()),
            or_dash(run.generation.map(|number| number.to_string())),
            run.hosts.len().to_string(),
            run.steps.to_string(),
            ending(run),
            who(&run.author),
            run.author.reason.clone().unwrap_or_default(),
        ]
    };
    let head = [
        "run",
        "began",
        "environment",
        "command",
        "version",
        "generation",
        "hosts",
        "steps",
        "outcome",
        "who",
        "why",
    ];
    table(&head, runs.iter().map(row).collect())
}

/// How a run ended, as far as it was seen from here.
pub(super) fn ending(run: &RunRow) -> String {
    let unseen = if run.ended.is_some() {
        "unknown"
    } else {
        "not seen to end"
    };
    run.outcome.clone().unwrap_or_else(|| unseen.to_owned())
}

/// To the second: `2026-11-20 19:56:02Z`.
pub(super) fn moment(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => time.to_owned(),
    }
}

/// The actor that a CI system names counts for more than its account.
pub(super) fn who(author: &Author) -> String {
    let user = author.ci_actor.as_ref().unwrap_or(&author.user);
    format!("{user} ({})", author.machine)
}
