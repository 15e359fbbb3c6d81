//! The planner on kinds that only say what they make and use.

mod graph;
mod laws;

use std::collections::BTreeMap;

use crate::host::HostError;
use crate::model::{
    Action, AppName, HostName, Plan, Reason, Resource, ResourceId, ResourceKind, State, Step,
    StepKind, Thing, Wave,
};
use crate::step::kind::{
    Change, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
};

use super::{Attendant, PlanInput, plan};

/// A kind whose resources say in their settings what they make, use and occupy.
pub(super) struct Toy {
    word: &'static str,
    inert: bool,
    renews: bool,
    freshness: bool,
    once: bool,
}

pub(super) const TOYS: [Toy; 5] = [
    Toy {
        word: "tree",
        inert: true,
        renews: true,
        freshness: false,
        once: false,
    },
    Toy {
        word: "place",
        inert: false,
        renews: false,
        freshness: false,
        once: false,
    },
    Toy {
        word: "link",
        inert: false,
        renews: true,
        freshness: false,
        once: false,
    },
    Toy {
        word: "server",
        inert: false,
        renews: false,
        freshness: true,
        once: false,
    },
    Toy {
        word: "migration",
        inert: false,
        renews: true,
        freshness: false,
        once: true,
    },
];

pub(super) fn kinds() -> Vec<&'static dyn Kind> {
    TOYS.iter().map(|toy| toy as &dyn Kind).collect()
}

impl Kind for Toy {
    fn resource(&self) -> ResourceKind {
        ResourceKind::new(self.word)
    }

    fn step(&self) -> StepKind {
        StepKind::new(self.word)
    }

    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        vec![Thing::Path(it.id.name.clone())]
    }

    fn uses(&self, it: Named<'_>) -> Vec<Thing> {
        let uses = it.resource.settings.get("uses");
        uses.into_iter()
            .flat_map(|uses| uses.texts())
            .map(|path| Thing::Path(path.into()))
            .collect()
    }

    fn occupies(&self, it: Named<'_>) -> Vec<Thing> {
        if self.freshness && it.resource.is("active") {
            vec![Thing::Turn("app".to_owned())]
        } else {
            Vec::new()
        }
    }

    fn renews(&self) -> bool {
        self.renews
    }

    fn freshness(&self, _it: Named<'_>) -> Option<&'static str> {
        self.freshness.then_some("fresh")
    }

    fn parts(&self, change: Change<'_>, _reasons: &[Reason], disturbed: bool) -> Vec<Part> {
        let part = |name, action, from: Option<&Resource>, to: Option<&Resource>| Part {
            name,
            action,
            from: from.cloned(),
            to: to.cloned(),
        };
        match (change.from, change.to) {
            (Some(from), Some(to)) if disturbed => {
                let stopped = from.clone().with("active", false).with("fresh", false);
                vec![
                    part("stop", Action::Stop, Some(from), Some(&stopped)),
                    part("start", Action::Start, Some(&stopped), Some(to)),
                ]
            }
            (None, to) => vec![part("", Action::Create, None, to)],
            (from, None) => vec![part("", Action::Remove, from, None)],
            (from, to) => vec![part("", Action::Update, from, to)],
        }
    }

    fn is_once(&self, _change: Change<'_>) -> bool {
        self.once
    }

    fn is_inert(&self, change: Change<'_>) -> bool {
        self.inert && change.from.is_none()
    }

    fn observe(
        &self,
        _context: &ObserveContext<'_>,
        _id: &ResourceId,
        _wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        Ok(Observed::default())
    }

    fn apply(&self, _context: &StepContext<'_>, _step: &Step) -> Result<(), StepError> {
        Ok(())
    }
}

pub(super) fn id(host: &str, kind: &'static str, name: &str) -> ResourceId {
    ResourceId {
        host: HostName::new(host).expect("BUG: a host name"),
        app: AppName::new("app").expect("BUG: an app name"),
        kind: ResourceKind::new(kind),
        name: name.to_owned(),
    }
}

/// A state from lines: host, kind, path, content, what it uses.
pub(super) fn state(lines: &[(&str, &'static str, &str, &str, &[&str])]) -> State {
    let mut state = State::default();
    for (host, kind, name, content, uses) in lines {
        let mut resource = Resource::new()
            .with("content", *content)
            .setting("uses", uses.to_vec());
        if *kind == "server" {
            resource = resource.with("active", true).with("fresh", true);
        }
        state.resources.insert(id(host, kind, name), resource);
    }
    state
}

pub(super) fn difference(from: &State, to: &State, attendants: &[Attendant]) -> Plan {
    let waves = BTreeMap::from([(HostName::new("b").expect("BUG: a host name"), Wave(2))]);
    let kinds = kinds();
    plan(&PlanInput {
        from,
        to,
        kinds: &kinds,
        attendants,
        waves: &waves,
    })
    .expect("BUG: a state without contradictions")
}

/// A plan as text: wave, action, step, what it waits for.
pub(super) fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let after: Vec<_> = step.after.iter().map(|id| id.0.as_str()).collect();
        let after = if after.is_empty() {
            String::new()
        } else {
            format!(" <- {}", after.join(", "))
        };
        text += &format!("{} {} {}{after}\n", step.wave.0, step.action, step.id);
    }
    text
}
