//! Resources and the states that they make up.
//!
//! A [`State`] is the one thing that rosey compares: desired, actual, last applied and earlier
//! generations are all of this type. What is not in it is absent.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::{AppName, HostName};
use super::value::Value;
use super::word::word;

word! {
    /// The kind of a resource: `release`, `file`, `directory`, `link`, `task`, `service`, or a further one.
    ResourceKind {
        /// An immutable directory tree.
        RELEASE = "release";
        /// A regular file outside of releases.
        FILE = "file";
        /// A directory that outlives releases.
        DIRECTORY = "directory";
        /// A symbolic link outside of releases.
        LINK = "link";
        /// A command whose effect is stamped.
        TASK = "task";
        /// A service of the host's service manager.
        SERVICE = "service";
    }
}

/// Names one resource of one app on one host.
///
/// `name` is what the kind knows it by: the absolute path of a release, file, directory or link
/// (for a task with `output` that of its `built/` directory), the name of a `once` task or of a task
/// without output, the unit of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceId {
    /// The host that it is on.
    pub host: HostName,
    /// The app that it belongs to.
    pub app: AppName,
    /// What kind of thing it is.
    pub kind: ResourceKind,
    /// Its name within its kind.
    pub name: String,
}

impl fmt::Display for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} ({} on {})",
            self.kind, self.name, self.app, self.host
        )
    }
}

/// What is compared: attribute names with their values.
pub type Attributes = BTreeMap<String, Value>;

/// One resource as it is, or as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resource {
    /// What is compared, and what a step writes.
    pub attributes: Attributes,
    /// What the kind needs for acting on the resource or for ordering it (what a service uses, a
    /// task's command, time limits). Declared, kept in the ledger, never read from a host and never compared.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub settings: Attributes,
}

impl Resource {
    /// A resource without attributes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one attribute more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// The same with one setting more.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// The text of an attribute; none when it is absent or no text.
    #[must_use]
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).and_then(Value::as_text)
    }

    /// Whether an attribute is there and true.
    #[must_use]
    pub fn is(&self, attribute: &str) -> bool {
        self.attributes.get(attribute).and_then(Value::as_bool) == Some(true)
    }
}

/// The resources of some hosts. A resource that isn't in it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct State {
    /// Each resource by its name.
    pub resources: BTreeMap<ResourceId, Resource>,
}

/// One line of a state as it is written: JSON has no maps with compound keys.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    id: ResourceId,
    #[serde(flatten)]
    resource: Resource,
}

impl From<Vec<Entry>> for State {
    fn from(entries: Vec<Entry>) -> Self {
        Self {
            resources: entries
                .into_iter()
                .map(|entry| (entry.id, entry.resource))
                .collect(),
        }
    }
}

impl From<State> for Vec<Entry> {
    fn from(state: State) -> Self {
        state
            .resources
            .into_iter()
            .map(|(id, resource)| Entry { id, resource })
            .collect()
    }
}

impl State {
    /// One resource, if it is there.
    #[must_use]
    pub fn get(&self, id: &ResourceId) -> Option<&Resource> {
        self.resources.get(id)
    }

    /// The part of the state that is on one host.
    #[must_use]
    pub fn on(&self, host: &HostName) -> Self {
        self.filtered(|id| &id.host == host)
    }

    /// The part of the state that belongs to one app.
    #[must_use]
    pub fn of(&self, app: &AppName) -> Self {
        self.filtered(|id| &id.app == app)
    }

    fn filtered(&self, keep: impl Fn(&ResourceId) -> bool) -> Self {
        let resources = self
            .resources
            .iter()
            .filter(|(id, _)| keep(id))
            .map(|(id, resource)| (id.clone(), resource.clone()))
            .collect();
        Self { resources }
    }

    /// Adds the resources of another state; where both have one, the other's stands.
    pub fn extend(&mut self, other: Self) {
        self.resources.extend(other.resources);
    }
}
