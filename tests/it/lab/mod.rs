//! Tests against real servers. They need root and namespaces; `tests/run` leaves them out where there are none.

mod deploy;
mod fleet;
mod hosts;
