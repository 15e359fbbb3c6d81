//! What the caller knows about a server, and what surrounds the controller.
//!
//! Nothing here reads the environment or a file: home, agent socket and the
//! person at the terminal enter as values.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

/// One server as the declaration names it.
///
/// What is `None` or empty here is taken from the ssh configuration, and from
/// OpenSSH's defaults where that is silent too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host's name in the declaration: what messages call it.
    pub name: String,
    /// A name or an address; looked up in the ssh configuration as `ssh` would.
    pub address: String,
    pub port: Option<u16>,
    pub user: Option<String>,
    /// The only keys to log in with, in their order, when given.
    pub identities: Vec<PathBuf>,
    /// Files in the format of sshd(8) known_hosts; instead of the configured ones.
    pub known_hosts: Vec<PathBuf>,
    /// Host keys (`ssh-ed25519 AAAA…`); when given, no other key is accepted.
    pub pinned_keys: Vec<String>,
    pub r#become: Become,
    /// For the connection, and again for the handshake.
    pub connect_timeout: Duration,
}

impl Target {
    /// Makes a target that leaves everything else to the ssh configuration.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            port: None,
            user: None,
            identities: Vec::new(),
            known_hosts: Vec::new(),
            pinned_keys: Vec::new(),
            r#become: Become::No,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// How the helper gets root on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Become {
    /// It runs as the user who logs in.
    #[default]
    No,
    /// Through `sudo -n`, which never asks for a password.
    Sudo,
}

/// Where the controller runs: what other programs take from the environment.
#[derive(Clone)]
pub struct Surroundings {
    pub home: PathBuf,
    /// The user's login name here, who logs in where nothing else is said.
    pub user: String,
    /// `SSH_AUTH_SOCK`.
    pub agent_socket: Option<PathBuf>,
    /// Read instead of `~/.ssh/config` and the system's file.
    pub ssh_config: Option<PathBuf>,
    /// The `ssh` program, whose `-G` is the reference for its own configuration. `ssh` is looked
    /// for in the path; where it isn't installed, a small reader of our own takes its place.
    pub ssh_program: Option<PathBuf>,
    /// The person who can be asked for a passphrase, if there is one.
    pub prompt: Option<Arc<dyn PassphrasePrompt>>,
    /// Keys that were opened already, so that one passphrase serves a fleet.
    pub key_ring: super::keys::KeyRing,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("home", &self.home)
            .field("user", &self.user)
            .field("agent_socket", &self.agent_socket)
            .field("ssh_config", &self.ssh_config)
            .field("ssh_program", &self.ssh_program)
            .field("prompt", &self.prompt.is_some())
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Makes surroundings with neither agent nor person, for a home directory.
    pub fn new(home: impl Into<PathBuf>, user: impl Into<String>) -> Self {
        Self {
            home: home.into(),
            user: user.into(),
            agent_socket: None,
            ssh_config: None,
            ssh_program: None,
            prompt: None,
            key_ring: super::keys::KeyRing::default(),
        }
    }

    /// Expands a leading `~/`, as `ssh` does in its configuration.
    pub(crate) fn expand_home(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match path.strip_prefix("~") {
            Ok(rest) => self.home.join(rest),
            Err(_) => path.to_owned(),
        }
    }
}

/// Asks a person for the passphrase of a key.
///
/// Called on a thread that may block. `None` means that nobody answers.
pub trait PassphrasePrompt: Send + Sync {
    fn passphrase(&self, key: &Path, attempt: u32) -> Option<Zeroizing<String>>;
}

/// A target after the ssh configuration had its say: everything `connect` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub name: String,
    /// What is connected to: `HostName` of the ssh configuration.
    pub address: String,
    pub port: u16,
    pub user: String,
    /// `HostKeyAlias`: the name to look up in known_hosts instead of the address.
    pub host_key_alias: Option<String>,
    pub identities: Vec<Identity>,
    pub certificates: Vec<PathBuf>,
    /// Offer no key of the agent that isn't one of `identities`.
    pub identities_only: bool,
    pub agent_socket: Option<PathBuf>,
    pub known_hosts: Vec<PathBuf>,
    pub pinned_keys: Vec<String>,
    pub r#become: Become,
    pub connect_timeout: Duration,
    /// Hosts to go through, the first one first.
    pub jumps: Vec<Destination>,
}

/// A key file to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub path: PathBuf,
    /// Somebody named it, so it is worth saying when it isn't there.
    pub named: bool,
}

impl Destination {
    /// The address as messages show it.
    pub fn place(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }

    /// The name under which known_hosts knows the host, and its port.
    ///
    /// An alias stands for itself, without a port: ssh_config(5), HostKeyAlias.
    pub(crate) fn known_as(&self) -> (&str, u16) {
        match &self.host_key_alias {
            Some(alias) => (alias, 22),
            None => (&self.address, self.port),
        }
    }
}
