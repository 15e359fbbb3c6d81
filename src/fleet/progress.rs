//! How far a run is: which steps are done, which may be taken next, where each member stands.
//!
//! Pure: it is told what happened and says what follows.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{HostName, Member, Plan, Step, StepId, Wave};

/// What became of a step so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    /// Nothing.
    Pending,
    /// Its helper was asked; whether it began isn't known.
    Asked,
    /// It has begun.
    Begun,
    /// It is done.
    Done,
}

#[derive(Debug)]
struct Tracked {
    id: StepId,
    member: Member,
    wave: Wave,
    /// By position; what the plan doesn't have is done.
    after: Vec<usize>,
    no_return: bool,
    status: Status,
}

/// Where a member stands in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing that the running system can see has begun.
    Old,
    /// Something has, and not all of it is done.
    Between,
    /// Every step is done.
    New,
}

/// How far a run is.
#[derive(Debug)]
pub(super) struct Progress {
    /// In the plan's order, in which no step stands before one that it waits for.
    steps: Vec<Tracked>,
    by_id: BTreeMap<StepId, usize>,
    members: BTreeSet<Member>,
}

impl Progress {
    /// A run at its beginning. Steps of members that take no part count as done.
    pub(super) fn new(plan: &Plan, members: BTreeSet<Member>) -> Self {
        let of = |step: &Step| Member::new(&step.resource.host, &step.resource.app);
        let steps: Vec<&Step> = plan
            .steps
            .iter()
            .filter(|step| members.contains(&of(step)))
            .collect();
        let by_id: BTreeMap<StepId, usize> = steps
            .iter()
            .enumerate()
            .map(|(index, step)| (step.id.clone(), index))
            .collect();
        let steps = steps
            .into_iter()
            .map(|step| Tracked {
                id: step.id.clone(),
                member: of(step),
                wave: step.wave,
                after: step
                    .after
                    .iter()
                    .filter_map(|id| by_id.get(id).copied())
                    .collect(),
                no_return: step.is_past_return(),
                status: Status::Pending,
            })
            .collect();
        Self {
            steps,
            by_id,
            members,
        }
    }

    /// The waves that have steps, in their order.
    pub(super) fn waves(&self) -> BTreeSet<Wave> {
        self.steps.iter().map(|step| step.wave).collect()
    }

    /// The members that have steps in a wave.
    pub(super) fn members_of(&self, wave: Wave) -> BTreeSet<Member> {
        let steps = self.steps.iter().filter(|step| step.wave == wave);
        steps.map(|step| step.member.clone()).collect()
    }

    /// For each member the largest set of steps of the wave that may be asked for now: all that they
    /// wait for is done, or is asked of the same member with them. One from which there is no way back isn't asked for
    /// beforehand: as long as something before it can fail or be cancelled, there is one. `out` takes no part any more.
    pub(super) fn next(
        &self,
        wave: Wave,
        busy: &BTreeSet<Member>,
        out: &BTreeSet<Member>,
    ) -> BTreeMap<Member, Vec<StepId>> {
        let mut chosen = vec![false; self.steps.len()];
        let mut batches: BTreeMap<Member, Vec<StepId>> = BTreeMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            let mine = step.wave == wave && step.status == Status::Pending;
            if !mine || busy.contains(&step.member) || out.contains(&step.member) {
                continue;
            }
            let may = step.after.iter().all(|before| {
                let other = &self.steps[*before];
                let with_it = chosen[*before] && other.member == step.member && !step.no_return;
                other.status == Status::Done || with_it
            });
            if may {
                chosen[index] = true;
                let batch = batches.entry(step.member.clone()).or_default();
                batch.push(step.id.clone());
            }
        }
        batches
    }

    /// The steps of a wave that are not done, of members that take part.
    pub(super) fn open(&self, wave: Wave, out: &BTreeSet<Member>) -> Vec<StepId> {
        self.steps
            .iter()
            .filter(|step| step.wave == wave && step.status != Status::Done)
            .filter(|step| !out.contains(&step.member))
            .map(|step| step.id.clone())
            .collect()
    }

    /// A helper is asked for steps.
    pub(super) fn asked(&mut self, steps: &[StepId]) {
        self.raise(steps, Status::Asked);
    }

    /// A step has begun.
    pub(super) fn begun(&mut self, step: &StepId) {
        self.raise(std::slice::from_ref(step), Status::Begun);
    }

    /// A step is done.
    pub(super) fn done(&mut self, steps: &[StepId]) {
        self.raise(steps, Status::Done);
    }

    /// A helper has answered that not all of a batch is done: those that it didn't begin were not begun, and nor was one
    /// that it began to look at, and left as it was.
    pub(super) fn answered(&mut self, batch: &[StepId], left: Option<&StepId>) {
        for step in batch {
            if let Some(tracked) = self.tracked(step)
                && (tracked.status == Status::Asked || left == Some(step))
            {
                tracked.status = Status::Pending;
            }
        }
    }

    fn raise(&mut self, steps: &[StepId], status: Status) {
        for step in steps {
            if let Some(tracked) = self.tracked(step) {
                tracked.status = tracked.status.max(status);
            }
        }
    }

    fn tracked(&mut self, step: &StepId) -> Option<&mut Tracked> {
        let index = *self.by_id.get(step)?;
        self.steps.get_mut(index)
    }

    /// Where each member stands. What was only asked for may have begun.
    pub(super) fn standings(&self) -> BTreeMap<Member, Standing> {
        let mut standings: BTreeMap<Member, Standing> = BTreeMap::new();
        for member in &self.members {
            let mine = || self.steps.iter().filter(|step| step.member == *member);
            let standing = if mine().all(|step| step.status == Status::Done) {
                Standing::New
            } else if mine().any(|step| step.wave > Wave::INERT && step.status > Status::Pending) {
                Standing::Between
            } else {
                Standing::Old
            };
            standings.insert(member.clone(), standing);
        }
        standings
    }

    /// Whether a step of another host waits for one of these hosts'.
    pub(super) fn leaned_on(&self, hosts: &BTreeSet<HostName>) -> bool {
        self.steps
            .iter()
            .filter(|step| !hosts.contains(&step.member.host))
            .flat_map(|step| &step.after)
            .any(|before| hosts.contains(&self.steps[*before].member.host))
    }

    /// A step that can't be taken back and that the old release can't live with, if one may have
    /// begun among members that take part.
    pub(super) fn past_return(&self) -> Option<&StepId> {
        self.steps
            .iter()
            .find(|step| step.no_return && step.status > Status::Pending)
            .map(|step| &step.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{member, plan, step};
    use crate::model::Label;

    fn progress(plan: &Plan) -> Progress {
        let members = plan
            .steps
            .iter()
            .map(|step| Member::new(&step.resource.host, &step.resource.app))
            .collect();
        Progress::new(plan, members)
    }

    fn batch(progress: &Progress, wave: u32) -> Vec<(String, Vec<String>)> {
        let none = BTreeSet::new();
        progress
            .next(Wave(wave), &none, &none)
            .into_iter()
            .map(|(member, steps)| {
                let steps = steps.into_iter().map(|id| id.0).collect();
                (member.host.to_string(), steps)
            })
            .collect()
    }

    #[test]
    fn edges_within_a_member_are_its_helpers_business() {
        let plan = plan(vec![
            step("a", "one", 1, &[]),
            step("a", "two", 1, &["a/app/file:one"]),
        ]);
        let batches = batch(&progress(&plan), 1);
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].1.len(), 2);
    }

    #[test]
    fn a_step_waits_for_what_another_host_does_first() {
        let plan = plan(vec![
            step("a", "migrate", 1, &[]),
            step("b", "migrate", 1, &["a/app/file:migrate"]),
            step("b", "free", 1, &[]),
        ]);
        let mut progress = progress(&plan);
        let first = batch(&progress, 1);
        assert_eq!(
            first,
            [
                ("a".to_owned(), vec!["a/app/file:migrate".to_owned()]),
                ("b".to_owned(), vec!["b/app/file:free".to_owned()]),
            ]
        );
        progress.done(&[StepId("a/app/file:migrate".to_owned())]);
        progress.asked(&[StepId("b/app/file:free".to_owned())]);
        assert_eq!(
            batch(&progress, 1),
            [("b".to_owned(), vec!["b/app/file:migrate".to_owned()])]
        );
    }

    #[test]
    fn what_was_asked_of_a_lost_host_may_have_begun() {
        let plan = plan(vec![step("a", "one", 0, &[]), step("a", "two", 1, &[])]);
        let mut progress = progress(&plan);
        let standing = |progress: &Progress| progress.standings()[&member("a")];
        progress.done(&[StepId("a/app/file:one".to_owned())]);
        assert_eq!(standing(&progress), Standing::Old);
        let two = StepId("a/app/file:two".to_owned());
        progress.asked(std::slice::from_ref(&two));
        assert_eq!(standing(&progress), Standing::Between);
        progress.answered(std::slice::from_ref(&two), None);
        assert_eq!(standing(&progress), Standing::Old);
        progress.done(&[two]);
        assert_eq!(standing(&progress), Standing::New);
    }

    #[test]
    fn a_step_without_a_way_back_is_asked_for_when_nothing_before_it_can_fail_any_more() {
        let mut migrate = step("a", "migrate", 1, &["a/app/file:backup"]);
        migrate.label = Label::Irreversible;
        let after = step("a", "start", 1, &["a/app/file:migrate"]);
        let plan = plan(vec![step("a", "backup", 1, &[]), migrate, after]);
        let mut progress = progress(&plan);
        let of = |name: &str| StepId(format!("a/app/file:{name}"));
        let asked = |progress: &Progress| batch(progress, 1).remove(0).1;
        assert_eq!(asked(&progress), [of("backup").0]);
        progress.asked(&[of("backup")]);
        assert!(progress.past_return().is_none());
        progress.done(&[of("backup")]);
        let rest = [of("migrate"), of("start")];
        assert_eq!(asked(&progress), rest.clone().map(|id| id.0));
        progress.asked(&rest);
        assert_eq!(progress.past_return(), Some(&rest[0]));
        // It was looked at, and what it was to change wasn't as planned.
        progress.begun(&rest[0]);
        progress.answered(&rest, Some(&rest[0]));
        assert!(progress.past_return().is_none());
    }

    #[test]
    fn only_a_compatible_irreversible_step_leaves_the_way_back_open() {
        for (compatible, past) in [(false, true), (true, false)] {
            let mut migrate = step("a", "migrate", 1, &[]);
            migrate.label = Label::Irreversible;
            if compatible {
                migrate.to = migrate.to.map(|to| to.setting("compatible", true));
            }
            let plan = plan(vec![migrate]);
            let mut progress = progress(&plan);
            assert!(progress.past_return().is_none());
            progress.begun(&StepId("a/app/file:migrate".to_owned()));
            assert_eq!(progress.past_return().is_some(), past);
        }
    }
}
