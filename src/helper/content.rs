//! Content on its way to this host and from it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use super::link::{Heard, Inbox};
use super::out::Out;
use super::protocol::{AppAddress, Message, PACK_CREDIT, PACK_FRAME, Refusal, RefusalKind, Reply};
use super::refuse::refusal;
use super::session::{Answer, Session, manifest};
use crate::content::{Content, Manifest, PackError, PackWriter, Store, receive_pack};
use crate::model::Digest;

impl Session<'_> {
    pub(super) fn known_manifests(
        &mut self,
        address: &AppAddress,
        trees: BTreeSet<String>,
    ) -> Answer {
        let app = self.app(address)?;
        let known = trees.into_iter().filter_map(|tree| {
            let host = self.host.as_read();
            let manifest = manifest(host, &app.places, &self.manifests, &tree)?;
            Some((tree, manifest))
        });
        Ok(Reply::Manifests(known.collect()))
    }

    pub(super) fn lacking(
        &mut self,
        address: &AppAddress,
        manifests: BTreeMap<String, Manifest>,
        mut digests: BTreeSet<Digest>,
    ) -> Answer {
        let app = self.app(address)?;
        self.know(&manifests)?;
        let store = Store::new(self.host, &app.places, self.registry.seal());
        for manifest in manifests.values() {
            digests.extend(manifest.files().map(|(_, digest, _)| digest));
            // The way back may need to know it when the controller is gone. Without a run there is none.
            if self.goes_on(&address.app) {
                store.keep_manifest(manifest)?;
            }
        }
        let lacking = store.lacking(&[], &digests)?;
        Ok(Reply::Lacking(lacking.into_iter().collect()))
    }

    /// Remembers what trees consist of, for this session.
    pub(super) fn know(&mut self, manifests: &BTreeMap<String, Manifest>) -> Result<(), Refusal> {
        for (tree, manifest) in manifests {
            if manifest.digest().to_string() != *tree {
                let words = format!("the tree {tree} isn't what its digest says");
                return Err(refusal(RefusalKind::Internal, words));
            }
            self.manifests.insert(tree.clone(), manifest.clone());
        }
        Ok(())
    }

    pub(super) fn pack(&mut self, id: u64, address: &AppAddress) -> Answer {
        let app = self.locked(&address.app).map(|held| held.app.clone());
        // What arrives late would make a root anew that has just gone.
        let app = app.and_then(|app| {
            if self.goes_on(&address.app) {
                return Ok(app);
            }
            let words = format!("no run of {} takes content here", address.app);
            Err(refusal(RefusalKind::NoSuchRun, words))
        });
        let mut incoming = Incoming {
            id,
            inbox: &mut self.inbox,
            out: &self.out,
            bytes: Vec::new(),
            read: 0,
            taken: 0,
            told: 0,
            ended: None,
        };
        let received = app.and_then(|app| {
            let seal = self.registry.seal();
            Ok(receive_pack(self.host, &app.places, seal, &mut incoming)?)
        });
        // Whatever became of it, what comes after it is to be understood.
        let drained = io::copy(&mut incoming, &mut io::sink());
        received?;
        drained.map_err(|error| refusal(RefusalKind::Internal, error.to_string()))?;
        Ok(Reply::Done)
    }

    pub(super) fn supply(
        &mut self,
        id: u64,
        address: &AppAddress,
        digests: &BTreeSet<Digest>,
    ) -> Answer {
        let app = self.app(address)?;
        let store = Store::new(self.host, &app.places, self.registry.seal());
        let outgoing = Outgoing {
            id,
            inbox: &mut self.inbox,
            out: &self.out,
            buffer: Vec::new(),
            sent: 0,
            taken: 0,
        };
        let mut pack = PackWriter::new(outgoing)?;
        let mut supplied = BTreeSet::new();
        // What holds a secret stays on its host: no other could know it by its digest.
        for digest in digests.iter().filter(|digest| !digest.is_sealed()) {
            if let Some(bytes) = store.bytes(&digest.to_string())? {
                pack.add(digest, bytes.len() as u64, &mut &bytes[..])?;
                supplied.insert(*digest);
            }
        }
        let mut outgoing = pack.finish()?;
        outgoing.flush().map_err(PackError::Stream)?;
        let bytes = outgoing.sent;
        let sent = self.out.send(&Message::PackEnd { id, bytes });
        sent.map_err(|error| refusal(RefusalKind::Internal, error.to_string()))?;
        Ok(Reply::Supplied(supplied))
    }
}

/// A pack as it arrives. Acknowledges what was read, so that a slow disk slows the sender.
struct Incoming<'s> {
    id: u64,
    inbox: &'s mut Inbox,
    out: &'s Out,
    bytes: Vec<u8>,
    /// How much of `bytes` was read.
    read: usize,
    /// Bytes of frames that were read whole.
    taken: u64,
    /// What was acknowledged last.
    told: u64,
    ended: Option<u64>,
}

impl Incoming<'_> {
    fn next(&mut self) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "the pack was cut off");
        match self.inbox.next_of_pack() {
            Heard::Bytes(bytes) => {
                (self.bytes, self.read) = (bytes, 0);
                Ok(())
            }
            Heard::PackEnd { id, bytes } if id == self.id => {
                self.ended = Some(bytes);
                if bytes == self.taken {
                    Ok(())
                } else {
                    Err(gone())
                }
            }
            Heard::Lost(_) => {
                self.ended = Some(self.taken);
                Err(gone())
            }
            // A word of a pack that is over.
            _ => self.next(),
        }
    }

    fn acknowledge(&mut self) -> io::Result<()> {
        self.taken += self.bytes.len() as u64;
        self.bytes.clear();
        self.read = 0;
        if self.taken - self.told >= PACK_CREDIT / 4 {
            self.told = self.taken;
            self.inbox.take(self.taken);
            let credit = Message::Credit {
                id: self.id,
                taken: self.taken,
            };
            self.out.send(&credit).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.bytes.len() {
            if self.ended.is_some() {
                return Ok(0);
            }
            if !self.bytes.is_empty() {
                self.acknowledge()?;
            }
            self.next()?;
        }
        let count = buffer.len().min(self.bytes.len() - self.read);
        buffer[..count].copy_from_slice(&self.bytes[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

/// A pack as it leaves, never further ahead than its receiver allows.
struct Outgoing<'s> {
    id: u64,
    inbox: &'s mut Inbox,
    out: &'s Out,
    buffer: Vec<u8>,
    sent: u64,
    taken: u64,
}

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PACK_FRAME - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == PACK_FRAME {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let gives_way = || io::Error::other("it gives way to going back");
        if self.inbox.is_pressed() {
            return Err(gives_way());
        }
        let after = self.sent + self.buffer.len() as u64;
        while after > self.taken.saturating_add(PACK_CREDIT) {
            match self.inbox.next_of_pack() {
                Heard::Credit { id, taken } if id == self.id => self.taken = taken,
                Heard::Pressed => return Err(gives_way()),
                Heard::Lost(loss) => return Err(io::Error::other(loss.reason)),
                _ => {}
            }
        }
        self.out.bytes(&self.buffer).map_err(io::Error::other)?;
        self.sent += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
