//! The laws over every kind that rosey has, with a fault at every primitive, on the host in memory.
//!
//! A [`shapes::Shape`] is a host and a change of what is declared there. [`faults`] takes the change once, keeps the
//! host as it was before each primitive, and from there tries everything that can go wrong, on the way there and on
//! the way back. After each fault a helper that was just started settles the run, and the host is read whole: it is as
//! it was before, or, past the commit, as it should be. Meanwhile [`guardian`] looks at every moment in between.
//!
//! A new kind needs nothing here but a resource of its own in [`declared`]: a test asks that every kind is in a shape.

pub mod app;
pub mod declared;
pub mod faults;
pub mod guardian;
pub mod planted;
pub mod shapes;
mod small;
mod suite;
