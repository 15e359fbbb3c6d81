//! `rosey unfreeze`: lifts a freeze by hand.

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
    arguments: arguments::Unfreeze,
) -> Result<Exit, CommandError> {
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    let mut deployment = Deployment::reach(session, project, &arguments.choice, None).await?;
    let survey = deployment.survey_all().await?;
    let frozen: Vec<_> = survey
        .members
        .iter()
        .filter(|(_, app)| {
            app.ledger
                .as_ref()
                .is_some_and(|ledger| ledger.freeze.is_some())
        })
        .map(|(member, _)| member.clone())
        .collect();
    if frozen.is_empty() {
        say!("nothing is frozen");
        return Ok(Exit::DONE);
    }
    let marks = Marks {
        unfreeze: true,
        ..Marks::default()
    };
    marking::mark(session, &deployment, &frozen, marks, "unfreeze").await?;
    for member in &frozen {
        say!("{member}: frozen no more");
    }
    Ok(Exit::DONE)
}
