//! A Linux host in memory, for testing what rosey promises with every fault at every primitive.
//!
//! It keeps what programs see apart from what survives a power cut ([`MemoryHost::crash`]), can let
//! the calling process die at the k-th primitive ([`MemoryHost::fault_at`], [`MemoryHost::revive`]),
//! runs services by a simple model of systemd, and has no threads, clock or randomness of its own:
//! the same calls give the same host. [`MemoryHost::fork`] copies it whole, so that a test prepares
//! once and then tries every fault.
//!
//! Start reading at `tree.rs`, then `disk.rs`.

mod dice;
mod disk;
mod fault;
mod files;
mod listing;
mod probe;
mod read;
mod recording;
mod services;
mod setup;
mod snapshot;
#[cfg(test)]
mod tests;
mod tree;
mod view;
mod world;
mod write;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use fault::{Fault, Primitive};
pub use listing::Listing;
pub use probe::Served;
pub use recording::{Instant, Recorded};
pub use services::Running;
pub use snapshot::{ServiceSnapshot, Snapshot, SnapshotEntry};
pub use tree::Tree;
pub use view::View;

use world::World;

/// A host in memory. See the module.
#[derive(Debug)]
pub struct MemoryHost {
    world: Mutex<World>,
}

impl Clone for MemoryHost {
    fn clone(&self) -> Self {
        self.fork()
    }
}

impl Default for MemoryHost {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryHost {
    /// A Debian-like host with systemd: the usual directories, and the users root, rosey and nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::of(World::new())
    }

    /// A copy of the whole host, with what is unsynced, armed and running, that isn't recorded.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::of(self.world().image())
    }

    fn of(world: World) -> Self {
        Self {
            world: Mutex::new(world),
        }
    }

    /// The world, even after a test's hook has panicked while it was borrowed.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
