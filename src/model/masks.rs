//! Values of secrets, and words without them.

use std::fmt;

use zeroize::Zeroizing;

/// What stands in a word for a value.
const MASK: &str = "***";

/// The fewest characters of a line that is masked. What is shorter is in too many other words: without it
/// they would say nothing any more, and where it was masked would tell it.
const SHORTEST: usize = 4;

/// Values that no word may hold: those of secrets, wiped when dropped and shown by no `Debug`.
#[derive(Clone, Default)]
pub struct Masks {
    /// The longest first, so that none is found inside another one and leaves the rest of that.
    lines: Vec<Zeroizing<String>>,
}

impl Masks {
    /// Adds a value, line by line, since what prints it may print it so, indented or cut off. White space around a line,
    /// and lines of fewer than [four characters](SHORTEST), are left alone.
    pub fn add(&mut self, value: &str) {
        for line in value.lines().map(str::trim) {
            let known = self.lines.iter().any(|known| **known == line);
            if line.chars().count() < SHORTEST || known {
                continue;
            }
            let at = self.lines.partition_point(|it| it.len() >= line.len());
            self.lines.insert(at, Zeroizing::new(line.to_owned()));
        }
    }

    /// Adds everything that other masks have.
    pub fn extend(&mut self, others: &Self) {
        for line in &others.lines {
            self.add(line);
        }
    }

    /// The lines, each as it is masked.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.as_str())
    }

    /// Whether there is something of a value in some words.
    #[must_use]
    pub fn are_in(&self, words: &str) -> bool {
        self.lines.iter().any(|line| words.contains(&**line))
    }

    /// The words with `***` for every line of a value.
    #[must_use]
    pub fn mask(&self, words: &str) -> String {
        let mut masked = words.to_owned();
        for line in &self.lines {
            if masked.contains(&**line) {
                masked = masked.replace(&**line, MASK);
            }
        }
        masked
    }
}

impl<T: AsRef<str>> FromIterator<T> for Masks {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut masks = Self::default();
        for value in values {
            masks.add(value.as_ref());
        }
        masks
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Masks(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_value_is_masked_wherever_it_is() {
        let masks: Masks = ["hunter2", "BEGIN\n  first line\r\nend\n"].iter().collect();
        let words = "tok=hunter2;\n  BEGIN\n    first line\nend";
        assert_eq!(masks.mask(words), "tok=***;\n  ***\n    ***\nend");
        assert!(masks.are_in("a first line") && !masks.are_in("the end"));
        assert_eq!(format!("{masks:?}"), "Masks(…)");
    }

    #[test]
    fn a_value_in_another_one_leaves_nothing_of_it() {
        let masks: Masks = ["abcd", "abcdefgh", "abcd"].iter().collect();
        assert_eq!(masks.mask("abcdefgh abcd"), "*** ***");
    }

    #[test]
    fn what_is_too_short_is_left() {
        let masks: Masks = ["1", "", "abc", "öäü"].iter().collect();
        assert_eq!(
            masks.mask("exited with 1: abc öäü"),
            "exited with 1: abc öäü"
        );
    }
}
