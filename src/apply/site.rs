//! One app on one host, as taking steps there needs to know it.

use std::collections::BTreeMap;

use crate::content::{Content, Manifest};
use crate::host::{HostError, HostErrorKind, Owner, WriteHost};
use crate::model::{Moment, Places, Resource, ResourceId, RunId};
use crate::step::kind::{Kind, ObserveContext, Observed, StepContext};

use super::journal::Journal;
use super::step::Taking;

/// A disk with fewer bytes left is full to who has to write: ext4 refuses while it still says that some is left, for its
/// own needs.
const FULL: u64 = 4 * 1024 * 1024;

/// One app on one host during a run: everything that stays the same for all of its steps.
pub struct Site<'a> {
    /// The host.
    pub host: &'a dyn WriteHost,
    /// What rosey knows about kinds.
    pub kinds: &'a [&'a dyn Kind],
    /// Where the app's things lie.
    pub places: &'a Places,
    /// The run.
    pub run: &'a RunId,
    /// Who owns what rosey makes where nothing else is declared.
    pub owner: &'a Owner,
    /// Patterns of paths that may be extra inside a release.
    pub ignore: &'a [String],
    /// The key for digests of content that holds a secret.
    pub seal: &'a [u8; 32],
    /// Content by digest.
    pub content: &'a dyn Content,
    /// The manifest of a tree by its digest, where it is known.
    pub manifest: &'a (dyn Fn(&str) -> Option<Manifest> + Sync),
    /// When earlier runs last changed each resource.
    pub changes: &'a BTreeMap<ResourceId, Moment>,
    /// Takes secrets out of what a command, a log or an answer said. Everything that a step says goes through it.
    pub mask: &'a (dyn Fn(&str) -> String + Sync),
}

impl Site<'_> {
    /// The kind of a resource.
    ///
    /// # Errors
    /// When this program has no such kind.
    pub fn kind(&self, id: &ResourceId) -> Result<&dyn Kind, HostError> {
        kind_of(self.kinds, id)
    }

    /// Whether what uses a resource has to be renewed when that changes.
    #[must_use]
    pub fn renews(&self, id: &ResourceId) -> bool {
        self.kind(id).map_or(true, Kind::renews)
    }

    /// Why nobody can write where the app is, if so.
    #[must_use]
    pub fn refuses_writes(&self) -> Option<HostErrorKind> {
        let root = &self.places.root;
        if self.host.is_read_only(root).unwrap_or_default() {
            return Some(HostErrorKind::ReadOnly);
        }
        let space = self.host.space(root);
        let full = space.is_ok_and(|left| left.bytes < FULL || left.inodes == 0);
        full.then_some(HostErrorKind::NoSpace)
    }

    /// Reads a resource as it is now.
    ///
    /// # Errors
    /// When it can't be known how it is.
    pub fn observe(
        &self,
        journal: &Journal<'_>,
        known: &[(ResourceId, Resource)],
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        let kind = self.kind(id)?;
        self.reading(journal, known, |context| kind.observe(context, id, wanted))
    }

    /// Does something that needs what reading needs.
    pub fn reading<T>(
        &self,
        journal: &Journal<'_>,
        known: &[(ResourceId, Resource)],
        act: impl FnOnce(&ObserveContext<'_>) -> T,
    ) -> T {
        let changed = |id: &ResourceId| {
            if journal.ask(|told| told.may_change(id)) && self.renews(id) {
                return Some(self.host.moment());
            }
            let in_this_run = journal.ask(|told| told.changes.get(id).cloned());
            in_this_run.or_else(|| self.changes.get(id).cloned())
        };
        act(&ObserveContext {
            host: self.host.as_read(),
            places: self.places,
            ignore: self.ignore,
            seal: self.seal,
            manifest: self.manifest,
            changed: &changed,
            known,
        })
    }

    /// Does something that needs what taking a step needs.
    pub fn acting<T>(
        &self,
        journal: &Journal<'_>,
        taking: Taking<'_>,
        act: impl FnOnce(&StepContext<'_>) -> T,
    ) -> T {
        let Taking {
            known,
            cancel,
            waits,
            gates,
            ..
        } = taking;
        self.reading(journal, known, |observe| {
            act(&StepContext {
                host: self.host,
                observe,
                run: self.run,
                owner: self.owner,
                content: self.content,
                cancelled: &|| cancel.is_asked(),
                failing: &|| {},
                waits: &|words| waits((self.mask)(&words)),
                gates: &|results| {
                    let masked = results.into_iter().map(|it| it.masked(self.mask));
                    gates(masked.collect());
                },
            })
        })
    }
}

/// The kind of a resource, among some.
///
/// # Errors
/// When none of them is it.
pub fn kind_of<'k>(kinds: &[&'k dyn Kind], id: &ResourceId) -> Result<&'k dyn Kind, HostError> {
    let kind = kinds.iter().find(|kind| kind.resource() == id.kind);
    kind.copied().ok_or_else(|| HostError {
        doing: "find out about".to_owned(),
        path: id.to_string(),
        kind: HostErrorKind::Other("this version of rosey doesn't know its kind".to_owned()),
    })
}
