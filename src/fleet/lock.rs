//! The first phase: the locks of all hosts, all or none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;

use super::ask::Locked;
use super::conduct::{Conduct, Interruption, failure, unpanicked};
use super::ending::MemberEnd;
use super::run::{Cause, Failure};
use crate::helper::protocol::{AppAddress, Holder};
use crate::model::{Digest, EventKind, HostName, Member, RunId};

impl Conduct {
    /// Tries to take all locks. When one is held all are given back, and where the run is to wait
    /// they are tried again after a pause, which differs between runs so that two don't meet again.
    pub(super) async fn lock(&mut self) -> Result<(), Interruption> {
        let mut attempt = 0u32;
        loop {
            match self.try_lock().await? {
                None => return Ok(()),
                Some((host, holder)) if self.run.pace.wait => {
                    self.unlock().await;
                    self.events.emit(EventKind::Waiting {
                        host: Some(host),
                        reason: format!("the lock of {}, {}", holder.app, words(&holder)),
                    });
                    let pause = pause(&self.run.id, attempt, self.run.pace.lock_pause);
                    attempt += 1;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        signal = self.cancelling.wanted() => {
                            return Err(Interruption::Cancelled(signal));
                        }
                    }
                }
                Some((host, holder)) => {
                    let member = Member::new(&host, &holder.app);
                    let error = format!("{member} is locked, {}", words(&holder));
                    self.holder = Some(holder);
                    return Err(Interruption::from(Failure {
                        host,
                        member: Some(member),
                        step: None,
                        error,
                        cause: Cause::Other,
                    }));
                }
            }
        }
    }

    /// Tries every lock once. Says who holds one, if somebody does.
    async fn try_lock(&mut self) -> Result<Option<(HostName, Holder)>, Interruption> {
        let mut apps: BTreeMap<Member, Vec<AppAddress>> = BTreeMap::new();
        let mut first: BTreeMap<&HostName, Member> = BTreeMap::new();
        for (member, part) in &self.run.parts {
            // One request a host takes all of its locks or none.
            let first = first.entry(&member.host).or_insert_with(|| member.clone());
            let apps = apps.entry(first.clone()).or_default();
            apps.push(part.address.clone());
        }
        let hosts: BTreeSet<Member> = apps.keys().cloned().collect();
        let mut set: JoinSet<_> = self.on_each(&hosts, |member, connection| {
            let apps = apps[member].clone();
            let run = self.run.clone();
            async move {
                let (author, command) = (run.author.clone(), run.command.clone());
                connection.lock(run.id.clone(), apps, author, command).await
            }
        });
        let mut failures = Vec::new();
        let mut busy = None;
        // Also after a cancel every answer is waited for: what was taken must be given back.
        while let Some(joined) = set.join_next().await {
            match unpanicked(joined) {
                (_, Ok(Locked::Taken)) => {}
                (member, Ok(Locked::Busy(holder))) => busy = Some((member.host, *holder)),
                (member, Err(error)) => failures.push(failure(&member, &error)),
            }
        }
        if failures.is_empty() {
            Ok(busy)
        } else {
            Err(Interruption::Failed(failures))
        }
    }

    /// Gives back every lock of the run on every host that can be reached.
    pub(super) async fn unlock(&self) {
        let mut set = JoinSet::new();
        let going = self.ends.iter();
        let going = going.filter(|(_, end)| matches!(end, MemberEnd::GoingBack { .. }));
        let mut going: BTreeSet<_> = going.map(|(member, _)| member.host.clone()).collect();
        going.extend(self.unanswered.iter().cloned());
        // Who isn't waited for keeps a notice of how it ended, and gives its locks back by itself.
        for host in self.hosts().difference(&going).cloned() {
            let Ok(connection) = self.connection(&host) else {
                continue;
            };
            let run = self.run.id.clone();
            set.spawn(async move { (host, connection.unlock(run).await) });
        }
        let unlocked = async {
            while let Some(joined) = set.join_next().await {
                let (host, unlocked) = unpanicked(joined);
                if let Err(error) = unlocked
                    && !error.is_lost()
                {
                    self.events.note(Some(&host), error.to_string());
                }
            }
        };
        tokio::select! {
            () = unlocked => {}
            () = self.cancelling.impatient() => {}
        }
    }
}

fn words(holder: &Holder) -> String {
    let Holder {
        author,
        command,
        since,
        run,
        ..
    } = holder;
    let why = author.why();
    format!(
        "held by {}@{} for `{command}`{why} since {since} (run {run})",
        author.user, author.machine
    )
}

/// From `shortest` to four times that; the same for the same run and attempt.
#[must_use]
pub fn pause(run: &RunId, attempt: u32, shortest: Duration) -> Duration {
    let digest = Digest::of(format!("{run} {attempt}").as_bytes());
    let chance = u32::from(digest.bytes()[0]);
    shortest + shortest * 3 * chance / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_between_runs_and_stay_in_bounds() {
        let shortest = Duration::from_secs(1);
        let pauses = |run: &str| -> Vec<Duration> {
            let run = RunId(run.to_owned());
            (0..20)
                .map(|attempt| pause(&run, attempt, shortest))
                .collect()
        };
        assert_ne!(pauses("one"), pauses("two"));
        for pause in pauses("one") {
            assert!((shortest..=shortest * 4).contains(&pause), "{pause:?}");
        }
    }
}
