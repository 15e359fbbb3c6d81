//! Changing marks in ledgers without taking any step: holds and freezes.

use crate::fleet::Locked;
use crate::helper::protocol::{Holder, Marks};
use crate::model::{EnvironmentName, Member};

use super::Session;
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::exit::Exit;
use super::surroundings::Surroundings;

/// Sets the same marks for some members, under their locks.
///
/// # Errors
/// Exit code 5 when one is locked, 4 when a host is lost.
pub(super) async fn mark(
    session: &Session,
    deployment: &Deployment,
    members: &[Member],
    marks: Marks,
    command: &str,
) -> Result<(), CommandError> {
    let run = Surroundings::new_run();
    let author = session.around.author(None, None);
    for (host, connection) in &deployment.fleet {
        let of_host = members.iter().filter(|member| member.host == *host);
        let apps: Vec<_> = of_host
            .filter_map(|member| deployment.addresses.get(member))
            .cloned()
            .collect();
        if apps.is_empty() {
            continue;
        }
        let locked = connection
            .lock(
                run.clone(),
                apps.clone(),
                author.clone(),
                command.to_owned(),
            )
            .await
            .map_err(|error| asking(&[error]))?;
        if let Locked::Busy(holder) = locked {
            return Err(busy(
                &deployment.project.environment.name,
                host.as_str(),
                &holder,
            ));
        }
        let mut done = Ok(());
        for app in apps {
            done = done.and(connection.mark(app, marks.clone()).await);
        }
        let unlocked = connection.unlock(run.clone()).await;
        done.and(unlocked).map_err(|error| asking(&[error]))?;
    }
    Ok(())
}

/// Somebody else holds a lock.
pub(super) fn busy(environment: &EnvironmentName, host: &str, holder: &Holder) -> CommandError {
    let message = format!(
        "{} on {host} is busy: {} by {}{} since {} (run {})",
        holder.app,
        holder.command,
        holder.author.user,
        holder.author.why(),
        holder.since,
        holder.run
    );
    CommandError::new(Exit::LOCKED, message).hint(format!(
        "wait for it, or if it makes no progress: rosey unlock {environment} --run {}",
        holder.run
    ))
}
