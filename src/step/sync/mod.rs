//! a `release`, `file` or `directory`, made as it should be.
//!
//! Everything new is made aside and shown by one rename or exchange; see [`spot`]. Only the mode and
//! owner of a directory, and of a file that the app itself writes, are set where they are.

pub mod declare;
pub mod desire;
pub mod directory;
pub(crate) mod entry;
pub mod file;
pub mod release;
pub(crate) mod spot;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::host::Owner;
use crate::model::{Action, Resource, Step};

use super::kind::{Change, Part, StepContext, StepError};

pub use directory::Directory;
pub use file::File;
pub use release::Release;

pub(crate) use release::found_tree;

/// The one part that a change has.
pub(crate) fn part(change: Change<'_>) -> Part {
    Part {
        name: "",
        action: match (change.from, change.to) {
            (None, _) => Action::Create,
            (_, None) => Action::Remove,
            _ => Action::Update,
        },
        from: change.from.cloned(),
        to: change.to.cloned(),
    }
}

/// Whether each of mode and owner is found as it was or as it will be.
fn mixes(step: &Step, found: Option<&Resource>) -> bool {
    let (Some(from), Some(to), Some(found)) = (&step.from, &step.to, found) else {
        return false;
    };
    let same = |name: &str, other: &Resource| found.text(name) == other.text(name);
    let mut names = ["mode", "owner", "group"].into_iter();
    found.text(entry::TYPE).is_none() && names.all(|name| same(name, from) || same(name, to))
}

/// Sets mode and owner where they are, from what was planned, or from any state between.
fn set_in_place(
    context: &StepContext<'_>,
    step: &Step,
    found: Option<&Resource>,
    to: &Resource,
) -> Result<(), StepError> {
    let Some(found_now) = found else {
        return Err(entry::conflict(step, None));
    };
    let path = Path::new(&step.resource.name);
    let differs = |name: &str| {
        to.text(name)
            .is_some_and(|wanted| found_now.text(name) != Some(wanted))
    };
    let (mode, owner) = (differs("mode"), differs("owner") || differs("group"));
    if (mode || owner) && !mixes(step, found) {
        return Err(entry::conflict(step, found));
    }
    if owner {
        let now = Owner {
            user: found_now.text("owner").unwrap_or_default().to_owned(),
            group: found_now.text("group").unwrap_or_default().to_owned(),
        };
        context.host.set_owner(path, &file::owner_of(to, &now))?;
    }
    let wanted = to
        .text("mode")
        .and_then(|mode| u32::from_str_radix(mode, 8).ok());
    // A change of owner may clear the set-user-id bits (chown(2)).
    if let Some(wanted) = wanted.filter(|wanted| mode || (owner && wanted & 0o6000 != 0)) {
        context.host.set_mode(path, wanted)?;
    }
    context.host.sync(path)?;
    // It may just have been made by a try that was cut off before its name was durable.
    Ok(spot::Spot::of(context, &step.resource)?.sync()?)
}
