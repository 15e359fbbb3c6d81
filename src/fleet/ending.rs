//! How a run ended, from what became of each member. Pure.

use std::collections::BTreeMap;

use crate::model::{Member, OutcomeKind};

/// What became of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEnd {
    /// It has the new generation, read back from its ledger.
    Committed,
    /// It is as it was before the run.
    Back,
    /// It was asked to go back, or goes back by itself, and can't be read.
    GoingBack {
        /// Why it can't be read.
        reason: String,
    },
    /// It was ready, and it isn't known whether it has committed: it stands new all the same, and the
    /// next command settles it.
    Unconfirmed {
        /// Why it isn't known.
        reason: String,
    },
    /// It is neither old nor new, or isn't known to be: a person is needed.
    Stuck {
        /// What stands where, a sentence each.
        problems: Vec<String>,
    },
}

/// What is told of a member that may not undo yet what ran once.
pub(super) fn once_stays(member: &Member) -> String {
    format!("{member}: what ran once for all hosts is not undone, because not all of them are back")
}

/// What is told of a member that is back but for what it did once, which others need.
pub(super) fn stays_done(member: &Member) -> String {
    format!("{member}: what ran once for all hosts stays done, because others are new and need it")
}

/// Why a run ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Something failed.
    Failed,
    /// Gates said neither yes nor no, and nothing else failed.
    Inconclusive,
    /// Signal with this number, or a person's wish.
    Cancelled {
        /// 2 for an interrupt, 15 for an end.
        signal: u8,
    },
    /// It was refused before its first step, with this exit code.
    Refused {
        /// By the contract.
        exit_code: u8,
    },
}

/// The outcome, with its exit code by the contract.
pub(super) fn outcome(
    ends: &BTreeMap<Member, MemberEnd>,
    stopped: Option<Stopped>,
) -> (OutcomeKind, u8) {
    let any = |what: fn(&MemberEnd) -> bool| ends.values().any(what);
    let committed = any(|end| matches!(end, MemberEnd::Committed));
    if any(|end| matches!(end, MemberEnd::Stuck { .. })) {
        return (OutcomeKind::Stuck, 8);
    }
    let open = |end: &MemberEnd| {
        matches!(
            end,
            MemberEnd::GoingBack { .. } | MemberEnd::Unconfirmed { .. }
        )
    };
    if any(open) {
        return (OutcomeKind::GoingBack, 18);
    }
    let back = any(|end| matches!(end, MemberEnd::Back));
    match (committed, back, stopped) {
        (true, true, _) => (OutcomeKind::Degraded, 17),
        (_, _, Some(Stopped::Refused { exit_code })) => (OutcomeKind::Refused, exit_code),
        (false, _, Some(Stopped::Cancelled { signal })) => (OutcomeKind::Cancelled, 128 + signal),
        (false, _, Some(Stopped::Failed)) | (false, true, None) => (OutcomeKind::RolledBack, 7),
        (false, _, Some(Stopped::Inconclusive)) => (OutcomeKind::RolledBack, 9),
        // It failed, and yet nobody is as before.
        (true, false, Some(Stopped::Failed | Stopped::Inconclusive)) => (OutcomeKind::Stuck, 8),
        (true, false, _) | (false, false, None) => (OutcomeKind::Applied, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::member;

    fn of(ends: &[MemberEnd], stopped: Option<Stopped>) -> (OutcomeKind, u8) {
        let names = ["a", "b", "c"];
        let ends = names
            .iter()
            .zip(ends)
            .map(|(name, end)| (member(name), end.clone()));
        outcome(&ends.collect(), stopped)
    }

    #[test]
    fn the_worst_that_stands_is_what_is_said() {
        use MemberEnd::{Back, Committed};
        let going = MemberEnd::GoingBack {
            reason: "gone".to_owned(),
        };
        let stuck = MemberEnd::Stuck { problems: vec![] };
        let failed = Some(Stopped::Failed);
        let cancelled = Some(Stopped::Cancelled { signal: 2 });
        assert_eq!(of(&[Committed, Committed], None), (OutcomeKind::Applied, 0));
        assert_eq!(of(&[Back, Back], failed), (OutcomeKind::RolledBack, 7));
        assert_eq!(of(&[Back, Back], cancelled), (OutcomeKind::Cancelled, 130));
        let inconclusive = Some(Stopped::Inconclusive);
        assert_eq!(
            of(&[Back, Back], inconclusive),
            (OutcomeKind::RolledBack, 9)
        );
        assert_eq!(of(&[Back, Committed], inconclusive).1, 17);
        assert_eq!(of(&[Back, Committed], failed), (OutcomeKind::Degraded, 17));
        assert_eq!(
            of(&[Back, going.clone()], failed),
            (OutcomeKind::GoingBack, 18)
        );
        assert_eq!(
            of(&[going.clone(), Back], cancelled),
            (OutcomeKind::GoingBack, 18)
        );
        let unconfirmed = MemberEnd::Unconfirmed {
            reason: "gone".to_owned(),
        };
        assert_eq!(
            of(&[Committed, unconfirmed.clone()], None),
            (OutcomeKind::GoingBack, 18)
        );
        assert_eq!(
            of(&[unconfirmed, stuck.clone()], None),
            (OutcomeKind::Stuck, 8)
        );
        assert_eq!(of(&[going, stuck, Back], failed), (OutcomeKind::Stuck, 8));
        assert_eq!(of(&[Committed, Committed], failed), (OutcomeKind::Stuck, 8));
        let refused = Some(Stopped::Refused { exit_code: 5 });
        assert_eq!(of(&[], refused), (OutcomeKind::Refused, 5));
        assert_eq!(of(&[Back], refused), (OutcomeKind::Refused, 5));
    }
}
