//! What lies where something of another type belongs: found before a step would only stop at it.

use std::path::{Path, PathBuf};

use super::findings::Seen;
use super::protocol::AppAddress;
use crate::apply::site::kind_of;
use crate::host::{EntryType, HostError, HostErrorKind, ReadHost};
use crate::model::shell::quote;
use crate::model::{Finding, FindingClass, Ledger, Resource, ResourceId, State};
use crate::plan::states;
use crate::step::kind::{Change, InTheWay};

impl Seen<'_> {
    /// What can neither become what is wanted nor be put aside for it.
    pub(super) fn misplaced(
        &self,
        id: &ResourceId,
        wanted: &Resource,
        found: Option<&Resource>,
    ) -> Result<Option<Finding>, HostError> {
        let Some(found) = found else { return Ok(None) };
        let kind = kind_of(self.kinds, id)?;
        let known = self.applied.and_then(|state| state.get(id));
        let to = kind.met(wanted, known.unwrap_or(found));
        let in_the_way = |to: &Resource| {
            kind.in_the_way(Change {
                id,
                from: Some(found),
                to: Some(to),
            })
        };
        // What nobody has made yet may be taken over, and that is told with it.
        let adopted = to.clone().setting("adopt", true);
        if known.is_none() && in_the_way(&adopted).is_none() {
            return Ok(None);
        }
        let finding = |it: InTheWay| aside(&self.asked.app, Path::new(&id.name), &it);
        Ok(in_the_way(&to).map(finding))
    }

    /// What is wanted no more, and goes back to how it was before rosey came to it.
    pub(super) fn given_back(&self) -> State {
        let found = self.ledger.and_then(Ledger::found);
        match (self.applied, found) {
            (Some(applied), Some(found)) => {
                states::given_back(&self.asked.wanted, applied, &found.state)
            }
            _ => State::default(),
        }
    }
}

/// Why a resource can't be read. Below its root the app has directories; elsewhere a link is somebody's own.
pub(super) fn unread(
    host: &dyn ReadHost,
    asked: (&AppAddress, &Path),
    id: &ResourceId,
    error: &HostError,
) -> Result<Finding, HostError> {
    let (address, root) = asked;
    let path = Path::new(&id.name);
    let link = match error.kind {
        HostErrorKind::LinkOnTheWay => link_on_the_way(host, path)?,
        _ => None,
    };
    if let Some((link, target)) = link.as_ref().filter(|(link, _)| link.starts_with(root)) {
        let lies = format!("a link to {}", target.display());
        let belongs = "a directory".to_owned();
        return Ok(aside(address, link, &InTheWay { lies, belongs }));
    }
    let real = match link {
        Some(_) => Some(host.real_path(path)?),
        None => None,
    };
    Ok(blocking(
        address,
        format!("{} {} can't be read: {error}", id.kind, id.name),
        real.map(|real| format!("declare it where it really is: {}", real.display())),
    ))
}

/// The first link on the way to a path, and where it points.
fn link_on_the_way(
    host: &dyn ReadHost,
    path: &Path,
) -> Result<Option<(PathBuf, PathBuf)>, HostError> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    for directory in above {
        match host.entry(directory)? {
            Some(entry) if entry.kind == EntryType::Link => {
                return Ok(Some((directory.to_owned(), host.link_target(directory)?)));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn aside(address: &AppAddress, path: &Path, it: &InTheWay) -> Finding {
    let shown = path.display().to_string();
    let message = format!("{shown} is {}, and {} belongs there", it.lies, it.belongs);
    let remedy = format!("sudo mv {0} {0}.old", quote(&shown));
    blocking(address, message, Some(remedy))
}

fn blocking(address: &AppAddress, message: String, remedy: Option<String>) -> Finding {
    Finding {
        class: FindingClass::Blocking,
        host: address.host.clone(),
        app: Some(address.app.clone()),
        message,
        remedy,
    }
}
