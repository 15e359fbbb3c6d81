//! Reads key files, and keeps those that a passphrase has opened.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{self, Certificate, HashAlg, PrivateKey, PublicKey};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::target::{Identity, PassphrasePrompt};

/// Keys that were opened with a passphrase, shared by all connections of a run.
///
/// Opening costs a tenth of a second of bcrypt and a person's attention: once is enough.
#[derive(Clone, Default)]
pub struct KeyRing(Arc<Mutex<HashMap<PathBuf, Opened>>>);

type Opened = Result<Arc<PrivateKey>, LockedKey>;

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

/// Why an encrypted key stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LockedKey {
    #[error("it is encrypted and nobody is there to ask for its passphrase; type ssh-add first")]
    NobodyThere,
    #[error("its passphrase was wrong {ATTEMPTS} times")]
    WrongPassphrase,
    #[error("its passphrase wasn't given")]
    NotGiven,
}

const ATTEMPTS: u32 = 3;

impl KeyRing {
    /// Opens an encrypted key, asking at most once a run: the answer holds for every host.
    pub(crate) async fn open(
        &self,
        path: &Path,
        text: Arc<Zeroizing<String>>,
        prompt: Option<Arc<dyn PassphrasePrompt>>,
    ) -> Opened {
        // Held while the person types, so that a second connection waits instead of asking again.
        let mut ring = self.0.lock().await;
        if let Some(opened) = ring.get(path) {
            return opened.clone();
        }
        let Some(prompt) = prompt else {
            return Err(LockedKey::NobodyThere);
        };
        let asked = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || ask(&asked, &text, &*prompt))
            .await
            .unwrap_or(Err(LockedKey::NotGiven));
        ring.insert(path.to_owned(), opened.clone());
        opened
    }
}

fn ask(path: &Path, text: &str, prompt: &dyn PassphrasePrompt) -> Opened {
    for attempt in 1..=ATTEMPTS {
        let passphrase = prompt
            .passphrase(path, attempt)
            .ok_or(LockedKey::NotGiven)?;
        // Whatever goes wrong now, the passphrase is why: the file was read as encrypted before.
        if let Ok(key) = keys::decode_secret_key(text, Some(&passphrase)) {
            return Ok(Arc::new(key));
        }
    }
    Err(LockedKey::WrongPassphrase)
}

/// A key file as found on the disk.
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    pub(crate) content: KeyContent,
    /// `…-cert.pub` beside it.
    pub(crate) certificate: Option<Certificate>,
}

pub(crate) enum KeyContent {
    Open(Arc<PrivateKey>),
    /// Needs a passphrase; the public half may be known all the same.
    Encrypted {
        text: Arc<Zeroizing<String>>,
        public: Option<PublicKey>,
    },
    /// Only the public half lies here: the agent may hold the other.
    Public(PublicKey),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("there is no such file")]
    Missing,
    #[error("it can't be read: {0}")]
    Unreadable(io::Error),
    #[error("it holds no private key that rosey understands ({0})")]
    NotAKey(String),
    #[error("it needs a security key; load it into the agent (ssh-add) and leave the rest to that")]
    SecurityKey,
}

impl KeyContent {
    pub(crate) fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Open(key) => Some(key.public_key()),
            Self::Encrypted { public, .. } => public.as_ref(),
            Self::Public(key) => Some(key),
        }
    }
}

/// Reads a key file with what lies beside it.
pub(crate) fn read(identity: &Identity) -> Result<KeyFile, KeyFileError> {
    let path = &identity.path;
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // `IdentityFile key` with nothing but key.pub is how people point at a key in the agent.
            let public = public_beside(path).ok_or(KeyFileError::Missing)?;
            return Ok(with_certificate(path, KeyContent::Public(public)));
        }
        Err(error) => return Err(KeyFileError::Unreadable(error)),
    };
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| KeyFileError::NotAKey("it isn't text".to_owned()))?;
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        return Ok(with_certificate(path, KeyContent::Public(public)));
    }
    let content = read_private(path, text)?;
    Ok(with_certificate(path, content))
}

fn read_private(path: &Path, text: &str) -> Result<KeyContent, KeyFileError> {
    if let Ok(key) = PrivateKey::from_openssh(text) {
        if key.algorithm().as_str().starts_with("sk-") {
            return Err(KeyFileError::SecurityKey);
        }
        if !key.is_encrypted() {
            return Ok(KeyContent::Open(Arc::new(key)));
        }
        let public = Some(key.public_key().clone());
        return Ok(encrypted(text, public));
    }
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Ok(encrypted(text, public_beside(path)));
    }
    keys::decode_secret_key(text, None)
        .map(|key| KeyContent::Open(Arc::new(key)))
        .map_err(|error| KeyFileError::NotAKey(error.to_string()))
}

fn encrypted(text: &str, public: Option<PublicKey>) -> KeyContent {
    KeyContent::Encrypted {
        text: Arc::new(Zeroizing::new(text.to_owned())),
        public,
    }
}

fn with_certificate(path: &Path, content: KeyContent) -> KeyFile {
    // `key.pub` names the same key as `key`, so the certificate is looked for beside either.
    let stem = path.to_string_lossy();
    let stem = stem.strip_suffix(".pub").unwrap_or(&stem);
    let certificate = read_certificate(Path::new(&format!("{stem}-cert.pub")));
    KeyFile {
        path: path.to_owned(),
        content,
        certificate,
    }
}

/// Reads a user certificate; one that isn't there or isn't one is none.
pub(crate) fn read_certificate(path: &Path) -> Option<Certificate> {
    let text = std::fs::read_to_string(path).ok()?;
    Certificate::from_openssh(text.trim()).ok()
}

fn public_beside(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    let text = std::fs::read_to_string(PathBuf::from(name)).ok()?;
    PublicKey::from_openssh(text.trim()).ok()
}

/// The name by which a person recognises a key.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// A public key as a line of `authorized_keys`, without its comment, which may hold anything.
pub(crate) fn authorized_line(key: &PublicKey) -> Option<String> {
    let line = key.to_openssh().ok()?;
    let mut words = line.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}
