//! Every host that there was on the way, and what must hold at every moment of it.

use std::sync::Arc;

use super::MemoryHost;
use super::fault::Primitive;
use super::services::Running;
use super::tree::Tree;
use super::world::World;

/// Sees the host after each writing primitive.
pub(super) type Guard = dyn Fn(&Instant<'_>) + Send + Sync;
/// Says of which primitives the host only says that they are done.
pub(super) type Lie = dyn Fn(&Primitive) -> bool + Send + Sync;

/// A host as it was just before a primitive: what a caller leaves that dies there.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The primitive.
    pub primitive: Primitive,
    /// Which one it is, counted as [`MemoryHost::primitives`] does.
    pub number: u64,
    world: Box<World>,
}

impl Recorded {
    /// The host, with what was unsynced then.
    #[must_use]
    pub fn host(&self) -> MemoryHost {
        MemoryHost::of((*self.world).clone())
    }

    /// Whether systemd runs a service of which the administrator wrote the definition.
    #[must_use]
    pub fn has_services(&self) -> bool {
        self.world.has_services()
    }

    /// Whether one of them runs, or would be started again, with another definition than is on the disk.
    #[must_use]
    pub fn has_outdated_services(&self) -> bool {
        self.world.has_outdated_services()
    }

    /// Whether the primitive can be cut off inside so that it is neither done nor not done.
    #[must_use]
    pub fn is_divisible(&self) -> bool {
        let divisible = [
            "write_file",
            "clone_file",
            "append",
            "write_at",
            "allocate",
            "sync_tree",
            "restart",
        ];
        divisible.contains(&self.primitive.name)
    }
}

/// A moment right after a primitive.
pub struct Instant<'a> {
    world: &'a World,
    /// What was done, or failed.
    pub primitive: &'a Primitive,
}

impl<'a> Instant<'a> {
    pub(super) fn new(world: &'a World, primitive: &'a Primitive) -> Self {
        Self { world, primitive }
    }

    /// The file system as programs see it.
    #[must_use]
    pub fn now(&self) -> &'a Tree {
        &self.world.disk.now
    }

    /// What is certain to survive a power cut.
    #[must_use]
    pub fn durable(&self) -> &'a Tree {
        &self.world.disk.durable
    }

    /// What runs.
    pub fn running(&self) -> impl Iterator<Item = &'a Running> {
        let services = self.world.services.values();
        services.filter_map(|service| service.running.as_ref())
    }
}

impl World {
    /// A copy that isn't recorded.
    pub(super) fn image(&mut self) -> Self {
        let recorded = self.recorded.take();
        let image = self.clone();
        self.recorded = recorded;
        image
    }

    pub(super) fn record(&mut self, primitive: &Primitive) {
        if self.recorded.is_none() {
            return;
        }
        let trace = std::mem::take(&mut self.trace);
        let world = Box::new(self.image());
        self.trace = trace;
        let number = self.primitives + 1;
        if let Some(recorded) = &mut self.recorded {
            recorded.push(Recorded {
                primitive: primitive.clone(),
                number,
                world,
            });
        }
    }
}

impl MemoryHost {
    /// Records the host before each primitive from now on.
    pub fn record(&self) {
        self.world().recorded = Some(Vec::new());
    }

    /// What was recorded; ends it.
    #[must_use]
    pub fn take_recorded(&self) -> Vec<Recorded> {
        self.world().recorded.take().unwrap_or_default()
    }

    /// Shows the whole host after each writing primitive, failed ones too.
    pub fn guard(&self, look: impl Fn(&Instant<'_>) + Send + Sync + 'static) {
        self.world().guard = Some(Arc::new(look));
    }

    /// Has the host only say of some primitives that they are done: a bug for testing tests.
    pub fn lie(&self, about: impl Fn(&Primitive) -> bool + Send + Sync + 'static) {
        self.world().lie = Some(Arc::new(about));
    }
}
