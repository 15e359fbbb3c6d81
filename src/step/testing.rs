//! A host in memory with what taking steps needs beside it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use crate::content::{Content, ContentError};
use crate::host::{MemoryHost, Owner, WriteHost};
use crate::model::{
    Action, AppName, GateResult, HostName, Label, Moment, Places, Resource, ResourceId,
    ResourceKind, RunId, Step, StepId, StepKind, Wave,
};

use super::kind::{Kind, ObserveContext, Observed, StepContext, StepError};

/// An app on a host, as the executor would know it.
pub(super) struct Bench {
    pub places: Places,
    pub run: RunId,
    pub known: Vec<(ResourceId, Resource)>,
    pub waited_for: Mutex<Vec<String>>,
    /// What gates said in the end.
    pub gates: Mutex<Vec<GateResult>>,
    pub changes: BTreeMap<ResourceId, Moment>,
    pub owner: Owner,
}

impl Bench {
    /// `/opt/bot`, with nothing in it.
    pub fn new() -> Self {
        Self::at(
            Path::new("/opt/bot"),
            Path::new("/var/lib/rosey/bot"),
            "root",
        )
    }

    pub fn at(root: &Path, state: &Path, owner: &str) -> Self {
        Self {
            places: Places {
                root: root.to_owned(),
                state: state.to_owned(),
            },
            run: RunId("20261120T195602Z-3fa9c1".to_owned()),
            known: Vec::new(),
            waited_for: Mutex::default(),
            gates: Mutex::default(),
            changes: BTreeMap::new(),
            owner: Owner {
                user: owner.to_owned(),
                group: owner.to_owned(),
            },
        }
    }

    pub fn acting<T>(&self, host: &dyn WriteHost, act: impl FnOnce(&StepContext<'_>) -> T) -> T {
        let manifest = |_: &str| None;
        let changed = |id: &ResourceId| self.changes.get(id).cloned();
        let observe = ObserveContext {
            host: host.as_read(),
            places: &self.places,
            ignore: &["*.pyc".to_owned()],
            seal: &[7; 32],
            manifest: &manifest,
            changed: &changed,
            known: &self.known,
        };
        act(&StepContext {
            host,
            observe: &observe,
            run: &self.run,
            owner: &self.owner,
            content: &Nothing,
            cancelled: &|| false,
            failing: &|| {},
            waits: &|reason| self.waited_for.lock().unwrap().push(reason),
            gates: &|results| self.gates.lock().unwrap().extend(results),
        })
    }

    pub fn observe(
        &self,
        host: &dyn WriteHost,
        kind: &dyn Kind,
        id: &ResourceId,
        wanted: &Resource,
    ) -> Observed {
        self.acting(host, |context| {
            kind.observe(context.observe, id, Some(wanted))
                .expect("BUG: it can be read")
        })
    }

    pub fn apply(
        &self,
        host: &dyn WriteHost,
        kind: &dyn Kind,
        step: &Step,
    ) -> Result<(), StepError> {
        self.acting(host, |context| kind.apply(context, step))
    }
}

/// No content at all.
struct Nothing;

impl Content for Nothing {
    fn bytes(&self, _digest: &str) -> Result<Option<Vec<u8>>, ContentError> {
        Ok(None)
    }

    fn stage(&self, tree: &str, _at: &Path, _owner: &Owner) -> Result<(), ContentError> {
        Err(ContentError::UnknownTree {
            tree: tree.to_owned(),
        })
    }
}

pub(super) fn id(kind: ResourceKind, name: &str) -> ResourceId {
    ResourceId {
        host: HostName::new("here").expect("BUG: a host name"),
        app: AppName::new("bot").expect("BUG: an app name"),
        kind,
        name: name.to_owned(),
    }
}

pub(super) fn step(
    kind: StepKind,
    id: &ResourceId,
    action: Action,
    from: Option<&Resource>,
    to: Option<&Resource>,
) -> Step {
    Step {
        id: StepId::of(id, ""),
        kind,
        resource: id.clone(),
        action,
        from: from.cloned(),
        to: to.cloned(),
        reasons: Vec::new(),
        label: Label::Reversible,
        wave: Wave(1),
        after: Vec::new(),
    }
}

/// Tries something with the caller's death at every primitive, in every way; `check` gets each host as
/// the next try finds it, and what died.
pub(super) fn dying_everywhere(
    prepared: &MemoryHost,
    act: impl Fn(&MemoryHost),
    check: impl Fn(&MemoryHost, &str),
) {
    use crate::host::memory::Fault;
    let whole = prepared.fork();
    let before = whole.primitives();
    act(&whole);
    for at in 1..=whole.primitives() - before {
        for fault in [Fault::CrashBefore, Fault::CrashMiddle, Fault::CrashAfter] {
            let host = prepared.fork();
            let told = format!("{fault:?} at primitive {at}");
            host.fault_at(at, fault);
            act(&host);
            host.revive();
            check(&host, &told);
        }
    }
}
