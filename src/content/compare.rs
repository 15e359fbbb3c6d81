//! What differs between a tree as it should be and a tree as it was found.

use super::manifest::{EntryPath, Manifest, ManifestEntry, PathChangeKind};
use super::patterns::Patterns;

/// One entry that differs: where, how, and in words.
pub type EntryChange = (EntryPath, PathChangeKind, String);

impl Manifest {
    /// Compares this tree, as it should be, with one as it was found. An extra path that the
    /// patterns cover is no difference. Sorted by path.
    #[must_use]
    pub fn compare(&self, found: &Self, ignore: &Patterns) -> Vec<EntryChange> {
        let mut changes = Vec::new();
        for (path, wanted) in &self.entries {
            match found.entries.get(path) {
                None => changes.push((path.clone(), PathChangeKind::Missing, word(wanted))),
                Some(found) => {
                    if let Some(detail) = difference(wanted, found) {
                        changes.push((path.clone(), PathChangeKind::Modified, detail));
                    }
                }
            }
        }
        for (path, entry) in &found.entries {
            let is_directory = matches!(entry, ManifestEntry::Directory { .. });
            if !self.entries.contains_key(path) && !ignore.cover(path, is_directory) {
                changes.push((path.clone(), PathChangeKind::Extra, word(entry)));
            }
        }
        changes.sort();
        changes
    }
}

fn word(entry: &ManifestEntry) -> String {
    match entry {
        ManifestEntry::Directory { .. } => "directory",
        ManifestEntry::File { .. } => "file",
        ManifestEntry::Link { .. } => "link",
    }
    .to_owned()
}

/// How an entry differs; a digest is never told, for it means nothing to a person and could be of a secret.
fn difference(wanted: &ManifestEntry, found: &ManifestEntry) -> Option<String> {
    let mut words = Vec::new();
    match (wanted, found) {
        (ManifestEntry::Directory { mode }, ManifestEntry::Directory { mode: found }) => {
            words.extend(modes(*mode, *found));
        }
        (
            ManifestEntry::File { mode, size, digest },
            ManifestEntry::File {
                mode: found_mode,
                size: found_size,
                digest: found_digest,
            },
        ) => {
            if size != found_size || digest != found_digest {
                words.push("content".to_owned());
            }
            words.extend(modes(*mode, *found_mode));
        }
        (ManifestEntry::Link { target }, ManifestEntry::Link { target: found }) => {
            if target != found {
                words.push(format!("link to {found}, expected {target}"));
            }
        }
        _ => words.push(format!("{}, expected {}", word(found), word(wanted))),
    }
    (!words.is_empty()).then(|| words.join(", "))
}

pub(super) fn modes(wanted: u32, found: u32) -> Option<String> {
    (wanted != found).then(|| format!("mode {found:04o}, expected {wanted:04o}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::LinkTarget;
    use crate::model::Digest;

    fn tree(entries: &[(&str, ManifestEntry)]) -> Manifest {
        Manifest {
            entries: entries
                .iter()
                .map(|(path, entry)| (EntryPath::new(*path).unwrap(), entry.clone()))
                .collect(),
        }
    }

    fn file(content: &str, mode: u32) -> ManifestEntry {
        ManifestEntry::File {
            mode,
            size: content.len() as u64,
            digest: Digest::of(content.as_bytes()),
        }
    }

    fn link(target: &str) -> ManifestEntry {
        ManifestEntry::Link {
            target: LinkTarget(target.into()),
        }
    }

    #[test]
    fn every_kind_of_difference_is_told_once_and_sorted() {
        let wanted = tree(&[
            ("a", ManifestEntry::Directory { mode: 0o755 }),
            ("a/changed", file("one", 0o644)),
            ("a/gone", file("x", 0o644)),
            ("l", link("a")),
            ("same", file("x", 0o644)),
            ("type", file("x", 0o644)),
        ]);
        let found = tree(&[
            ("a", ManifestEntry::Directory { mode: 0o700 }),
            ("a/changed", file("two", 0o600)),
            ("a/x.pyc", file("x", 0o644)),
            ("l", link("b")),
            ("more", link("b")),
            ("same", file("x", 0o644)),
            ("type", ManifestEntry::Directory { mode: 0o755 }),
        ]);
        let ignore = Patterns::new(["*.pyc"]).unwrap();
        let told: String = wanted
            .compare(&found, &ignore)
            .iter()
            .map(|(path, kind, detail)| format!("{kind:?} {path}: {detail}\n"))
            .collect();
        insta::assert_snapshot!(told, @r"
        Modified a: mode 0700, expected 0755
        Modified a/changed: content, mode 0600, expected 0644
        Missing a/gone: file
        Modified l: link to b, expected a
        Extra more: link
        Modified type: directory, expected file
        ");
        assert!(wanted.compare(&wanted, &ignore).is_empty());
    }
}
