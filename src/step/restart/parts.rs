//! Which acts bring a service from one state to another.

use crate::model::{Action, Reason, Resource};
use crate::step::kind::{Change, Part};

use super::declare::Restart;
use super::kind::stopped;
use super::settings::ServiceSettings;

/// One act, or a stop and a start where something happens that it must not be running through.
pub(super) fn of(change: Change<'_>, reasons: &[Reason], disturbed: bool) -> Vec<Part> {
    let settings = ServiceSettings::of(change.id, change.to.or(change.from));
    let part = |name, action, from: Option<&Resource>, to: Option<&Resource>| Part {
        name,
        action,
        from: from.cloned(),
        to: to.cloned(),
    };
    let one = |action| vec![part("", action, change.from, change.to)];
    let active = |resource: Option<&Resource>| resource.is_some_and(|it| it.is("active"));
    let renewal = match settings.restart {
        Restart::Reload => Action::Reload,
        Restart::OnChange | Restart::Never => Action::Restart,
    };
    if settings.external {
        return match reasons {
            [] => Vec::new(),
            _ if !active(change.from) => one(Action::Start),
            _ => one(renewal),
        };
    }
    if disturbed
        && let (Some(from), Some(to)) = (change.from, change.to)
        && from.is("active")
        && to.is("active")
    {
        let between = stopped(from);
        return vec![
            part("stop", Action::Stop, Some(from), Some(&between)),
            part("start", Action::Start, Some(&between), Some(to)),
        ];
    }
    let differs = |name: &str| reasons.iter().any(|reason| reason.attribute == name);
    let switched = |to: &Resource| {
        if to.is("enabled") {
            Action::Enable
        } else {
            Action::Disable
        }
    };
    match (change.from, change.to) {
        _ if reasons.is_empty() => Vec::new(),
        (_, None) => one(Action::Remove),
        (from, Some(to)) => match (active(from), to.is("active")) {
            (false, true) => one(Action::Start),
            (true, false) => one(Action::Stop),
            (true, true) if differs("fresh") => one(renewal),
            _ => one(switched(to)),
        },
    }
}
