//! How long services were away when they were restarted last, as the history has it.

use std::collections::BTreeMap;

use crate::history::History;
use crate::model::{Plan, ResourceId};

use super::Session;
use super::project::Project;

/// The last restart of each service of a plan, in milliseconds. A history that is missing or can't be
/// read knows of none: a plan is made all the same.
pub(super) fn restarts(
    session: &Session,
    project: &Project,
    plan: &Plan,
) -> BTreeMap<ResourceId, u64> {
    let path = session.around.history_of(&project.directory);
    let environment = project.environment.name.as_str();
    let history = History::find(&path).ok().flatten();
    let known = history.and_then(|history| history.restarts(environment).ok());
    let known = known.unwrap_or_default();
    let of_step = |id: &ResourceId| {
        let key = (id.host.to_string(), id.app.to_string(), id.name.clone());
        Some((id.clone(), *known.get(&key)?))
    };
    let steps = plan.steps.iter();
    steps.filter_map(|step| of_step(&step.resource)).collect()
}
