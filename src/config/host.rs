//! A host: how it is reached and what is known of it.
//!
//! Must not know what is deployed there.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::base64;
use crate::model::names::{AccountName, HostName, Tag};

use super::place::Place;
use super::problem::Problem;
use super::reader::Reader;
use super::scalar::{FromScalar, Mismatch, Scalar};
use super::value::{Variables, variables};

/// A host as declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// What the declaration and messages call it.
    pub name: HostName,
    /// How it is reached.
    pub reach: Reach,
    /// How the helper becomes root there.
    pub elevation: Elevation,
    /// The groups that it is in.
    pub tags: Vec<Tag>,
    /// Its own variables, which replace those of the environment.
    pub variables: Variables,
    /// Where it is declared.
    pub place: Place,
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach {
    /// It is this machine.
    Local,
    /// Over SSH.
    Ssh(SshTarget),
}

/// What the declaration says about reaching a host over SSH; what it doesn't
/// say comes from `~/.ssh/config`.
#[derive(Debug, Clone, PartialEq)]
pub struct SshTarget {
    /// A name or address; the host's name when left out.
    pub address: String,
    /// The user to log in as.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Private keys to offer; may begin with `~/`, see [`expand_home`].
    pub identities: Vec<PathBuf>,
    /// The file of known host keys; may begin with `~/`.
    pub known_hosts: Option<PathBuf>,
    /// Pinned host keys: algorithm and base64, as in `known_hosts`. When there are any, no other is taken.
    pub host_keys: Vec<HostKey>,
}

crate::choice! {
    /// How the helper becomes root.
    Elevation {
        /// It stays who it is.
        None = "none",
        /// By sudo, without a password.
        Sudo = "sudo",
    }
}

/// A public host key: `ssh-ed25519 AAAA…`, without a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostKey(String);

impl HostKey {
    /// The key as `known_hosts` has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromScalar for HostKey {
    const EXPECTED: &'static str = "a public host key, such as \"ssh-ed25519 AAAA…\"";
    const EXAMPLE: &'static str = "\"ssh-ed25519 AAAA…\"";
    fn from_scalar(scalar: &Scalar) -> Result<Self, Mismatch> {
        let Scalar::String(text) = scalar else {
            return Err(Mismatch::default());
        };
        let mut words = text.split_ascii_whitespace();
        let (Some(algorithm), Some(key)) = (words.next(), words.next()) else {
            return Err(Mismatch::because("the algorithm and the key are needed"));
        };
        let is_algorithm = ["ssh-", "ecdsa-", "sk-"]
            .iter()
            .any(|start| algorithm.starts_with(start));
        let is_base64 = key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        if !is_algorithm {
            return Err(Mismatch::because(format!(
                "{algorithm:?} is no algorithm of a host key"
            )));
        }
        // Every key begins with the length of its algorithm's name, whose high bytes are zero.
        if !is_base64 || !key.starts_with("AAAA") {
            return Err(Mismatch::because("the key is not base64 of a public key"));
        }
        if !is_whole(algorithm, key) {
            return Err(Mismatch::because(format!(
                "the key is cut off, or none of {algorithm}"
            )));
        }
        Ok(Self(format!("{algorithm} {key}")))
    }
}

/// Whether base64 is that of a whole public key: fields with their lengths before them, of which the first
/// names the algorithm (RFC 4253, section 6.6; RFC 8709 for the length of an Ed25519 key).
fn is_whole(algorithm: &str, key: &str) -> bool {
    let Some(bytes) = base64::decode(key) else {
        return false;
    };
    let mut fields = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((field, after)) = after.split_at_checked(length) else {
            return false;
        };
        fields.push(field);
        rest = after;
    }
    let lengths = match algorithm {
        "ssh-ed25519" => fields.get(1).is_some_and(|key| key.len() == 32),
        _ => fields.iter().all(|field| !field.is_empty()),
    };
    rest.is_empty() && fields.len() > 1 && fields[0] == algorithm.as_bytes() && lengths
}

impl Host {
    /// The address that templates see: `localhost` for this machine.
    #[must_use]
    pub fn address(&self) -> &str {
        match &self.reach {
            Reach::Local => "localhost",
            Reach::Ssh(target) => &target.address,
        }
    }

    /// Whether it is this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.reach == Reach::Local
    }

    /// Whether the environment's own file declares it, not one that is included.
    #[must_use]
    pub fn is_of_environment(&self) -> bool {
        self.place.source == 0
    }
}

/// The path with `~/` in front replaced by the home directory.
#[must_use]
pub fn expand_home(path: &Path, home: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => home.join(rest),
        Err(_) => path.to_owned(),
    }
}

/// Reads `host "name" … { … }`.
pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Host> {
    let place = reader.name_place();
    let name = reader.argument::<HostName>();
    let local = reader.property::<bool>("local").unwrap_or(false);
    let address = reader.property::<String>("address");
    let user = reader.property::<AccountName>("user").map(String::from);
    let port = reader.property::<u16>("port");
    let elevation = reader
        .value::<Elevation>("become")
        .unwrap_or(Elevation::None);
    let identities = reader.children("identity", path).into_iter().collect();
    let known_hosts = reader.child("known-hosts", path);
    let host_keys = reader.children("host-key", Reader::argument::<HostKey>);
    let tags = reader.values::<Tag>("tags");
    let variables = reader.child("vars", variables).unwrap_or_default();

    if local {
        refuse_ssh_words(reader);
    }
    if port == Some(0) {
        let problem =
            Problem::new("`port` can't be 0").at(reader.property_place("port"), "from 1 to 65535");
        reader.problem(problem);
    }
    if let Some(address) = address.as_deref().filter(|address| !is_address(address)) {
        let problem = Problem::new(format!("{address:?} is no address"))
            .at(reader.property_place("address"), "a name or an IP address")
            .help("user and port stand in `user=` and `port=`");
        reader.problem(problem);
    }
    let name = name?;
    let reach = if local {
        Reach::Local
    } else {
        let address = address.unwrap_or_else(|| name.to_string());
        Reach::Ssh(SshTarget {
            address,
            user,
            port,
            identities,
            known_hosts,
            host_keys,
        })
    };
    Some(Host {
        name,
        reach,
        elevation,
        tags,
        variables,
        place,
    })
}

fn path(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let place = reader.name_place();
    let written = reader.argument::<String>()?;
    Some(reader.controller_path(&written, place))
}

fn is_address(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte))
        && !text.starts_with('-')
}

fn refuse_ssh_words(reader: &Reader<'_>) {
    let node = reader.node();
    let properties = node
        .properties
        .iter()
        .filter(|property| ["address", "user", "port"].contains(&property.name.as_str()));
    let children = node
        .children
        .iter()
        .filter(|child| ["identity", "known-hosts", "host-key"].contains(&child.word.as_str()));
    let places = properties.map(|property| (&property.name, property.name_place));
    for (word, place) in places.chain(children.map(|child| (&child.word, child.word_place))) {
        reader.problem(
            Problem::new(format!("`{word}` has no meaning for a local host"))
                .at(place, "nothing is reached over SSH")
                .help("leave it out, or leave out `local=#true`"),
        );
    }
}
