//! A run, put together from what was read and what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::declared::Declared;
use super::prospect::{Prospect, Survey, last_applied};
use super::run::{Forget, Holdable, Pace, Part, Run};
use crate::config::{Environment, Keep, Rollout};
use crate::helper::protocol::{AppAddress, Marks, SurveyedApp};
use crate::model::{
    Author, Digest, Gates, Generation, HostName, Member, Plan, Resource, RunId, State, Wave,
};

/// The shortest pause before locks are tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// A run in which nothing begins or ends for this long makes no progress. No declared time limit is
/// shorter than the longest step: those are added to it.
const PROGRESS: Duration = Duration::from_secs(600);

/// Who and why a run is, beside its plan.
#[derive(Debug, Clone)]
pub struct Order {
    /// The run's name.
    pub id: RunId,
    /// `apply`, `rollback`, `remove` or `heal`.
    pub command: String,
    /// Who, from where and why.
    pub author: Author,
    /// Whether a lock that is held is waited for.
    pub wait: bool,
    /// Whether what is refused because its plan has become stale is planned anew.
    pub anew: bool,
}

/// Which generation a member goes to.
#[derive(Debug, Clone)]
pub enum Toward {
    /// A new one, as declared.
    Declared(Box<Declared>),
    /// The state of one that the ledger has; `parent` is the new one's.
    Earlier {
        /// The target.
        target: Box<Generation>,
        /// The parent of the generation that is made.
        parent: Option<u64>,
        /// What else changes in the ledger.
        marks: Marks,
    },
    /// Nothing: the app goes.
    Nothing {
        /// Whether its data goes too.
        data: bool,
    },
}

/// The waves of an environment's rollout over some hosts, in the order of their declaration.
#[must_use]
pub fn waves(rollout: &Rollout, hosts: &[HostName]) -> BTreeMap<HostName, Wave> {
    let mut waves = BTreeMap::new();
    let sizes = rollout.sizes(hosts.len());
    for (index, host) in hosts.iter().enumerate() {
        let wave = sizes
            .iter()
            .position(|size| index < *size)
            .unwrap_or(sizes.len());
        waves.insert(
            host.clone(),
            Wave(u32::try_from(wave + 1).unwrap_or(u32::MAX)),
        );
    }
    waves
}

/// The number of the next generation: one above the highest that any host of the app shows.
#[must_use]
pub fn next_number(survey: &Survey, member: &Member) -> u64 {
    let of_app = survey.members.iter().filter(|(it, _)| it.app == member.app);
    let ledgers = of_app.filter_map(|(_, app)| app.ledger.as_ref());
    let numbers = ledgers.flat_map(|ledger| ledger.generations.iter().map(|it| it.number));
    numbers.max().map_or(1, |highest| highest + 1)
}

/// Puts a run together. Members without a way in `toward` take no part.
#[must_use]
pub fn compose(
    environment: &Environment,
    order: Order,
    prospect: &Prospect,
    survey: &Survey,
    addresses: &BTreeMap<Member, AppAddress>,
    toward: BTreeMap<Member, Toward>,
) -> Run {
    let rollout = &environment.rollout;
    let mut parts = BTreeMap::new();
    for (member, toward) in toward {
        let plan = prospect.plan.on(&member.host).of(&member.app);
        let (Some(address), Some(surveyed), Some(seen)) = (
            addresses.get(&member),
            survey.members.get(&member),
            prospect.members.get(&member),
        ) else {
            continue;
        };
        if plan.is_empty() && !matches!(toward, Toward::Nothing { .. }) {
            continue;
        }
        // What is given back is somebody else's from then on.
        let mut state = seen.to.clone();
        state
            .resources
            .retain(|id, _| !seen.given_back.contains(id));
        let making = Making {
            // What is taken away need not be declared any more, and nothing of it is kept.
            keep: environment
                .app(&member.app)
                .map_or_else(Keep::default, |app| app.keep),
            surveyed,
            number: next_number(survey, &member),
            state: &state,
            gates: &seen.wanted.gates,
            standing: last_applied(survey, &member).backup,
            author: &order.author,
            run: &order.id,
        };
        let part = making.part(address, &plan, seen.wanted.manifests.clone(), toward);
        parts.insert(member, part);
    }
    let last = prospect
        .plan
        .steps
        .iter()
        .map(|step| step.wave.0)
        .max()
        .unwrap_or(1)
        .max(1);
    let bakes = (1..=last).map(|wave| (Wave(wave), rollout.bake_of(wave)));
    Run {
        id: order.id,
        environment: environment.name.clone(),
        command: order.command,
        author: order.author,
        plan: prospect.plan.clone(),
        parts,
        pace: Pace {
            wait: order.wait,
            anew: order.anew,
            lock_pause: LOCK_PAUSE,
            bakes: bakes.filter(|(_, bake)| !bake.is_zero()).collect(),
            max_failures: rollout.max_failures,
            on_failure: rollout.on_failure,
            guard: rollout.guard,
            progress: PROGRESS + longest(&prospect.plan),
        },
    }
}

/// The longest time that one step may take by its own declaration.
fn longest(plan: &Plan) -> Duration {
    let settings = plan
        .steps
        .iter()
        .filter_map(|step| step.to.as_ref())
        .flat_map(|to| {
            ["timeout", "start_timeout", "stop_timeout"].map(|name| to.settings.get(name))
        });
    let longest = settings
        .flatten()
        .filter_map(crate::model::Value::as_int)
        .max()
        .unwrap_or(0);
    Duration::from_millis(u64::try_from(longest).unwrap_or(0))
}

struct Making<'a> {
    keep: Keep,
    surveyed: &'a SurveyedApp,
    number: u64,
    state: &'a State,
    gates: &'a Gates,
    standing: Option<Resource>,
    author: &'a Author,
    run: &'a RunId,
}

impl Making<'_> {
    fn part(
        self,
        address: &AppAddress,
        plan: &Plan,
        manifests: BTreeMap<String, crate::content::Manifest>,
        toward: Toward,
    ) -> Part {
        let ledger = self.surveyed.ledger.as_ref();
        let current = ledger.and_then(crate::model::Ledger::current);
        let mut generation = Generation {
            run: Some(self.run.clone()),
            number: self.number,
            parent: current.map(|generation| generation.number),
            release: None,
            version: None,
            content: None,
            declared: None,
            variables: None,
            state: self.state.clone(),
            gates: self.gates.clone(),
            backup: self.standing.clone(),
            author: self.author.clone(),
            at: String::new(),
            verified: false,
            left: false,
        };
        let mut marks = Marks::default();
        let mut forget = None;
        let mut holdable = None;
        match toward {
            Toward::Declared(declared) => {
                holdable = Some(Holdable {
                    declared: declared.declared,
                    release: declared.release.name.clone(),
                });
                generation.release = Some(declared.release.name.clone());
                generation.version = Some(declared.version.to_string());
                generation.content = Some(declared.content);
                generation.declared = Some(declared.declared);
                generation.variables = Some(declared.variables.clone());
                generation.backup = declared.backup.clone();
            }
            Toward::Earlier {
                target,
                parent,
                marks: marked,
            } => {
                // What is put right and is not healthy even so, nobody should try again and again. Going
                // back is never held up, so a verdict on that holds nothing.
                let heals = current.is_some_and(|current| current.number == target.number);
                holdable = target.declared.filter(|_| heals).map(|declared| Holdable {
                    declared,
                    release: target.release.clone().unwrap_or_default(),
                });
                generation.release = target.release.clone();
                generation.version = target.version.clone();
                generation.content = target.content;
                generation.declared = target.declared;
                generation.variables = target.variables.clone();
                // Even where they weren't read, as with `rollback --force`.
                generation.gates = target.gates.clone();
                generation.backup = target.backup.clone();
                generation.parent = parent;
                marks = marked;
            }
            Toward::Nothing { data } => forget = Some(Forget { data }),
        }
        Part {
            address: address.clone(),
            head: ledger.and_then(|ledger| ledger.head.clone()),
            gates: self.gates.clone(),
            generation,
            marks,
            releases: self.keep.releases,
            backups: self.keep.backups,
            forget,
            manifests,
            digests: contents(plan),
            elsewhere: BTreeMap::new(),
            holdable,
        }
    }
}

/// The single contents that steps write: by convention the attribute `content` of a resource.
fn contents(plan: &Plan) -> BTreeSet<Digest> {
    let wanted = plan.steps.iter().filter_map(|step| step.to.as_ref());
    wanted
        .filter_map(|to| to.text("content"))
        .filter_map(|digest| digest.parse().ok())
        .collect()
}
