//! Reads known_hosts files and finds the lines that speak of a host.
//!
//! The format is sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". A file that isn't there
//! knows nothing; one that can't be read is an error, because it may hold a
//! revocation. A line that can't be understood is passed over alone.
//! What to conclude from the lines is decided in `host_key`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, Mac};
use russh::keys::PublicKey;
use sha1::Sha1;

use super::pattern;
use crate::model::base64;

/// The lines of several files, in their order.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
    files: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
#[error("read the known host keys in {file}: make it readable, it may hold a revoked key", file = .file.display())]
pub struct UnreadableKnownHosts {
    pub file: PathBuf,
    #[source]
    pub source: io::Error,
}

/// What a line says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// The host has this key.
    Key,
    /// Who signs with this key vouches for hosts of these names.
    CertAuthority,
    /// This key is never to be accepted.
    Revoked,
}

/// Where a line stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) place: Place,
    pub(crate) marker: Marker,
    names: Names,
    pub(crate) key: LineKey,
}

/// The key of a line; its blob is compared, so a kind that we can't parse is still matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineKey {
    pub(crate) algorithm: String,
    pub(crate) blob: Vec<u8>,
}

impl LineKey {
    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        PublicKey::from_bytes(&self.blob).ok()
    }

    pub(crate) fn is(&self, key: &PublicKey) -> bool {
        key.to_bytes().is_ok_and(|blob| blob == self.blob)
    }
}

#[derive(Debug, Clone)]
enum Names {
    Patterns(Vec<String>),
    /// HMAC-SHA1 of the name, keyed with a salt: `|1|salt|hash`.
    Hashed {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

impl Names {
    fn parse(field: &str) -> Option<Self> {
        let Some(rest) = field.strip_prefix('|') else {
            return Some(Self::Patterns(
                field.split(',').map(str::to_owned).collect(),
            ));
        };
        let mut parts = rest.split('|');
        if parts.next() != Some("1") {
            return None;
        }
        let salt = base64::decode(parts.next()?)?;
        let hash = base64::decode(parts.next()?)?;
        parts
            .next()
            .is_none()
            .then_some(Self::Hashed { salt, hash })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => {
                pattern::matches_list(patterns.iter().map(String::as_str), name)
            }
            Self::Hashed { salt, hash } => {
                let mut mac = Hmac::<Sha1>::new_from_slice(salt)
                    .expect("BUG: HMAC takes a key of any length");
                mac.update(name.to_lowercase().as_bytes());
                mac.verify_slice(hash).is_ok()
            }
        }
    }
}

/// The names under which a host may stand in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostNames {
    /// `host`, or `[host]:port` for a port other than 22.
    pub(crate) exact: String,
    /// The plain name, asked second: OpenSSH accepts a match on it, too.
    fallback: Option<String>,
}

impl HostNames {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = host.to_lowercase();
        if port == 22 {
            Self {
                exact: host,
                fallback: None,
            }
        } else {
            Self {
                exact: format!("[{host}]:{port}"),
                fallback: Some(host),
            }
        }
    }
}

impl KnownHosts {
    /// Reads the files that exist.
    ///
    /// # Errors
    /// A file exists and can't be read: nothing may be trusted then.
    pub fn read(files: &[PathBuf]) -> Result<Self, UnreadableKnownHosts> {
        let mut known = Self {
            lines: Vec::new(),
            files: files.to_vec(),
        };
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => known.add(file, &bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(UnreadableKnownHosts {
                        file: file.clone(),
                        source,
                    });
                }
            }
        }
        Ok(known)
    }

    fn add(&mut self, file: &Path, bytes: &[u8]) {
        let file: Arc<Path> = Arc::from(file);
        // Split before decoding: one line in another encoding must not hide the rest.
        for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
            let place = Place {
                file: file.clone(),
                line: index + 1,
            };
            if let Some(line) = std::str::from_utf8(line).ok().and_then(|l| parse(l, place)) {
                self.lines.push(line);
            }
        }
    }

    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The revocation that covers any of these keys under these names.
    pub(crate) fn revoked<'a>(
        &'a self,
        names: &HostNames,
        keys: &[&PublicKey],
    ) -> Option<&'a Line> {
        self.lines.iter().find(|line| {
            line.marker == Marker::Revoked
                && line.speaks_of_any(names)
                && keys.iter().any(|key| line.key.is(key))
        })
    }

    /// The lines with the host's own keys under its exact name.
    pub(crate) fn keys<'a>(&'a self, names: &'a HostNames) -> impl Iterator<Item = &'a Line> {
        self.lines
            .iter()
            .filter(|line| line.marker == Marker::Key && line.names.matches(&names.exact))
    }

    /// The lines that hold for the plain name where only a port was asked for.
    pub(crate) fn fallback_keys<'a>(
        &'a self,
        names: &'a HostNames,
    ) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(|line| {
            line.marker == Marker::Key
                && names
                    .fallback
                    .as_ref()
                    .is_some_and(|name| line.names.matches(name))
        })
    }

    /// The authorities that may vouch for the host.
    pub(crate) fn authorities<'a>(
        &'a self,
        names: &'a HostNames,
    ) -> impl Iterator<Item = &'a Line> {
        self.lines
            .iter()
            .filter(|line| line.marker == Marker::CertAuthority && line.speaks_of_any(names))
    }
}

impl Line {
    fn speaks_of_any(&self, names: &HostNames) -> bool {
        self.names.matches(&names.exact)
            || names
                .fallback
                .as_ref()
                .is_some_and(|name| self.names.matches(name))
    }
}

fn parse(text: &str, place: Place) -> Option<Line> {
    let mut fields = text.split_ascii_whitespace();
    let first = fields.next()?;
    if first.starts_with('#') {
        return None;
    }
    let (marker, names) = match first {
        "@revoked" => (Marker::Revoked, fields.next()?),
        "@cert-authority" => (Marker::CertAuthority, fields.next()?),
        other if other.starts_with('@') => return None,
        names => (Marker::Key, names),
    };
    let names = Names::parse(names)?;
    let algorithm = fields.next()?.to_owned();
    let blob = base64::decode(fields.next()?)?;
    // The blob begins with the name of its own kind; a line that contradicts itself says nothing.
    let length = u32::from_be_bytes(blob.get(..4)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(4)?;
    if blob.get(4..end)? != algorithm.as_bytes() {
        return None;
    }
    Some(Line {
        place,
        marker,
        names,
        key: LineKey { algorithm, blob },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    pub(crate) const TWO: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN+Wjn4+4Fcvl2JlKpggT+wCRxpSvtqqpVrQrKN1/A22";

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(Path::new("kh"), text.as_bytes());
        known
    }

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn hashed(name: &str) -> String {
        let salt = b"0123456789abcdefghij";
        let mut mac = Hmac::<Sha1>::new_from_slice(salt).unwrap();
        mac.update(name.as_bytes());
        let hash = mac.finalize().into_bytes();
        format!("|1|{}|{}", base64::encode(salt), base64::encode(&hash))
    }

    #[test]
    fn lines_are_found_by_name() {
        let h = hashed("bot.example.org");
        let hp = hashed("[bot.example.org]:2222");
        let cases = [
            (format!("bot.example.org {ONE}"), 22, true),
            (format!("BOT.example.org {ONE}"), 22, true),
            (
                format!("bot.example.org\t{}\tcomment here", ONE.replace(' ', "\t")),
                22,
                true,
            ),
            (format!("   bot.example.org  {ONE}\r"), 22, true),
            (format!("other,bot.example.org,10.0.0.1 {ONE}"), 22, true),
            (format!("*.example.org {ONE}"), 22, true),
            (format!("bot.example.??? {ONE}"), 22, true),
            (format!("*.example.org,!bot.example.org {ONE}"), 22, false),
            (format!("!bot.example.org,*.example.org {ONE}"), 22, false),
            (format!("{h} {ONE}"), 22, true),
            (format!("{hp} {ONE}"), 22, false),
            (format!("{hp} {ONE}"), 2222, true),
            (format!("{h} {ONE}"), 2222, false),
            (format!("[bot.example.org]:2222 {ONE}"), 2222, true),
            (format!("[*.example.org]:2222 {ONE}"), 2222, true),
            (format!("[bot.example.org]:2222 {ONE}"), 22, false),
            (format!("bot.example.org {ONE}"), 2222, false),
            (format!("# bot.example.org {ONE}"), 22, false),
            (format!("@cert-authority bot.example.org {ONE}"), 22, false),
            (format!("@unheard-of bot.example.org {ONE}"), 22, false),
            (
                "bot.example.org ssh-ed25519 not*base64".to_owned(),
                22,
                false,
            ),
            ("bot.example.org ssh-ed25519".to_owned(), 22, false),
            (
                format!(
                    "bot.example.org {}",
                    ONE.replace("ssh-ed25519 ", "ssh-rsa ")
                ),
                22,
                false,
            ),
            (format!("|2|abcd|abcd {ONE}"), 22, false),
            (String::new(), 22, false),
        ];
        for (text, port, expected) in cases {
            let names = HostNames::new("Bot.Example.org", port);
            let found = known(&text).keys(&names).any(|line| line.key.is(&key(ONE)));
            assert_eq!(found, expected, "{text:?} port {port}");
        }
    }

    #[test]
    fn a_port_falls_back_to_the_plain_name() {
        let known = known(&format!("bot {ONE}"));
        let names = HostNames::new("bot", 2222);
        assert_eq!(known.keys(&names).count(), 0);
        assert_eq!(known.fallback_keys(&names).count(), 1);
        assert_eq!(known.fallback_keys(&HostNames::new("bot", 22)).count(), 0);
    }

    #[test]
    fn a_bad_line_hides_no_other_and_lines_are_counted_from_one() {
        let mut text = b"# comment\n\xff\xfe bot junk\n\nbot ssh-ed25519 AAAA\n".to_vec();
        text.extend_from_slice(format!("bot {TWO}\n").as_bytes());
        let mut known = KnownHosts::default();
        known.add(Path::new("kh"), &text);
        let names = HostNames::new("bot", 22);
        let places: Vec<String> = known.keys(&names).map(|l| l.place.to_string()).collect();
        assert_eq!(places, ["kh:5"]);
    }

    #[test]
    fn a_revocation_is_found_for_the_key_alone() {
        let known = known(&format!("bot {ONE}\n@revoked * {ONE}\n"));
        let names = HostNames::new("bot", 2222);
        assert!(known.revoked(&names, &[&key(ONE)]).is_some());
        assert!(known.revoked(&names, &[&key(TWO)]).is_none());
    }

    #[test]
    fn a_missing_file_knows_nothing_and_an_unreadable_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert!(KnownHosts::read(std::slice::from_ref(&missing)).is_ok());
        // A directory in place of the file can't be read by anybody, root included.
        let error = KnownHosts::read(&[missing, directory.path().to_owned()]).unwrap_err();
        assert_eq!(error.file, directory.path());
    }
}
