//! What follows when something in a run fails. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::progress::Standing;
use crate::config::OnFailure;
use crate::model::{HostName, Member};

/// All that the decision depends on.
#[derive(Debug, Clone)]
pub(super) struct Situation<'a> {
    /// Where every member stands that still takes part.
    pub(super) standings: &'a BTreeMap<Member, Standing>,
    /// The members of the wave that is under way; empty before the first.
    pub(super) wave: &'a BTreeSet<Member>,
    /// Hosts that have failed now.
    pub(super) failed: &'a BTreeSet<HostName>,
    /// Whether other hosts can't do without what the failed ones did or were to do.
    pub(super) leaned_on: bool,
    /// How many hosts failed before and were put up with.
    pub(super) before: usize,
    /// How many may.
    pub(super) max_failures: u32,
    /// What the declaration says.
    pub(super) on_failure: OnFailure,
    /// Whether a person or a signal ended the run.
    pub(super) cancelled: bool,
    /// Whether the way back is closed.
    pub(super) past_return: bool,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// These go back, the others go on.
    GoOn {
        /// All members of the hosts that failed.
        back: BTreeSet<Member>,
    },
    /// The run ends.
    End(End),
}

/// How a run ends: each member exactly old or exactly new, but for what can't be helped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct End {
    /// These become as they were.
    pub(super) back: BTreeSet<Member>,
    /// These stay new.
    pub(super) keep: BTreeSet<Member>,
    /// These can be neither: a person is needed.
    pub(super) stand: BTreeSet<Member>,
}

/// Decides what follows.
pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let Situation {
        standings, failed, ..
    } = situation;
    if situation.past_return {
        return Decision::End(stand(standings));
    }
    let of_failed = |member: &&Member| failed.contains(&member.host);
    let tolerated = situation.before + failed.len() <= situation.max_failures as usize;
    let others = standings
        .keys()
        .any(|member| !failed.contains(&member.host));
    if !situation.cancelled && tolerated && others && !situation.leaned_on {
        let back = standings.keys().filter(of_failed).cloned().collect();
        return Decision::GoOn { back };
    }
    let partly = |keeps: &dyn Fn(&Member) -> bool| {
        let mut end = End::default();
        for (member, standing) in standings.iter() {
            let keep = *standing == Standing::New && keeps(member) && !of_failed(&member);
            let side = if keep { &mut end.keep } else { &mut end.back };
            side.insert(member.clone());
        }
        end
    };
    Decision::End(match situation.on_failure {
        _ if situation.cancelled => partly(&|_| false),
        OnFailure::RollbackAll => partly(&|_| false),
        OnFailure::RollbackWave => partly(&|member| !situation.wave.contains(member)),
        OnFailure::Stop => partly(&|_| true),
    })
}

/// Past a point of no return nobody goes back to what can't live with what was done. Who has shown
/// nothing of the new yet stays old, by closing its journal.
fn stand(standings: &BTreeMap<Member, Standing>) -> End {
    let mut end = End::default();
    for (member, standing) in standings {
        let side = match standing {
            Standing::Old => &mut end.back,
            Standing::Between => &mut end.stand,
            Standing::New => &mut end.keep,
        };
        side.insert(member.clone());
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{host, member};

    struct Case {
        standings: BTreeMap<Member, Standing>,
        wave: BTreeSet<Member>,
        failed: BTreeSet<HostName>,
    }

    /// Three hosts: `a` had the first wave and is new, `b` and `c` are in the second, where `c` failed.
    fn case() -> Case {
        Case {
            standings: [
                (member("a"), Standing::New),
                (member("b"), Standing::New),
                (member("c"), Standing::Between),
            ]
            .into(),
            wave: [member("b"), member("c")].into(),
            failed: [host("c")].into(),
        }
    }

    impl Case {
        fn situation(&self) -> Situation<'_> {
            Situation {
                standings: &self.standings,
                wave: &self.wave,
                failed: &self.failed,
                leaned_on: false,
                before: 0,
                max_failures: 0,
                on_failure: OnFailure::RollbackAll,
                cancelled: false,
                past_return: false,
            }
        }
    }

    fn end(situation: &Situation<'_>) -> (String, String, String) {
        let Decision::End(end) = decide(situation) else {
            panic!("the run goes on");
        };
        let names = |members: BTreeSet<Member>| {
            let names: Vec<_> = members.iter().map(|it| it.host.to_string()).collect();
            names.join(" ")
        };
        (names(end.back), names(end.keep), names(end.stand))
    }

    #[test]
    fn the_declaration_says_who_goes_back() {
        let case = case();
        let with = |on_failure| Situation {
            on_failure,
            ..case.situation()
        };
        let said = |back: &str, keep: &str| (back.to_owned(), keep.to_owned(), String::new());
        assert_eq!(end(&with(OnFailure::RollbackAll)), said("a b c", ""));
        assert_eq!(end(&with(OnFailure::RollbackWave)), said("b c", "a"));
        assert_eq!(end(&with(OnFailure::Stop)), said("c", "a b"));
    }

    #[test]
    fn a_cancel_takes_everything_back_whatever_is_declared() {
        let case = case();
        let situation = Situation {
            on_failure: OnFailure::Stop,
            max_failures: 9,
            cancelled: true,
            ..case.situation()
        };
        assert_eq!(end(&situation).0, "a b c");
    }

    #[test]
    fn as_many_failures_as_declared_are_put_up_with() {
        let case = case();
        let mut situation = Situation {
            max_failures: 1,
            ..case.situation()
        };
        let back = [member("c")].into();
        assert_eq!(decide(&situation), Decision::GoOn { back });
        situation.leaned_on = true;
        assert!(matches!(decide(&situation), Decision::End(_)));
        situation.leaned_on = false;
        situation.before = 1;
        assert!(matches!(decide(&situation), Decision::End(_)));
    }

    #[test]
    fn a_run_whose_last_host_failed_does_not_go_on() {
        let standings = [(member("c"), Standing::Between)].into();
        let case = case();
        let situation = Situation {
            standings: &standings,
            max_failures: 1,
            ..case.situation()
        };
        assert_eq!(end(&situation).0, "c");
    }

    #[test]
    fn past_a_point_of_no_return_hosts_stop_where_they_stand() {
        let mut case = case();
        case.standings.insert(member("d"), Standing::Old);
        let situation = Situation {
            cancelled: true,
            past_return: true,
            ..case.situation()
        };
        let (back, keep, stand) = end(&situation);
        assert_eq!((&*back, &*keep, &*stand), ("d", "a b", "c"));
    }
}
