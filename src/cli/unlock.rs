//! `rosey unlock`: stops a run that makes no progress, and settles its journal.

use std::collections::BTreeMap;

use crate::fleet::Events;
use crate::fleet::settle::{Settler, Way, settle};
use crate::model::RunId;

use super::Session;
use super::arguments;
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;
use super::say::say;
use super::settling::{is_needed, unsettled};
use super::siblings::siblings;
use super::surroundings::Surroundings;

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Unlock,
) -> Result<Exit, CommandError> {
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    let mut deployment = Deployment::reach(session, project, &arguments.choice, None).await?;
    let survey = deployment.survey_all().await?;
    let run = RunId(arguments.run);
    let mut found = false;
    let mut problems = false;
    let mut errors = Vec::new();
    let events = Events::new(Surroundings::now, Vec::new());
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
        let ended = connection.break_lock(address.clone(), run.clone(), &events);
        match ended.await {
            Ok(back) if back.problems.is_empty() => {
                say!("{member}: the run was stopped");
            }
            Ok(back) => {
                problems = true;
                say!(
                    "{member}: NOT as before the run: {}",
                    back.problems.join("; ")
                );
            }
            // The others are stopped all the same.
            Err(error) => errors.push(error),
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
    if !errors.is_empty() {
        return Err(asking(&errors));
    }
    // Each host for itself can't know where it goes: that is decided by what all of them have done.
    let survey = deployment.survey(BTreeMap::new()).await?;
    if is_needed(&survey) {
        let siblings = siblings(session, &deployment, &survey).await?;
        let settler = Settler {
            run: Surroundings::new_run(),
            author: session.around.author(None, None),
            command: "unlock".to_owned(),
        };
        let settled = settle(&siblings, &settler, &events);
        for (member, settlement) in settled
            .await
            .map_err(|error| unsettled(&deployment.project.environment.name, error))?
        {
            let went = match settlement.way {
                Way::Back => "is as before",
                Way::Forward => "is committed, as on the other hosts",
            };
            let run = settlement.interrupted.run;
            say!("{member}: the run {run} {went}");
        }
    }
    Ok(if problems { Exit::STUCK } else { Exit::DONE })
}
