//! `rosey unlock`: stops a run that makes no progress, and settles its journal.

use std::collections::BTreeMap;

use crate::model::RunId;

use super::Session;
use super::arguments;
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Unlock,
) -> Result<Exit, CommandError> {
    let project = Project::open(&session.around, Some(&arguments.environment))?;
    let deployment = Deployment::reach(session, project, &arguments.choice, None).await?;
    let survey = deployment.survey(BTreeMap::new()).await?;
    let run = RunId(arguments.run);
    let mut found = false;
    let mut problems = false;
    for (member, app) in &survey.members {
        let holds = app.holder.as_ref().is_some_and(|holder| holder.run == run);
        let left = app
            .interrupted
            .as_ref()
            .is_some_and(|interrupted| interrupted.run == run);
        let (Some(connection), Some(address)) = (
            deployment.fleet.get(&member.host),
            deployment.addresses.get(member),
        ) else {
            continue;
        };
        if !holds && !left {
            continue;
        }
        found = true;
        let events = crate::fleet::Events::new(super::surroundings::Surroundings::now, Vec::new());
        let back = connection
            .break_lock(address.clone(), run.clone(), &events)
            .await
            .map_err(|error| asking(&[error]))?;
        if back.problems.is_empty() {
            anstream::eprintln!("{member}: the run was stopped; everything is as before it");
        } else {
            problems = true;
            anstream::eprintln!(
                "{member}: NOT as before the run: {}",
                back.problems.join("; ")
            );
        }
    }
    if !found {
        let message = format!(
            "no host of {} is held by the run {run}",
            arguments.environment
        );
        return Err(CommandError::new(Exit::ERROR, message).hint(format!(
            "ask who holds what: rosey status {}",
            arguments.environment
        )));
    }
    Ok(if problems { Exit::STUCK } else { Exit::DONE })
}
