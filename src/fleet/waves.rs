//! The waves: inert work on all hosts, then each host's steps in its wave, with a bake after each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ask::AskError;
use super::conduct::{Conduct, Interruption, failure, lock_progress, unpanicked};
use super::connection::Sink;
use super::decide::End;
use super::run::{Cause, Failure};
use crate::helper::protocol::StepFailure;
use crate::model::{EventKind, Member, StepId, Verdict, Wave};

/// The shortest time between two readings of gates while a wave bakes.
const BAKE_READING: Duration = Duration::from_secs(5);

/// What came of the steps that one member was asked for.
type Answered = (Member, Vec<StepId>, Result<Option<StepFailure>, AskError>);

impl Conduct {
    /// Takes all steps of a wave and watches it bake.
    pub(super) async fn wave(&mut self, wave: Wave) -> Result<(), End> {
        let (members, of) = {
            let progress = self.tracked();
            let of = progress.waves().last().map_or(0, |last| last.0);
            (progress.members_of(wave), of)
        };
        let taking_part = self.taking_part();
        let hosts = members.intersection(&taking_part);
        let hosts: BTreeSet<_> = hosts.map(|member| member.host.clone()).collect();
        self.events.emit(EventKind::WaveStarted {
            wave,
            of,
            hosts: hosts.into_iter().collect(),
        });
        self.take_steps(wave, &members).await?;
        while let Err(interruption) = self.bake(wave, &members).await {
            if let Some(end) = self.weigh(interruption, &members).await {
                return Err(end);
            }
        }
        Ok(())
    }

    /// Takes steps until none of the wave is left, asking each member for as many as may be taken.
    async fn take_steps(&mut self, wave: Wave, members: &BTreeSet<Member>) -> Result<(), End> {
        let mut asked: JoinSet<Answered> = JoinSet::new();
        let mut busy: BTreeSet<Member> = BTreeSet::new();
        // Restarted by everything that begins or ends on a host.
        let (moved, mut moving) = watch::channel(Instant::now());
        loop {
            let out = self.out();
            let batches = self.tracked().next(wave, &busy, &out);
            for (member, steps) in batches {
                busy.insert(member.clone());
                self.ask_for(&mut asked, member, steps, &moved);
            }
            let interruption = if busy.is_empty() {
                let open = self.tracked().open(wave, &out);
                let Some(step) = open.first() else {
                    return Ok(());
                };
                self.stalled(step)
            } else {
                let patience = self.run.pace.progress;
                let since = *moving.borrow_and_update();
                tokio::select! {
                    Some(joined) = asked.join_next() => {
                        let (member, steps, answer) = unpanicked(joined);
                        busy.remove(&member);
                        match self.answered(&member, &steps, answer) {
                            None => continue,
                            Some(failure) => failure.into(),
                        }
                    }
                    Some(lost) = self.lost.recv() => match self.lost_member(&lost.host) {
                        None => continue,
                        Some(member) => failure(&member, &lost.into()).into(),
                    },
                    signal = self.cancelling.wanted() => Interruption::Cancelled(signal),
                    // What is done on one host may be what another one waits for.
                    Ok(()) = moving.changed() => continue,
                    () = silence(since, patience) => {
                        if *moving.borrow() != since {
                            continue;
                        }
                        self.no_progress(&busy)
                    }
                }
            };
            if self.tracked().past_return().is_some() {
                // Nobody will be told to stop, so what is under way comes to its end first.
                self.drain(&mut asked, &mut moving).await;
                busy.clear();
            }
            let failed = interruption.hosts();
            if let Some(end) = self.weigh(interruption, members).await {
                return Err(end);
            }
            busy.retain(|member| !failed.contains(&member.host));
        }
    }

    fn ask_for(
        &self,
        asked: &mut JoinSet<Answered>,
        member: Member,
        steps: Vec<StepId>,
        moved: &watch::Sender<Instant>,
    ) {
        self.tracked().asked(&steps);
        moved.send_replace(Instant::now());
        let (run, app) = (self.run.id.clone(), member.app.clone());
        let sink = self.sink(moved.clone());
        let connection = self.connection(&member.host);
        asked.spawn(async move {
            let answer = match connection {
                Ok(connection) => connection.steps(run, app, steps.clone(), sink).await,
                Err(lost) => Err(lost.into()),
            };
            (member, steps, answer)
        });
    }

    /// Everything that happens on the way is told, and kept in the progress.
    fn sink(&self, moved: watch::Sender<Instant>) -> Sink {
        let (events, progress) = (self.events.clone(), self.progress.clone());
        Arc::new(move |event| {
            match &event {
                EventKind::StepStarted { step, .. } => lock_progress(&progress).begun(step),
                EventKind::StepDone { step, .. } => {
                    lock_progress(&progress).done(std::slice::from_ref(step));
                }
                _ => {}
            }
            moved.send_replace(Instant::now());
            events.emit(event);
        })
    }

    /// Notes an answer; says what failed, if something did.
    fn answered(
        &self,
        member: &Member,
        steps: &[StepId],
        answer: Result<Option<StepFailure>, AskError>,
    ) -> Option<Failure> {
        match answer {
            Ok(None) => {
                self.tracked().done(steps);
                None
            }
            // Who is out already was told to stop; that it did is no news.
            _ if self.ends.contains_key(member) => None,
            Ok(Some(failed)) => {
                let left = (!failed.begun).then_some(&failed.step);
                self.tracked().answered(steps, left);
                Some(step_failure(member, failed))
            }
            Err(error) => {
                if !error.is_lost() {
                    self.tracked().answered(steps, None);
                }
                Some(failure(member, &error))
            }
        }
    }

    /// A member of a host that was lost, where it isn't known already.
    pub(super) fn lost_member(&self, host: &crate::model::HostName) -> Option<Member> {
        let members = self.taking_part();
        members.into_iter().find(|member| member.host == *host)
    }

    /// Waits until everything under way has ended, nothing has begun or ended for too long, or nobody wants to wait any
    /// more.
    async fn drain(
        &mut self,
        asked: &mut JoinSet<Answered>,
        moving: &mut watch::Receiver<Instant>,
    ) {
        loop {
            let since = *moving.borrow_and_update();
            let joined = tokio::select! {
                joined = asked.join_next() => joined,
                () = self.cancelling.impatient() => return,
                () = silence(since, self.run.pace.progress) => {
                    if *moving.borrow() != since {
                        continue;
                    }
                    return;
                }
            };
            let Some(joined) = joined else { return };
            let (member, steps, answer) = unpanicked(joined);
            if let Some(failure) = self.answered(&member, &steps, answer) {
                self.failures.push(failure);
            }
        }
    }

    /// A plan whose steps wait for each other across waves: none can be taken, yet some are left.
    fn stalled(&self, step: &StepId) -> Interruption {
        let found = self.run.plan.step(step);
        let mut members = self.run.parts.keys();
        let member = found.map(|step| Member::new(&step.resource.host, &step.resource.app));
        let member = member.or_else(|| members.next().cloned());
        member.map_or(Interruption::Failed(Vec::new()), |member| {
            Interruption::from(Failure {
                error: format!("{step} waits for a step that can't be taken before it, which is a fault in the plan"),
                host: member.host.clone(),
                member: Some(member),
                step: Some(step.clone()),
                cause: Cause::Other,
            })
        })
    }

    fn no_progress(&self, busy: &BTreeSet<Member>) -> Interruption {
        let seconds = self.run.pace.progress.as_secs();
        let failures = busy.iter().map(|member| Failure {
            host: member.host.clone(),
            member: Some(member.clone()),
            step: None,
            error: format!("{member}: nothing has begun or ended for {seconds} s"),
            cause: Cause::Other,
        });
        Interruption::Failed(failures.collect())
    }

    /// Watches the hosts of a wave for as long as is declared.
    async fn bake(&mut self, wave: Wave, members: &BTreeSet<Member>) -> Result<(), Interruption> {
        let bake = self.run.pace.bakes.get(&wave).copied();
        let Some(bake) = bake.filter(|bake| !bake.is_zero() && wave > Wave::INERT) else {
            return Ok(());
        };
        self.events.emit(EventKind::Waiting {
            host: None,
            reason: format!("wave {} to bake for {} s", wave.0, bake.as_secs_f32()),
        });
        let end = Instant::now() + bake;
        let between = (bake / 10).max(BAKE_READING);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(left.min(between)) => {}
                signal = self.cancelling.wanted() => return Err(Interruption::Cancelled(signal)),
                Some(lost) = self.lost.recv() => match self.lost_member(&lost.host) {
                    None => continue,
                    Some(member) => return Err(failure(&member, &lost.into()).into()),
                },
            }
            self.read_gates(members).await?;
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    /// Reads the new gates of members once; every one must pass.
    async fn read_gates(&mut self, members: &BTreeSet<Member>) -> Result<(), Interruption> {
        let members = members.intersection(&self.taking_part()).cloned().collect();
        let set = self.on_each(&members, |member, connection| {
            let part = self.part(member);
            let (address, gates) = (part.address.clone(), part.gates.clone());
            async move { connection.gates(address, Some(gates), false).await }
        });
        let mut failures = Vec::new();
        for (member, results) in self.all_well(set).await? {
            for result in results {
                if result.verdict != Verdict::Passed {
                    let failed = result.verdict == Verdict::Failed;
                    failures.push(Failure {
                        host: member.host.clone(),
                        member: Some(member.clone()),
                        step: None,
                        error: format!(
                            "{member}: {} {}: {}",
                            result.gate, result.verdict, result.detail
                        ),
                        cause: if failed {
                            Cause::Verdict
                        } else {
                            Cause::Inconclusive
                        },
                    });
                }
                self.events.emit(EventKind::GateRead {
                    host: member.host.clone(),
                    app: member.app.clone(),
                    result,
                    baseline: false,
                    back: false,
                    step: None,
                });
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Interruption::Failed(failures))
        }
    }
}

fn step_failure(member: &Member, failed: StepFailure) -> Failure {
    let cause = match &failed {
        StepFailure { verdict: true, .. } => Cause::Verdict,
        StepFailure { conflict: true, .. } => Cause::Conflict,
        StepFailure {
            inconclusive: true, ..
        } => Cause::Inconclusive,
        _ => Cause::Other,
    };
    Failure {
        host: member.host.clone(),
        member: Some(member.clone()),
        step: Some(failed.step),
        error: failed.error,
        cause,
    }
}

/// Returns when so much time has passed since then.
async fn silence(since: Instant, patience: Duration) {
    tokio::time::sleep_until((since + patience).into()).await;
}
