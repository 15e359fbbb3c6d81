//! Whole runs on this machine: `host "here" local=#true`, the built-in process manager and a service that really serves.
//!
//! One file a promise. Each test stands on a [`here::Here`] of its own, so all of them can run at the same time.

mod here;

mod approval;
mod bot;
mod contract;
mod closed;
mod convergence;
mod data;
mod drawn;
mod drift;
mod first;
mod first_come;
mod foreign;
mod going_back;
mod in_order;
mod input;
mod judged;
mod leaving;
mod machines;
mod misplaced;
mod past_return;
mod ports;
mod rollback;
mod saved_plans;
mod secrets;
mod several;
mod sources;
mod tasks;
mod told;
mod turns;
mod user;
