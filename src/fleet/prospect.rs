//! What a command would do: the hosts as they were read, and the plan from there to what is wanted.
//!
//! Every command that plans goes this way: [`survey`] what hosts know of the apps, say what is
//! [`Wanted`] of each, then [`Prospect::of`] reads the resources and plans. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::ask::{AskError, Surveyed};
use super::conduct::unpanicked;
use super::run::Fleet;
use crate::content::{Manifest, PathChange};
use crate::helper::protocol::{AppAddress, ObserveApp, RegistryEntry, SecretBytes, SurveyedApp};
use crate::model::{
    Action, Digest, Finding, FindingClass, Gates, HostName, Member, Plan, Resource, ResourceId,
    ResourceKind, State, Step, StepKind, Value, Wave,
};
use crate::plan::{Attendant, PlanError, PlanInput, plan, states};
use crate::step::backup::desire as backup;
use crate::step::kind::Kind;
use crate::step::verify::desire as verify;

/// What hosts know of apps.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Each app on each host.
    pub members: BTreeMap<Member, SurveyedApp>,
    /// Sealed digests by host and label.
    pub sealed: BTreeMap<HostName, BTreeMap<String, Digest>>,
    /// All that the hosts' registries know.
    pub registry: BTreeMap<HostName, Vec<RegistryEntry>>,
}

impl Survey {
    /// Whether a run ended on a member past its point of no return, so that what stands there is in no generation.
    #[must_use]
    pub fn stands_between(&self, member: &Member) -> bool {
        let ledger = self.members.get(member).and_then(|it| it.ledger.as_ref());
        ledger.is_some_and(|ledger| ledger.standing.is_some())
    }

    /// Who has the root of an app, where that is another app or environment.
    #[must_use]
    pub fn others_root(&self, member: &Member, address: &AppAddress) -> Option<&RegistryEntry> {
        let root = &self.members.get(member)?.root;
        let mut entries = self.registry.get(&member.host)?.iter();
        entries.find(|entry| {
            !entry.left && entry.root == *root && !address.is(&entry.environment, &entry.app)
        })
    }
}

/// Asks every host what it knows of its apps, all at once. `seal` holds, by host, bytes that hold a
/// secret and are to be known by the host's own digests.
///
/// # Errors
/// Every host that is out of reach or refuses.
pub async fn survey(
    fleet: &Fleet,
    addresses: &BTreeMap<Member, AppAddress>,
    seal: BTreeMap<HostName, BTreeMap<String, SecretBytes>>,
) -> Result<Survey, Vec<AskError>> {
    let (survey, errors) = survey_some(fleet, addresses, seal).await;
    if errors.is_empty() {
        Ok(survey)
    } else {
        Err(errors)
    }
}

/// The same of the hosts that answer, and why the others don't.
pub async fn survey_some(
    fleet: &Fleet,
    addresses: &BTreeMap<Member, AppAddress>,
    mut seal: BTreeMap<HostName, BTreeMap<String, SecretBytes>>,
) -> (Survey, Vec<AskError>) {
    let mut asked = Vec::new();
    for (host, connection) in fleet {
        let of_host: Vec<_> = addresses
            .iter()
            .filter(|(member, _)| member.host == *host)
            .collect();
        let apps = of_host
            .iter()
            .map(|(_, address)| (*address).clone())
            .collect();
        let members: Vec<_> = of_host
            .into_iter()
            .map(|(member, _)| member.clone())
            .collect();
        let secrets = seal.remove(host).unwrap_or_default();
        let connection = connection.clone();
        let host = host.clone();
        asked.push(tokio::spawn(async move {
            (host, members, connection.survey(apps, secrets).await)
        }));
    }
    let mut survey = Survey::default();
    let mut errors = Vec::new();
    for answer in asked {
        let (host, members, answer) = unpanicked(answer.await);
        match answer {
            Ok(Surveyed {
                apps,
                sealed,
                registry,
            }) => {
                survey.sealed.insert(host.clone(), sealed);
                survey.registry.insert(host, registry);
                survey.members.extend(members.into_iter().zip(apps));
            }
            Err(error) => errors.push(error),
        }
    }
    (survey, errors)
}

/// What is wanted of one app on one host.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Its resources.
    pub state: State,
    /// Its gates.
    pub gates: Gates,
    /// What accompanies changes beside the gates and the backup of what stands.
    pub attendants: Vec<Attendant>,
    /// Manifests of wanted trees that the host may not know.
    pub manifests: BTreeMap<String, Manifest>,
    /// Bytes that it would bring at most.
    pub incoming: u64,
    /// What wanted files of systemd's would hold, by their paths; without those that hold a secret.
    pub units: BTreeMap<String, String>,
    /// Whether nothing that is retained stays: for a remove.
    pub for_good: bool,
}

/// What was read of one app on one host, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What is wanted.
    pub wanted: Wanted,
    /// How everything is.
    pub actual: State,
    /// How everything should be.
    pub to: State,
    /// What of that is given back to whoever had it before rosey took it over.
    pub given_back: BTreeSet<ResourceId>,
}

/// The hosts as they are, and the plan.
#[derive(Debug, Clone)]
pub struct Prospect {
    /// Each app on each host.
    pub members: BTreeMap<Member, Seen>,
    /// From what is to what is wanted.
    pub plan: Plan,
    /// The way back from what is wanted to what is.
    pub undo: Plan,
    /// What was found beside the differences.
    pub findings: Vec<Finding>,
    /// Paths inside resources that differ from what is known of them.
    pub changes: BTreeMap<ResourceId, Vec<PathChange>>,
}

/// Why there is no prospect.
#[derive(Debug, Error)]
pub enum ProspectError {
    /// Hosts that are out of reach or refuse.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Hosts(Vec<AskError>),
    /// What is wanted contradicts itself.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// What a prospect is made of.
pub struct Look<'a> {
    /// The hosts.
    pub fleet: &'a Fleet,
    /// The apps on them.
    pub addresses: &'a BTreeMap<Member, AppAddress>,
    /// What the hosts know.
    pub survey: &'a Survey,
    /// The wave of each host.
    pub waves: &'a BTreeMap<HostName, Wave>,
    /// Everything that is known of kinds.
    pub kinds: &'a [&'a dyn Kind],
    /// What else is looked for.
    pub findings: Sought,
    /// What other hosts of the apps have of what is done once for all; it stays as it is.
    pub elsewhere: &'a State,
}

/// What is looked for beside the differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// Nothing.
    Nothing,
    /// What would make it fail to put back what stood before. What only another declaration could put right is told,
    /// and is in nobody's way: what is put back is declared already.
    PuttingBack,
    /// What would make an apply fail of what is declared now.
    Declared,
}

impl Sought {
    /// What is made of a finding that another declaration could put right.
    fn weighs(self, finding: &Finding) -> Finding {
        let class = match self {
            Self::Declared => finding.class,
            Self::Nothing | Self::PuttingBack => FindingClass::Note,
        };
        Finding {
            class,
            ..finding.clone()
        }
    }
}

impl Prospect {
    /// Reads the resources of all members and plans.
    ///
    /// # Errors
    /// See [`ProspectError`].
    pub async fn of(
        look: &Look<'_>,
        wanted: BTreeMap<Member, Wanted>,
    ) -> Result<Self, ProspectError> {
        let observed = observe(look, &wanted).await.map_err(ProspectError::Hosts)?;
        let mut members = BTreeMap::new();
        let mut findings = BTreeSet::new();
        let mut changes = BTreeMap::new();
        let (mut from, mut to) = (look.elsewhere.clone(), look.elsewhere.clone());
        let mut attendants = Vec::new();
        let mut undo_attendants = Vec::new();
        for (member, wanted) in wanted {
            let Some(seen) = observed.get(&member) else {
                continue;
            };
            let last = last_applied(look.survey, &member);
            let back = states::given_back(&wanted.state, &last.state, &last.found);
            let given_back = back.resources.keys().cloned().collect();
            let mut to_be = if wanted.for_good {
                wanted.state.clone()
            } else {
                states::to_be(&wanted.state, &seen.actual, &last.state, look.kinds)?
            };
            to_be.extend(back);
            let mut forward = accompanying(&member, &wanted.gates, &wanted.attendants, &last);
            if look.findings == Sought::Declared && look.survey.stands_between(&member) {
                read_gates_by_itself(&member, &wanted.gates, &mut forward);
            }
            attendants.extend(forward);
            undo_attendants.extend(accompanying(
                &member,
                &last.gates,
                &[],
                &LastApplied::default(),
            ));
            findings.extend(seen.findings.iter().cloned());
            changes.extend(seen.changes.iter().cloned());
            from.extend(states::as_it_runs(&seen.actual, &last.state, look.kinds)?);
            to.extend(to_be.clone());
            members.insert(
                member,
                Seen {
                    wanted,
                    actual: seen.actual.clone(),
                    to: to_be,
                    given_back,
                },
            );
        }
        let (kinds, waves) = (look.kinds, look.waves);
        let forward = PlanInput {
            from: &from,
            to: &to,
            kinds,
            attendants: &attendants,
            waves,
        };
        let forward = plan(&forward)?;
        // The way back is taken by all hosts at once.
        let waves = &BTreeMap::new();
        let attendants = &undo_attendants;
        let mut back = plan(&PlanInput {
            from: &to,
            to: &states::before(&from, &to, kinds)?,
            kinds,
            attendants,
            waves,
        })?;
        for step in &mut back.steps {
            // What is only noted there is only noted on the way back.
            let noted = |it: &Step| it.resource == step.resource && it.action == Action::Note;
            if forward.steps.iter().any(noted) {
                step.action = Action::Note;
            }
        }
        for (member, seen) in &observed {
            if starts(&forward, member) {
                findings.extend(seen.starting.iter().map(|it| look.findings.weighs(it)));
            }
        }
        let findings = findings.into_iter().collect();
        Ok(Self {
            members,
            plan: forward,
            undo: back,
            findings,
            changes,
        })
    }
}

/// Whether a plan starts a service of a member's own.
fn starts(plan: &Plan, member: &Member) -> bool {
    plan.on(&member.host)
        .of(&member.app)
        .steps
        .iter()
        .any(|step| {
            let to = step.to.as_ref();
            let external = to.and_then(|to| to.settings.get("external"));
            let external = external.and_then(Value::as_bool) == Some(true);
            step.kind == StepKind::RESTART
                && matches!(step.action, Action::Start | Action::Restart)
                && !external
        })
}

/// The generation that stands, as far as plans need it.
#[derive(Debug, Clone, Default)]
pub struct LastApplied {
    /// Its state; empty before the first apply.
    pub state: State,
    /// Its gates.
    pub gates: Gates,
    /// What its backups cover.
    pub backup: Option<Resource>,
    /// What was there before rosey, of what it has taken over.
    pub found: State,
}

/// The generation of a member that stands.
#[must_use]
pub fn last_applied(survey: &Survey, member: &Member) -> LastApplied {
    let app = survey.members.get(member);
    let ledger = app.and_then(|app| app.ledger.as_ref());
    match app.and_then(SurveyedApp::standing) {
        Some(generation) => LastApplied {
            state: generation.state.clone(),
            gates: generation.gates.clone(),
            backup: generation.backup.clone(),
            // What went back to that already is nobody's.
            found: ledger
                .filter(|_| generation.release.is_some())
                .and_then(crate::model::Ledger::found)
                .map(|found| found.state.clone())
                .unwrap_or_default(),
        },
        None => LastApplied::default(),
    }
}

/// The attendants of a member's changes: its gates after, and before them the backup that is
/// wanted, else the one of what stands.
fn accompanying(
    member: &Member,
    gates: &Gates,
    wanted: &[Attendant],
    standing: &LastApplied,
) -> Vec<Attendant> {
    let mut attendants = wanted.to_vec();
    let has = |kind| {
        attendants
            .iter()
            .any(|attendant: &Attendant| attendant.resource.kind == kind)
    };
    let id = |kind| attending(member, kind);
    let (no_gates, no_backup) = (!has(verify::GATES), !has(backup::BACKUP));
    if no_gates && !gates.gates.is_empty() {
        attendants.push(verify::attendant(id(verify::GATES), gates));
    }
    if let Some(covered) = standing.backup.as_ref().filter(|_| no_backup) {
        attendants.push(backup::attendant(id(backup::BACKUP), covered.clone()));
    }
    attendants
}

/// Has the gates of a member read though nothing else may be left to do: what stands there is to become a generation.
fn read_gates_by_itself(member: &Member, gates: &Gates, attendants: &mut Vec<Attendant>) {
    let is_gates = |it: &Attendant| it.resource.kind == verify::GATES;
    let mut attendant = match attendants.iter().position(is_gates) {
        Some(index) => attendants.remove(index),
        None => verify::attendant(attending(member, verify::GATES), gates),
    };
    attendant.lone = true;
    attendants.push(attendant);
}

/// What an attendant of a member is known by.
#[must_use]
pub fn attending(member: &Member, kind: ResourceKind) -> ResourceId {
    ResourceId {
        host: member.host.clone(),
        app: member.app.clone(),
        kind,
        name: member.app.to_string(),
    }
}

async fn observe(
    look: &Look<'_>,
    wanted: &BTreeMap<Member, Wanted>,
) -> Result<BTreeMap<Member, crate::helper::protocol::ObservedApp>, Vec<AskError>> {
    let mut asked = Vec::new();
    for (host, connection) in look.fleet {
        let mut members = Vec::new();
        let mut apps = Vec::new();
        for (member, wanted) in wanted.iter().filter(|(member, _)| member.host == *host) {
            let Some(address) = look.addresses.get(member) else {
                continue;
            };
            members.push(member.clone());
            apps.push(ObserveApp {
                app: address.clone(),
                wanted: wanted.state.clone(),
                manifests: wanted.manifests.clone(),
                findings: look.findings != Sought::Nothing,
                incoming: wanted.incoming,
                units: wanted.units.clone(),
                gates: wanted.gates.clone(),
            });
        }
        let connection = connection.clone();
        asked.push(tokio::spawn(async move {
            (members, connection.observe(apps).await)
        }));
    }
    let mut observed = BTreeMap::new();
    let mut errors = Vec::new();
    for answer in asked {
        let (members, answer) = unpanicked(answer.await);
        match answer {
            Ok(apps) => observed.extend(members.into_iter().zip(apps)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(observed)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{Lab, address, member};
    use crate::model::ResourceKind;
    use crate::step::registry::registry;

    fn migration(host: &str, stamp: &str) -> (ResourceId, Resource) {
        let Member { host, app } = member(host);
        let (kind, name) = (ResourceKind::TASK, "migrate".to_owned());
        let id = ResourceId {
            host,
            app,
            kind,
            name,
        };
        let task = Resource::new().with("stamp", stamp);
        (id, task.setting("run", "up").setting("once", true))
    }

    #[tokio::test]
    async fn what_a_host_that_was_not_chosen_has_done_once_is_only_noted() {
        let lab = Lab::new(&[("a", vec![])]);
        let addresses = [(member("a"), address("a"))].into();
        let survey = survey(&lab.fleet, &addresses, BTreeMap::new())
            .await
            .unwrap();
        for (there, action) in [
            (None, Action::Run),
            (Some("another"), Action::Run),
            (Some("this"), Action::Note),
        ] {
            let resources = there.map(|stamp| migration("b", stamp));
            let elsewhere = State {
                resources: resources.into_iter().collect(),
            };
            let look = Look {
                fleet: &lab.fleet,
                addresses: &addresses,
                survey: &survey,
                waves: &BTreeMap::new(),
                kinds: registry(),
                findings: Sought::Declared,
                elsewhere: &elsewhere,
            };
            let wanted = Wanted {
                state: State {
                    resources: [migration("a", "this")].into(),
                },
                ..Wanted::default()
            };
            let prospect = Prospect::of(&look, [(member("a"), wanted)].into()).await;
            let steps = prospect.unwrap().plan.steps;
            let told: Vec<_> = steps
                .iter()
                .map(|it| (it.resource.host.as_str(), it.action))
                .collect();
            assert_eq!(told, [("a", action)], "{there:?}");
        }
    }

    #[test]
    fn what_another_declaration_would_put_right_holds_up_no_way_back() {
        let taken = Finding {
            class: FindingClass::Blocking,
            host: HostName::new("a").unwrap(),
            app: None,
            message: "port 8000 is taken".to_owned(),
            remedy: None,
        };
        assert_eq!(Sought::Declared.weighs(&taken), taken);
        let told = Sought::PuttingBack.weighs(&taken);
        assert_eq!(told.class, FindingClass::Note);
        assert_eq!(told.message, taken.message);
    }
}
