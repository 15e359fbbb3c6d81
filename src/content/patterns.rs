//! Lists of patterns in the form of `.gitignore`.
//!
//! The same form everywhere: what a source leaves out, and what may be extra in a release.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use thiserror::Error;

use super::manifest::EntryPath;

/// Patterns in the form of `.gitignore`; a later one overrides an earlier one, `!` takes back.
#[derive(Debug, Clone)]
pub struct Patterns(Gitignore);

/// Says that a line is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{pattern:?} is not a pattern: {why}")]
pub struct InvalidPattern {
    /// The line as given.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl Patterns {
    /// Takes lines as `.gitignore` has them: empty ones and comments count for nothing.
    ///
    /// # Errors
    /// Every line that is no pattern.
    pub fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<InvalidPattern>> {
        let mut builder = GitignoreBuilder::new("");
        let mut wrong = Vec::new();
        for line in lines {
            if let Err(error) = builder.add_line(None, line) {
                wrong.push(InvalidPattern {
                    pattern: line.to_owned(),
                    why: error.to_string(),
                });
            }
        }
        match builder.build() {
            Ok(patterns) if wrong.is_empty() => Ok(Self(patterns)),
            Ok(_) => Err(wrong),
            Err(error) => {
                wrong.push(InvalidPattern {
                    pattern: "the whole list".to_owned(),
                    why: error.to_string(),
                });
                Err(wrong)
            }
        }
    }

    /// Takes those lines that are patterns. For lists that were checked where they were declared:
    /// a line that an older version took must not stop the reading of a host.
    #[must_use]
    pub fn lenient(lines: &[String]) -> Self {
        let sound = lines
            .iter()
            .map(String::as_str)
            .filter(|line| Self::new([*line]).is_ok());
        Self::new(sound).unwrap_or_else(|_| Self(Gitignore::empty()))
    }

    /// Whether the entry itself matches. Enough for who walks from the top and doesn't enter what matches.
    #[must_use]
    pub fn matches(&self, path: &EntryPath, is_directory: bool) -> bool {
        self.0.matched(path.as_path(), is_directory).is_ignore()
    }

    /// Whether the entry or any directory above it matches.
    #[must_use]
    pub fn cover(&self, path: &EntryPath, is_directory: bool) -> bool {
        self.0
            .matched_path_or_any_parents(path.as_path(), is_directory)
            .is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::new(text).unwrap()
    }

    #[test]
    fn patterns_are_those_of_gitignore() {
        let patterns = Patterns::new([
            "# a comment",
            "",
            "*.pyc",
            "__pycache__/",
            "/data",
            "!keep.pyc",
        ])
        .unwrap();
        assert!(patterns.matches(&path("a/b.pyc"), false));
        assert!(!patterns.matches(&path("a/keep.pyc"), false));
        assert!(patterns.matches(&path("a/__pycache__"), true));
        assert!(!patterns.matches(&path("a/__pycache__"), false));
        assert!(patterns.matches(&path("data"), false));
        assert!(!patterns.matches(&path("a/data"), false));
        assert!(patterns.cover(&path("a/__pycache__/x.txt"), false));
        assert!(!patterns.matches(&path("a/__pycache__/x.txt"), false));
    }

    #[test]
    fn every_line_that_is_no_pattern_is_named() {
        let wrong = Patterns::new(["a{", "*.pyc", "{x"]).unwrap_err();
        let named: Vec<&str> = wrong.iter().map(|wrong| wrong.pattern.as_str()).collect();
        assert_eq!(named, ["a{", "{x"]);
        let lenient = Patterns::lenient(&["a{".to_owned(), "*.pyc".to_owned()]);
        assert!(lenient.matches(&path("b.pyc"), false));
    }

    #[test]
    fn names_that_are_no_text_are_matched_too() {
        let patterns = Patterns::new(["*.pyc"]).unwrap();
        assert!(patterns.matches(&EntryPath::new(&b"a\xff\n.pyc"[..]).unwrap(), false));
    }
}
