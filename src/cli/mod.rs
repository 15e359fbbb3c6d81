//! One file a command; one place that turns errors into a hint and an exit code.
