//! What happens once for all hosts of an app: those that weren't chosen may have done it already.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::progress::Member;
use crate::fleet::prospect::survey_some;
use crate::helper::protocol::{ObserveApp, SurveyedApp};
use crate::model::{Action, Finding, FindingClass, Gates, HostName, Plan, ResourceId, State, Step};
use crate::step::kind::{Change, Kind};
use crate::step::registry::registry;

use super::Session;
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::siblings::Unchosen;

/// What hosts that weren't chosen have of what a plan would do once for all.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// It, as it was read there.
    pub state: State,
    /// Where that isn't known, of what nobody else has.
    pub findings: Vec<Finding>,
}

impl Elsewhere {
    /// Asks them, where the plan would do such a thing at all. Takes no lock.
    ///
    /// # Errors
    /// Exit code 4 when one is lost while it is read.
    pub async fn ask(
        session: &Session,
        deployment: &Deployment,
        plan: &Plan,
    ) -> Result<Self, CommandError> {
        let steps = plan
            .steps
            .iter()
            .filter_map(|step| Some((step, done_once(step)?)));
        let steps: Vec<(&Step, &dyn Kind)> = steps.collect();
        if steps.is_empty() {
            return Ok(Self::default());
        }
        let apps: BTreeSet<_> = steps
            .iter()
            .map(|(it, _)| it.resource.app.clone())
            .collect();
        let unchosen = Unchosen::reach(session, deployment, &apps).await?;
        let (survey, lost) =
            survey_some(&unchosen.fleet, &unchosen.addresses, BTreeMap::new()).await;
        let missing = unchosen.missing.iter();
        let mut unknown: BTreeMap<HostName, String> = missing
            .map(|(host, error)| (host.clone(), error.to_string()))
            .collect();
        unknown.extend(lost.iter().map(|it| (it.host().clone(), it.to_string())));
        let mut elsewhere = Self::default();
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
            let found = read.into_iter().flat_map(|app| app.actual.resources);
            let found = found.filter(|(id, _)| ids.get(id).is_some());
            elsewhere.state.resources.extend(found);
        }
        elsewhere.findings = findings(&steps, &elsewhere.state, &unknown);
        Ok(elsewhere)
    }
}

/// The kind of a step that does something once for all hosts.
fn done_once(step: &Step) -> Option<&'static dyn Kind> {
    let kinds = registry().iter().copied();
    let mut kinds = kinds.filter(|kind| kind.resource() == step.resource.kind);
    let change = Change {
        id: &step.resource,
        from: step.from.as_ref(),
        to: step.to.as_ref(),
    };
    let is_done = !matches!(step.action, Action::Note | Action::Undo) && step.to.is_some();
    kinds.find(|kind| is_done && kind.is_once(change))
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
fn wanted(member: &Member, steps: &[(&Step, &dyn Kind)]) -> State {
    let of_app = steps
        .iter()
        .filter(|(step, _)| step.resource.app == member.app);
    let there = of_app.filter_map(|(step, _)| {
        let id = ResourceId {
            host: member.host.clone(),
            ..step.resource.clone()
        };
        Some((id, step.to.clone()?))
    });
    State {
        resources: there.collect(),
    }
}

/// What nobody who could be asked has done, where others couldn't be asked.
fn findings(
    steps: &[(&Step, &dyn Kind)],
    state: &State,
    unknown: &BTreeMap<HostName, String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (step, kind) in steps {
        let id = &step.resource;
        let is_it = |other: &ResourceId| {
            (&other.app, &other.kind, &other.name) == (&id.app, &id.kind, &id.name)
        };
        let known = state.resources.iter().any(|(other, found)| {
            let change = Change {
                id: other,
                from: Some(found),
                to: step.to.as_ref(),
            };
            is_it(other) && kind.compare(change).is_empty()
        });
        for (host, why) in unknown.iter().filter(|_| !known) {
            findings.push(Finding {
                class: FindingClass::Blocking,
                host: host.clone(),
                app: Some(id.app.clone()),
                message: format!(
                    "whether {} {} of {} was run there for all hosts isn't known: {why}",
                    id.kind, id.name, id.app
                ),
                remedy: Some(format!(
                    "see to it that {host} can be asked, or declare {} on it no more",
                    id.app
                )),
            });
        }
    }
    findings
}
