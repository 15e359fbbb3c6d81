//! A tree as data: sorted entries with their digests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
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
        let mut text = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for (path, entry) in &self.entries {
            text(path.as_bytes());
            match entry {
                ManifestEntry::Directory { mode } => {
                    text(b"directory");
                    text(&mode.to_le_bytes());
                }
                ManifestEntry::File { mode, size, digest } => {
                    text(if digest.is_sealed() {
                        b"sealed"
                    } else {
                        b"file"
                    });
                    text(&mode.to_le_bytes());
                    text(&size.to_le_bytes());
                    text(digest.bytes());
                }
                ManifestEntry::Link { target } => {
                    text(b"link");
                    text(&target.0);
                }
            }
        }
        Digest::Plain(*hasher.finalize().as_bytes())
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
