//! Planning anew, where what a plan was made on had changed before anything of it was begun.
//!
//! Two who wait for the same run both plan when it has ended, and one of them comes second: its plan is
//! stale by then. What it wants is still wanted, so it plans on what is there now.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::pause;
use crate::fleet::prospect::Survey;
use crate::helper::protocol::SurveyedApp;
use crate::model::{Member, RunId};

use super::error::CommandError;
use super::exit::Exit;

/// How often all is planned at most, whoever comes first.
const PLANS: u32 = 20;

/// The shortest pause before planning anew.
const PAUSE: Duration = Duration::from_millis(100);

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
    plans: u32,
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
            plans: 0,
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
    /// While other runs come first: each of them has got somewhere. What changes all the time for
    /// another reason is given up sooner.
    pub fn may(&self) -> bool {
        self.may && self.tries > 0
    }

    /// Notes on what is planned.
    ///
    /// # Errors
    /// Exit code 6 where that was done too often: of two who keep each other from ever beginning, none has
    /// got anywhere.
    pub fn planned_on(&mut self, heads: Heads) -> Result<(), CommandError> {
        if self.plans == PLANS {
            let message = format!("planned {PLANS} times, and another run came first each time");
            return Err(CommandError::new(Exit::STALE, message)
                .hint("nothing was begun; try again when the others have ended"));
        }
        self.plans += 1;
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
        Ok(())
    }

    /// Notes that a run of this command was refused as stale. Gives how long to wait before all is planned
    /// anew: it differs between runs, so that two who work at the same pace don't meet again.
    #[must_use]
    pub fn refused(&mut self, run: RunId) -> Duration {
        let pause = pause(&run, self.plans, PAUSE);
        self.own.push(run);
        pause
    }

    /// Whether this very thing was agreed to before.
    pub fn is_agreed(&self, what: &T) -> bool {
        self.agreed.as_ref() == Some(what)
    }

    /// What was agreed to last.
    pub fn agreed(&self) -> Option<&T> {
        self.agreed.as_ref()
    }

    /// Notes what was agreed to.
    pub fn agree(&mut self, what: T) {
        self.agreed = Some(what);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fleet::testing::member;

    fn head(of: &str) -> Heads {
        [(member("a"), Some(RunId(of.to_owned())))].into()
    }

    #[test]
    fn other_runs_may_come_first_often_but_not_for_ever() {
        let mut anew: Anew<u8> = Anew::new(true);
        let mut pauses = BTreeSet::new();
        for round in 0..PLANS {
            anew.planned_on(head(&format!("theirs-{round}")))
                .ok()
                .unwrap();
            assert!(anew.may());
            pauses.insert(anew.refused(RunId(format!("mine-{round}"))));
        }
        assert!(pauses.len() > 1, "{pauses:?}");
        let error = anew.planned_on(head("theirs-at-last")).err().unwrap();
        assert_eq!(error.exit, Exit::STALE);
    }

    #[test]
    fn what_changes_for_no_other_run_is_given_up() {
        let mut anew: Anew<u8> = Anew::new(true);
        anew.planned_on(head("theirs")).ok().unwrap();
        let mut plans = 1;
        while anew.may() {
            // Where another host had begun already, its head is the refused run itself.
            let mine = format!("mine-{plans}");
            let _ = anew.refused(RunId(mine.clone()));
            anew.planned_on(head(&mine)).ok().unwrap();
            plans += 1;
            assert!(plans < 10, "it never ends");
        }
        assert_eq!(plans, 1 + TRIES);
    }

    #[test]
    fn a_saved_plan_is_never_made_anew_by_itself() {
        let mut anew: Anew<u8> = Anew::new(true);
        anew.never();
        anew.planned_on(head("theirs")).ok().unwrap();
        assert!(!anew.may());
    }
}
