//! All kinds, one line each.

use crate::model::ResourceKind;

use super::backup::Backups;
use super::kind::Kind;
use super::link::Link;
use super::restart::Service;
use super::run::Task;
use super::sync::{Directory, File, Release};

/// Every kind that this program knows.
#[must_use]
pub fn registry() -> &'static [&'static dyn Kind] {
    &[
        &Release, &File, &Directory, &Link, &Task, &Backups, &Service,
    ]
}

/// The kind of a resource; none when this program doesn't know it.
#[must_use]
pub fn kind_of(resource: &ResourceKind) -> Option<&'static dyn Kind> {
    registry()
        .iter()
        .copied()
        .find(|kind| kind.resource() == *resource)
}
