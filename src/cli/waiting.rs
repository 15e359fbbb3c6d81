//! Waiting for a run that is under way, before anything is planned on what it is changing.

use std::time::Duration;

use crate::fleet::prospect::Survey;
use crate::model::EventKind;

use super::conducting::Talk;
use super::deployment::Deployment;
use super::error::CommandError;
use super::notes::refuse_busy;

/// How often the hosts are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until no member is locked; says whether anything had to be waited for.
///
/// # Errors
/// Exit code 5 with who holds what, where nobody wants to wait; 4 when a host is lost.
pub(super) async fn until_free(
    deployment: &Deployment,
    survey: &Survey,
    wait: bool,
    talk: &Talk,
) -> Result<bool, CommandError> {
    if !wait {
        return refuse_busy(survey, &deployment.project.environment.name).map(|()| false);
    }
    let mut survey = survey.clone();
    let mut waited = None;
    while let Some((member, holder)) = survey
        .members
        .iter()
        .find_map(|(member, app)| Some((member, app.holder.as_ref()?)))
    {
        if waited.as_ref() != Some(&holder.run) {
            let reason = format!(
                "the run {} ({} by {}, since {})",
                holder.run, holder.command, holder.author.user, holder.since
            );
            talk.events().emit(EventKind::Waiting {
                host: Some(member.host.clone()),
                reason,
            });
            waited = Some(holder.run.clone());
        }
        tokio::time::sleep(PAUSE).await;
        survey = deployment.survey(std::collections::BTreeMap::new()).await?;
    }
    // A plan is shown next, and perhaps a question.
    talk.calm().await;
    Ok(waited.is_some())
}
