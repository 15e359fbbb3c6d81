//! Hosts, apps, steps and generations as short as tests want them.

use crate::helper::protocol::AppAddress;
use crate::model::{
    Action, AppName, Author, Digest, EnvironmentName, Gates, Generation, HostName, Label, Ledger,
    Member, Plan, Reason, Resource, ResourceId, ResourceKind, RunId, State, Step, StepId, StepKind,
    Wave,
};

pub(crate) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(crate) fn app() -> AppName {
    AppName::new("app").unwrap()
}

/// The member of the one app on a host.
pub(crate) fn member(name: &str) -> Member {
    Member::new(&host(name), &app())
}

/// A step that makes the file `name`; its own name is `HOST/app/file:NAME`.
pub(crate) fn step(on: &str, name: &str, wave: u32, after: &[&str]) -> Step {
    let resource = ResourceId {
        host: host(on),
        app: app(),
        kind: ResourceKind::FILE,
        name: name.to_owned(),
    };
    Step {
        id: StepId::of(&resource, ""),
        kind: StepKind::SYNC,
        resource,
        action: Action::Create,
        from: None,
        to: Some(Resource::new().with("content", name)),
        reasons: vec![Reason {
            attribute: "content".to_owned(),
            old: None,
            new: Some(name.into()),
            because: None,
        }],
        label: Label::Reversible,
        wave: Wave(wave),
        after: after.iter().map(|id| StepId((*id).to_owned())).collect(),
    }
}

pub(crate) fn plan(steps: Vec<Step>) -> Plan {
    Plan { steps }
}

pub(crate) fn address(on: &str) -> AppAddress {
    AppAddress {
        environment: EnvironmentName::new("prod").unwrap(),
        host: host(on),
        app: app(),
        root: "/opt/app".to_owned(),
        owner: None,
        create_owner: false,
        manager: None,
        ignore: Vec::new(),
    }
}

/// A verified generation with that number and parent, whose version is `1.NUMBER`.
pub(crate) fn generation(number: u64, parent: Option<u64>) -> Generation {
    Generation {
        run: Some(RunId(format!("run-{number}"))),
        number,
        parent,
        release: Some(format!("1.{number}-abc")),
        version: Some(format!("1.{number}")),
        content: Some(Digest::of(&number.to_le_bytes())),
        declared: Some(Digest::of(&number.to_be_bytes())),
        variables: None,
        state: State::default(),
        gates: Gates::default(),
        backup: None,
        author: author(),
        at: format!("2026-11-{:02}T12:00:00Z", number.clamp(1, 28)),
        verified: true,
        left: false,
    }
}

pub(crate) fn author() -> Author {
    Author {
        user: "ann".to_owned(),
        machine: "desk".to_owned(),
        ..Author::default()
    }
}

pub(crate) fn ledger(generations: Vec<Generation>) -> Ledger {
    let environment = EnvironmentName::new("prod").unwrap();
    let mut ledger = Ledger::new(environment, app(), "/opt/app".to_owned());
    ledger.generations = generations;
    ledger
}
