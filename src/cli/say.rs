//! Words to a person, on stderr.

/// Says a line. One that nobody can read ends nothing: the terminal may be closed, and the servers matter more.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        // Whoever closed it doesn't want to know.
        writeln!(anstream::stderr(), $($words)*).ok();
    }};
}

pub(super) use say;
