//! Makes what a server said fit for a terminal: its words reach people before it is trusted.

/// Replaces control characters, and cuts what is longer than a message should be.
pub(crate) fn printable(text: &str) -> String {
    const LIMIT: usize = 500;
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut clean: String = text.trim().chars().take(LIMIT).map(visible).collect();
    if text.trim().chars().nth(LIMIT).is_some() {
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_and_no_flood_gets_through() {
        assert_eq!(printable(" plain words\n"), "plain words");
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(printable(&"x".repeat(10_000)).chars().count(), 501);
    }
}
