//! What resources make, use and occupy: the only facts from which order is derived.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::AppName;

/// Something on one host that one resource makes and others use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// Whatever is at an absolute path. Who uses a path uses what makes it or anything above it.
    Path(String),
    /// A unit that the service manager runs.
    Unit(String),
    /// The right to run, which at most one version of an app's service has (ports, sockets, a
    /// database's lock): what gives it up comes before what takes it.
    Turn(String),
    /// The stamp of a task, which is its app's: another may have a task of that name.
    Stamp {
        /// The app.
        app: AppName,
        /// The task's name.
        task: String,
    },
}

impl Thing {
    /// Whether using `self` means using what `made` stands for.
    ///
    /// A path is used together with everything above it, since none can be reached without.
    #[must_use]
    pub fn needs(&self, made: &Self) -> bool {
        match (self, made) {
            (Self::Path(used), Self::Path(made)) => {
                used == made
                    || (used.starts_with(made.as_str())
                        && (made.ends_with('/') || used.as_bytes().get(made.len()) == Some(&b'/')))
            }
            _ => self == made,
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => formatter.write_str(path),
            Self::Unit(unit) => formatter.write_str(unit),
            Self::Turn(app) => write!(formatter, "the running {app}"),
            Self::Stamp { task, .. } => write!(formatter, "the stamp of {task}"),
        }
    }
}
