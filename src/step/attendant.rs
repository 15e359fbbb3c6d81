//! Acts that accompany the changes of an app on a host: a backup before, gates after.

use crate::model::{Action, Label, Resource, ResourceId, StepKind, Thing};

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
