//! Data to words, and to JSON: what people and scripts read.
//!
//! Nothing here decides or does anything, and nothing here knows a terminal but [`display`]. Plans,
//! events, outcomes and tables each have one place that words them.

pub mod display;
mod document;
mod event;
mod outcome;
mod plan;
pub mod progress;
pub mod table;
mod text;
mod variables;

pub use document::{event_line, outcome_json, plan_document};
pub use event::message;
pub use outcome::summary;
pub use plan::{PlanView, plan_text};
pub use text::{after, bytes, count, duration, steps};
pub use variables::VariableChange;
