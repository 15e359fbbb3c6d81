//! An app as it is on this host: from its address to where its things lie and who owns them.

use std::path::Path;

use super::protocol::{AppAddress, Refusal, RefusalKind};
use super::refuse::refusal;
use super::registry::Registry;
use crate::host::{Manager, Owner, ReadHost};
use crate::model::{Places, RemotePath};

/// An app on this host.
#[derive(Debug, Clone)]
pub(super) struct App {
    /// As the controller names it.
    pub address: AppAddress,
    /// Where its things lie.
    pub places: Places,
    /// Who runs its services: `systemd` or `process`.
    pub manager: &'static str,
    /// Who owns what rosey makes.
    pub owner: Owner,
    /// Who owns what the app writes.
    pub app_owner: Owner,
}

impl App {
    /// Finds out about an app. Reads only.
    pub fn find(
        host: &dyn ReadHost,
        registry: &Registry,
        address: &AppAddress,
    ) -> Result<Self, Refusal> {
        let root = RemotePath::new(address.root.as_str())
            .map_err(|error| refusal(RefusalKind::Host, error.to_string()))?;
        let places = registry.places(&host.real_path(Path::new(root.as_str()))?);
        let facts = host.facts();
        let user = registry.user().clone();
        let app_owner = match &address.owner {
            Some(owner) if facts.root => owner.clone(),
            _ => user.clone(),
        };
        // Root's own, and readable by the app: its group is the app's.
        let owner = Owner {
            group: app_owner.group.clone(),
            ..user
        };
        let manager = match address.manager.as_deref() {
            Some("process") => "process",
            Some("systemd") => "systemd",
            _ if facts.root && facts.systemd => "systemd",
            _ => "process",
        };
        Ok(Self {
            address: address.clone(),
            places,
            manager,
            owner,
            app_owner,
        })
    }

    /// The manager of the app's services.
    pub fn service_manager(&self) -> Manager {
        if self.manager == "systemd" {
            return Manager::Systemd;
        }
        Manager::Process {
            directory: self.places.process().to_string_lossy().into_owned(),
        }
    }
}
