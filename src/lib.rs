//! rosey, a declarative deployment engine.
//!
//! Every command is a difference between two states: desired, actual, last
//! applied, or an earlier generation. One pure planner turns a pair of states
//! into a graph of steps; one executor applies it; the way back is the same
//! planner and the same executor with other arguments.
//!
//! The modules stand in layer order: each uses only those before it.

pub mod apply;
pub mod cli;
pub mod config;
pub mod content;
pub mod fleet;
pub mod helper;
pub mod history;
pub mod host;
pub mod model;
pub mod plan;
pub mod remote;
pub mod report;
pub mod step;
