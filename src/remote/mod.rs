//! Reaches servers over SSH: connection, host keys, login, commands, the helper's upload.
//!
//! This module knows nothing of declarations, states or plans: a caller fills a
//! [`Target`], gives what surrounds the program as [`Surroundings`], and gets a
//! [`Session`]. On it [`ensure_helper`] brings our program, and [`start_helper`] gives the
//! one channel over which everything else is said. The SSH library is named here only.
//!
//! Start reading at `connect`; `host_key` is where security is decided.

mod auth;
mod binary;
mod channel;
mod connect;
mod elf;
mod handler;
mod host_key;
mod keys;
mod known_hosts;
mod lookup;
mod pattern;
mod printable;
mod resolve;
mod session;
mod ssh_config;
mod start;
mod sudo;
mod target;
mod trust;
mod upload;
mod wire;

pub use auth::Attempt;
pub use binary::{HelperBinary, HelperBinaryError, HelperSources, Helpers};
pub use channel::{Channel, ChannelLost, Exit, ExitStatus};
pub use connect::{ConnectError, connect, scan_host_key};
pub use elf::{Elf, ElfError, Machine};
pub use host_key::{CertificateFault, HostKey, HostKeyError, KnownLine};
pub use keys::KeyRing;
pub use known_hosts::{KnownHosts, Place, UnreadableKnownHosts};
pub use lookup::LookupError;
pub use resolve::{ResolveError, resolve};
pub use session::{Output, RunError, Session};
pub use ssh_config::SshConfigError;
pub use start::{HelperEnd, explain_end, start_helper};
pub use sudo::{BecomeError, SudoRefusal};
pub use target::{Become, Destination, Identity, PassphrasePrompt, Surroundings, Target};
pub use trust::{TrustError, Trusted, known_hosts_file, trust};
pub use upload::{Fault, PlaceFault, RemoteHelper, UploadError, ensure_helper};
