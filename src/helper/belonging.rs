//! Whose root it is: that of one environment and app, which its ledger names.

use super::protocol::{AppAddress, RegistryEntry};
use crate::model::{AppName, EnvironmentName};

/// Who has a root.
#[derive(Debug, Clone, Copy)]
pub struct Belonging<'a> {
    /// The root with every link resolved.
    pub root: &'a str,
    /// The environment.
    pub environment: &'a EnvironmentName,
    /// The app.
    pub app: &'a AppName,
}

impl<'a> Belonging<'a> {
    /// What a host's registry says of an app with a ledger.
    #[must_use]
    pub fn of(entry: &'a RegistryEntry) -> Self {
        Self {
            root: &entry.root,
            environment: &entry.environment,
            app: &entry.app,
        }
    }

    /// Says it to who has declared an app for the same root.
    #[must_use]
    pub fn words(self, address: &AppAddress) -> String {
        let Self {
            root,
            environment,
            app,
        } = self;
        if *environment == address.environment {
            return format!("the root {root} belongs to the app {app} of this environment");
        }
        format!("the root {root} belongs to the app {app} of the environment {environment}")
    }

    /// What to do about it. What other environments call this host isn't known.
    #[must_use]
    pub fn remedy(self, address: &AppAddress) -> String {
        let only = if *self.environment == address.environment {
            format!(" --only {}", address.host)
        } else {
            String::new()
        };
        format!(
            "rosey remove {} {}{only}   # or give {} another root",
            self.environment, self.app, address.app
        )
    }
}

impl AppAddress {
    /// Whether this is the app of an environment.
    #[must_use]
    pub fn is(&self, environment: &EnvironmentName, app: &AppName) -> bool {
        (&self.environment, &self.app) == (environment, app)
    }
}
