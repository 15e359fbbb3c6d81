//! Decides whether a server is the one that was meant.
//!
//! Order of the rules: a revoked key is never accepted; where keys are pinned
//! nothing else counts; a certificate of a known authority must be valid in
//! every respect; then the keys in known_hosts. Nothing is learnt here: that
//! is `trust`, and a person's decision.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use russh::Preferred;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::known_hosts::{HostNames, KnownHosts, Line, Place, UnreadableKnownHosts};
use super::printable::printable;
use super::target::Destination;
use crate::model::shell::quote;

/// A server's public key, as shown to people and written to files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// Shared: a public key is large, and errors carry it.
    key: Arc<PublicKey>,
}

impl HostKey {
    pub(crate) fn new(mut key: PublicKey) -> Self {
        key.set_comment("");
        Self { key: Arc::new(key) }
    }

    /// Reads `ssh-ed25519 AAAA…`.
    pub fn parse(text: &str) -> Option<Self> {
        PublicKey::from_openssh(text.trim()).ok().map(Self::new)
    }

    pub fn algorithm(&self) -> String {
        self.key.algorithm().to_string()
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// `ssh-ed25519 AAAA…`, as it stands in known_hosts and in a declaration.
    pub fn line(&self) -> String {
        let text = self.key.to_openssh().unwrap_or_default();
        text.trim_end().to_owned()
    }

    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.key
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.fingerprint())
    }
}

/// Why a server's key is not accepted. No attempt to go on is made.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    #[error(
        "trust {host} at {place}: no key of it is known in {files}; it shows {key}. \
         Compare that with the server (ssh-keygen -lf on its /etc/ssh/ssh_host_*_key.pub); \
         if it is the same, type: rosey trust {host}",
        files = list(.files)
    )]
    Unknown {
        host: String,
        place: String,
        files: Vec<PathBuf>,
        key: HostKey,
    },
    #[error(
        "trust {host} at {place}: its key has changed. {at} knows {known}, it shows {shown}. \
         Somebody may be in between. If the server was set up anew, remove that line \
         (ssh-keygen -R {name} -f {file}) and type: rosey trust {host}",
        at = .known.at,
        file = quote(&.known.at.file.display().to_string()),
        name = quote(&.known.name),
        known = .known.key
    )]
    Changed {
        host: String,
        place: String,
        known: Box<KnownLine>,
        shown: HostKey,
    },
    #[error(
        "trust {host} at {place}: it shows {shown}, but the declaration pins {pinned}. \
         If the server was set up anew, put into the declaration: host-key \"{line}\"",
        pinned = .pinned.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
        line = .shown.line()
    )]
    NotPinned {
        host: String,
        place: String,
        pinned: Vec<HostKey>,
        shown: HostKey,
    },
    #[error(
        "trust {host} at {place}: its key {shown} is marked as revoked at {revoked_at}. \
         Give the server a new host key, it must never be trusted with this one"
    )]
    Revoked {
        host: String,
        place: String,
        shown: HostKey,
        revoked_at: Place,
    },
    #[error(
        "trust {host} at {place}: its host certificate \"{key_id}\", signed by the authority at \
         {authority_at}, {reason}. Have the authority sign the server's key again"
    )]
    Certificate {
        host: String,
        place: String,
        key_id: String,
        authority_at: Place,
        reason: Box<CertificateFault>,
    },
    #[error(
        "trust {host}: its pinned host key \"{text}\" is no public key; write it as \"ssh-ed25519 AAAA…\""
    )]
    BadPin { host: String, text: String },
    #[error("trust {host}")]
    Unreadable {
        host: String,
        #[source]
        source: UnreadableKnownHosts,
    },
}

/// The line that knows a host by another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLine {
    pub at: Place,
    /// The name under which the host stands in the file, for `ssh-keygen -R`.
    pub name: String,
    /// Kind and fingerprint.
    pub key: String,
}

/// What is wrong with a host certificate of a known authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    #[error("has a bad signature")]
    Signature,
    #[error("is for users, not for hosts")]
    NotForHosts,
    #[error("is not for {wanted} but for {}", .listed.join(", "))]
    Principal { wanted: String, listed: Vec<String> },
    #[error("names no host")]
    NoPrincipal,
    #[error("is not valid at this time")]
    Time,
    #[error("has a critical option that is not understood: {0}")]
    CriticalOption(String),
}

fn list(files: &[PathBuf]) -> String {
    if files.is_empty() {
        return "any file (none is configured)".to_owned();
    }
    let name = |file: &PathBuf| {
        let missing = if file.exists() { "" } else { " (not there)" };
        format!("{}{missing}", file.display())
    };
    files.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Everything that is known of one host's keys before it is asked.
#[derive(Debug, Clone)]
pub(crate) struct HostKeyCheck {
    host: String,
    place: String,
    plain_name: String,
    names: HostNames,
    known: KnownHosts,
    pins: Vec<HostKey>,
}

impl HostKeyCheck {
    /// Reads pins and files for a destination.
    pub(crate) fn new(to: &Destination) -> Result<Self, HostKeyError> {
        let host = to.name.clone();
        let pin = |text: &String| {
            HostKey::parse(text).ok_or_else(|| HostKeyError::BadPin {
                host: host.clone(),
                text: text.clone(),
            })
        };
        let pins = to
            .pinned_keys
            .iter()
            .map(pin)
            .collect::<Result<Vec<_>, _>>()?;
        let known =
            KnownHosts::read(&to.known_hosts).map_err(|source| HostKeyError::Unreadable {
                host: host.clone(),
                source,
            })?;
        let (name, port) = to.known_as();
        Ok(Self {
            host,
            place: to.place(),
            plain_name: name.to_lowercase(),
            names: HostNames::new(name, port),
            known,
            pins,
        })
    }

    /// Puts the kinds of key that are known first, so that the server shows one of those.
    ///
    /// Certificates are asked for only where an authority is known: a server
    /// that has one would show nothing else.
    pub(crate) fn prefer(&self, preferred: &mut Preferred) {
        let mut known: Vec<String> = self.pins.iter().map(HostKey::algorithm).collect();
        if self.pins.is_empty() {
            let lines = self
                .known
                .keys(&self.names)
                .chain(self.known.fallback_keys(&self.names));
            known.extend(lines.map(|line| line.key.algorithm.clone()));
            if self.known.authorities(&self.names).next().is_some() {
                preferred.host_key_certificates = preferred.key.clone();
            }
        }
        let is_known = |algorithm: &Algorithm| {
            let name = match algorithm {
                Algorithm::Rsa { .. } => "ssh-rsa",
                other => other.as_str(),
            };
            known.iter().any(|k| k == name)
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = preferred.key.iter().cloned().partition(is_known);
        first.extend(rest);
        preferred.key = Cow::Owned(first);
    }

    /// Judges what the server showed; it has proved already that it holds the key.
    pub(crate) fn judge(
        &self,
        shown: &PublicKeyOrCertificate,
        unix_time: u64,
    ) -> Result<(), HostKeyError> {
        let key = HostKey::new(shown.public_key());
        let authority = shown
            .certificate()
            .map(|c| PublicKey::new(c.signature_key().clone(), ""));
        let mut keys = vec![key.public_key()];
        keys.extend(authority.as_ref());
        if let Some(line) = self.known.revoked(&self.names, &keys) {
            return Err(HostKeyError::Revoked {
                host: self.host.clone(),
                place: self.place.clone(),
                shown: key,
                revoked_at: line.place.clone(),
            });
        }
        if !self.pins.is_empty() {
            return self.judge_pins(key);
        }
        if let Some((certificate, authority)) = shown.certificate().zip(authority.as_ref()) {
            let mut lines = self.known.authorities(&self.names);
            if let Some(line) = lines.find(|line| line.key.is(authority)) {
                return self.judge_certificate(certificate, line, unix_time);
            }
        }
        self.judge_known(key)
    }

    /// Judges a key that a person brings, by the same rules.
    pub(crate) fn judge_plain(&self, key: &HostKey) -> Result<(), HostKeyError> {
        self.judge(&key.public_key().clone().into(), 0)
    }

    fn judge_pins(&self, shown: HostKey) -> Result<(), HostKeyError> {
        if self.pins.contains(&shown) {
            return Ok(());
        }
        Err(HostKeyError::NotPinned {
            host: self.host.clone(),
            place: self.place.clone(),
            pinned: self.pins.clone(),
            shown,
        })
    }

    fn judge_certificate(
        &self,
        certificate: &Certificate,
        authority: &Line,
        unix_time: u64,
    ) -> Result<(), HostKeyError> {
        certificate_fault(certificate, &self.plain_name, unix_time).map_or(Ok(()), |reason| {
            Err(HostKeyError::Certificate {
                host: self.host.clone(),
                place: self.place.clone(),
                key_id: printable(certificate.key_id()),
                authority_at: authority.place.clone(),
                reason: Box::new(reason),
            })
        })
    }

    fn judge_known(&self, shown: HostKey) -> Result<(), HostKeyError> {
        let is_shown = |line: &&Line| line.key.is(shown.public_key());
        let exact: Vec<&Line> = self.known.keys(&self.names).collect();
        let plain_name_knows = || {
            self.known
                .fallback_keys(&self.names)
                .any(|line| is_shown(&line))
        };
        if exact.iter().any(is_shown) || (exact.is_empty() && plain_name_knows()) {
            return Ok(());
        }
        // Known kinds were asked for first, so a key of another kind is a change as well;
        // the line of the same kind is the more useful one to show.
        let same_kind = exact
            .iter()
            .find(|line| line.key.algorithm == shown.algorithm());
        match same_kind.or(exact.first()) {
            Some(line) => Err(HostKeyError::Changed {
                host: self.host.clone(),
                place: self.place.clone(),
                known: Box::new(KnownLine {
                    at: line.place.clone(),
                    name: self.names.exact.clone(),
                    key: line.key.public_key().map_or_else(
                        || line.key.algorithm.clone(),
                        |key| HostKey::new(key).to_string(),
                    ),
                }),
                shown,
            }),
            None => Err(HostKeyError::Unknown {
                host: self.host.clone(),
                place: self.place.clone(),
                files: self.known.files().to_vec(),
                key: shown,
            }),
        }
    }
}

/// Checks a certificate of an authority that is known for the host.
///
/// The library checks signature and time; purpose, name and options are left
/// to its caller (documentation of `ssh_key::Certificate::validate_at`).
fn certificate_fault(
    certificate: &Certificate,
    host: &str,
    unix_time: u64,
) -> Option<CertificateFault> {
    if certificate.cert_type() != CertType::Host {
        return Some(CertificateFault::NotForHosts);
    }
    if unix_time < certificate.valid_after() || unix_time >= certificate.valid_before() {
        return Some(CertificateFault::Time);
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    if certificate.validate_at(unix_time, [&authority]).is_err() {
        return Some(CertificateFault::Signature);
    }
    if let Some(option) = certificate.critical_options().keys().next() {
        return Some(CertificateFault::CriticalOption(printable(option)));
    }
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Some(CertificateFault::NoPrincipal);
    }
    // A principal of a host certificate may be a pattern: OpenSSH since 6.5, sshkey_cert_check_host.
    if principals
        .iter()
        .any(|p| super::pattern::matches_one(p, host))
    {
        return None;
    }
    Some(CertificateFault::Principal {
        wanted: host.to_owned(),
        listed: principals.iter().map(|p| printable(p)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::target::{Surroundings, Target};
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::Builder;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN+Wjn4+4Fcvl2JlKpggT+wCRxpSvtqqpVrQrKN1/A22";
    const NOW: u64 = 1_800_000_000;

    struct Bench {
        directory: tempfile::TempDir,
        pins: Vec<String>,
    }

    impl Bench {
        fn new(text: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("kh"), text).unwrap();
            Self {
                directory,
                pins: Vec::new(),
            }
        }

        fn check(&self) -> HostKeyCheck {
            let mut target = Target::new("bot-1", "bot.example.org");
            target.known_hosts = vec![self.directory.path().join("kh")];
            target.pinned_keys = self.pins.clone();
            let around = Surroundings::new(self.directory.path(), "ann");
            let to = crate::remote::resolve::from_declaration(&target, &around);
            HostKeyCheck::new(&to).unwrap()
        }

        fn judge(&self, key: &str) -> Result<(), String> {
            let key = PublicKey::from_openssh(key).unwrap();
            self.judge_any(&key.into())
        }

        fn judge_any(&self, shown: &PublicKeyOrCertificate) -> Result<(), String> {
            let directory = self.directory.path().display().to_string();
            self.check()
                .judge(shown, NOW)
                .map_err(|error| error.to_string().replace(&directory, "DIR"))
        }
    }

    #[test]
    fn a_known_key_is_accepted() {
        assert_eq!(
            Bench::new(&format!("bot.example.org {ONE}\n")).judge(ONE),
            Ok(())
        );
    }

    #[test]
    fn an_unknown_key_is_shown_with_what_to_type() {
        let message = Bench::new("").judge(ONE).unwrap_err();
        insta::assert_snapshot!(message, @r#"trust bot-1 at bot.example.org:22: no key of it is known in DIR/kh; it shows ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE. Compare that with the server (ssh-keygen -lf on its /etc/ssh/ssh_host_*_key.pub); if it is the same, type: rosey trust bot-1"#);
    }

    #[test]
    fn a_changed_key_is_shown_with_the_line_that_knew_another() {
        let message = Bench::new(&format!("# first\nbot.example.org {TWO}\n"))
            .judge(ONE)
            .unwrap_err();
        insta::assert_snapshot!(message, @r#"trust bot-1 at bot.example.org:22: its key has changed. DIR/kh:2 knows ssh-ed25519 SHA256:H2sHvUT+VjLf+EtVaNCJy7H+jhQ12TNq3CyZET9j+vI, it shows ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE. Somebody may be in between. If the server was set up anew, remove that line (ssh-keygen -R bot.example.org -f DIR/kh) and type: rosey trust bot-1"#);
    }

    #[test]
    fn a_revoked_key_beats_a_plain_line_and_a_pin() {
        let mut bench = Bench::new(&format!("bot.example.org {ONE}\n@revoked * {ONE}\n"));
        let message = bench.judge(ONE).unwrap_err();
        insta::assert_snapshot!(message, @r#"trust bot-1 at bot.example.org:22: its key ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE is marked as revoked at DIR/kh:2. Give the server a new host key, it must never be trusted with this one"#);
        bench.pins = vec![ONE.to_owned()];
        assert_eq!(bench.judge(ONE).unwrap_err(), message);
    }

    #[test]
    fn pins_leave_no_other_way() {
        let mut bench = Bench::new(&format!("bot.example.org {ONE}\n"));
        bench.pins = vec![format!("{TWO} a comment")];
        assert_eq!(bench.judge(TWO), Ok(()));
        insta::assert_snapshot!(bench.judge(ONE).unwrap_err(), @r#"trust bot-1 at bot.example.org:22: it shows ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE, but the declaration pins ssh-ed25519 SHA256:H2sHvUT+VjLf+EtVaNCJy7H+jhQ12TNq3CyZET9j+vI. If the server was set up anew, put into the declaration: host-key "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ""#);
    }

    #[test]
    fn a_bad_pin_is_an_error_and_never_no_pin() {
        let mut target = Target::new("bot-1", "bot.example.org");
        target.pinned_keys = vec!["ssh-ed25519 nonsense".to_owned()];
        let around = Surroundings::new("/nowhere", "ann");
        let to = crate::remote::resolve::from_declaration(&target, &around);
        let error = HostKeyCheck::new(&to).unwrap_err();
        assert!(matches!(error, HostKeyError::BadPin { .. }), "{error}");
    }

    #[test]
    fn known_kinds_are_asked_for_first() {
        let rsa_line = "AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==";
        let bench = Bench::new(&format!("bot.example.org ssh-rsa {rsa_line}\n"));
        let mut preferred = Preferred::DEFAULT;
        bench.check().prefer(&mut preferred);
        assert!(matches!(preferred.key[0], Algorithm::Rsa { hash: Some(_) }));
        assert_eq!(preferred.key.len(), Preferred::DEFAULT.key.len());
        assert!(preferred.host_key_certificates.is_empty());
    }

    struct Authority(PrivateKey);

    impl Authority {
        fn new() -> Self {
            let mut random = russh::keys::key::safe_rng();
            Self(PrivateKey::random(&mut random, Algorithm::Ed25519).unwrap())
        }

        fn line(&self) -> String {
            let key = HostKey::new(self.0.public_key().clone()).line();
            format!("@cert-authority *.example.org {key}\n")
        }

        fn sign(&self, prepare: impl FnOnce(&mut Builder)) -> PublicKeyOrCertificate {
            let key = PublicKey::from_openssh(ONE).unwrap();
            let mut builder =
                Builder::new(vec![7; 16], key.key_data().clone(), NOW - 10, NOW + 10).unwrap();
            builder.cert_type(CertType::Host).unwrap();
            builder.key_id("bot").unwrap();
            prepare(&mut builder);
            builder.sign(&self.0).unwrap().into()
        }
    }

    #[test]
    fn a_certificate_must_be_right_in_every_respect() {
        let authority = Authority::new();
        let bench = Bench::new(&authority.line());
        let judge = |prepare: fn(&mut Builder)| {
            let fault = bench.judge_any(&authority.sign(prepare)).err();
            fault.map(|m| m.split(", ").nth(2).unwrap_or(&m).to_owned())
        };
        assert_eq!(
            judge(|b| {
                b.valid_principal("bot.example.org").unwrap();
            }),
            None
        );
        let fault = judge(|b| {
            b.valid_principal("other.example.org").unwrap();
        });
        assert!(fault.unwrap().contains("for other.example.org"));
        let fault = judge(|b| {
            b.all_principals_valid().unwrap();
        });
        assert!(fault.unwrap().contains("names no host"));
        let fault = judge(|b| {
            b.valid_principal("bot.example.org").unwrap();
            b.critical_option("force-command", "x").unwrap();
        });
        assert!(fault.unwrap().contains("force-command"));
    }

    #[test]
    fn a_certificate_is_refused_by_time_purpose_and_revoked_authority() {
        let authority = Authority::new();
        let bench = Bench::new(&authority.line());
        let certificate = authority.sign(|b| {
            b.valid_principal("bot.example.org").unwrap();
        });
        let late = bench
            .check()
            .judge(&certificate, NOW + 10)
            .unwrap_err()
            .to_string();
        assert!(late.contains("not valid at this time"), "{late}");
        let revoked = format!(
            "{}{}",
            authority.line(),
            authority.line().replace("@cert-authority", "@revoked")
        );
        let message = Bench::new(&revoked).judge_any(&certificate).unwrap_err();
        assert!(message.contains("marked as revoked"), "{message}");
        let users = Builder::new(
            vec![7; 16],
            PublicKey::from_openssh(ONE).unwrap().key_data().clone(),
            NOW - 10,
            NOW + 10,
        );
        let mut users = users.unwrap();
        users
            .cert_type(CertType::User)
            .unwrap()
            .valid_principal("bot.example.org")
            .unwrap();
        let users = PublicKeyOrCertificate::from(users.sign(&authority.0).unwrap());
        let message = bench.judge_any(&users).unwrap_err();
        assert!(message.contains("for users"), "{message}");
    }

    #[test]
    fn a_certificate_of_a_stranger_counts_as_its_key() {
        let stranger = Authority::new();
        let certificate = stranger.sign(|b| {
            b.valid_principal("bot.example.org").unwrap();
        });
        let bench = Bench::new(&Authority::new().line());
        assert!(
            bench
                .judge_any(&certificate)
                .unwrap_err()
                .contains("no key of it is known")
        );
        let bench = Bench::new(&format!("bot.example.org {ONE}\n"));
        assert_eq!(bench.judge_any(&certificate), Ok(()));
    }
}
