//! SQLite: runs, steps, gates, drift reports, audit.
