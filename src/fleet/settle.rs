//! Runs that were cut off: settled before anything else is done, back by their open journals where
//! no host has committed, else forward.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use tokio::task::JoinSet;

use super::ask::{AskError, Locked};
use super::conduct::unpanicked;
use super::ending::once_stays;
use super::events::Events;
use super::progress::Member;
use super::prospect::Survey;
use super::run::Fleet;
use crate::helper::protocol::{AppAddress, Holder, Interrupted, WentBack};
use crate::model::{Author, EventKind, Generation, HostName, RunId};

/// Where a member goes whose run was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To how it was before the run.
    Back,
    /// It was ready, and another host has committed: it commits too.
    Forward(Box<Generation>),
}

/// What was cut off on a member, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The run.
    pub interrupted: Interrupted,
    /// Where it goes.
    pub way: Way,
}

/// Why a run that was cut off isn't settled.
#[derive(Debug, Error)]
pub enum SettleError {
    /// Somebody is at it.
    #[error(
        "{host}: {} is locked by {}@{} for `{}` (run {})",
        .holder.app, .holder.author.user, .holder.author.machine, .holder.command, .holder.run
    )]
    Busy {
        /// The host.
        host: HostName,
        /// Who.
        holder: Box<Holder>,
    },
    /// A host refuses or is out of reach.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Something couldn't be put back: a person is needed.
    #[error("the run {run} was cut off on {member} and can't be settled: {}", .problems.join("; "))]
    Stuck {
        /// The member.
        member: Member,
        /// The run that was cut off.
        run: RunId,
        /// What isn't as it should be.
        problems: Vec<String>,
    },
}

/// Who settles.
#[derive(Debug, Clone)]
pub struct Settler {
    /// The run that begins with it: the locks are taken in its name.
    pub run: RunId,
    /// Who.
    pub author: Author,
    /// What for.
    pub command: String,
}

/// Where every member goes whose run was cut off. Asked of all hosts of an app, or a commit elsewhere
/// isn't seen.
#[must_use]
pub fn settlements(survey: &Survey) -> BTreeMap<Member, Settlement> {
    let mut settlements = BTreeMap::new();
    for (member, surveyed) in &survey.members {
        let Some(interrupted) = surveyed.interrupted.clone() else {
            continue;
        };
        let mut elsewhere = survey
            .members
            .iter()
            .filter(|(other, _)| other.app == member.app && other.host != member.host)
            .filter_map(|(_, other)| other.ledger.as_ref())
            .flat_map(|ledger| &ledger.generations);
        let committed = elsewhere.find(|it| it.run.as_ref() == Some(&interrupted.run));
        let way = match committed {
            // Before it was ready no host could have committed with it: it was on its way back.
            Some(sibling) if interrupted.ready => Way::Forward(Box::new(sibling.clone())),
            _ => Way::Back,
        };
        settlements.insert(member.clone(), Settlement { interrupted, way });
    }
    settlements
}

/// Settles every run that was cut off. Says of each member where it went.
///
/// # Errors
/// The worst thing that is in the way; the others are told. Members that can be settled are.
pub async fn settle(
    fleet: &Fleet,
    addresses: &BTreeMap<Member, AppAddress>,
    survey: &Survey,
    settler: &Settler,
    events: &Events,
) -> Result<BTreeMap<Member, Settlement>, SettleError> {
    let settlements = settlements(survey);
    if settlements.is_empty() {
        return Ok(settlements);
    }
    let hosts: BTreeSet<HostName> = settlements.keys().map(|it| it.host.clone()).collect();
    let settled = settle_locked(fleet, addresses, &settlements, settler, events).await;
    for connection in fleet.values().filter(|it| hosts.contains(it.host())) {
        if let Err(error) = connection.unlock(settler.run.clone()).await {
            events.note(Some(connection.host()), error.to_string());
        }
    }
    settled.map(|()| settlements)
}

async fn settle_locked(
    fleet: &Fleet,
    addresses: &BTreeMap<Member, AppAddress>,
    settlements: &BTreeMap<Member, Settlement>,
    settler: &Settler,
    events: &Events,
) -> Result<(), SettleError> {
    for (host, connection) in fleet {
        let members = settlements.keys().filter(|member| member.host == *host);
        let apps: Vec<_> = members
            .filter_map(|it| addresses.get(it))
            .cloned()
            .collect();
        if apps.is_empty() {
            continue;
        }
        let (author, command) = (settler.author.clone(), settler.command.clone());
        let locked = connection.lock(settler.run.clone(), apps, author, command);
        if let Locked::Busy(holder) = locked.await? {
            let host = host.clone();
            return Err(SettleError::Busy { host, holder });
        }
    }
    let going = |way: fn(&Way) -> bool| -> BTreeSet<Member> {
        let of = settlements.iter().filter(|(_, it)| way(&it.way));
        of.map(|(member, _)| member.clone()).collect()
    };
    let settling = Settling {
        fleet,
        addresses,
        settlements,
        events,
    };
    let mut errors = settling
        .forward(&going(|way| matches!(way, Way::Forward(_))))
        .await;
    errors.extend(settling.back(&going(|way| *way == Way::Back)).await);
    // What nobody can put right is the worst; the others are told.
    let worst = errors
        .iter()
        .position(|error| matches!(error, SettleError::Stuck { .. }))
        .unwrap_or_default();
    if errors.is_empty() {
        return Ok(());
    }
    let worst = errors.swap_remove(worst);
    for error in errors {
        events.note(None, error.to_string());
    }
    Err(worst)
}

/// What is settled, and through what.
struct Settling<'a> {
    fleet: &'a Fleet,
    addresses: &'a BTreeMap<Member, AppAddress>,
    settlements: &'a BTreeMap<Member, Settlement>,
    events: &'a Events,
}

impl Settling<'_> {
    fn run(&self, member: &Member) -> Option<RunId> {
        let settlement = self.settlements.get(member)?;
        Some(settlement.interrupted.run.clone())
    }

    /// Each commits what it was ready with.
    async fn forward(&self, members: &BTreeSet<Member>) -> Vec<SettleError> {
        let mut set = JoinSet::new();
        for member in members {
            let connection = self.fleet.get(&member.host).cloned();
            if let (Some(connection), Some(run)) = (connection, self.run(member)) {
                let member = member.clone();
                set.spawn(async move {
                    let committed = connection.commit(run.clone(), member.app.clone()).await;
                    (member, run, committed)
                });
            }
        }
        let mut errors = Vec::new();
        while let Some(joined) = set.join_next().await {
            let (member, run, committed) = unpanicked(joined);
            match committed {
                Ok(_) => {
                    let text =
                        format!("the run {run} had committed elsewhere, and now has on {member}");
                    self.events.note(Some(&member.host), text);
                }
                Err(error) => errors.push(error.into()),
            }
        }
        errors
    }

    /// All go back at once, past every error; what happened once is undone when all are back.
    async fn back(&self, members: &BTreeSet<Member>) -> Vec<SettleError> {
        for member in members {
            if let Some(run) = self.run(member) {
                self.events.emit(EventKind::GoingBack {
                    host: member.host.clone(),
                    app: member.app.clone(),
                    reason: format!("the run {run} was cut off"),
                });
            }
        }
        let mut errors = Vec::new();
        let mut waiting = BTreeSet::new();
        for (member, run, said) in self.ask_back(members, false).await {
            match said {
                Ok(back) if back.once => drop(waiting.insert(member)),
                said => errors.extend(self.record(&member, run, said).err()),
            }
        }
        if waiting.is_empty() {
            return errors;
        }
        // Runs that have committed somewhere still need what they did once, and so do hosts that aren't back.
        let committed = |member: &Member| {
            let mut settlements = self.settlements.iter();
            let run = self.run(member);
            settlements.any(|(other, it)| {
                other.app == member.app
                    && Some(&it.interrupted.run) == run.as_ref()
                    && matches!(it.way, Way::Forward(_))
            })
        };
        let undone = errors.is_empty() && !waiting.iter().any(committed);
        for (member, run, said) in self.ask_back(&waiting, undone).await {
            errors.extend(self.record(&member, run, said).err());
        }
        errors
    }

    async fn ask_back(
        &self,
        members: &BTreeSet<Member>,
        all_back: bool,
    ) -> Vec<(Member, RunId, Result<WentBack, AskError>)> {
        let mut set = JoinSet::new();
        for member in members {
            let (Some(connection), Some(address), Some(run)) = (
                self.fleet.get(&member.host).cloned(),
                self.addresses.get(member).cloned(),
                self.run(member),
            ) else {
                continue;
            };
            let (member, events) = (member.clone(), self.events.clone());
            set.spawn(async move {
                let said = connection.settle(address, all_back, &events).await;
                (member, run, said)
            });
        }
        let mut all = Vec::new();
        while let Some(joined) = set.join_next().await {
            all.push(unpanicked(joined));
        }
        all
    }

    fn record(
        &self,
        member: &Member,
        run: RunId,
        said: Result<WentBack, AskError>,
    ) -> Result<(), SettleError> {
        let back = said?;
        let mut problems = back.problems;
        if back.once {
            problems.push(once_stays(member));
        }
        self.events.emit(EventKind::WentBack {
            host: member.host.clone(),
            app: member.app.clone(),
            complete: problems.is_empty(),
            problems: problems.clone(),
            steps: back.steps,
            elapsed: back.elapsed,
        });
        if problems.is_empty() {
            return Ok(());
        }
        Err(SettleError::Stuck {
            member: member.clone(),
            run,
            problems,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::prospect::survey;
    use crate::fleet::testing::{self, Fault, Lab, address, author, generation, member};
    use crate::helper::protocol::{Marks, RefusalKind};

    fn addresses() -> BTreeMap<Member, AppAddress> {
        let hosts = ["a", "b"].into_iter();
        hosts.map(|host| (member(host), address(host))).collect()
    }

    fn settler() -> Settler {
        Settler {
            run: RunId("next".to_owned()),
            author: author(),
            command: "apply".to_owned(),
        }
    }

    fn cut_off(lab: &Lab, name: &str, ready: bool) {
        let mut host = lab.host(name);
        host.open = Some(RunId("run-2".to_owned()));
        host.ready = ready;
        if ready {
            // Hosts render some things differently: each has its own generation.
            let mut own = generation(2, Some(1));
            own.release = Some(format!("1.2-{name}"));
            host.promise = Some((own, Marks::default()));
        }
    }

    async fn settled(lab: &Lab) -> Result<BTreeMap<Member, Settlement>, SettleError> {
        let addresses = addresses();
        let survey = survey(&lab.fleet, &addresses, BTreeMap::new())
            .await
            .unwrap();
        let (events, _receiver) = testing::events();
        settle(&lab.fleet, &addresses, &survey, &settler(), &events).await
    }

    #[tokio::test]
    async fn where_nobody_has_committed_everybody_goes_back() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![])]);
        cut_off(&lab, "a", true);
        cut_off(&lab, "b", false);
        let settled = settled(&lab).await.unwrap();
        assert!(settled.values().all(|it| it.way == Way::Back));
        assert_eq!(lab.told("settle").len(), 2);
        assert!(lab.host("a").open.is_none() && lab.host("a").locked.is_none());
    }

    #[tokio::test]
    async fn where_one_has_committed_the_ready_ones_follow() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![])]);
        lab.host("a")
            .ledger
            .generations
            .push(generation(2, Some(1)));
        cut_off(&lab, "b", true);
        settled(&lab).await.unwrap();
        assert!(lab.told("settle").is_empty());
        let host = lab.host("b");
        let current = host.ledger.current().unwrap();
        assert_eq!(current.release.as_deref(), Some("1.2-b"), "its own");
        assert!(host.open.is_none() && host.locked.is_none());
    }

    #[tokio::test]
    async fn who_was_not_ready_goes_back_whoever_has_committed() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![])]);
        lab.host("a")
            .ledger
            .generations
            .push(generation(2, Some(1)));
        cut_off(&lab, "b", false);
        settled(&lab).await.unwrap();
        assert_eq!(lab.told("settle"), ["b settle"]);
    }

    #[tokio::test]
    async fn what_happened_once_is_undone_when_all_are_back() {
        let lab = Lab::new(&[("a", vec![Fault::Once]), ("b", vec![])]);
        cut_off(&lab, "a", false);
        cut_off(&lab, "b", false);
        settled(&lab).await.unwrap();
        let told = lab.told("settle");
        assert_eq!(told.last().unwrap(), "a settle all");
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[tokio::test]
    async fn an_error_holds_no_other_host_up_and_leaves_what_happened_once() {
        let refuses = Fault::Refuse {
            at: "settle",
            kind: RefusalKind::Host,
        };
        let hosts = [("a", vec![refuses]), ("b", vec![Fault::Once])];
        let lab = Lab::new(&hosts);
        cut_off(&lab, "a", false);
        cut_off(&lab, "b", false);
        let error = settled(&lab).await.unwrap_err();
        assert!(matches!(error, SettleError::Stuck { .. }), "{error}");
        assert!(lab.told("settle all").is_empty());
        assert!(lab.told("settle").contains(&"b settle".to_owned()));
    }

    #[tokio::test]
    async fn with_nothing_cut_off_nobody_is_locked() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![])]);
        assert!(settled(&lab).await.unwrap().is_empty());
        assert!(lab.told("lock").is_empty());
    }

    #[tokio::test]
    async fn a_lock_in_the_way_is_named_and_all_others_are_given_back() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![Fault::Busy { times: 1 }])]);
        cut_off(&lab, "a", false);
        cut_off(&lab, "b", false);
        let error = settled(&lab).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "b: app is locked by ann@desk for `apply` (run another)"
        );
        assert!(lab.told("settle").is_empty());
        assert!(lab.host("a").locked.is_none());
    }
}
