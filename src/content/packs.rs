//! The packs of an app on its host: receiving one, and finding content in them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::own::{make_own, own_owner};
use super::pack::{PackError, PackReader, check_pack};
use crate::host::{HostError, HostErrorKind, ReadHost, WriteHost};
use crate::model::{Digest, Places};

const INDEX_FORMAT: &str = "rosey-pack-index 1";

/// What the names of packs begin with while they are received.
pub(super) const INCOMING: &str = ".incoming-";

/// What a pack holds, as it lies beside it.
#[derive(Serialize, Deserialize)]
struct Index {
    format: String,
    holds: Vec<(Digest, u64)>,
}

/// Names a pack by what it holds: the same content gives the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub(super) String);

impl PackId {
    fn of(holds: &BTreeMap<Digest, u64>) -> Self {
        let list: String = holds.keys().map(|digest| format!("{digest}\n")).collect();
        Self(Digest::of(list.as_bytes()).to_string()[..24].to_owned())
    }

    pub(super) fn pack(&self, places: &Places) -> PathBuf {
        places.objects().join(format!("{}.pack", self.0))
    }

    pub(super) fn index(&self, places: &Places) -> PathBuf {
        places.objects().join(format!("{}.index", self.0))
    }
}

/// What a received pack brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// The pack that holds them now; none when there were none.
    pub id: Option<PackId>,
    /// How many files.
    pub files: u64,
    /// Their bytes, before compression.
    pub bytes: u64,
}

/// Takes a pack from a stream, which ends with it. It is written under a name of its own, read
/// again and checked whole, made durable, and only then visible. The same pack twice is the same as once.
///
/// # Errors
/// When the stream is truncated, damaged or holds what its digests don't say, or can't be written;
/// then nothing of it can be found.
pub fn receive_pack(
    host: &dyn WriteHost,
    places: &Places,
    seal: &[u8; 32],
    input: &mut dyn Read,
) -> Result<Received, PackError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let objects = places.objects();
    make_own(host, places, &objects)?;
    let owner = own_owner(host.as_read())?;
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{INCOMING}{}-{number}", host.moment().monotonic);
    let pack = objects.join(&name);
    let index = objects.join(format!("{name}.index"));
    let mut receive = || {
        host.write_file(&pack, input, 0o600, &owner)?;
        let holds = check_pack(host.open(&pack)?, seal)?;
        let mut received = Received {
            id: None,
            files: holds.len() as u64,
            bytes: holds.values().sum(),
        };
        if holds.is_empty() {
            host.remove_file(&pack)?;
            return Ok(received);
        }
        let id = PackId::of(&holds);
        received.id = Some(id.clone());
        let text = Index {
            format: INDEX_FORMAT.to_owned(),
            holds: holds.into_iter().collect(),
        };
        let text = serde_json::to_vec(&text).map_err(|error| other(&index, &error))?;
        host.write_file(&index, &mut &text[..], 0o600, &owner)?;
        host.sync(&pack)?;
        host.sync(&index)?;
        // A pack is one that has its name; an index without its pack is nothing.
        host.replace(&index, &id.index(places))?;
        host.replace(&pack, &id.pack(places))?;
        host.sync(&objects)?;
        Ok(received)
    };
    let result = receive();
    if result.is_err() {
        // What can't be removed now goes with the next collection of garbage.
        let _ = host.remove_file(&pack);
        let _ = host.remove_file(&index);
    }
    result
}

fn other(path: &std::path::Path, error: &serde_json::Error) -> HostError {
    HostError {
        doing: "write".to_owned(),
        path: path.display().to_string(),
        kind: HostErrorKind::Other(error.to_string()),
    }
}

/// The packs that an app has on a host.
#[derive(Debug, Clone, Default)]
pub struct Packs {
    /// What each holds, with sizes.
    pub(super) holds: BTreeMap<PackId, BTreeMap<Digest, u64>>,
}

impl Packs {
    /// Reads the indexes. A pack whose index is damaged is read itself; a damaged pack counts for nothing.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn open(host: &dyn ReadHost, places: &Places, seal: &[u8; 32]) -> Result<Self, HostError> {
        let mut packs = Self::default();
        for name in names(host, places)? {
            let Some(id) = name.strip_suffix(".pack") else {
                continue;
            };
            if name.starts_with(INCOMING) {
                continue;
            }
            let id = PackId(id.to_owned());
            let index = host.read(&id.index(places)).ok();
            let index = index.and_then(|text| serde_json::from_slice::<Index>(&text).ok());
            let holds = match index {
                Some(index) if index.format == INDEX_FORMAT => index.holds.into_iter().collect(),
                _ => check_pack(host.open(&id.pack(places))?, seal).unwrap_or_default(),
            };
            packs.holds.insert(id, holds);
        }
        Ok(packs)
    }

    /// A pack that holds some content.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<&PackId> {
        self.find_outside(digest, &BTreeSet::new())
    }

    /// A pack that holds some content and is none of these.
    pub(super) fn find_outside(
        &self,
        digest: &Digest,
        without: &BTreeSet<PackId>,
    ) -> Option<&PackId> {
        self.holds
            .iter()
            .find(|(id, holds)| holds.contains_key(digest) && !without.contains(id))
            .map(|(id, _)| id)
    }

    /// The bytes of some content from whichever pack has it undamaged; none when no pack has.
    ///
    /// # Errors
    /// When a pack can't be opened.
    pub fn read(
        &self,
        host: &dyn ReadHost,
        places: &Places,
        seal: &[u8; 32],
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, HostError> {
        let mut damaged = BTreeSet::new();
        while let Some(id) = self.find_outside(digest, &damaged) {
            let file = host.open(&id.pack(places))?;
            if let Ok(Some(bytes)) = read_one(file, seal, digest) {
                return Ok(Some(bytes));
            }
            damaged.insert(id.clone());
        }
        Ok(None)
    }
}

fn read_one(
    input: impl Read,
    seal: &[u8; 32],
    wanted: &Digest,
) -> Result<Option<Vec<u8>>, PackError> {
    let mut reader = PackReader::new(input, seal)?;
    let mut found = None;
    while reader.next(|digest, _, content| {
        if digest == wanted {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(PackError::Stream)?;
            found = Some(bytes);
        }
        Ok::<(), PackError>(())
    })? {
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}

/// The names in the directory of packs; none when it isn't there.
pub(super) fn names(host: &dyn ReadHost, places: &Places) -> Result<Vec<String>, HostError> {
    let names = match host.list(&places.objects()) {
        Ok(names) => names,
        Err(error) if error.kind == HostErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}
