//! All kinds, one line each.

use crate::model::ResourceKind;

use super::attendant::Attending;
use super::backup::Backups;
use super::kind::Kind;
use super::link::Link;
use super::restart::Service;
use super::run::Task;
use super::sync::{Directory, File, Release};
use super::verify::GatesKind;

/// Every kind that this program knows.
#[must_use]
pub fn registry() -> &'static [&'static dyn Kind] {
    &[
        &Release,
        &File,
        &Directory,
        &Link,
        &Task,
        &Attending(Backups),
        &Service,
        &Attending(GatesKind),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_word_and_each_resource_has_one_kind() {
        let mut words = BTreeSet::new();
        let mut resources = BTreeSet::new();
        for kind in registry() {
            assert!(resources.insert(kind.resource()), "{}", kind.resource());
            for word in kind.words() {
                assert!(words.insert(word.word), "{}", word.word);
            }
        }
        let words: Vec<_> = words.into_iter().collect();
        assert_eq!(
            words,
            [
                "backup", "file", "render", "service", "shared", "task", "verify"
            ]
        );
    }
}
