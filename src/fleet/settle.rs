//! Runs that were cut off: settled before anything else is done, back by their open journals where
//! no host has committed, else forward.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use tokio::task::JoinSet;

use super::ask::{AskError, Locked};
use super::conduct::unpanicked;
use super::ending::{once_stays, stays_done};
use super::events::Events;
use super::prospect::Survey;
use super::run::Fleet;
use crate::helper::protocol::{AppAddress, Holder, Interrupted, WentBack};
use crate::model::{Author, EventKind, HostName, Member, Once, RunId, few};

/// Where a member goes whose run was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To how it was before the run.
    Back,
    /// It was ready, and another member of the run has committed: it commits too.
    Forward,
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
    /// It is back but for what it did once for all hosts, because it isn't known whether the others are back.
    #[error("what {member} has done once for all hosts is undone when {others} can be asked")]
    Waits {
        /// The member.
        member: Member,
        /// The others, in words.
        others: String,
    },
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

/// Where every member goes whose run was cut off. Asked of all members of these runs, or a commit elsewhere isn't seen.
#[must_use]
pub fn settlements(survey: &Survey) -> BTreeMap<Member, Settlement> {
    let mut settlements = BTreeMap::new();
    for (member, surveyed) in &survey.members {
        let Some(interrupted) = surveyed.interrupted.clone() else {
            continue;
        };
        let mut others = interrupted.members.iter().filter(|it| *it != member);
        let committed = others.any(|other| has_committed(survey, other, &interrupted.run));
        // Before it was ready none could have committed with it: it was on its way back.
        let way = if committed && interrupted.ready {
            Way::Forward
        } else {
            Way::Back
        };
        settlements.insert(member.clone(), Settlement { interrupted, way });
    }
    settlements
}

/// Whether a member has committed a run.
fn has_committed(survey: &Survey, member: &Member, run: &RunId) -> bool {
    let ledger = survey.members.get(member).and_then(|it| it.ledger.as_ref());
    ledger.is_some_and(|ledger| ledger.has(run))
}

/// All members of runs that were cut off.
#[derive(Clone)]
pub struct Siblings {
    /// The connections.
    pub fleet: Fleet,
    /// Every member that could be asked.
    pub addresses: BTreeMap<Member, AppAddress>,
    /// What the hosts know of them.
    pub survey: Survey,
    /// Those that are out of reach.
    pub unreached: BTreeSet<Member>,
}

/// Settles every run that was cut off. Says of each member where it went.
///
/// # Errors
/// The worst thing that is in the way; the others are told. Members that can be settled are.
pub async fn settle(
    siblings: &Siblings,
    settler: &Settler,
    events: &Events,
) -> Result<BTreeMap<Member, Settlement>, SettleError> {
    let settlements = settlements(&siblings.survey);
    if settlements.is_empty() {
        return Ok(settlements);
    }
    let hosts: BTreeSet<HostName> = settlements.keys().map(|it| it.host.clone()).collect();
    let settling = Settling {
        siblings,
        settlements: &settlements,
        events,
    };
    let settled = settle_locked(&settling, settler).await;
    for connection in siblings
        .fleet
        .values()
        .filter(|it| hosts.contains(it.host()))
    {
        if let Err(error) = connection.unlock(settler.run.clone()).await {
            events.note(Some(connection.host()), error.to_string());
        }
    }
    settled.map(|()| settlements)
}

/// Locks what is to be settled, and settles it. Who is busy or lost keeps nobody waiting whose way doesn't depend on it.
async fn settle_locked(settling: &Settling<'_>, settler: &Settler) -> Result<(), SettleError> {
    let mut errors = Vec::new();
    let mut missing = settling.siblings.unreached.clone();
    for (member, holder) in settling.held() {
        let host = member.host.clone();
        errors.push(SettleError::Busy { host, holder });
        missing.insert(member.clone());
    }
    for (host, connection) in &settling.siblings.fleet {
        let members = settling.settlements.keys();
        let members: Vec<_> = members.filter(|member| member.host == *host).collect();
        let apps: Vec<_> = members
            .iter()
            .filter_map(|it| settling.siblings.addresses.get(it))
            .cloned()
            .collect();
        if apps.is_empty() {
            continue;
        }
        let (author, command) = (settler.author.clone(), settler.command.clone());
        let locked = connection.lock(settler.run.clone(), apps, author, command);
        let error = match locked.await {
            Ok(Locked::Busy(holder)) => {
                let host = host.clone();
                SettleError::Busy { host, holder }
            }
            Ok(_) => continue,
            Err(error) => error.into(),
        };
        errors.push(error);
        missing.extend(members.into_iter().cloned());
    }
    let going = |way: fn(&Way) -> bool| -> BTreeSet<Member> {
        let all = settling.settlements.iter();
        let mine = all.filter(|(member, it)| {
            way(&it.way) && !missing.contains(member) && !settling.waits(member, &missing)
        });
        mine.map(|(member, _)| member.clone()).collect()
    };
    let forward = going(|way| *way == Way::Forward);
    let back = going(|way| *way == Way::Back);
    errors.extend(settling.forward(&forward).await);
    errors.extend(settling.back(&back, &missing).await);
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
        settling.events.note(None, error.to_string());
    }
    Err(worst)
}

/// What is settled, and through what.
struct Settling<'a> {
    siblings: &'a Siblings,
    settlements: &'a BTreeMap<Member, Settlement>,
    events: &'a Events,
}

impl Settling<'_> {
    fn run(&self, member: &Member) -> Option<RunId> {
        let settlement = self.settlements.get(member)?;
        Some(settlement.interrupted.run.clone())
    }

    /// Whether a member goes back only because nobody has committed.
    fn is_open(&self, member: &Member) -> bool {
        let settlement = self.settlements.get(member);
        settlement.is_some_and(|it| it.way == Way::Back && it.interrupted.ready)
    }

    /// Members that somebody is at, whom others may have to follow. Who is on its way back commits no more.
    fn held(&self) -> impl Iterator<Item = (&Member, Box<Holder>)> {
        let members = self.siblings.survey.members.iter();
        members.filter_map(|(member, app)| {
            let holder = app.holder.clone()?;
            let mut others = self.settlements.iter();
            let is_needed = others.any(|(other, it)| {
                other != member && it.interrupted.members.contains(member) && self.is_open(other)
            });
            (is_needed && app.going_back.is_none()).then(|| (member, Box::new(holder)))
        })
    }

    /// Whether it isn't known where a member goes while some hosts can't be asked, which is told: it was ready, nobody
    /// who was asked has committed, and one of those may have. Who had not been ready goes back whatever others did.
    fn waits(&self, member: &Member, missing: &BTreeSet<Member>) -> bool {
        let Some(settlement) = self.settlements.get(member) else {
            return false;
        };
        let Interrupted { run, members, .. } = &settlement.interrupted;
        let others = missing.intersection(members).filter(|it| *it != member);
        let others = few(others.map(|other| match other.app == member.app {
            true => other.host.to_string(),
            false => other.to_string(),
        }));
        if others.is_empty() || !self.is_open(member) {
            return false;
        }
        let text = format!(
            "the run {run} stands unconfirmed on {member}: it may have committed on {others}, so it isn't known yet where it goes"
        );
        self.events.note(Some(&member.host), text);
        true
    }

    /// Each commits what it was ready with.
    async fn forward(&self, members: &BTreeSet<Member>) -> Vec<SettleError> {
        let mut set = JoinSet::new();
        for member in members {
            let connection = self.siblings.fleet.get(&member.host).cloned();
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

    /// All go back at once, past every error; what happened once is undone when all are back, those too that are
    /// missing now.
    async fn back(
        &self,
        members: &BTreeSet<Member>,
        missing: &BTreeSet<Member>,
    ) -> Vec<SettleError> {
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
        for (member, run, said) in self.ask_back(members, Once::Waits).await {
            match said {
                Ok(back) if back.once => drop(waiting.insert(member)),
                said => errors.extend(self.record(&member, run, said).err()),
            }
        }
        // Members of the same app that are new for good need it.
        let (needed, mut waiting): (BTreeSet<_>, BTreeSet<_>) =
            waiting.into_iter().partition(|it| self.is_needed(it));
        for (member, run, said) in self.ask_back(&needed, Once::Stays).await {
            self.events.note(Some(&member.host), stays_done(&member));
            errors.extend(self.record(&member, run, said).err());
        }
        waiting.retain(|member| {
            let others = others_of(member, missing);
            if let Some(others) = &others {
                errors.push(SettleError::Waits {
                    member: member.clone(),
                    others: others.clone(),
                });
            }
            others.is_none()
        });
        let once = match errors.is_empty() {
            true => Once::Undone,
            false => Once::Waits,
        };
        for (member, run, said) in self.ask_back(&waiting, once).await {
            errors.extend(self.record(&member, run, said).err());
        }
        errors
    }

    /// Whether others of a member's app have committed its run, or do so now.
    fn is_needed(&self, member: &Member) -> bool {
        let Some(Settlement { interrupted, .. }) = self.settlements.get(member) else {
            return false;
        };
        let mut others = interrupted.members.iter();
        others.any(|other| {
            let goes = self.settlements.get(other);
            let forward = goes
                .is_some_and(|it| it.way == Way::Forward && it.interrupted.run == interrupted.run);
            let has = has_committed(&self.siblings.survey, other, &interrupted.run);
            other != member && other.app == member.app && (forward || has)
        })
    }

    async fn ask_back(
        &self,
        members: &BTreeSet<Member>,
        once: Once,
    ) -> Vec<(Member, RunId, Result<WentBack, AskError>)> {
        let mut set = JoinSet::new();
        for member in members {
            let (Some(connection), Some(address), Some(run)) = (
                self.siblings.fleet.get(&member.host).cloned(),
                self.siblings.addresses.get(member).cloned(),
                self.run(member),
            ) else {
                continue;
            };
            let (member, events) = (member.clone(), self.events.clone());
            set.spawn(async move {
                let said = connection.settle(address, once, &events).await;
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

/// Those among some members that are of the same app, in words; none where there are none.
fn others_of(member: &Member, among: &BTreeSet<Member>) -> Option<String> {
    let others = among.iter().filter(|it| it.app == member.app);
    let others = few(others.map(|it| it.host.to_string()));
    (!others.is_empty()).then_some(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::prospect::survey;
    use crate::fleet::testing::{self, Fault, Lab, address, author, generation, member};
    use crate::helper::protocol::{Marks, RefusalKind};
    use crate::model::AppName;

    fn addresses() -> BTreeMap<Member, AppAddress> {
        let hosts = ["a", "b", "c"].into_iter();
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
        host.members = addresses().into_keys().collect();
        host.ready = ready;
        if ready {
            // Hosts render some things differently: each has its own generation.
            let mut own = generation(2, Some(1));
            own.release = Some(format!("1.2-{name}"));
            host.promise = Some((own, Marks::default()));
        }
    }

    async fn settled(lab: &Lab) -> Result<BTreeMap<Member, Settlement>, SettleError> {
        settled_without(lab, &[]).await
    }

    async fn settled_without(
        lab: &Lab,
        unreached: &[&str],
    ) -> Result<BTreeMap<Member, Settlement>, SettleError> {
        let mut siblings = Siblings {
            fleet: lab.fleet.clone(),
            addresses: addresses(),
            survey: Survey::default(),
            unreached: unreached.iter().map(|host| member(host)).collect(),
        };
        let (fleet, addresses) = (&siblings.fleet, &siblings.addresses);
        siblings.survey = survey(fleet, addresses, BTreeMap::new()).await.unwrap();
        let (events, _receiver) = testing::events();
        settle(&siblings, &settler(), &events).await
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

    // One run has changed two apps on one host, and its helper was cut off between the commit of the one and the other's.
    #[tokio::test]
    async fn an_app_follows_another_one_of_its_run() {
        let web = Member::new(&member("a").host, &AppName::new("web").unwrap());
        let lab = Lab::new(&[("a", vec![]), ("b", vec![])]);
        cut_off(&lab, "b", true);
        lab.host("a")
            .ledger
            .generations
            .push(generation(2, Some(1)));
        for (others, way) in [(vec!["a"], Way::Forward), (vec![], Way::Back)] {
            let mut survey = survey(&lab.fleet, &addresses(), BTreeMap::new())
                .await
                .unwrap();
            let mut cut = survey.members.remove(&member("b")).unwrap();
            let members = &mut cut.interrupted.as_mut().unwrap().members;
            *members = others.into_iter().map(member).collect();
            members.insert(web.clone());
            survey.members.insert(web.clone(), cut);
            let settlements = settlements(&survey);
            assert_eq!(settlements.len(), 1);
            assert_eq!(settlements[&web].way, way);
        }
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
    async fn a_host_that_is_busy_holds_up_only_who_may_have_to_follow_it() {
        for ready in [false, true] {
            let busy = vec![Fault::Busy { times: 1 }];
            let lab = Lab::new(&[("a", vec![]), ("b", busy)]);
            cut_off(&lab, "a", ready);
            cut_off(&lab, "b", true);
            let error = settled(&lab).await.unwrap_err();
            assert!(matches!(error, SettleError::Busy { .. }), "{error}");
            let told = lab.told("settle");
            assert_eq!(told.is_empty(), ready, "{told:?}");
            assert_eq!(lab.host("a").open.is_some(), ready);
            assert!(lab.host("b").open.is_some());
        }
    }

    #[tokio::test]
    async fn who_may_have_to_follow_a_run_under_way_waits_for_it() {
        let lab = Lab::new(&[("a", vec![]), ("b", vec![])]);
        cut_off(&lab, "a", true);
        lab.host("b").locked = Some(RunId("run-2".to_owned()));
        let error = settled(&lab).await.unwrap_err();
        assert!(error.to_string().starts_with("b: app is locked"), "{error}");
        assert!(lab.told("settle").is_empty());
        assert!(lab.host("a").open.is_some() && lab.host("a").locked.is_none());
    }

    #[tokio::test]
    async fn who_follows_a_commit_waits_for_nobody() {
        let busy = vec![Fault::Busy { times: 1 }];
        let lab = Lab::new(&[("a", busy), ("b", vec![]), ("c", vec![])]);
        lab.host("c")
            .ledger
            .generations
            .push(generation(2, Some(1)));
        cut_off(&lab, "a", false);
        cut_off(&lab, "b", true);
        let error = settled(&lab).await.unwrap_err();
        assert!(matches!(error, SettleError::Busy { .. }), "{error}");
        let current = lab.host("b").ledger.current().unwrap().number;
        assert_eq!((current, lab.host("b").open.is_some()), (2, false));
        assert!(lab.host("a").open.is_some());
    }

    #[tokio::test]
    async fn what_happened_once_waits_for_who_is_busy() {
        let busy = vec![Fault::Busy { times: 1 }];
        let lab = Lab::new(&[("a", vec![Fault::Once]), ("b", busy)]);
        cut_off(&lab, "a", false);
        cut_off(&lab, "b", false);
        let error = settled(&lab).await.unwrap_err();
        assert!(matches!(error, SettleError::Busy { .. }), "{error}");
        assert_eq!(lab.told("settle"), ["a settle"]);
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
        cut_off(&lab, "a", true);
        cut_off(&lab, "b", true);
        let error = settled(&lab).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "b: app is locked by ann@desk for `apply` (run another)"
        );
        assert!(lab.told("settle").is_empty());
        assert!(lab.host("a").locked.is_none());
    }

    #[tokio::test]
    async fn what_happened_once_waits_for_who_is_out_of_reach() {
        let lab = Lab::new(&[("a", vec![Fault::Once])]);
        cut_off(&lab, "a", false);
        let error = settled_without(&lab, &["b"]).await.unwrap_err();
        let words = "what app on a has done once for all hosts is undone when b can be asked";
        assert_eq!(error.to_string(), words);
        assert_eq!(lab.told("settle"), ["a settle"]);
    }

    // As `on-failure "stop"` leaves it: who migrated has failed, and the others have committed.
    #[tokio::test]
    async fn what_happened_once_stays_where_others_have_committed() {
        let lab = Lab::new(&[("a", vec![Fault::Once]), ("b", vec![])]);
        cut_off(&lab, "a", false);
        let committed = generation(2, Some(1));
        lab.host("b").ledger.generations.push(committed);
        settled(&lab).await.unwrap();
        assert_eq!(lab.told("settle"), ["a settle", "a settle from what stays"]);
        assert!(lab.host("a").open.is_none());
    }
}
