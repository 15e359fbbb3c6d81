//! Acts that accompany the changes of an app on a host: a backup before, gates after.

use crate::config::{Declaration, Word};
use crate::host::HostError;
use crate::model::{
    Action, Label, Reason, Resource, ResourceId, ResourceKind, Step, StepKind, Thing,
};

use super::desired::Desired;
use super::kind::{Change, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError};

/// An act that is to accompany the changes of the app; the planner adds it by its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attendant {
    /// What it is known by.
    pub resource: ResourceId,
    /// The kind of its step.
    pub kind: StepKind,
    /// What it does.
    pub action: Action,
    /// What its kind needs for doing it, as settings.
    pub with: Resource,
    /// How it can be taken back.
    pub label: Label,
    /// When.
    pub turn: Turn,
    /// What nobody may be running on meanwhile.
    pub disturbs: Vec<Thing>,
    /// Whether it comes also where there is nothing to accompany.
    pub lone: bool,
}

/// When an attendant's turn comes, among the steps of its app on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Before the first step that the running system can see.
    First,
    /// While nobody has a thing that it disturbs: after the stop, before the start.
    Quiet,
    /// After everything else.
    Last,
}

/// A kind of acts: never part of a state, only of plans. [`Attending`] makes it a [`Kind`].
pub trait Act: Send + Sync {
    /// What attendants of this kind are known by.
    const RESOURCE: ResourceKind;

    /// The word of the step.
    const STEP: StepKind;

    /// The word of an app's body that asks for it.
    const WORD: Word;

    /// Wants what its word declares.
    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>);

    /// How long it may wait for what it waits for, in milliseconds, where it says so itself.
    fn within(&self, _step: &Step) -> Option<u64> {
        None
    }

    /// Acts. Called twice, or after being cut off anywhere, it ends the same.
    ///
    /// # Errors
    /// When it couldn't be done.
    fn act(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError>;

    /// Removes what a run put aside for its way back, once the run is settled.
    ///
    /// # Errors
    /// When something can't be removed; that harms nothing but space.
    fn sweep(&self, _context: &StepContext<'_>, _step: &Step) -> Result<(), StepError> {
        Ok(())
    }
}

/// An act as a kind: there is nothing to compare, and nothing to undo.
pub struct Attending<A>(pub A);

impl<A: Act> Kind for Attending<A> {
    fn resource(&self) -> ResourceKind {
        A::RESOURCE
    }

    fn step(&self) -> StepKind {
        A::STEP
    }

    fn words(&self) -> Vec<Word> {
        vec![A::WORD]
    }

    fn desire(&self, declaration: &Declaration, desired: &mut Desired<'_>) {
        self.0.desire(declaration, desired);
    }

    fn makes(&self, _it: Named<'_>) -> Vec<Thing> {
        Vec::new()
    }

    fn uses(&self, _it: Named<'_>) -> Vec<Thing> {
        Vec::new()
    }

    fn parts(&self, _change: Change<'_>, _reasons: &[Reason], _disturbed: bool) -> Vec<Part> {
        Vec::new()
    }

    fn is_inert(&self, _change: Change<'_>) -> bool {
        false
    }

    fn observe(
        &self,
        _context: &ObserveContext<'_>,
        _id: &ResourceId,
        _wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        Ok(Observed::default())
    }

    fn within(&self, step: &Step) -> Option<u64> {
        self.0.within(step)
    }

    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        self.0.act(context, step)
    }

    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        self.0.sweep(context, step)
    }
}
