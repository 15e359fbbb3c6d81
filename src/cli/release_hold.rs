//! `rosey release-hold`: lifts the hold that a verdict or a rollback has set.

use std::collections::BTreeMap;

use crate::helper::protocol::Marks;

use super::arguments;
use super::deployment::Deployment;
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;
use super::say::say;
use super::{Session, marking};

pub(super) async fn run(
    session: &Session,
    arguments: arguments::ReleaseHold,
) -> Result<Exit, CommandError> {
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    let deployment = Deployment::reach(session, project, &arguments.choice, None).await?;
    let survey = deployment.survey(BTreeMap::new()).await?;
    let held: Vec<_> = survey
        .members
        .iter()
        .filter(|(_, app)| {
            app.ledger
                .as_ref()
                .is_some_and(|ledger| !ledger.holds.is_empty())
        })
        .map(|(member, _)| member.clone())
        .collect();
    if held.is_empty() {
        say!("nothing is held");
        return Ok(Exit::DONE);
    }
    let marks = Marks {
        lift_all: true,
        ..Marks::default()
    };
    marking::mark(session, &deployment, &held, marks, "release-hold").await?;
    held.iter()
        .for_each(|member| say!("{member}: no hold any more"));
    Ok(Exit::DONE)
}
