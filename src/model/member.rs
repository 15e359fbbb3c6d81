//! An app on a host.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AppName, HostName};

/// An app on a host: what has a journal of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The host.
    pub host: HostName,
    /// The app.
    pub app: AppName,
}

impl Member {
    /// The member of that name.
    #[must_use]
    pub fn new(host: &HostName, app: &AppName) -> Self {
        Self {
            host: host.clone(),
            app: app.clone(),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {}", self.app, self.host)
    }
}
