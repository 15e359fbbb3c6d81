//! Content digests, plain and sealed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names content by what it is.
///
/// A *plain* digest is blake3 of the bytes. A *sealed* one is blake3 keyed with a key that never
/// leaves its host: bytes that hold a secret are only ever known by it, because the plain digest
/// of a short secret can be guessed. Two sealed digests agree only when one host made both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Digest {
    /// blake3 of the bytes; 64 hexadecimal digits as text.
    Plain([u8; 32]),
    /// blake3 of the bytes under the host's key; `sealed:` and 64 digits as text.
    Sealed([u8; 32]),
}

/// Says that a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest: 64 hexadecimal digits are expected")]
pub struct InvalidDigest {
    text: String,
}

impl Digest {
    /// The plain digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::Plain(*blake3::hash(bytes).as_bytes())
    }

    /// The sealed digest of some bytes under a host's key.
    #[must_use]
    pub fn sealed(key: &[u8; 32], bytes: &[u8]) -> Self {
        Self::Sealed(*blake3::keyed_hash(key, bytes).as_bytes())
    }

    /// Whether the bytes hold a secret.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    /// The first 12 hexadecimal digits, as release and task names carry them.
    #[must_use]
    pub fn short(&self) -> String {
        let (Self::Plain(bytes) | Self::Sealed(bytes)) = self;
        hex(&bytes[..6])
    }

    /// The 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        let (Self::Plain(bytes) | Self::Sealed(bytes)) = self;
        bytes
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(bytes) => formatter.write_str(&hex(bytes)),
            Self::Sealed(bytes) => write!(formatter, "sealed:{}", hex(bytes)),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (sealed, digits) = match text.strip_prefix("sealed:") {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let hash = blake3::Hash::from_hex(digits).map_err(|_| InvalidDigest {
            text: text.to_owned(),
        })?;
        Ok(if sealed {
            Self::Sealed(*hash.as_bytes())
        } else {
            Self::Plain(*hash.as_bytes())
        })
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}
