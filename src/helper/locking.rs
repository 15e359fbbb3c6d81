//! Taking locks, all or none, and giving them back.

use std::collections::BTreeMap;

use super::app::App;
use super::ledger;
use super::lock::{self, AppLock};
use super::protocol::{AppAddress, Holder, Refusal, RefusalKind, Reply};
use super::refuse::refusal;
use super::session::{Answer, Held, Session};
use crate::apply::Settled;
use crate::model::{Author, RunId};

impl Session<'_> {
    pub(super) fn lock(
        &mut self,
        run: &RunId,
        apps: &[AppAddress],
        author: &Author,
        command: &str,
    ) -> Answer {
        let mut found = Vec::new();
        for address in apps {
            let app = self.app(address)?;
            self.refuse_foreign_root(&app)?;
            found.push(app);
        }
        // One order for everybody: two runs that want the same apps don't take half of them each.
        found.sort_by(|one, other| one.places.state.cmp(&other.places.state));
        let mut taken = BTreeMap::new();
        for app in found {
            let name = app.address.app.clone();
            match self.held.get(&name) {
                Some(held) if &held.run == run => continue,
                Some(held) => {
                    let words = format!("this session holds {name} for the run {}", held.run);
                    return Err(refusal(RefusalKind::NotLocked, words));
                }
                None => {}
            }
            let holder = Holder {
                app: name.clone(),
                run: run.clone(),
                author: author.clone(),
                command: command.to_owned(),
                since: self.host.time(),
                process: std::process::id(),
            };
            self.registry.make(self.host, &app.places)?;
            let place = self.options.lock_of(&app.places.state);
            match AppLock::try_take(&place, &holder)? {
                Some(lock) => {
                    let run = run.clone();
                    taken.insert(name, Held { run, app, lock });
                }
                None => {
                    let other = lock::holder(&place);
                    // It was given back between the two looks, or its holder is writing its name: busy all the same.
                    let unknown = Holder {
                        run: RunId("unknown".to_owned()),
                        author: Author::default(),
                        command: String::new(),
                        process: 0,
                        ..holder
                    };
                    return Ok(Reply::Busy(other.unwrap_or(unknown)));
                }
            }
        }
        self.held.extend(taken);
        Ok(Reply::Done)
    }

    /// An app's root belongs to the environment and app that its ledger names.
    fn refuse_foreign_root(&self, app: &App) -> Result<(), Refusal> {
        let Some(ledger) = self.ledger(app)? else {
            return Ok(());
        };
        let address = &app.address;
        if address.is(&ledger.environment, &ledger.app) {
            return Ok(());
        }
        let words = format!(
            "{} belongs to the app {} of the environment {}; give {} another root, or take that one away with `rosey remove {} {}`",
            ledger.root,
            ledger.app,
            ledger.environment,
            address.app,
            ledger.environment,
            ledger.app
        );
        Err(refusal(RefusalKind::Owned, words))
    }

    /// Who unlocks has heard how its run went back: where all is as before, nobody else needs to.
    fn clear_notices(&self, run: &RunId) -> Result<(), Refusal> {
        for (name, held) in self.held.iter().filter(|(_, held)| &held.run == run) {
            let whole = |told: &crate::apply::Told| {
                let back = |settled: &Settled| matches!(settled, Settled::WentBack { problems } if problems.is_empty());
                &told.opened.run == run && told.settled.as_ref().is_some_and(back)
            };
            let open = self.runs.get(name);
            if open.is_some_and(|open| open.journal.ask(whole))
                && let Some(mut ledger) = self.ledger(&held.app)?
                && ledger.notice.take().is_some()
            {
                let state = &held.app.places.state;
                ledger::store(self.host, state, &ledger, self.registry.user())?;
            }
        }
        Ok(())
    }

    pub(super) fn unlock(&mut self, run: &RunId) -> Answer {
        for (name, held) in &self.held {
            let open = self.runs.get(name).filter(|_| &held.run == run);
            let unsettled = open.is_some_and(|open| {
                let in_the_middle = |told: &crate::apply::Told| {
                    told.settled.is_none() && !told.ready && &told.opened.run == run
                };
                open.here && open.journal.ask(in_the_middle)
            });
            if unsettled {
                let words =
                    format!("the run {run} of {name} is in the middle: it goes on, or back");
                return Err(refusal(RefusalKind::Internal, words));
            }
        }
        // A host that takes no writes must not keep the lock for that: then the next is told what was heard already.
        let cleared = self.clear_notices(run);
        let names: Vec<_> = self.held.keys().cloned().collect();
        for name in names {
            if self.held.get(&name).is_some_and(|held| &held.run == run) {
                self.runs.remove(&name);
                self.held.remove(&name);
            }
        }
        match cleared {
            Err(refused) if refused.kind != RefusalKind::ForNow => Err(refused),
            _ => Ok(Reply::Done),
        }
    }
}
