//! Tests against real servers. They need root and namespaces; `tests/run` leaves them out where there are none.

mod adopt;
mod back;
mod cancel;
mod chaos;
mod clock;
mod cut;
mod deploy;
mod doctor;
mod drift;
mod fleet;
mod found;
mod front;
mod guard;
mod hosts;
mod mixed;
mod newcomer;
mod old;
mod once;
mod process;
mod python;
mod reached;
mod refused;
mod rollback;
mod secrets;
mod waves;
