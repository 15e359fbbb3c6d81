//! Runs that were cut off: settled before anything else is done, back by their open journals where
//! no host has committed, else forward.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::ask::{AskError, Locked};
use super::events::Events;
use super::progress::Member;
use super::prospect::Survey;
use super::run::Fleet;
use crate::helper::protocol::{AppAddress, Holder, Interrupted, Marks, ObserveApp};
use crate::model::{Author, EventKind, Generation, HostName, RunId, State};

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
/// The first thing that is in the way. Members that were settled by then stay settled.
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
    for (member, settlement) in settlements {
        let (Some(connection), Some(address)) = (fleet.get(&member.host), addresses.get(member))
        else {
            continue;
        };
        let run = settlement.interrupted.run.clone();
        match &settlement.way {
            Way::Back => {
                events.emit(EventKind::GoingBack {
                    host: member.host.clone(),
                    app: member.app.clone(),
                    reason: format!("the run {run} was cut off"),
                });
                let back = connection.settle(address.clone(), events).await?;
                events.emit(EventKind::WentBack {
                    host: member.host.clone(),
                    app: member.app.clone(),
                    complete: back.problems.is_empty(),
                    problems: back.problems.clone(),
                    steps: back.steps,
                    elapsed: back.elapsed,
                });
                if !back.problems.is_empty() {
                    return Err(SettleError::Stuck {
                        member: member.clone(),
                        run,
                        problems: back.problems,
                    });
                }
            }
            Way::Forward(sibling) => {
                let app = ObserveApp {
                    app: address.clone(),
                    wanted: moved(&sibling.state, &member.host),
                    manifests: BTreeMap::new(),
                    findings: false,
                    incoming: 0,
                };
                let wanted = app.wanted.clone();
                let observed = connection.observe(vec![app]).await?;
                let actual = observed.into_iter().next().map(|app| app.actual);
                let generation = Generation {
                    state: as_found(wanted, &actual.unwrap_or_default()),
                    ..*sibling.clone()
                };
                let (app, marks) = (member.app.clone(), Marks::default());
                connection
                    .commit(run.clone(), app, generation, marks)
                    .await?;
                let text =
                    format!("the run {run} had committed elsewhere, and now has on {member}");
                events.note(Some(&member.host), text);
            }
        }
    }
    Ok(())
}

/// The state of another host of the app, as it would be on this one.
fn moved(state: &State, host: &HostName) -> State {
    let resources = state.resources.iter().map(|(id, resource)| {
        let mut id = id.clone();
        id.host = host.clone();
        (id, resource.clone())
    });
    State {
        resources: resources.collect(),
    }
}

/// What each host renders differently is as it's found: the host had taken every step and said so.
fn as_found(mut wanted: State, actual: &State) -> State {
    for (id, resource) in &mut wanted.resources {
        if let Some(found) = actual.get(id) {
            resource.attributes.clone_from(&found.attributes);
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::prospect::survey;
    use crate::fleet::testing::{self, Fault, Lab, address, author, generation, member};

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
        assert_eq!(host.ledger.current().unwrap().number, 2);
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
