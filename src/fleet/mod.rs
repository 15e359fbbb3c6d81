//! Hosts together: reaching them, the waves of a run, its two rounds at the end, and the way back.
//!
//! What is decided is decided in small pure functions ([`target`], `decide`, `progress`,
//! `ending`); around them stands a thin shell that talks to all hosts at once. It knows the
//! protocol of the helper and nothing of how a host does what it is asked. Start reading at
//! [`run`].

pub mod ask;
mod back;
mod begin;
pub mod cancel;
mod conduct;
pub mod compose;
pub mod declared;
pub mod prospect;
pub mod reach;
pub mod connection;
mod decide;
pub mod ending;
pub mod events;
mod lock;
pub mod mixed;
pub mod pack;
pub mod pending;
pub mod progress;
pub mod readback;
mod rounds;
pub mod run;
pub mod settle;
pub mod supply;
pub mod target;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transfer;
mod waves;

pub use ask::{AskError, Begun, Locked, Surveyed, WayBack};
pub use cancel::{Cancel, Canceller, Cancelling};
pub use connection::{Connection, ConnectionLost, Pulse, Transport};
pub use ending::MemberEnd;
pub use events::Events;
pub use lock::pause;
pub use progress::Standing;
pub use rounds::removed;
pub use run::{
    Cause, ContentSource, Failure, Fleet, Forget, Holdable, Pace, Part, Run, RunEnd, conduct,
};
