//! The third phase: content goes to every host that lacks some, in parallel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc};

use super::ask::AskError;
use super::conduct::{Conduct, Interruption};
use super::connection::Connection;
use super::decide::End;
use super::events::Events;
use super::pack::{PackParts, made_by};
use super::run::{ContentSource, Fleet, Run};
use crate::helper::protocol::AppAddress;
use crate::model::{Digest, EventKind, HostName, Member};

/// Packs that are made at the same time: each compresses, which keeps a core busy.
const AT_ONCE: usize = 8;

impl Conduct {
    /// Brings what hosts lack. A host that can't take it fails; nothing that runs has changed.
    pub(super) async fn transfer(&mut self) -> Result<(), End> {
        let members = self.taking_part();
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let passing = Arc::new(Mutex::new(()));
        let set = self.on_each(&members, |member, connection| {
            let transfer = Transfer {
                run: self.run.clone(),
                member: member.clone(),
                connection,
                fleet: self.fleet.clone(),
                content: self.content.clone(),
                events: self.events.clone(),
                passing: passing.clone(),
            };
            let turns = turns.clone();
            async move {
                // The semaphore is never closed, and without a turn it would only be slower.
                let _turn = turns.acquire().await.ok();
                transfer.bring().await
            }
        });
        match self.all_well(set).await {
            Ok(_) => Ok(()),
            Err(interruption) => match self.weigh(interruption, &BTreeSet::new()).await {
                None => Ok(()),
                Some(end) => Err(end),
            },
        }
    }
}

/// What one member lacks, on its way.
struct Transfer {
    run: Arc<Run>,
    member: Member,
    connection: Connection,
    fleet: Fleet,
    content: Arc<dyn ContentSource>,
    events: Events,
    /// Held while content goes from one host to another. A helper does one thing after the other, so hosts that supply each
    /// other at the same time could wait for each other for good.
    passing: Arc<Mutex<()>>,
}

impl Transfer {
    async fn bring(self) -> Result<(), AskError> {
        let part = &self.run.parts[&self.member];
        if part.manifests.is_empty() && part.digests.is_empty() {
            return Ok(());
        }
        let lacking = self.lacking().await?;
        if lacking.is_empty() {
            return Ok(());
        }
        let (here, elsewhere) = split(&lacking, &part.elsewhere);
        let address = &part.address;
        for (host, digests) in elsewhere {
            self.bring_from_host(&host, address, digests).await?;
        }
        if !here.is_empty() {
            self.bring_from_here(address, here).await?;
        }
        if part.elsewhere.is_empty() {
            return Ok(());
        }
        // Another host may have lost meanwhile what it had when the plan was made.
        match self.lacking().await?.first() {
            None => Ok(()),
            Some(digest) => Err(AskError::Content {
                host: self.member.host.clone(),
                reason: format!(
                    "{digest} was on another host when the plan was made, and is no more"
                ),
            }),
        }
    }

    async fn lacking(&self) -> Result<BTreeSet<Digest>, AskError> {
        let part = &self.run.parts[&self.member];
        let (manifests, digests) = (part.manifests.clone(), part.digests.clone());
        let address = part.address.clone();
        self.connection.lacking(address, manifests, digests).await
    }

    async fn bring_from_here(
        &self,
        address: &AppAddress,
        digests: BTreeSet<Digest>,
    ) -> Result<(), AskError> {
        let bytes = self.content.bytes(&self.member, &digests);
        let (content, member) = (self.content.clone(), self.member.clone());
        let wanted = digests.clone();
        let parts = made_by(move |out| content.pack(&member, &wanted, out));
        self.send(address, parts, &digests, bytes).await
    }

    async fn bring_from_host(
        &self,
        host: &HostName,
        address: &AppAddress,
        digests: BTreeSet<Digest>,
    ) -> Result<(), AskError> {
        let Some(other) = self.fleet.get(host) else {
            return Err(AskError::Content {
                host: self.member.host.clone(),
                reason: format!("{host} was to supply it and isn't connected"),
            });
        };
        let source = AppAddress {
            host: host.clone(),
            ..address.clone()
        };
        let _alone = self.passing.lock().await;
        let (sender, parts) = mpsc::channel(4);
        let fetch = other.fetch_pack(source, digests.clone(), sender);
        let send = self.send(address, parts, &digests, 0);
        let (fetched, sent) = tokio::join!(fetch, send);
        // Where the one fails the other does too; what was fetched is the cause.
        fetched?;
        sent
    }

    async fn send(
        &self,
        address: &AppAddress,
        parts: PackParts,
        digests: &BTreeSet<Digest>,
        bytes: u64,
    ) -> Result<(), AskError> {
        let tell = |sent, done| {
            self.events.emit(EventKind::Transfer {
                host: self.member.host.clone(),
                app: self.member.app.clone(),
                files: digests.len() as u64,
                bytes,
                sent,
                done,
            });
        };
        let mut total = 0;
        tell(0, false);
        let progress = |sent| {
            total = sent;
            tell(sent, false);
        };
        let address = address.clone();
        self.connection.send_pack(address, parts, progress).await?;
        tell(total, true);
        Ok(())
    }
}

/// What comes from here, and what from which host.
fn split(
    lacking: &BTreeSet<Digest>,
    elsewhere: &BTreeMap<Digest, HostName>,
) -> (BTreeSet<Digest>, BTreeMap<HostName, BTreeSet<Digest>>) {
    let mut here = BTreeSet::new();
    let mut there: BTreeMap<HostName, BTreeSet<Digest>> = BTreeMap::new();
    for digest in lacking {
        match elsewhere.get(digest) {
            Some(host) => drop(there.entry(host.clone()).or_default().insert(*digest)),
            None => drop(here.insert(*digest)),
        }
    }
    (here, there)
}

impl Interruption {
    /// The hosts that failed.
    pub(super) fn hosts(&self) -> BTreeSet<HostName> {
        match self {
            Self::Failed(failures) => failures.iter().map(|it| it.host.clone()).collect(),
            Self::Cancelled(_) => BTreeSet::new(),
        }
    }
}
