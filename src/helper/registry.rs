//! The host's registry: which environment and app owns which root, path and unit.
//!
//! `/var/lib/rosey` where the helper is root, else `~/.local/state/rosey`: a directory for each
//! app with its ledger, journal and lock. What an app owns is not written down anywhere: it is what
//! the generation that stands there consists of, read from every ledger. Only for its user.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::ledger::{self, LedgerError};
use crate::content::own_owner;
use crate::host::{EntryType, HostError, HostErrorKind, Owner, ReadHost, WriteHost};
use crate::model::{
    AppName, Digest, EnvironmentName, Ledger, Places, ResourceId, ResourceKind, Value,
};

const FORMAT: &str = "rosey registry 1\n";

/// Why the registry can't be used.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// A primitive failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A ledger in it can't be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another program wrote it.
    #[error(
        "the registry {path} has the format {format:?}, which this version of rosey doesn't know; nothing was touched. Use the version that wrote it"
    )]
    UnknownFormat {
        /// The directory.
        path: PathBuf,
        /// What it says of itself.
        format: String,
    },
    /// Another session made it, with a key of its own, since this one read that there was none.
    #[error("{path} was made by another run since the plan was made; plan again")]
    MadeMeanwhile {
        /// The directory.
        path: PathBuf,
    },
}

/// The host's registry. It can't be printed: it holds the key.
#[derive(Clone)]
pub struct Registry {
    directory: PathBuf,
    /// The key for digests of content that holds a secret; it never leaves the host.
    seal: [u8; 32],
    user: Owner,
}

/// Where the registry is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// The directory, where it isn't the usual one.
    pub directory: Option<&'a Path>,
    /// The home of a user whom the host has no name for.
    pub home: Option<&'a Path>,
}

impl Registry {
    /// The registry of a host. `fresh` is the key that it gets where it has none yet: nothing is
    /// written here, so until a run makes it durable, it is only this helper's.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub fn open(
        host: &dyn ReadHost,
        place: Place<'_>,
        fresh: [u8; 32],
    ) -> Result<Self, RegistryError> {
        let user = own_owner(host)?;
        let directory = match place.directory {
            Some(directory) => host.real_path(directory)?,
            None => host.real_path(&usual(host, place.home)?)?,
        };
        match read_if_there(host, &directory.join("format"))? {
            Some(format) if format != FORMAT.as_bytes() => {
                return Err(RegistryError::UnknownFormat {
                    path: directory,
                    format: String::from_utf8_lossy(&format).trim().to_owned(),
                });
            }
            _ => {}
        }
        let seal = match read_if_there(host, &directory.join("key"))? {
            Some(key) => key.try_into().map_err(|_| HostError {
                doing: "use".to_owned(),
                path: directory.join("key").display().to_string(),
                kind: HostErrorKind::Other("it doesn't hold 32 bytes".to_owned()),
            })?,
            None => fresh,
        };
        Ok(Self {
            directory,
            seal,
            user,
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The key for digests of content that holds a secret.
    #[must_use]
    pub fn seal(&self) -> &[u8; 32] {
        &self.seal
    }

    /// Who the helper is.
    #[must_use]
    pub fn user(&self) -> &Owner {
        &self.user
    }

    /// Where things of the app with this root lie. The root is a real path.
    #[must_use]
    pub fn places(&self, root: &Path) -> Places {
        let key = Digest::of(root.as_os_str().as_encoded_bytes()).short();
        Places {
            root: root.to_owned(),
            state: self.directory.join("apps").join(key),
        }
    }

    /// Makes the registry, the app's directory in it and the key durable. Called again, it does nothing.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn make(&self, host: &dyn WriteHost, places: &Places) -> Result<(), RegistryError> {
        for directory in [
            self.directory.as_path(),
            &self.directory.join("apps"),
            &places.state,
        ] {
            self.make_directory(host, directory)?;
        }
        for (name, content) in [("format", FORMAT.as_bytes()), ("key", &self.seal)] {
            let path = self.directory.join(name);
            if read_if_there(host.as_read(), &path)?.is_none() {
                self.write_first(host, &path, content)?;
            }
        }
        let key = read_if_there(host.as_read(), &self.directory.join("key"))?;
        if key.as_deref() == Some(&self.seal) {
            return Ok(());
        }
        // What was sealed with another key would look changed to everybody from then on.
        let path = self.directory.clone();
        Err(RegistryError::MadeMeanwhile { path })
    }

    /// Writes a file that nobody has written yet, under a name of this session's first: of several that
    /// come at once one is the first, and its file stays.
    fn write_first(
        &self,
        host: &dyn WriteHost,
        path: &Path,
        mut content: &[u8],
    ) -> Result<(), HostError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let staging = format!(".{name}.");
        let mark = Digest::of(&self.seal).short();
        let staged = path.with_file_name(format!("{staging}{mark}"));
        remove_if_there(host, &staged)?;
        let mut bring = || {
            host.write_file(&staged, &mut content, 0o600, &self.user)?;
            host.sync(&staged)?;
            host.rename(&staged, path)
        };
        match bring() {
            // Somebody else was first, and may have swept already what all others have staged.
            Err(error) if matches!(error.kind, HostErrorKind::Exists | HostErrorKind::NotFound) => {
            }
            brought => brought?,
        }
        for name in host.list(&self.directory)? {
            if name.to_string_lossy().starts_with(&staging) {
                remove_if_there(host, &self.directory.join(name))?;
            }
        }
        host.sync(&self.directory)
    }

    fn make_directory(&self, host: &dyn WriteHost, path: &Path) -> Result<(), HostError> {
        if host.entry(path).is_ok_and(|entry| entry.is_some()) {
            return Ok(());
        }
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        self.make_directory(host, parent)?;
        let mode = if path.starts_with(&self.directory) {
            0o700
        } else {
            0o755
        };
        match host.make_directory(path, mode, &self.user) {
            Err(error) if error.kind == HostErrorKind::Denied => {
                let words = format!("{} may not; {ELSEWHERE}", self.user.user);
                return Err(HostError {
                    kind: HostErrorKind::Other(words),
                    ..error
                });
            }
            Err(error) if error.kind != HostErrorKind::Exists => return Err(error),
            _ => {}
        }
        host.sync(parent)
    }

    /// The directory of every app.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn states(&self, host: &dyn ReadHost) -> Result<Vec<PathBuf>, HostError> {
        let apps = self.directory.join("apps");
        match host.list(&apps) {
            Ok(names) => Ok(names.into_iter().map(|name| apps.join(name)).collect()),
            Err(error) if error.kind == HostErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Every app that has a ledger here, with where its things lie.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn ledgers(&self, host: &dyn ReadHost) -> Result<Vec<(Places, Ledger)>, RegistryError> {
        let mut all = Vec::new();
        for state in self.states(host)? {
            if let Some(ledger) = ledger::load(host, &state)? {
                let root = PathBuf::from(&ledger.root);
                all.push((Places { root, state }, ledger));
            }
        }
        Ok(all)
    }

    /// What all apps own.
    ///
    /// # Errors
    /// When a ledger can't be read.
    pub fn claims(&self, host: &dyn ReadHost) -> Result<Vec<Claims>, RegistryError> {
        let ledgers = self.ledgers(host)?;
        Ok(ledgers
            .into_iter()
            .map(|(places, ledger)| Claims::of(places, &ledger))
            .collect())
    }
}

/// What one app owns on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Its environment.
    pub environment: EnvironmentName,
    /// The app.
    pub app: AppName,
    /// Its root: everything at and below it.
    pub root: PathBuf,
    /// Paths outside of its root.
    pub paths: Vec<String>,
    /// Units.
    pub units: Vec<String>,
}

impl Claims {
    fn of(places: Places, ledger: &Ledger) -> Self {
        let mut claims = Self {
            environment: ledger.environment.clone(),
            app: ledger.app.clone(),
            root: places.root,
            paths: Vec::new(),
            units: Vec::new(),
        };
        let Some(state) = ledger::applied(ledger) else {
            return claims;
        };
        for (id, resource) in &state.resources {
            let external = resource.settings.get("external");
            // What has no attributes is only known of: nobody makes it.
            if external.and_then(Value::as_bool) == Some(true) || resource.attributes.is_empty() {
                continue;
            }
            let setting = |name: &str| resource.settings.get(name).and_then(Value::as_text);
            if id.kind == ResourceKind::SERVICE {
                // The built-in manager knows units by root: the same name elsewhere is another one.
                if setting("manager") != Some("process") {
                    claims.units.push(id.name.clone());
                }
            } else if id.name.starts_with('/') {
                claims.paths.push(id.name.clone());
            }
        }
        claims
    }

    /// Whether a resource is this app's.
    #[must_use]
    pub fn has(&self, id: &ResourceId) -> bool {
        if id.kind == ResourceKind::SERVICE {
            return self.units.contains(&id.name);
        }
        let path = Path::new(&id.name);
        // A directory may be shared by apps: nobody takes it from anybody.
        id.name.starts_with('/')
            && (path.starts_with(&self.root)
                || (id.kind != ResourceKind::DIRECTORY && self.paths.contains(&id.name)))
    }
}

/// Where the registry is usually. Not by `$HOME`, which may be another one next time; but in a container a user may have no
/// name, or no home, and then that has to do.
fn usual(host: &dyn ReadHost, home: Option<&Path>) -> Result<PathBuf, HostError> {
    let facts = host.facts();
    if facts.root {
        return Ok(PathBuf::from("/var/lib/rosey"));
    }
    let own = |home: &PathBuf| home.is_absolute() && home != Path::new("/");
    let known = host.account(&facts.user)?.map(|account| account.home);
    let is_there = |home: &PathBuf| matches!(host.entry(home), Ok(Some(_)));
    let home = known
        .filter(|home| own(home) && is_there(home))
        .or_else(|| home.map(Path::to_owned).filter(own));
    let home = home.ok_or_else(|| HostError {
        doing: "find the home of".to_owned(),
        path: facts.user.clone(),
        kind: HostErrorKind::Other(format!(
            "neither this host's users nor $HOME name one; {ELSEWHERE}"
        )),
    })?;
    Ok(home.join(".local/state/rosey"))
}

/// What to do where the usual place of the registry won't do.
pub(super) const ELSEWHERE: &str =
    "set ROSEY_HELPER_STATE on that host to a directory that it may write to and that stays";

/// A file's content; none where there is no file.
pub(super) fn read_if_there(
    host: &dyn ReadHost,
    path: &Path,
) -> Result<Option<Vec<u8>>, HostError> {
    match host.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_if_there(host: &dyn WriteHost, path: &Path) -> Result<(), HostError> {
    match host.remove_file(path) {
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Writes a file whole or not at all, only for its owner.
pub(super) fn write_durably(
    host: &dyn WriteHost,
    path: &Path,
    mut content: &[u8],
    owner: &Owner,
) -> Result<(), HostError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staged = path.with_file_name(format!(".{name}.new"));
    if let Some(entry) = host.entry(&staged)?
        && entry.kind != EntryType::Directory
    {
        host.remove_file(&staged)?;
    }
    host.write_file(&staged, &mut content, 0o600, owner)?;
    host.sync(&staged)?;
    host.replace(&staged, path)?;
    host.sync(path.parent().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::MemoryHost;
    use crate::host::memory::{Fault, Primitive};

    #[test]
    fn the_key_is_kept_by_the_first_run_and_not_before() {
        let host = MemoryHost::new();
        let before = host.snapshot::<&str>(&[]);
        let first = Registry::open(&host, Place::default(), [1; 32]).unwrap();
        assert_eq!(host.snapshot::<&str>(&[]), before);
        first
            .make(&host, &first.places(Path::new("/opt/bot")))
            .unwrap();
        let second = Registry::open(&host, Place::default(), [2; 32]).unwrap();
        assert_eq!(second.seal(), &[1; 32]);
        let all = host.snapshot(&["/var/lib/rosey"]);
        for (path, entry) in all {
            assert_eq!(entry.mode & 0o077, 0, "{}", path.display());
        }
    }

    #[test]
    fn who_comes_second_has_sealed_with_a_key_that_nobody_keeps() {
        let host = MemoryHost::new();
        let open = |key| Registry::open(&host, Place::default(), [key; 32]).unwrap();
        let (first, second) = (open(1), open(2));
        let make = |registry: &Registry| {
            let places = registry.places(Path::new("/opt/bot"));
            registry.make(&host, &places)
        };
        // As one leaves it that comes at the same time, or that was cut off.
        host.put_file("/var/lib/rosey/.key.0123456789ab", "staged");
        make(&first).unwrap();
        let refused = crate::helper::protocol::Refusal::from(make(&second).unwrap_err());
        assert_eq!(refused.kind, crate::helper::protocol::RefusalKind::Stale);
        let third = open(3);
        assert_eq!(third.seal(), first.seal());
        make(&third).unwrap();
        make(&first).unwrap();
        let left = host.list(Path::new("/var/lib/rosey")).unwrap();
        assert_eq!(left, ["apps", "format", "key"]);
    }

    #[test]
    fn what_is_swept_before_it_is_in_its_place_was_made_by_somebody_else() {
        for name in ["write_file", "sync"] {
            let whole = MemoryHost::new();
            let registry = Registry::open(&whole, Place::default(), [1; 32]).unwrap();
            let places = registry.places(Path::new("/opt/bot"));
            let host = whole.fork();
            drop(whole.take_trace());
            registry.make(&whole, &places).unwrap();
            let trace = whole.take_trace();
            let is_of_key =
                |it: &Primitive| it.name == name && it.path.to_string_lossy().contains(".key.");
            let at = trace.iter().position(is_of_key).unwrap() as u64 + 1;
            host.fault_at(at, Fault::Error(HostErrorKind::NotFound));
            let error = registry.make(&host, &places).unwrap_err();
            let is_meanwhile = matches!(error, RegistryError::MadeMeanwhile { .. });
            assert!(is_meanwhile, "{name}: {error}");
        }
    }

    #[test]
    fn another_format_is_left_alone() {
        let host = MemoryHost::new();
        host.put_file("/var/lib/rosey/format", "rosey registry 9\n");
        let error = Registry::open(&host, Place::default(), [1; 32])
            .err()
            .unwrap();
        assert!(error.to_string().contains("rosey registry 9"), "{error}");
    }
}
