//! Words as pure values. One word for one idea, in code, messages, docs and tables:
//!
//! - **environment, host, app**: what a declaration names. **member** ([`Member`]): an app on a host.
//! - **desired, actual**: the state that is declared; the state that was read.
//! - **resource** ([`Resource`]): one thing on a host that can be compared, with **attributes**
//!   ([`Attributes`], compared) and settings (how to act on it, never compared). **state**
//!   ([`State`]): all the resources of some hosts.
//! - **change** ([`Reason`]): one attribute, its old and its new value. **step** ([`Step`]): one
//!   resource on its way from one state to another. **plan** ([`Plan`]): steps with their order.
//! - **run** ([`RunId`]), **outcome** ([`Outcome`]): one attempt to apply a plan, and its end.
//! - **generation** ([`Generation`]), **ledger** ([`Ledger`]), **journal**: what rosey left
//!   behind on a host; all of it; what a run under way has begun.
//! - **gate** ([`Gate`]): a check that must pass. **verdict** ([`Verdict`]): what it said.
//! - **wave**: the hosts that change together. **drift**: actual against last applied.
//! - **hold**, **freeze**: no apply after a verdict; no apply because a person said so.
//!
//! Nothing here reads a clock, a file or the network. Start reading at [`resource`].

pub(crate) mod base64;
pub mod digest;
pub mod event;
pub mod facts;
pub mod gate;
pub mod ledger;
mod list;
mod masks;
pub mod member;
pub mod names;
pub mod once;
pub mod places;
pub mod plan;
pub mod resource;
pub mod run;
pub mod shell;
pub mod step;
pub mod thing;
pub mod value;
mod word;

pub use digest::Digest;
pub use event::{Event, EventKind};
pub use facts::{HostFacts, Moment};
pub use gate::{Gate, GateKind, GateResult, Gates, Verdict};
pub use ledger::{Freeze, Generation, Hold, Ledger, Marks, Restated};
pub use list::few;
pub use masks::Masks;
pub use member::Member;
pub use names::{AppName, EnvironmentName, HostName, RemotePath};
pub use once::Once;
pub use places::Places;
pub use plan::{Finding, FindingClass, Plan};
pub use resource::{Attributes, Resource, ResourceId, ResourceKind, State};
pub use run::{Author, HostOutcome, Outcome, OutcomeKind, RunId};
pub use step::{Action, Label, Reason, Step, StepId, StepKind, Wave};
pub use thing::Thing;
pub use value::Value;
