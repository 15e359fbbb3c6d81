//! `rollback --with-data`: which backup is put back.

use crate::fleet::prospect::{Survey, attending};
use crate::model::{Generation, Ledger, Member, RunId};
use crate::plan::Attendant;
use crate::step::backup::FROM;
use crate::step::backup::desire::{BACKUP, restoring};

use super::error::CommandError;
use super::exit::Exit;

/// The attendant that puts the data back as it was when the target was left, while the service is stopped.
///
/// # Errors
/// Exit code 10 when there is no such backup.
pub(super) fn attendants(
    survey: &Survey,
    member: &Member,
    target: &Generation,
) -> Result<Vec<Attendant>, CommandError> {
    let ledger = survey.members.get(member).and_then(|it| it.ledger.as_ref());
    let run = ledger.and_then(|ledger| backup_after(ledger, target));
    let (Some(run), Some(with)) = (run, target.backup.clone()) else {
        let message = format!(
            "{member}: there is no backup of the data of generation {}",
            target.number
        );
        return Err(CommandError::new(Exit::BLOCKED, message)
            .hint("leave --with-data out to go back without data"));
    };
    let with = with.setting(FROM, run.0);
    Ok(vec![restoring(attending(member, BACKUP), with)])
}

/// The backup that a target's data is in, by its run.
fn backup_after(ledger: &Ledger, target: &Generation) -> Option<RunId> {
    let next = ledger
        .generations
        .iter()
        .find(|it| it.number > target.number)?;
    next.run.clone()
}
