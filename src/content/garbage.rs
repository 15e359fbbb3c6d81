//! Takes away content that no kept generation needs.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use super::kept::absent;
use super::own::{Removed, remove_tree};
use super::pack::{PackError, PackReader, PackWriter};
use super::packs::{INCOMING, PackId, Packs, names, receive_pack};
use super::store::Store;
use crate::host::{HostError, HostErrorKind};
use crate::model::{Digest, RunId};

impl Store<'_> {
    /// Removes manifests of other trees than these, packs of which neither these trees nor these
    /// digests need anything, and what receiving left behind. A pack of which something is needed
    /// stays whole, unless it also holds a secret that isn't.
    ///
    /// # Errors
    /// When something can't be removed; the rest stays for the next time.
    pub fn collect_garbage(
        &self,
        trees: &BTreeSet<Digest>,
        digests: &BTreeSet<Digest>,
    ) -> Result<Removed, HostError> {
        let mut removed = Removed::default();
        let mut needed = digests.clone();
        for tree in trees {
            if let Some(manifest) = self.manifest(tree)? {
                needed.extend(manifest.files().map(|(_, digest, _)| digest));
            }
        }
        let packs = Packs::open(self.host.as_read(), self.places, self.seal)?;
        let mut stay = BTreeSet::new();
        for (id, holds) in &packs.holds {
            let is_needed = |digest: &Digest| needed.contains(digest);
            if !holds.keys().any(is_needed) {
                continue;
            }
            let old_secret = |digest: &Digest| digest.is_sealed() && !is_needed(digest);
            let id = if holds.keys().any(old_secret) {
                match self.thin_out(id, &needed) {
                    // What stands before the damage may still be of use.
                    Err(PackError::Truncated | PackError::Damaged(_)) => id.clone(),
                    Err(PackError::Host(error)) => return Err(error),
                    Err(error) => return Err(self.not_written(&error)),
                    Ok(id) => id,
                }
            } else {
                id.clone()
            };
            stay.insert(format!("{}.pack", id.0));
            stay.insert(format!("{}.index", id.0));
        }
        let objects = self.places.objects();
        for name in names(self.host.as_read(), self.places)? {
            let ours = name.ends_with(".pack") || name.ends_with(".index");
            if (ours || name.starts_with(INCOMING)) && !stay.contains(&name) {
                removed += remove_tree(self.host, &objects.join(name))?;
            }
        }
        let manifests = self.places.manifests();
        let stay: BTreeSet<String> = trees.iter().map(|tree| format!("{tree}.json")).collect();
        let listed = match self.host.list(&manifests) {
            Ok(listed) => listed,
            Err(error) if absent(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        for name in listed {
            if !name.to_str().is_some_and(|name| stay.contains(name)) {
                removed += remove_tree(self.host, &manifests.join(name))?;
            }
        }
        if removed.count > 0 {
            for directory in [objects, manifests] {
                if self.host.entry(&directory)?.is_some() {
                    self.host.sync(&directory)?;
                }
            }
        }
        Ok(removed)
    }

    fn not_written(&self, error: &PackError) -> HostError {
        HostError {
            doing: "write anew a pack in".to_owned(),
            path: self.places.objects().display().to_string(),
            kind: HostErrorKind::Other(error.to_string()),
        }
    }

    /// Writes a pack anew with only what is needed of it, so that no secret outlives its generation.
    fn thin_out(&self, id: &PackId, needed: &BTreeSet<Digest>) -> Result<PackId, PackError> {
        let file = self.host.open(&id.pack(self.places))?;
        let (mut receiving, sending) = std::io::pipe().map_err(PackError::Stream)?;
        std::thread::scope(|scope| {
            let copying = scope.spawn(move || copy_some(file, self.seal, needed, sending));
            let received = receive_pack(self.host, self.places, self.seal, &mut receiving);
            // Else who writes would wait for ever for who reads no more.
            drop(receiving);
            let copied = copying
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let received = received?;
            copied?;
            Ok(received.id.unwrap_or_else(|| id.clone()))
        })
    }

    /// Removes what earlier runs left in staging. What a live process still uses stays until the
    /// next time.
    ///
    /// # Errors
    /// When something can't be removed.
    pub fn collect_staging(&self, present: Option<&RunId>) -> Result<Removed, HostError> {
        let mut removed = Removed::default();
        let directory = self.places.all_staging();
        let names = match self.host.list(&directory) {
            Ok(names) => names,
            Err(error) if absent(&error) => return Ok(removed),
            Err(error) => return Err(error),
        };
        for name in names {
            let at = directory.join(&name);
            let is_present = present.is_some_and(|run| name.to_str() == Some(&run.0));
            if !is_present && self.host.processes_in(&at)?.is_empty() {
                removed += remove_tree(self.host, &at)?;
            }
        }
        Ok(removed)
    }
}

/// Copies what is needed of one pack into another.
fn copy_some(
    from: impl Read,
    seal: &[u8; 32],
    needed: &BTreeSet<Digest>,
    to: impl Write,
) -> Result<(), PackError> {
    let mut reader = PackReader::new(from, seal)?;
    let mut writer = PackWriter::new(to)?;
    while reader.next(|digest, size, content| {
        if needed.contains(digest) {
            writer.add(digest, size, content)?;
        }
        Ok::<(), PackError>(())
    })? {}
    writer.finish()?;
    Ok(())
}
