//! Logs in: offers keys in an order that asks a person last, and keeps a list of what was tried.
//!
//! Order: the configured keys that are open or in the agent, the other keys of the agent,
//! and last the encrypted ones, whose passphrase a person is asked for. Passwords are never tried.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::MethodKind;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{AgentAuthError, Signer};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::handler::Client;
use super::keys::{self, KeyContent};
use super::target::{Destination, Surroundings};

/// One thing that was tried to log in, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub what: String,
    pub result: String,
    /// The public key that was refused, as it would stand in `authorized_keys`.
    pub refused: Option<String>,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.result)
    }
}

/// A signature may wait for a person who touches a security key or confirms in the agent.
const OFFER_PATIENCE: Duration = Duration::from_secs(60);
const AGENT_PATIENCE: Duration = Duration::from_secs(10);
const REFUSED: &str = "the server refused it";

type Agent = AgentClient<UnixStream>;

/// Something to prove with who we are.
enum Candidate {
    Open {
        path: PathBuf,
        key: Arc<PrivateKey>,
        certificate: Option<Certificate>,
    },
    Agent {
        identity: AgentIdentity,
        /// Lies in a file, while the agent holds only the plain key.
        certificate: Option<Box<Certificate>>,
    },
    Encrypted {
        path: PathBuf,
        text: Arc<Zeroizing<String>>,
        certificate: Option<Certificate>,
    },
}

/// Whether to go on offering.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offered {
    Accepted,
    Refused,
    /// The connection is gone or the server takes no keys: nothing more can be tried.
    Over,
}

/// Tries everything that the destination allows; else the list of it.
pub(crate) async fn log_in(
    handle: &mut Handle<Client>,
    to: &Destination,
    around: &Surroundings,
) -> Result<(), Vec<Attempt>> {
    let mut login = Login {
        handle,
        to,
        attempts: Vec::new(),
        agent: None,
        rsa_hash: None,
    };
    let candidates = login.candidates().await;
    let mut last = Offered::Refused;
    for candidate in candidates {
        last = login.offer(candidate, around).await;
        if last != Offered::Refused {
            break;
        }
    }
    if last == Offered::Accepted {
        Ok(())
    } else {
        Err(login.attempts)
    }
}

struct Login<'a> {
    handle: &'a mut Handle<Client>,
    to: &'a Destination,
    attempts: Vec<Attempt>,
    agent: Option<Agent>,
    /// What the server takes for RSA keys; asked once.
    rsa_hash: Option<Option<HashAlg>>,
}

impl Login<'_> {
    fn note(&mut self, what: impl Into<String>, result: impl Into<String>) {
        self.attempts.push(Attempt {
            what: what.into(),
            result: result.into(),
            refused: None,
        });
    }

    /// Notes with the last attempt which key was refused, so that it can be told what the server lacks.
    fn refused(&mut self, offered: Offered, key: &PublicKey) -> Offered {
        if let (Offered::Refused, Some(last)) = (offered, self.attempts.last_mut()) {
            last.refused = keys::authorized_line(key);
        }
        offered
    }

    async fn candidates(&mut self) -> Vec<Candidate> {
        let mut held = self.agent_identities().await;
        let certificates: Vec<Certificate> = self
            .to
            .certificates
            .iter()
            .filter_map(|path| keys::read_certificate(path))
            .collect();
        let mut first = Vec::new();
        let mut last = Vec::new();
        let mut missing_defaults = Vec::new();
        for identity in &self.to.identities {
            let what = format!("key {}", identity.path.display());
            let file = match keys::read(identity) {
                Ok(file) => file,
                Err(keys::KeyFileError::Missing) if !identity.named => {
                    missing_defaults.push(identity.path.display().to_string());
                    continue;
                }
                Err(error) => {
                    self.note(what, error.to_string());
                    continue;
                }
            };
            let public = file.content.public().cloned();
            let certificate = file.certificate.or_else(|| {
                let of_key = |c: &&Certificate| {
                    public
                        .as_ref()
                        .is_some_and(|key| key.key_data() == c.public_key())
                };
                certificates.iter().find(of_key).cloned()
            });
            let in_agent = public
                .as_ref()
                .map(|key| take(&mut held, key))
                .unwrap_or_default();
            match file.content {
                KeyContent::Open(key) => {
                    first.push(Candidate::Open {
                        path: file.path,
                        key,
                        certificate,
                    });
                }
                _ if !in_agent.is_empty() => {
                    first.extend(in_agent.into_iter().map(|identity| Candidate::Agent {
                        identity,
                        certificate: certificate.clone().map(Box::new),
                    }));
                }
                KeyContent::Encrypted { text, .. } => {
                    last.push(Candidate::Encrypted {
                        path: file.path,
                        text,
                        certificate,
                    });
                }
                KeyContent::Public(_) => {
                    self.note(
                        what,
                        "only its public half is here, and the agent doesn't hold it",
                    );
                }
            }
        }
        if !self.to.identities_only {
            first.extend(held.into_iter().map(|identity| Candidate::Agent {
                identity,
                certificate: None,
            }));
        }
        if first.is_empty() && last.is_empty() && !missing_defaults.is_empty() {
            self.note(
                format!("default keys ({})", missing_defaults.join(", ")),
                "not there",
            );
        }
        first.append(&mut last);
        first
    }

    async fn agent_identities(&mut self) -> Vec<AgentIdentity> {
        let Some(socket) = self.to.agent_socket.clone() else {
            self.note("ssh-agent", "none is running (SSH_AUTH_SOCK isn't set)");
            return Vec::new();
        };
        let what = format!("ssh-agent at {}", socket.display());
        let asked = tokio::time::timeout(AGENT_PATIENCE, async {
            let mut agent = Agent::connect_uds(&socket).await?;
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        });
        match asked.await {
            Ok(Ok((_, identities))) if identities.is_empty() => {
                self.note(what, "holds no key (ssh-add adds one)");
                Vec::new()
            }
            Ok(Ok((agent, identities))) => {
                self.agent = Some(agent);
                identities
            }
            Ok(Err(error)) => {
                self.note(what, format!("doesn't answer ({error})"));
                Vec::new()
            }
            Err(_) => {
                self.note(
                    what,
                    format!("gave no answer within {} s", AGENT_PATIENCE.as_secs()),
                );
                Vec::new()
            }
        }
    }

    async fn offer(&mut self, candidate: Candidate, around: &Surroundings) -> Offered {
        match candidate {
            Candidate::Open {
                path,
                key,
                certificate,
            } => self.offer_key(&path, key, certificate).await,
            Candidate::Agent {
                identity,
                certificate,
            } => {
                if let (Some(certificate), AgentIdentity::PublicKey { key, .. }) =
                    (certificate, &identity)
                {
                    let key = key.clone();
                    let offered = self.offer_certificate_by_agent(*certificate, key).await;
                    if offered != Offered::Refused {
                        return offered;
                    }
                }
                self.offer_agent(identity).await
            }
            Candidate::Encrypted {
                path,
                text,
                certificate,
            } => {
                match around
                    .key_ring
                    .open(&path, text, around.prompt.clone())
                    .await
                {
                    Ok(key) => self.offer_key(&path, key, certificate).await,
                    Err(locked) => {
                        let result = match locked {
                            keys::LockedKey::NobodyThere => {
                                format!("{locked}: ssh-add {}", path.display())
                            }
                            other => other.to_string(),
                        };
                        self.note(format!("key {}", path.display()), result);
                        Offered::Refused
                    }
                }
            }
        }
    }

    async fn offer_key(
        &mut self,
        path: &Path,
        key: Arc<PrivateKey>,
        certificate: Option<Certificate>,
    ) -> Offered {
        let user = self.to.user.clone();
        let fingerprint = keys::fingerprint(key.public_key());
        if let Some(certificate) = certificate {
            let what = format!(
                "certificate \"{}\" of key {}",
                certificate.key_id(),
                path.display()
            );
            let sent =
                self.handle
                    .authenticate_openssh_cert(user.clone(), key.clone(), certificate);
            let sent = tokio::time::timeout(OFFER_PATIENCE, sent).await;
            let offered = self.judge(what, sent.map(|r| r.map_err(|e| e.to_string())));
            if offered != Offered::Refused {
                return offered;
            }
        }
        let what = format!("key {} ({fingerprint})", path.display());
        let public = key.public_key().clone();
        let hash = self.hash_for(&public).await;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let sent = self.handle.authenticate_publickey(user, key);
        let sent = tokio::time::timeout(OFFER_PATIENCE, sent).await;
        let offered = self.judge(what, sent.map(|r| r.map_err(|e| e.to_string())));
        self.refused(offered, &public)
    }

    async fn offer_agent(&mut self, identity: AgentIdentity) -> Offered {
        let user = self.to.user.clone();
        let public = identity.public_key().into_owned();
        let hash = self.hash_for(&public).await;
        let Some(agent) = &mut self.agent else {
            return Offered::Refused;
        };
        let (what, sent) = match identity {
            AgentIdentity::PublicKey { key, comment } => {
                let what = format!("agent key \"{comment}\" ({})", keys::fingerprint(&key));
                let sent = self
                    .handle
                    .authenticate_publickey_with(user, key, hash, agent);
                (what, tokio::time::timeout(OFFER_PATIENCE, sent).await)
            }
            AgentIdentity::Certificate { certificate, .. } => {
                let what = format!("agent certificate \"{}\"", certificate.key_id());
                let sent =
                    self.handle
                        .authenticate_certificate_with(user, certificate, hash, agent);
                (what, tokio::time::timeout(OFFER_PATIENCE, sent).await)
            }
        };
        let offered = self.judge(what, sent.map(|r| r.map_err(|e| e.to_string())));
        self.refused(offered, &public)
    }

    /// The certificate comes from a file, the signature from the agent's plain key.
    async fn offer_certificate_by_agent(
        &mut self,
        certificate: Certificate,
        key: PublicKey,
    ) -> Offered {
        let user = self.to.user.clone();
        let hash = self.hash_for(&key).await;
        let Some(agent) = &mut self.agent else {
            return Offered::Refused;
        };
        let what = format!(
            "certificate \"{}\" with its key in the agent",
            certificate.key_id()
        );
        let mut signer = PlainKeySigner { agent, key };
        let sent = self
            .handle
            .authenticate_certificate_with(user, certificate, hash, &mut signer);
        let sent = tokio::time::timeout(OFFER_PATIENCE, sent).await;
        self.judge(what, sent.map(|r| r.map_err(|e| e.to_string())))
    }

    /// RSA keys sign with the hash that the server prefers; others have no choice.
    async fn hash_for(&mut self, key: &PublicKey) -> Option<HashAlg> {
        if !key.algorithm().is_rsa() {
            return None;
        }
        if self.rsa_hash.is_none() {
            // A server that doesn't say takes SHA-256 since OpenSSH 7.2; SHA-1 is gone everywhere.
            let best = self.handle.best_supported_rsa_hash().await.ok().flatten();
            self.rsa_hash = Some(best.unwrap_or(Some(HashAlg::Sha256)));
        }
        self.rsa_hash.flatten()
    }

    fn judge(
        &mut self,
        what: String,
        sent: Result<Result<AuthResult, String>, tokio::time::error::Elapsed>,
    ) -> Offered {
        let (result, offered) = match sent {
            Ok(Ok(AuthResult::Success)) => return Offered::Accepted,
            Ok(Ok(AuthResult::Failure {
                partial_success: true,
                remaining_methods,
            })) => {
                let more = methods(&remaining_methods);
                let text = format!(
                    "accepted, but the server wants {more} as well, which rosey can't give"
                );
                (text, Offered::Over)
            }
            Ok(Ok(AuthResult::Failure {
                remaining_methods, ..
            })) => {
                if self.handle.is_closed() {
                    let text =
                        "the server hung up (too many keys? name the right one with identity)";
                    (text.to_owned(), Offered::Over)
                } else if remaining_methods.contains(&MethodKind::PublicKey) {
                    (REFUSED.to_owned(), Offered::Refused)
                } else {
                    let only = methods(&remaining_methods);
                    (format!("{REFUSED}; it takes {only} only"), Offered::Over)
                }
            }
            Ok(Err(error)) => {
                let closed = self.handle.is_closed();
                (
                    error,
                    if closed {
                        Offered::Over
                    } else {
                        Offered::Refused
                    },
                )
            }
            Err(_) => (
                format!("no answer within {} s", OFFER_PATIENCE.as_secs()),
                Offered::Over,
            ),
        };
        self.note(what, result);
        offered
    }
}

/// Signs for a certificate with the key that it certifies, which is all that the agent knows.
struct PlainKeySigner<'a> {
    agent: &'a mut Agent,
    key: PublicKey,
}

impl Signer for PlainKeySigner<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        let identity = AgentIdentity::from(self.key.clone());
        Ok(self.agent.sign_request(&identity, hash, to_sign).await?)
    }
}

fn methods(methods: &[MethodKind]) -> String {
    if methods.is_empty() {
        return "nothing".to_owned();
    }
    methods
        .iter()
        .map(<&str>::from)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Takes the agent's identities of a key out of the list, certificates first.
fn take(held: &mut Vec<AgentIdentity>, key: &PublicKey) -> Vec<AgentIdentity> {
    let (mut taken, rest): (Vec<_>, Vec<_>) = held
        .drain(..)
        .partition(|identity| identity.public_key().key_data() == key.key_data());
    *held = rest;
    taken.sort_by_key(|identity| matches!(identity, AgentIdentity::PublicKey { .. }));
    taken
}
