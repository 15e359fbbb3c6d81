//! What a run that was cut off has left: told, and settled before anything else is done.

use crate::fleet::prospect::Survey;
use crate::fleet::settle::{SettleError, Settler, Way, settle as settle_all};
use crate::model::EventKind;

use super::Session;
use super::conducting::Talk;
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::exit::Exit;
use super::marking::busy;
use super::surroundings::Surroundings;

/// Settles interrupted runs of the members; says whether there were any.
///
/// # Errors
/// Exit code 5 while a run is still under way, 8 when something can't be put back.
pub(super) async fn settle(
    session: &Session,
    deployment: &Deployment,
    survey: &Survey,
    talk: &Talk,
    command: &str,
) -> Result<bool, CommandError> {
    let settler = Settler {
        run: Surroundings::new_run(),
        author: session.around.author(None, None),
        command: command.to_owned(),
    };
    let (fleet, addresses) = (&deployment.fleet, &deployment.addresses);
    let settled = settle_all(fleet, addresses, survey, &settler, talk.events()).await;
    let settled = settled.map_err(|error| match error {
        SettleError::Busy { host, holder } => busy(host.as_str(), &holder),
        SettleError::Ask(error) => asking(&[error]),
        stuck @ SettleError::Stuck { .. } => CommandError::new(Exit::STUCK, stuck),
    })?;
    for (member, settlement) in &settled {
        let went = match settlement.way {
            Way::Back => "went back to how it was before",
            Way::Forward(_) => "was committed, as on the other hosts",
        };
        let text = format!(
            "{}: the run {} was cut off and {went}",
            member.app, settlement.interrupted.run
        );
        talk.events().emit(EventKind::Note {
            host: Some(member.host.clone()),
            text,
        });
    }
    Ok(!settled.is_empty())
}
