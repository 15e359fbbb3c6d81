//! What a run that was cut off has left: told, and settled before anything else is done.

use std::collections::BTreeSet;

use crate::fleet::prospect::Survey;
use crate::fleet::settle::{
    SettleError, Settlement, Settler, Way, settle as settle_all, settlements,
};
use crate::model::{EnvironmentName, EventKind, Member};

use super::Session;
use super::approval::{self, Consent, Given};
use super::conducting::Talk;
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::exit::Exit;
use super::marking::busy;
use super::siblings::siblings;
use super::surroundings::Surroundings;

/// Whether a run was cut off on some member, and is to be settled before anything else is done.
pub(super) fn is_needed(survey: &Survey) -> bool {
    !settlements(survey).is_empty()
}

/// Settles interrupted runs of the members, once somebody has agreed to that.
///
/// What comes after is planned on what is then there, so it is agreed to by itself.
///
/// # Errors
/// Exit code 9 when nobody agreed, 5 while a run is still under way, 8 when something can't be put back.
pub(super) async fn settle(
    session: &Session,
    deployment: &Deployment,
    survey: &Survey,
    talk: &Talk,
    settling: Settling<'_>,
) -> Result<(), CommandError> {
    let siblings = siblings(session, deployment, survey).await?;
    let survey = &siblings.survey;
    let runs: BTreeSet<_> = settlements(survey)
        .into_iter()
        .map(|(member, settlement)| {
            let Settlement { interrupted, way } = settlement;
            talk.events().emit(EventKind::CutOff {
                host: member.host,
                app: member.app,
                run: interrupted.run.clone(),
                command: interrupted.command,
                user: interrupted.author.user,
                steps: interrupted.begun,
                forward: way == Way::Forward,
            });
            interrupted.run.to_string()
        })
        .collect();
    let runs: Vec<_> = runs.into_iter().collect();
    let question = format!(
        "Settle what was cut off ({}), before anything else?",
        runs.join(", ")
    );
    let consent = Consent {
        environment: deployment.project.environment.name.as_str(),
        given: settling.given,
        question: &question,
        settled: false,
    };
    approval::ask(session, &consent).await?;
    let settler = Settler {
        run: Surroundings::new_run(),
        author: session.around.author(None, None),
        command: settling.command.to_owned(),
    };
    let settled = talk.acting(async {
        let settled = settle_all(&siblings, &settler, talk.events()).await;
        talk.settled();
        settled
    });
    let environment = &deployment.project.environment.name;
    let settled = settled
        .await
        .map_err(|error| unsettled(environment, error))?;
    for (member, settlement) in &settled {
        let went = match settlement.way {
            Way::Back => "is as before",
            Way::Forward => "is committed",
        };
        let run = &settlement.interrupted.run;
        note(
            talk,
            member,
            format!("{}: the run {run} {went}", member.app),
        );
    }
    talk.calm().await;
    Ok(())
}

/// Why nothing, or not all, was settled.
pub(super) fn unsettled(environment: &EnvironmentName, error: SettleError) -> CommandError {
    match error {
        SettleError::Busy { host, holder } => busy(environment, host.as_str(), &holder),
        SettleError::Ask(error) => asking(&[error]),
        waits @ SettleError::Waits { .. } => CommandError::new(Exit::UNREACHABLE, waits),
        stuck @ SettleError::Stuck { .. } => CommandError::new(Exit::STUCK, stuck),
    }
}

/// Who settles, and what was agreed to beforehand.
pub(super) struct Settling<'a> {
    /// The command that comes after.
    pub command: &'a str,
    /// What was agreed to.
    pub given: Given,
}

fn note(talk: &Talk, member: &Member, text: String) {
    let host = Some(member.host.clone());
    talk.events().emit(EventKind::Note { host, text });
}
