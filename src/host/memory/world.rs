//! Everything that a host in memory is, and the gate that every primitive goes through.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::host::listening::Listener;
use crate::host::port::{Account, Command, CommandOutput, HostError, HostErrorKind, Space, Unit};
use crate::model::Moment;

use super::disk::Disk;
use super::fault::{Extent, Fault, Primitive};
use super::probe::{OnHttp, OnTcp, nobody_answers, nothing_listens};
use super::recording::{Guard, Instant, Lie, Recorded};
use super::services::{Service, default_start};
use super::tree::Tree;
use super::view::View;

/// Decides whether a service starts; gets the tree, the unit and its definition as the manager knows it.
pub(super) type OnStart = dyn Fn(&Tree, &Unit, &str) -> Result<(), String> + Send + Sync;
/// Does what a command does.
pub(super) type OnCommand = dyn Fn(&Command, &mut View<'_>) -> CommandOutput + Send + Sync;
/// Sees the tree after each writing primitive.
pub(super) type Watch = dyn Fn(&Tree, &Primitive) + Send + Sync;

/// A host's whole state.
#[derive(Clone)]
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) services: BTreeMap<Unit, Service>,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) groups: BTreeSet<String>,
    /// Sockets of programs that nobody manages here, by their ports.
    pub(super) listeners: BTreeMap<u16, Vec<Listener>>,
    /// Microseconds since boot; each call adds a thousand.
    pub(super) clock: u64,
    /// Microseconds since 1970 at boot.
    pub(super) booted_at: u64,
    /// By how many microseconds the clock for people is wrong.
    pub(super) wrong_by: i64,
    pub(super) boots: u32,
    pub(super) next_process: u32,
    pub(super) primitives: u64,
    pub(super) fault: Option<(u64, Fault)>,
    pub(super) crashed: bool,
    pub(super) trace: Vec<Primitive>,
    /// The most bytes and inodes that the disk may hold.
    pub(super) limit: Option<Space>,
    pub(super) read_only: bool,
    /// Whether a start says that all is well before the service fails.
    pub(super) simple_starts: bool,
    pub(super) on_start: Arc<OnStart>,
    pub(super) on_command: Arc<OnCommand>,
    pub(super) on_http: Arc<OnHttp>,
    pub(super) on_tcp: Arc<OnTcp>,
    pub(super) watch: Option<Arc<Watch>>,
    pub(super) guard: Option<Arc<Guard>>,
    pub(super) lie: Option<Arc<Lie>>,
    /// What was recorded, while it is.
    pub(super) recorded: Option<Vec<Recorded>>,
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("World")
            .field("primitives", &self.primitives)
            .field("crashed", &self.crashed)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            disk: Disk::new(),
            services: BTreeMap::new(),
            accounts: BTreeMap::new(),
            groups: BTreeSet::new(),
            listeners: BTreeMap::new(),
            clock: 10_000_000,
            booted_at: 1_700_000_000_000_000,
            wrong_by: 0,
            boots: 1,
            next_process: 1000,
            primitives: 0,
            fault: None,
            crashed: false,
            trace: Vec::new(),
            limit: None,
            read_only: false,
            simple_starts: false,
            on_start: Arc::new(default_start),
            on_command: Arc::new(|_, _| CommandOutput {
                status: Some(0),
                output: String::new(),
                timed_out: false,
            }),
            on_http: Arc::new(nobody_answers),
            on_tcp: Arc::new(nothing_listens),
            watch: None,
            guard: None,
            lie: None,
            recorded: None,
        };
        world.furnish();
        world
    }

    /// Microseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        (self.booted_at + self.clock).saturating_add_signed(self.wrong_by)
    }

    /// The moment of the monotonic clock.
    pub(super) fn moment(&self) -> Moment {
        Moment {
            boot: format!("00000000-0000-4000-8000-{:012}", self.boots),
            monotonic: self.clock,
        }
    }

    /// Lets time pass and refuses a caller that is dead. Every call begins with it.
    pub(super) fn enter(&mut self) -> Result<(), HostErrorKind> {
        self.clock += 1000;
        if self.crashed {
            return Err(crashed());
        }
        Ok(())
    }

    /// A writing primitive: counted, traced, failed where a fault is armed, and shown to the watcher.
    pub(super) fn primitive<T: Default>(
        &mut self,
        primitive: Primitive,
        act: impl FnOnce(&mut Self, Extent) -> Result<T, HostErrorKind>,
    ) -> Result<T, HostError> {
        let refuse = |kind| {
            let path = match &primitive.to {
                Some(to) => {
                    PathBuf::from(format!("{} -> {}", primitive.path.display(), to.display()))
                }
                None => primitive.path.clone(),
            };
            HostError::new(primitive.name.replace('_', " "), &path, kind)
        };
        self.enter().map_err(refuse)?;
        self.record(&primitive);
        self.primitives += 1;
        self.trace.push(primitive.clone());
        let fault = match &self.fault {
            Some((at, fault)) if *at == self.primitives => Some(fault.clone()),
            _ => None,
        };
        let extent = match fault {
            Some(Fault::Error(kind)) => return Err(refuse(kind)),
            Some(Fault::CrashBefore) => {
                self.crashed = true;
                return Err(refuse(crashed()));
            }
            Some(Fault::CrashMiddle) => Extent::Half,
            Some(Fault::ServicesDie) => {
                self.die();
                Extent::Whole
            }
            Some(Fault::CrashAfter) | None => Extent::Whole,
        };
        let lied = self.lie.as_ref().is_some_and(|lie| lie(&primitive));
        let done = if lied {
            Ok(T::default())
        } else {
            act(self, extent)
        };
        if let Some(watch) = self.watch.clone() {
            watch(&self.disk.now, &primitive);
        }
        if let Some(guard) = self.guard.clone() {
            guard(&Instant::new(self, &primitive));
        }
        if fault.is_some_and(|fault| fault != Fault::ServicesDie) {
            self.crashed = true;
            return Err(refuse(crashed()));
        }
        done.map_err(refuse)
    }
}

fn crashed() -> HostErrorKind {
    HostErrorKind::other("crashed")
}
