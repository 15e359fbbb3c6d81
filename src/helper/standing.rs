//! Past a point of no return: an app that is left between old and new, because what was there before
//! can't live with what was done.

use super::app::App;
use super::ledger;
use super::protocol::{Refusal, RefusalKind, Reply, WentBack};
use super::refuse::refusal;
use super::session::{Answer, OpenRun, Session};
use crate::apply::{Record, Settled, Told};
use crate::model::{AppName, RunId, StepId};

impl Session<'_> {
    pub(super) fn stand(&mut self, run: &RunId, name: &AppName, reason: &str) -> Answer {
        let app = self.locked_by(name, run)?;
        self.open_run(&app, run)?;
        if let Some(open) = self.runs.get(name) {
            self.leave(&app, open, reason)?;
        }
        Ok(Reply::Done)
    }

    /// Leaves an open run standing where its own steps allow nothing else; says what stands.
    pub(super) fn leave_past_return(
        &self,
        app: &App,
        open: &OpenRun<'_>,
    ) -> Result<Option<WentBack>, Refusal> {
        let told = open.journal.told();
        if told.settled.is_some() {
            return Ok(None);
        }
        let Some(step) = told.past_return() else {
            return Ok(None);
        };
        let problem = self.leave(app, open, &cannot_be_taken_back(&step.id))?;
        Ok(Some(WentBack {
            run: Some(told.opened.run.clone()),
            steps: 0,
            problems: vec![problem],
            gates: Vec::new(),
            once: false,
            elapsed: 0,
        }))
    }

    /// The ledger first: once the journal is closed, it is what tells of this.
    fn leave(&self, app: &App, open: &OpenRun<'_>, reason: &str) -> Result<String, Refusal> {
        let told = open.journal.told();
        let words = words(&told, reason);
        let Some(mut ledger) = self.ledger(app)? else {
            let words = format!("nothing is known of {} on this host yet", app.address.app);
            return Err(refusal(RefusalKind::NoSuchRun, words));
        };
        ledger::take_in(&mut ledger, &told);
        ledger.standing = Some(words.clone());
        ledger::store(self.host, &app.places.state, &ledger, self.registry.user())?;
        open.journal.append(&Record::Settled(Settled::Stands))?;
        // What can't be given back now is given back by the next run.
        drop(ledger::give_up_reserve(self.host, &app.places.state));
        Ok(words)
    }
}

/// Why there is no way back.
#[must_use]
pub fn cannot_be_taken_back(step: &StepId) -> String {
    format!("{step} can't be taken back, and what was there before can't live with it")
}

fn words(told: &Told, reason: &str) -> String {
    let opened = &told.opened;
    format!(
        "{} on {} stands where the run {} ({} by {}) stopped, between old and new: {reason}",
        opened.app, opened.host, opened.run, opened.command, opened.author.user
    )
}
