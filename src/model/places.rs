//! Where things of one app lie on its host.

use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::run::RunId;

/// Where things of one app lie on its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The app's root, by its real path.
    pub root: PathBuf,
    /// The directory of the app in the host's registry: ledger, journal, lock, and the process manager's own.
    pub state: PathBuf,
}

impl Places {
    /// `<root>/.rosey`, only for rosey and only readable by its user.
    #[must_use]
    pub fn own(&self) -> PathBuf {
        self.root.join(".rosey")
    }

    /// Content as it was received, as packs.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.own().join("objects")
    }

    /// What the trees consist of that were received: a manifest each, by its digest.
    #[must_use]
    pub fn manifests(&self) -> PathBuf {
        self.own().join("manifests")
    }

    /// What a run has made and not yet shown, or displaced and not yet given up.
    #[must_use]
    pub fn staging(&self, run: &RunId) -> PathBuf {
        self.all_staging().join(&run.0)
    }

    /// The same of all runs.
    #[must_use]
    pub fn all_staging(&self) -> PathBuf {
        self.own().join("staging")
    }

    /// Backups of data.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.own().join("backups")
    }

    /// Releases.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    /// The built-in service manager's own directory: unit files, and what it knows of running services.
    #[must_use]
    pub fn process(&self) -> PathBuf {
        self.state.join("process")
    }

    /// Where the other one of a pair that is exchanged lies: new content before the exchange, the
    /// old content after it. Inside the root it is in the run's staging directory; elsewhere beside
    /// the path, under a name that starts with a dot, because a rename can't leave a file system.
    #[must_use]
    pub fn aside(&self, path: &Path, run: &RunId) -> PathBuf {
        // The root itself can't be made inside of itself.
        if path.starts_with(&self.root) && path != self.root {
            let name = Digest::of(path.as_os_str().as_encoded_bytes()).short();
            return self.staging(run).join(name);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.rosey-{run}"))
    }
}
