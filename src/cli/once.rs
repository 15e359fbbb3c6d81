//! What happens once for all hosts of an app: those that weren't chosen may have done it already, or still
//! need what would be undone.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::prospect::{Prospect, Sought, Survey, Wanted, survey_some};
use crate::helper::protocol::{ObserveApp, SurveyedApp};
use crate::model::{
    Action, AppName, Finding, FindingClass, Gates, HostName, Member, Plan, Resource, ResourceId,
    ResourceKind, State, Step,
};
use crate::step::kind::{Change, Kind};
use crate::step::registry::registry;

use super::Session;
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::siblings::Unchosen;

/// Plans, with what hosts that weren't chosen have of what happens once for all.
///
/// # Errors
/// As observing fails; exit code 4 when one that wasn't chosen is lost while it is read.
pub(super) async fn prospect(
    session: &Session,
    deployment: &Deployment,
    survey: &Survey,
    (wanted, sought): (BTreeMap<Member, Wanted>, Sought),
) -> Result<Prospect, CommandError> {
    let none = State::default();
    let first = deployment.prospect(survey, wanted.clone(), (sought, &none));
    let mut prospect = first.await?;
    let elsewhere = Elsewhere::ask(session, deployment, &prospect.plan).await?;
    if !elsewhere.state.resources.is_empty() {
        let again = deployment.prospect(survey, wanted, (sought, &elsewhere.state));
        prospect = again.await?;
    }
    prospect.findings.extend(elsewhere.findings);
    Ok(prospect)
}

/// What hosts that weren't chosen have of what a plan would do or undo once for all.
#[derive(Default)]
struct Elsewhere {
    /// What would be done, as it was read there.
    state: State,
    /// What is undone although somebody keeps it; and where nobody knows whether it is done or needed.
    findings: Vec<Finding>,
}

/// Something in a plan that happens once for all hosts.
struct Once<'a> {
    step: &'a Step,
    kind: &'static dyn Kind,
    /// What a host has that was there when it was done: where the step leads, or what it undoes.
    made: &'a Resource,
}

impl Once<'_> {
    fn undoes(&self) -> bool {
        self.step.action == Action::Undo
    }

    /// Whether that is what was found on another host.
    fn is(&self, id: &ResourceId, found: &Resource) -> bool {
        let change = Change {
            id,
            from: Some(found),
            to: Some(self.made),
        };
        named(id) == named(&self.step.resource) && self.kind.compare(change).is_empty()
    }
}

impl Elsewhere {
    /// Asks them, where the plan would do such a thing at all. Takes no lock.
    ///
    /// # Errors
    /// Exit code 4 when one is lost while it is read.
    async fn ask(
        session: &Session,
        deployment: &Deployment,
        plan: &Plan,
    ) -> Result<Self, CommandError> {
        let steps: Vec<Once<'_>> = plan.steps.iter().filter_map(once).collect();
        if steps.is_empty() {
            return Ok(Self::default());
        }
        let apps: BTreeSet<_> = steps
            .iter()
            .map(|it| it.step.resource.app.clone())
            .collect();
        let unchosen = Unchosen::reach(session, deployment, |it| apps.contains(&it.app)).await?;
        let (survey, lost) =
            survey_some(&unchosen.fleet, &unchosen.addresses, BTreeMap::new()).await;
        let missing = unchosen.missing.iter();
        let mut unknown: BTreeMap<HostName, String> = missing
            .map(|(host, error)| (host.clone(), error.to_string()))
            .collect();
        unknown.extend(lost.iter().map(|it| (it.host().clone(), it.to_string())));
        let mut found = State::default();
        for (member, app) in &survey.members {
            if let Some(why) = in_flux(app) {
                unknown.insert(member.host.clone(), why);
                continue;
            }
            let (Some(connection), Some(address)) = (
                unchosen.fleet.get(&member.host),
                unchosen.addresses.get(member),
            ) else {
                continue;
            };
            let asked = ObserveApp {
                app: address.clone(),
                wanted: wanted(member, &steps),
                manifests: BTreeMap::new(),
                findings: false,
                incoming: 0,
                units: BTreeMap::new(),
                gates: Gates::default(),
            };
            let ids = asked.wanted.clone();
            let read = connection.observe(vec![asked]).await;
            let read = read.map_err(|error| asking(&[error]))?;
            let read = read.into_iter().flat_map(|app| app.actual.resources);
            let read = read.filter(|(id, _)| ids.get(id).is_some());
            found.resources.extend(read);
        }
        let findings = findings(&steps, &found, &unknown);
        // What is undone nobody is to do instead.
        let done = steps.iter().filter(|once| !once.undoes());
        let done: BTreeSet<_> = done.map(|once| named(&once.step.resource)).collect();
        found.resources.retain(|id, _| done.contains(&named(id)));
        Ok(Self {
            state: found,
            findings,
        })
    }
}

/// A resource whatever the host.
fn named(id: &ResourceId) -> (&AppName, &ResourceKind, &str) {
    (&id.app, &id.kind, &id.name)
}

/// What a step does or undoes once for all hosts; none for one that doesn't.
fn once(step: &Step) -> Option<Once<'_>> {
    let kinds = registry().iter().copied();
    let mut kinds = kinds.filter(|kind| kind.resource() == step.resource.kind);
    let change = Change {
        id: &step.resource,
        from: step.from.as_ref(),
        to: step.to.as_ref(),
    };
    let kind = kinds.find(|kind| kind.is_once(change))?;
    let made = match step.action {
        Action::Note => None,
        Action::Undo => step.from.as_ref(),
        _ => step.to.as_ref(),
    };
    Some(Once {
        step,
        kind,
        made: made?,
    })
}

/// Why what is read of an app now says nothing.
fn in_flux(app: &SurveyedApp) -> Option<String> {
    match (&app.holder, &app.interrupted) {
        (Some(holder), _) => Some(format!("the run {} is under way there", holder.run)),
        (None, Some(cut)) => Some(format!("the run {} was cut off there", cut.run)),
        (None, None) => None,
    }
}

/// The same things on another host.
fn wanted(member: &Member, steps: &[Once<'_>]) -> State {
    let of_app = steps
        .iter()
        .filter(|once| once.step.resource.app == member.app);
    let there = of_app.map(|once| {
        let id = ResourceId {
            host: member.host.clone(),
            ..once.step.resource.clone()
        };
        (id, once.made.clone())
    });
    State {
        resources: there.collect(),
    }
}

/// What somebody who wasn't chosen stands in the way of: who keeps what would be undone, or can't be asked.
fn findings(
    steps: &[Once<'_>],
    found: &State,
    unknown: &BTreeMap<HostName, String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for once in steps {
        let ResourceId {
            app, kind, name, ..
        } = &once.step.resource;
        let have = found.resources.iter();
        let have = have.filter(|(id, found)| once.is(id, found));
        let have: BTreeSet<&HostName> = have.map(|(id, _)| &id.host).collect();
        let mut blocking = |host: &HostName, message, remedy| {
            findings.push(Finding {
                class: FindingClass::Blocking,
                host: host.clone(),
                app: Some(app.clone()),
                message,
                remedy: Some(remedy),
            });
        };
        for host in have.iter().filter(|_| once.undoes()) {
            let where_made = &once.step.resource.host;
            blocking(
                host,
                format!(
                    "{kind} {name} of {app} was run once for all hosts: it would be undone on {where_made}, and this one keeps what needs it"
                ),
                format!("take {host} back with it: leave --only and --except out"),
            );
        }
        let is_settled = !once.undoes() && !have.is_empty();
        for (host, why) in unknown.iter().filter(|_| !is_settled) {
            let what = if once.undoes() {
                "is still needed there, which was run once for all hosts and would be undone,"
            } else {
                "was run there for all hosts"
            };
            blocking(
                host,
                format!("whether {kind} {name} of {app} {what} isn't known: {why}"),
                format!("see to it that {host} can be asked, or declare {app} on it no more"),
            );
        }
    }
    findings
}
