//! What `backup` wants: that data is copied before anything could change it.

use crate::config::Declaration;
use crate::model::{Action, Label, Resource, ResourceId, ResourceKind, StepKind, Thing};
use crate::step::attendant::{Attendant, Turn};
use crate::step::desired::Desired;

use super::declare::BackupDeclaration;

/// The resource kind of an app's backup: never part of a state, only the name of its step.
pub const BACKUP: ResourceKind = ResourceKind::new("backup");

/// The attendant that takes the backup.
pub fn desire(declaration: &Declaration, desired: &mut Desired<'_>) {
    let backup: BackupDeclaration = Desired::typed(declaration);
    let real = |paths: &[crate::model::names::TreePath]| -> Vec<String> {
        paths.iter().map(|path| desired.real_path(path)).collect()
    };
    let with = Resource::new()
        .setting("sqlite", real(&backup.sqlite))
        .setting("paths", real(&backup.paths))
        .setting("restore", backup.restore.word());
    let resource = desired.id(BACKUP, desired.site.app.name.to_string());
    desired.attendants.push(attendant(resource, with));
}

/// The attendant that takes a backup before anything could change what it covers; `with` says what that is.
#[must_use]
pub fn attendant(resource: ResourceId, with: Resource) -> Attendant {
    Attendant {
        resource,
        kind: StepKind::BACKUP,
        action: Action::Take,
        with,
        label: Label::Reversible,
        turn: Turn::First,
        disturbs: Vec::new(),
        lone: false,
    }
}

/// The attendant that puts a backup back while nobody runs on what it covers; `with` says which.
#[must_use]
pub fn restoring(resource: ResourceId, with: Resource) -> Attendant {
    let disturbs = vec![Thing::Turn(resource.app.to_string())];
    Attendant {
        resource,
        kind: StepKind::BACKUP,
        action: Action::Restore,
        with,
        label: Label::Compensable,
        turn: Turn::Quiet,
        disturbs,
        lone: false,
    }
}
