//! What the planner and the executor ask about tasks.

use crate::config::{Declaration, Word};
use crate::host::HostError;
use crate::model::{
    Action, Label, Reason, Resource, ResourceId, ResourceKind, Step, StepKind, Thing, Value,
};
use crate::step::desired::Desired;
use crate::step::kind::{
    Change, InTheWay, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
};

use super::{build, declare, desire, plain};

/// Tasks.
#[derive(Debug, Clone, Copy)]
pub struct Task;

impl Kind for Task {
    fn resource(&self) -> ResourceKind {
        ResourceKind::TASK
    }

    fn step(&self) -> StepKind {
        StepKind::RUN
    }

    fn words(&self) -> Vec<Word> {
        vec![declare::TASK]
    }

    fn shape(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::shape(declaration, desired);
    }

    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        desire::desire(declaration, desired);
    }

    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        let name = it.id.name.clone();
        if is_built(it.id) {
            vec![Thing::Path(name)]
        } else {
            vec![Thing::Stamp {
                app: it.id.app.clone(),
                task: name,
            }]
        }
    }

    fn uses(&self, it: Named<'_>) -> Vec<Thing> {
        let uses = it.resource.settings.get("uses");
        uses.into_iter()
            .flat_map(Value::texts)
            .map(|path| Thing::Path(path.to_owned()))
            .collect()
    }

    /// What was built stays for the releases that lead to it. What a task did is undone with it.
    fn is_retained(&self, it: Named<'_>) -> bool {
        is_built(it.id)
    }

    fn in_the_way(&self, change: Change<'_>) -> Option<InTheWay> {
        build::in_the_way(change)
    }

    fn parts(&self, change: Change<'_>, reasons: &[Reason], _disturbed: bool) -> Vec<Part> {
        if reasons.is_empty() {
            return Vec::new();
        }
        vec![Part {
            name: "",
            action: action(change),
            from: change.from.cloned(),
            to: change.to.cloned(),
        }]
    }

    fn is_once(&self, change: Change<'_>) -> bool {
        let resource = change.to.or(change.from);
        let once = resource.and_then(|resource| resource.settings.get("once"));
        once.and_then(Value::as_bool) == Some(true)
    }

    /// What is built is seen by nobody before a release that leads to it is shown.
    fn is_inert(&self, change: Change<'_>) -> bool {
        change.to.is_some() && is_built(change.id)
    }

    fn label(&self, change: Change<'_>) -> Label {
        if is_built(change.id) {
            return Label::Reversible;
        }
        let settings = change.to.or(change.from).map(|resource| &resource.settings);
        match (action(change), settings) {
            // Only the stamp goes, and it is put back.
            (Action::Remove | Action::Note, _) => Label::Reversible,
            // What is undone can be done again, and what is declared to do no harm stays done. The rest
            // can't even be undone.
            (Action::Undo, _) => {
                let from = change.from.map(|resource| &resource.settings);
                if from.is_some_and(plain::can_be_undone) {
                    Label::Compensable
                } else {
                    Label::Irreversible
                }
            }
            (_, Some(settings)) if settings.contains_key("undo") => Label::Compensable,
            _ => Label::Irreversible,
        }
    }

    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        let resource = if is_built(id) {
            build::observe(context, id, wanted)?
        } else {
            plain::observe(context, id)?
        };
        Ok(Observed {
            resource,
            changes: Vec::new(),
        })
    }

    fn is_between(&self, step: &Step, found: Option<&Resource>) -> bool {
        is_built(&step.resource) && (found.is_none() || found.is_some_and(build::is_unfinished))
            || plain::is_between(step, found)
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        if is_built(&step.resource) {
            build::apply(context, step)
        } else {
            plain::apply(context, step)
        }
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        if is_built(&step.resource) {
            return Ok(());
        }
        Ok(plain::sweep(context, step)?)
    }
}

/// A task with output is named by the directory that it makes.
fn is_built(id: &ResourceId) -> bool {
    id.name.starts_with('/')
}

fn action(change: Change<'_>) -> Action {
    match (change.from, change.to) {
        (Some(_), None) if is_built(change.id) => Action::Remove,
        (Some(from), to) if plain::is_undone(from, to) && plain::is_noted(from) => Action::Note,
        (None, Some(to)) if plain::is_noted(to) => Action::Note,
        (Some(from), to) if plain::is_undone(from, to) => Action::Undo,
        (Some(_), None) => Action::Remove,
        _ => Action::Run,
    }
}
