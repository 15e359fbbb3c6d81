//! Whole runs, over real streams, against hosts that fail where a test says so.

mod connection;
mod runs;
