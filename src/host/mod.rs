//! One server as rosey may see it and change it.
//!
//! [`ReadHost`] is all that observing and planning get; [`WriteHost`] is what the executor gets.
//! `LocalHost` is this machine; `MemoryHost` is a machine in memory that keeps unsynced writes
//! apart, so that the laws can be tested with every fault at every primitive.
//!
//! Nothing here knows of resources, steps or plans. Every path is absolute, and no component but
//! the last may be a symbolic link: an app's user must not lead a root helper elsewhere.

mod cgroup;
mod clock;
pub mod database;
mod ending;
mod error;
mod identity;
pub mod listening;
mod local;
pub mod memory;
mod orphans;
mod path;
pub mod port;
pub mod probe;
mod proc;
mod process;
mod program;
mod systemd;
mod transient;

pub use database::Databases;
pub use listening::{Listener, LiveProcess};
pub use local::{LocalHost, address_of, server_of};
pub use memory::MemoryHost;
pub use port::{
    Account, Activity, Command, CommandOutput, DROP_INS, Entry, EntryType, HostError,
    HostErrorKind, Manager, Owner, ReadHost, ServiceAct, ServiceStatus, Space, UNITS, Unit,
    UnitRemark, WriteHost,
};
pub use probe::{HttpAnswer, HttpRequest, Probe, ProbeError};
pub use transient::{Transient, start_transient};
