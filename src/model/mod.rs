//! Words as pure values: names, digests, resources, states, steps, plans, runs.

pub mod names;
