//! Who makes and who uses what, in one state.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{HostName, Resource, ResourceId, State, Thing};
use crate::step::kind::{Kind, Named};

use super::PlanError;

/// A state with its kinds, and its things with those who make them.
pub(super) struct Relations<'a> {
    /// Each resource with its kind.
    pub resources: BTreeMap<&'a ResourceId, (&'a Resource, &'a dyn Kind)>,
    makers: BTreeMap<(&'a HostName, Thing), &'a ResourceId>,
}

impl<'a> Relations<'a> {
    /// Reads the relations of a state.
    pub fn of(state: &'a State, kinds: &'a [&'a dyn Kind]) -> Result<Self, PlanError> {
        let mut resources = BTreeMap::new();
        let mut makers = BTreeMap::new();
        for (id, resource) in &state.resources {
            let kind = kind_of(kinds, id)?;
            resources.insert(id, (resource, kind));
            for thing in kind.makes(Named { id, resource }) {
                if let Some(other) = makers.insert((&id.host, thing.clone()), id) {
                    let (one, other) = (Box::new(other.clone()), Box::new(id.clone()));
                    return Err(PlanError::TwoClaims { thing, one, other });
                }
            }
        }
        Ok(Self { resources, makers })
    }

    /// The resources that a thing can't be without: those that make it, or a directory above it.
    pub fn needed_for(&self, host: &HostName, thing: &Thing) -> Vec<&'a ResourceId> {
        let mut found = Vec::new();
        let mut look = |thing: Thing| {
            if let Some(maker) = self.makers.get(&(host, thing)) {
                found.push(*maker);
            }
        };
        match thing {
            Thing::Path(path) => {
                let ends = path
                    .match_indices('/')
                    .map(|(at, _)| at)
                    .filter(|at| *at > 0);
                for end in ends.chain([path.len()]) {
                    look(Thing::Path(path[..end].to_owned()));
                }
            }
            other => look(other.clone()),
        }
        found
    }

    /// The resources that a resource uses, directly: by what its kind says, by where it lies, and what it heeds.
    pub fn used_by(&self, kind: &dyn Kind, it: Named<'_>) -> BTreeSet<&'a ResourceId> {
        uses(kind, it)
            .iter()
            .flat_map(|thing| self.needed_for(&it.id.host, thing))
            .chain(self.heeded_by(kind, it))
            .filter(|used| *used != it.id)
            .collect()
    }

    /// The resources that make what a resource only heeds.
    pub fn heeded_by(&self, kind: &dyn Kind, it: Named<'_>) -> BTreeSet<&'a ResourceId> {
        let mut heeded = BTreeSet::new();
        for thing in kind.heeds(it) {
            // What lies below a path comes right after it.
            let rest = self.makers.range((&it.id.host, thing.clone())..);
            let makers =
                rest.take_while(|((host, made), _)| **host == it.id.host && made.needs(&thing));
            heeded.extend(makers.map(|(_, maker)| *maker));
        }
        heeded
    }

    /// The resources that a resource uses, directly and through others.
    pub fn used_through(&self, kind: &dyn Kind, it: Named<'_>) -> BTreeSet<&'a ResourceId> {
        let mut reached = self.used_by(kind, it);
        let mut open: Vec<_> = reached.iter().copied().collect();
        while let Some(next) = open.pop() {
            let (resource, kind) = self.resources[next];
            for used in self.used_by(kind, Named { id: next, resource }) {
                if used != it.id && reached.insert(used) {
                    open.push(used);
                }
            }
        }
        reached
    }
}

/// What a resource uses: what its kind says, and the directory that each path it makes lies in.
pub(super) fn uses(kind: &dyn Kind, it: Named<'_>) -> Vec<Thing> {
    let mut things = kind.uses(it);
    for made in kind.makes(it) {
        if let Thing::Path(path) = made
            && let Some(end) = path.rfind('/')
            && end > 0
        {
            things.push(Thing::Path(path[..end].to_owned()));
        }
    }
    things
}

/// The kind of a resource.
pub(super) fn kind_of<'a>(
    kinds: &'a [&'a dyn Kind],
    id: &ResourceId,
) -> Result<&'a dyn Kind, PlanError> {
    kinds
        .iter()
        .copied()
        .find(|kind| kind.resource() == id.kind)
        .ok_or_else(|| PlanError::UnknownKind {
            resource: id.clone(),
        })
}
