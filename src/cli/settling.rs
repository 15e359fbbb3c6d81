//! What a run that was cut off has left: told, and settled before anything else is done.

use crate::fleet::prospect::Survey;

use super::Session;
use super::conducting::Talk;
use super::deployment::Deployment;
use super::error::CommandError;
use super::exit::Exit;

/// Settles interrupted runs of the members; says whether there were any.
///
/// # Errors
/// Exit code 5 while a run is still under way, 8 when something can't be put back.
pub(super) async fn settle(
    _session: &Session,
    _deployment: &Deployment,
    survey: &Survey,
    _talk: &Talk,
) -> Result<bool, CommandError> {
    for (member, app) in &survey.members {
        if let Some(interrupted) = &app.interrupted {
            let message = format!("{member}: the run {} was cut off", interrupted.run);
            return Err(CommandError::new(Exit::LOCKED, message));
        }
    }
    Ok(false)
}
