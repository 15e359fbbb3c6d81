//! The end of a run in two rounds: everybody is ready, then everybody commits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;

use super::ask::AskError;
use super::conduct::{Conduct, Interruption, failure, unpanicked};
use super::decide::End;
use super::ending::MemberEnd;
use super::events::Events;
use crate::config::OnFailure;
use crate::helper::cannot_be_taken_back;
use crate::helper::protocol::Marks;
use crate::model::{AppName, EventKind, Generation, Ledger, Member, StepId, few};

/// How long a round may last before it is told what it waits for.
const SLOW: Duration = Duration::from_secs(2);

/// What a host that was lost after it had been ready is like.
const UNCONFIRMED: &str = "it was ready, so it may stay new without having committed; the next apply, rollback or heal settles that";

impl Conduct {
    /// Both rounds with everybody who takes part; or how the run ends instead.
    pub(super) async fn rounds(&mut self) -> Result<(), End> {
        loop {
            let members = self.taking_part();
            let last = self.tracked().waves().last().copied();
            let wave = last.map_or_else(BTreeSet::new, |last| self.tracked().members_of(last));
            let Err(interruption) = self.make_ready(&members).await else {
                self.commit(&members).await;
                return Ok(());
            };
            if let Some(end) = self.weigh(interruption, &wave).await {
                return Err(end);
            }
        }
    }

    /// The first round. From its answer on a host keeps the new state if the controller is lost.
    async fn make_ready(&mut self, members: &BTreeSet<Member>) -> Result<(), Interruption> {
        let mut silent: BTreeSet<Member> = members.difference(&self.ready).cloned().collect();
        let with_all = self.fails_whole();
        let mut set = self.on_each(&silent, |member, connection| {
            let (run, app) = (self.run.id.clone(), member.app.clone());
            let (generation, marks) = self.committed(member);
            async move {
                connection
                    .ready(run, app, generation, marks, with_all)
                    .await
            }
        });
        let mut slow = Slow::new("to be ready");
        let mut failures = Vec::new();
        loop {
            let joined = tokio::select! {
                joined = set.join_next() => joined,
                signal = self.cancelling.wanted() => return Err(Interruption::Cancelled(signal)),
                () = slow.is() => {
                    slow.tell(&self.events, &silent);
                    continue;
                }
            };
            let joined = joined.map(unpanicked);
            if let Some((member, _)) = &joined {
                silent.remove(member);
            }
            match joined {
                Some((member, Ok(()))) => drop(self.ready.insert(member)),
                Some((member, Err(error))) => failures.push(failure(&member, &error)),
                None if failures.is_empty() => return Ok(()),
                None => return Err(Interruption::Failed(failures)),
            }
        }
    }

    /// Whether a failure from here on takes all apps of a host back, or none.
    fn fails_whole(&self) -> bool {
        let all = self.run.pace.on_failure == OnFailure::RollbackAll;
        all && self.tracked().past_return().is_none()
    }

    /// Both rounds for those that stay new in a run that failed. There is no way back for the
    /// run from here, so a further cancel is of no use any more.
    pub(super) async fn keep(&mut self, members: &BTreeSet<Member>) {
        // Also who was ready before: what it commits is another thing now.
        let set = self.on_each(members, |member, connection| {
            let (run, app) = (self.run.id.clone(), member.app.clone());
            let (generation, marks) = self.committed(member);
            async move { connection.ready(run, app, generation, marks, false).await }
        });
        let mut kept = members.clone();
        for (member, ready) in self.in_time(members, "to be ready", set).await {
            let Err(error) = ready else { continue };
            kept.remove(&member);
            if error.is_refusal() || self.tracked().past_return().is_some() {
                let text = format!("{member} is new, and isn't ready to stay so: {error}");
                self.stuck(&member, text);
                continue;
            }
            let reason = format!(
                "{error}; it goes back by itself, unless it has heard that it is to stay: the next command settles that"
            );
            self.events.note(Some(&member.host), reason.clone());
            self.ends.insert(member, MemberEnd::GoingBack { reason });
        }
        let failed = self.failed_here(&kept);
        self.commit(&kept).await;
        for (member, error) in failed {
            if self.ends.get(&member) == Some(&MemberEnd::Committed) {
                let text = format!("{member} is new, can't go back any more, and {error}");
                self.stuck(&member, text);
            }
        }
    }

    /// Waits for everybody, but not for ever: until a further signal comes, or for as long as nothing
    /// on a host takes longer. Work that isn't waited for goes on there.
    async fn in_time<T: 'static>(
        &mut self,
        members: &BTreeSet<Member>,
        to: &'static str,
        mut set: JoinSet<(Member, Result<T, AskError>)>,
    ) -> Vec<(Member, Result<T, NoAnswer>)> {
        let patience = self.run.pace.guard.max(self.run.pace.progress);
        let deadline = tokio::time::sleep(patience);
        tokio::pin!(deadline);
        let mut silent = members.clone();
        let mut slow = Slow::new(to);
        let mut answers = Vec::new();
        loop {
            let joined = tokio::select! {
                biased;
                joined = set.join_next() => joined,
                () = self.cancelling.impatient() => None,
                () = &mut deadline => None,
                () = slow.is() => {
                    slow.tell(&self.events, &silent);
                    continue;
                }
            };
            let Some(joined) = joined else { break };
            let (member, answer) = unpanicked(joined);
            silent.remove(&member);
            answers.push((member, answer.map_err(NoAnswer::Asked)));
        }
        set.detach_all();
        for member in silent {
            self.unanswered.insert(member.host.clone());
            let late = NoAnswer::Late(member.clone());
            answers.push((member, Err(late)));
        }
        answers
    }

    /// What failed on members that stay new all the same, past a point of no return.
    fn failed_here(&self, members: &BTreeSet<Member>) -> BTreeMap<Member, String> {
        let failures = self.failures.iter().filter_map(|failure| {
            let member = failure.member.clone()?;
            Some((member, failure.error.clone()))
        });
        failures
            .filter(|(member, _)| members.contains(member))
            .collect()
    }

    /// Those that can be neither old nor new: they are left as they are.
    pub(super) async fn stand(&mut self, members: &BTreeSet<Member>) {
        let past = self.tracked().past_return().cloned();
        let reason = past.as_ref().map(cannot_be_taken_back);
        let set = self.on_each(members, |member, connection| {
            let (run, app) = (self.run.id.clone(), member.app.clone());
            let reason = reason.clone().unwrap_or_default();
            async move { connection.stand(run, app, reason).await }
        });
        for (member, stands) in self.in_time(members, "to stand", set).await {
            let mut problems = vec![standing(&member, past.as_ref())];
            problems.extend(stands.err().map(|error| error.to_string()));
            self.events.note(Some(&member.host), problems.join("; "));
            self.ends.insert(member, MemberEnd::Stuck { problems });
        }
    }

    /// The second round. Where nobody has committed and all refuse, everybody goes back; else there
    /// is only forward.
    async fn commit(&mut self, members: &BTreeSet<Member>) {
        let set = self.on_each(members, |member, connection| {
            let (run, app) = (self.run.id.clone(), member.app.clone());
            async move { connection.commit(run, app).await }
        });
        let answers = self.in_time(members, "to commit", set).await;
        let refused =
            |answer: &Result<Ledger, NoAnswer>| answer.as_ref().is_err_and(NoAnswer::is_refusal);
        if !answers.is_empty() && answers.iter().all(|(_, answer)| refused(answer)) {
            let failures =
                answers
                    .iter()
                    .filter_map(|(member, answer)| match answer.as_ref().err()? {
                        NoAnswer::Asked(error) => Some(failure(member, error)),
                        NoAnswer::Late(_) => None,
                    });
            let failures = failures.collect();
            // Nobody has committed, so this ends with everybody old, if the plan allows it.
            if let Some(end) = self.weigh(Interruption::Failed(failures), members).await {
                let reason = "no host could commit";
                self.go_back(&end.back, reason).await;
                for member in end.keep.union(&end.stand) {
                    self.stuck(member, format!("{member} is new and could not commit"));
                }
            }
            return;
        }
        let mut hosts = BTreeSet::new();
        let mut number = None;
        for (member, answer) in answers {
            match answer {
                Ok(ledger) if self.shows_run(&ledger) => {
                    number = number.max(ledger.current().map(|current| current.number));
                    hosts.insert(member.host.clone());
                    self.ends.insert(member, MemberEnd::Committed);
                }
                Ok(_) => self.stuck(
                    &member,
                    format!("{member} says that it has committed, and its ledger doesn't show it"),
                ),
                Err(error) if error.is_refusal() => {
                    self.stuck(&member, format!("{error}; {UNCONFIRMED}"));
                }
                Err(error) => self.unconfirmed(&member, format!("{error}; {UNCONFIRMED}")),
            }
        }
        let stays = |member: &Member| self.part(member).forget.is_none();
        if let Some(generation) = number.filter(|_| members.iter().any(stays)) {
            let hosts = hosts.into_iter().collect();
            self.events.emit(EventKind::Committed { generation, hosts });
        }
        self.after_commit().await;
    }

    /// The generation as it is committed, and what else changes in the ledger.
    fn committed(&self, member: &Member) -> (Generation, Marks) {
        let part = self.part(member);
        let one = BTreeSet::from([member.clone()]);
        let generation = Generation {
            at: self.events.now(),
            // Where gates weren't read, as with `rollback --force`, nothing says that it is healthy.
            verified: self.failed_here(&one).is_empty() && part.gates == part.generation.gates,
            ..part.generation.clone()
        };
        let mut marks = part.marks.clone();
        // A verdict on one host holds on every host of the run.
        marks.hold.extend(self.hold(member));
        (generation, marks)
    }

    pub(super) fn shows_run(&self, ledger: &Ledger) -> bool {
        let current = ledger.current().and_then(|current| current.run.as_ref());
        current == Some(&self.run.id)
    }

    /// Pruning, and forgetting what goes for good. What can't be removed harms nothing but space.
    async fn after_commit(&mut self) {
        let committed = self
            .ends
            .iter()
            .filter(|(_, end)| **end == MemberEnd::Committed);
        let mut members: BTreeSet<Member> = committed.map(|(member, _)| member.clone()).collect();
        // As long as one has yet to commit, the others' ledgers say that it is to.
        let is_at_rest = |member| {
            matches!(
                self.ends.get(member),
                Some(MemberEnd::Committed | MemberEnd::Back)
            )
        };
        let all_are = self.run.parts.keys().all(is_at_rest);
        members.retain(|member| self.part(member).forget.is_none() || all_are);
        let set = self.on_each(&members, |member, connection| {
            let (run, app) = (self.run.id.clone(), member.app.clone());
            let part = self.part(member);
            let (forget, releases, backups) = (part.forget, part.releases, part.backups);
            async move {
                match forget {
                    Some(forget) => {
                        let left = connection.forget(run, app, forget.data).await?;
                        Ok(After::Forgotten(left))
                    }
                    None => {
                        let pruned = connection.prune(run, app, releases, backups).await?;
                        Ok(After::Pruned(pruned))
                    }
                }
            }
        });
        for (member, after) in self.in_time(&members, "to remove what goes", set).await {
            match after {
                Ok(After::Pruned((0, _))) => {}
                Ok(After::Forgotten(left)) => {
                    let text = removed(&member.app, &left);
                    self.events.note(Some(&member.host), text);
                }
                Ok(After::Pruned((count, bytes))) => self.events.emit(EventKind::Pruned {
                    host: member.host,
                    app: member.app,
                    count,
                    bytes,
                }),
                Err(error) if self.part(&member).forget.is_some() => {
                    self.stuck(
                        &member,
                        format!("{member} was removed but for rosey's own: {error}"),
                    );
                }
                Err(error) => {
                    let text = format!("{member}: nothing was pruned: {error}");
                    self.events.note(Some(&member.host), text);
                }
            }
        }
    }

    /// Nobody is needed for it: it stands, and what it is is found out by the next command.
    fn unconfirmed(&mut self, member: &Member, reason: String) {
        self.events.note(Some(&member.host), reason.clone());
        self.ends
            .insert(member.clone(), MemberEnd::Unconfirmed { reason });
    }

    pub(super) fn stuck(&mut self, member: &Member, problem: String) {
        self.events.note(Some(&member.host), problem.clone());
        let end = MemberEnd::Stuck {
            problems: vec![problem],
        };
        self.ends.insert(member.clone(), end);
    }
}

/// A round that lasts is told of, once.
struct Slow {
    to: &'static str,
    /// When it is to be told; never again once it was.
    at: Option<tokio::time::Instant>,
}

impl Slow {
    fn new(to: &'static str) -> Self {
        Self {
            to,
            at: Some(tokio::time::Instant::now() + SLOW),
        }
    }

    /// Returns when it is time to tell of it.
    async fn is(&self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn tell(&mut self, events: &Events, silent: &BTreeSet<Member>) {
        self.at = None;
        let hosts = few(silent.iter().map(|it| it.host.to_string()));
        events.emit(EventKind::Waiting {
            host: None,
            reason: format!("{hosts} {}", self.to),
        });
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
enum NoAnswer {
    /// The host refuses, or was lost.
    #[error(transparent)]
    Asked(AskError),
    /// It wasn't waited for any longer.
    #[error("{0} has not answered in time")]
    Late(Member),
}

impl NoAnswer {
    /// Whether the host is there and doesn't do it.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Asked(error) if !error.is_lost())
    }
}

/// What came after a commit.
enum After {
    /// How many things went, and their bytes.
    Pruned((u64, u64)),
    /// What is left of an app that was removed.
    Forgotten(Vec<String>),
}

/// What people are told of an app that was removed.
#[must_use]
pub fn removed(app: &AppName, left: &[String]) -> String {
    match left {
        [] => format!("{app} is removed; nothing is left of it"),
        left => format!(
            "{app} is removed; what it had written is left: {}",
            left.join(", ")
        ),
    }
}

fn standing(member: &Member, past: Option<&StepId>) -> String {
    match past {
        Some(step) => format!(
            "{member} stands where it stopped, between old and new: {}",
            cannot_be_taken_back(step)
        ),
        None => format!("{member} stands where it stopped, between old and new"),
    }
}
