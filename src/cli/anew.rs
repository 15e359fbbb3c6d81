//! Planning anew, where what a plan was made on had changed before anything of it was begun.
//!
//! Two who wait for the same run both plan when it has ended, and one of them comes second: its plan is
//! stale by then. What it wants is still wanted, so it plans on what is there now.

use std::collections::BTreeMap;

use crate::fleet::progress::Member;
use crate::fleet::prospect::Survey;
use crate::helper::protocol::SurveyedApp;
use crate::model::RunId;

/// How often in a row a plan may become stale with no other run to show for it.
const TRIES: u32 = 3;

/// The last run of each member.
pub(super) type Heads = BTreeMap<Member, Option<RunId>>;

/// The last runs that a survey shows.
pub(super) fn heads(survey: &Survey) -> Heads {
    let head = |(member, app): (&Member, &SurveyedApp)| {
        let ledger = app.ledger.as_ref();
        (member.clone(), ledger.and_then(|it| it.head.clone()))
    };
    survey.members.iter().map(head).collect()
}

/// What is remembered from one plan of a command to its next.
pub(super) struct Anew<T> {
    /// Whether the command plans anew at all.
    may: bool,
    tries: u32,
    heads: Heads,
    /// The command's own runs, which were refused.
    own: Vec<RunId>,
    agreed: Option<T>,
}

impl<T: PartialEq> Anew<T> {
    /// A command that plans for the first time; `may`: whether another time too.
    pub fn new(may: bool) -> Self {
        Self {
            may,
            tries: TRIES,
            heads: Heads::new(),
            own: Vec::new(),
            agreed: None,
        }
    }

    /// Never again: what is done is what was saved.
    pub fn never(&mut self) {
        self.may = false;
    }

    /// Whether there was a plan before.
    pub fn is_again(&self) -> bool {
        !self.own.is_empty()
    }

    /// Whether what is refused as stale now is planned once more.
    ///
    /// As often as other runs come first: each of them has got somewhere. What changes all the time for
    /// another reason is given up.
    pub fn may(&self) -> bool {
        self.may && self.tries > 0
    }

    /// Notes on what is planned.
    pub fn planned_on(&mut self, heads: Heads) {
        let by_another = heads.iter().any(|(member, head)| {
            let ours = head.as_ref().is_some_and(|head| self.own.contains(head));
            self.heads.get(member) != Some(head) && !ours
        });
        self.tries = if by_another {
            TRIES
        } else {
            self.tries.saturating_sub(1)
        };
        self.heads = heads;
    }

    /// Notes that a run of this command was refused as stale.
    pub fn refused(&mut self, run: RunId) {
        self.own.push(run);
    }

    /// Whether this very thing was agreed to before.
    pub fn is_agreed(&self, what: &T) -> bool {
        self.agreed.as_ref() == Some(what)
    }

    /// Notes what was agreed to.
    pub fn agree(&mut self, what: T) {
        self.agreed = Some(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::member;

    fn head(of: &str) -> Heads {
        [(member("a"), Some(RunId(of.to_owned())))].into()
    }

    #[test]
    fn other_runs_may_come_first_as_often_as_they_like() {
        let mut anew: Anew<u8> = Anew::new(true);
        for round in 0..100 {
            anew.planned_on(head(&format!("theirs-{round}")));
            assert!(anew.may());
            anew.refused(RunId(format!("mine-{round}")));
        }
    }

    #[test]
    fn what_changes_for_no_other_run_is_given_up() {
        let mut anew: Anew<u8> = Anew::new(true);
        anew.planned_on(head("theirs"));
        let mut plans = 1;
        while anew.may() {
            // Where another host had begun already, its head is the refused run itself.
            let mine = format!("mine-{plans}");
            anew.refused(RunId(mine.clone()));
            anew.planned_on(head(&mine));
            plans += 1;
            assert!(plans < 10, "it never ends");
        }
        assert_eq!(plans, 1 + TRIES);
    }

    #[test]
    fn a_saved_plan_is_never_made_anew_by_itself() {
        let mut anew: Anew<u8> = Anew::new(true);
        anew.never();
        anew.planned_on(head("theirs"));
        assert!(!anew.may());
    }
}
