//! The last lines of an output or a log, as errors carry them.

/// How many lines an error carries at most.
pub(super) const LINES: usize = 20;

/// The last lines, each on a line of its own behind the error's first; nothing when there are none.
pub(super) fn tail<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines: Vec<&str> = lines
        .into_iter()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let first = lines.len().saturating_sub(LINES);
    lines[first..]
        .iter()
        .map(|line| format!("\n  {line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_empty_ones_are_not() {
        assert_eq!(tail(["", "one ", "", "two"]), "\n  one\n  two");
        assert_eq!(tail([]), "");
        let many: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        let kept = tail(many.iter().map(String::as_str));
        assert_eq!(kept.lines().count(), 1 + LINES);
        assert!(kept.starts_with("\n  10\n"));
    }
}
