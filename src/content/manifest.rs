//! A tree as data: sorted entries with their digests.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::Digest;

/// A path inside a tree: bytes, relative, without `.` and `..`. Names that are no UTF-8 are
/// deployed as they are; as text, bytes outside of printable ASCII and `%` are written `%XX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// A path from its bytes. None where a component is empty, `.` or `..`, or has a zero byte.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        let sound = bytes
            .split(|byte| *byte == b'/')
            .all(|part| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0));
        sound.then_some(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a relative path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path as it is shown: letters of every script as they are, and what would disturb or isn't text
    /// by its bytes, as `%0A`.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                if disturbs(letter) {
                    let mut bytes = [0; 4];
                    for byte in letter.encode_utf8(&mut bytes).bytes() {
                        let _ = write!(shown, "%{byte:02X}");
                    }
                } else {
                    shown.push(letter);
                }
            }
            for byte in chunk.invalid() {
                let _ = write!(shown, "%{byte:02X}");
            }
        }
        shown
    }

    /// The path of this entry in a tree that stands at `root`.
    #[must_use]
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(self.as_path())
    }

    /// The directory that holds it; none at the top.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let end = self.0.iter().rposition(|byte| *byte == b'/')?;
        Some(Self(self.0[..end].to_vec()))
    }
}

/// Whether a letter would end the line or change how the rest of it is shown (Unicode, annex 9: what sets
/// the direction of text).
fn disturbs(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for EntryPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            match byte {
                b'%' => formatter.write_str("%25")?,
                0x20..=0x7e => write!(formatter, "{}", char::from(*byte))?,
                _ => write!(formatter, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for EntryPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            if *first == b'%' {
                let digits = rest
                    .get(..2)
                    .and_then(|pair| std::str::from_utf8(pair).ok());
                let byte = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
                bytes.push(byte.ok_or_else(|| serde::de::Error::custom("a broken %XX"))?);
                rest = &rest[2..];
            } else {
                bytes.push(*first);
            }
        }
        Self::new(bytes).ok_or_else(|| serde::de::Error::custom("a path that leaves its tree"))
    }
}

/// One entry of a tree. Who owns it is a matter of the whole tree, not of its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestEntry {
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// Bytes.
        size: u64,
        /// Of its content; sealed where that holds a secret.
        digest: Digest,
    },
    /// A symbolic link.
    Link {
        /// Where it points, as it is written; the same `%XX` form as entry paths.
        target: LinkTarget,
    },
}

/// Where a link points: any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget(pub Vec<u8>);

impl Serialize for LinkTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&EntryPath(self.0.clone()))
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match (
                first,
                rest.get(..2)
                    .and_then(|pair| std::str::from_utf8(pair).ok()),
            ) {
                (b'%', Some(pair)) => {
                    let byte = u8::from_str_radix(pair, 16).map_err(serde::de::Error::custom)?;
                    bytes.push(byte);
                    rest = &rest[2..];
                }
                _ => bytes.push(*first),
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for LinkTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&EntryPath(self.0.clone()), formatter)
    }
}

/// A whole tree, without its top directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// Every entry by its path. A parent stands before what it holds.
    pub entries: BTreeMap<EntryPath, ManifestEntry>,
}

impl Manifest {
    /// The digest of the whole tree: of every path, type, mode, content and target.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for (path, entry) in &self.entries {
            text(&mut hasher, path.as_bytes());
            describe(&mut hasher, entry);
        }
        Digest::Plain(*hasher.finalize().as_bytes())
    }

    /// The digest of what each directory holds, at any depth, by the directory's path. Two
    /// directories with the same digest need no further comparing, wherever they stand. The
    /// directory's own mode is part of its parent's digest, not of its own.
    #[must_use]
    pub fn directories(&self) -> BTreeMap<EntryPath, Digest> {
        let mut held: BTreeMap<EntryPath, blake3::Hasher> = BTreeMap::new();
        let mut done = BTreeMap::new();
        // From the last path to the first everything in a directory comes before the directory itself,
        // since a path that goes on sorts after the path that it goes on from.
        for (path, entry) in self.entries.iter().rev() {
            let own = matches!(entry, ManifestEntry::Directory { .. }).then(|| {
                let hasher = held.remove(path).unwrap_or_default();
                Digest::Plain(*hasher.finalize().as_bytes())
            });
            if let Some(parent) = path.parent() {
                let hasher = held.entry(parent).or_default();
                let name = path.as_bytes().rsplit(|byte| *byte == b'/').next();
                text(hasher, name.unwrap_or_default());
                describe(hasher, entry);
                if let Some(own) = &own {
                    text(hasher, own.bytes());
                }
            }
            if let Some(own) = own {
                done.insert(path.clone(), own);
            }
        }
        done
    }

    /// The paths of the files whose content is known by a sealed digest.
    #[must_use]
    pub fn sealed(&self) -> BTreeSet<EntryPath> {
        self.files()
            .filter(|(_, digest, _)| digest.is_sealed())
            .map(|(path, _, _)| path.clone())
            .collect()
    }

    /// The files: path, digest and bytes.
    pub fn files(&self) -> impl Iterator<Item = (&EntryPath, Digest, u64)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            ManifestEntry::File { digest, size, .. } => Some((path, *digest, *size)),
            _ => None,
        })
    }
}

/// Hashes a text with its length, so that no two lists of texts hash alike.
fn text(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn describe(hasher: &mut blake3::Hasher, entry: &ManifestEntry) {
    match entry {
        ManifestEntry::Directory { mode } => {
            text(hasher, b"directory");
            text(hasher, &mode.to_le_bytes());
        }
        ManifestEntry::File { mode, size, digest } => {
            let kind: &[u8] = if digest.is_sealed() {
                b"sealed"
            } else {
                b"file"
            };
            text(hasher, kind);
            text(hasher, &mode.to_le_bytes());
            text(hasher, &size.to_le_bytes());
            text(hasher, digest.bytes());
        }
        ManifestEntry::Link { target } => {
            text(hasher, b"link");
            text(hasher, &target.0);
        }
    }
}

/// How one path differs from what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathChangeKind {
    /// It is there and otherwise.
    Modified,
    /// It isn't there.
    Missing,
    /// It is there and should not be.
    Extra,
}

/// One path that differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathChange {
    /// The path as text, absolute.
    pub path: String,
    /// How it differs.
    pub change: PathChangeKind,
    /// What differs: `content`, `mode 0755, expected 0644`.
    pub detail: String,
    /// `user:group`, where it is there.
    pub owner: Option<String>,
    /// RFC 3339, where it is there.
    pub modified_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, ManifestEntry)]) -> Manifest {
        Manifest {
            entries: entries
                .iter()
                .map(|(path, entry)| (EntryPath::new(*path).unwrap(), entry.clone()))
                .collect(),
        }
    }

    fn file(content: &str) -> ManifestEntry {
        ManifestEntry::File {
            mode: 0o644,
            size: content.len() as u64,
            digest: Digest::of(content.as_bytes()),
        }
    }

    const DIRECTORY: ManifestEntry = ManifestEntry::Directory { mode: 0o755 };

    #[test]
    fn a_path_is_shown_as_it_is_written_unless_that_would_disturb() {
        let shown = |bytes: &[u8]| EntryPath::new(bytes).unwrap().shown();
        assert_eq!(shown("Ünï/100% 文.txt".as_bytes()), "Ünï/100% 文.txt");
        assert_eq!(shown(b"a\nb\x1b\xff"), "a%0Ab%1B%FF");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a%E2%80%AEb");
    }

    #[test]
    fn a_directory_digest_changes_with_anything_below_and_with_nothing_else() {
        // "a.txt" sorts between "a" and "a/…", which must not confuse the walk.
        let one = tree(&[
            ("a", DIRECTORY),
            ("a.txt", file("1")),
            ("a/b", DIRECTORY),
            ("a/b/c", file("1")),
            ("d", DIRECTORY),
            ("d/b", DIRECTORY),
            ("d/b/c", file("1")),
            ("e", DIRECTORY),
        ]);
        let mut other = one.clone();
        let changed = EntryPath::new("a/b/c").unwrap();
        other.entries.insert(changed, file("2"));
        let digest =
            |tree: &Manifest, path: &str| tree.directories()[&EntryPath::new(path).unwrap()];
        assert_ne!(digest(&one, "a"), digest(&other, "a"));
        assert_ne!(digest(&one, "a/b"), digest(&other, "a/b"));
        assert_eq!(digest(&one, "d"), digest(&other, "d"));
        assert_eq!(digest(&one, "a"), digest(&one, "d"));
        assert_ne!(digest(&one, "e"), digest(&one, "d"));
        assert_eq!(one.directories().len(), 5);
    }

    #[test]
    fn any_bytes_come_back_from_json() {
        let path = EntryPath::new(&b"a b\n%\xff/\xc3\xa4"[..]).unwrap();
        let target = LinkTarget(b"../\xfe\n%41".to_vec());
        let mut tree = Manifest::default();
        tree.entries.insert(path, ManifestEntry::Link { target });
        let json = serde_json::to_string(&tree).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), tree);
        for bad in [
            "\"../a\"",
            "\"a//b\"",
            "\"/a\"",
            "\"%2\"",
            "\"%zz\"",
            "\"%2e%2e/a\"",
            "\"\"",
        ] {
            assert!(serde_json::from_str::<EntryPath>(bad).is_err(), "{bad}");
        }
    }
}
