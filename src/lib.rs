//! rosey, a declarative deployment engine.
//!
//! Every command is a difference between two states: desired, actual, last
//! applied, or an earlier generation. One pure planner turns a pair of states
//! into a graph of steps; one executor applies it; the way back is the same
//! planner and the same executor with other arguments.
//!
//! The modules, in layer order: each uses only those before it, which a test holds.
//!
//! - [`model`]: the words, as pure values: names, digests, resources, states, steps, plans, runs.
//! - [`config`]: a KDL declaration and its includes to an environment, with every error on its place.
//! - [`host`]: one server as rosey may read and change it: this machine, or one in memory for tests.
//! - [`content`]: directory trees as manifests, and what of them has to be moved.
//! - [`step`]: one file a kind of resource: its word, its comparison, what it uses, how it is changed.
//! - [`plan`]: the pure planner: the difference of two states as steps, their order, waves and labels.
//! - [`apply`]: the executor on one host, its journal, and the way back from it.
//! - [`helper`]: what runs on a server: protocol, session, registry, ledger, locks.
//! - [`remote`]: SSH: host keys, login, and the upload of this program as the helper.
//! - [`fleet`]: hosts together: observing, waves, the two rounds at the end of a run, going back.
//! - [`history`]: what happened, in SQLite on the controller; it may be deleted at any time.
//! - [`report`]: data to words for people, and to JSON for scripts.
//! - [`cli`]: one file a command, and the one place where errors get an exit code.
//!
//! Where to start reading: [`model`] for the words, then [`plan::plan`], the product in one
//! function. For a command from its first line to its last: `cli/apply.rs`, [`fleet::run`],
//! [`helper::session`], [`apply::step::take`], and a kind, such as `step/link.rs`.

pub mod model;
pub mod config;
pub mod host;
pub mod content;
pub mod step;
pub mod plan;
pub mod apply;
pub mod helper;
pub mod remote;
pub mod fleet;
pub mod history;
pub mod report;
pub mod cli;
