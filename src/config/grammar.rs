//! Which nodes are known by their first argument and which by their word alone:
//! what merging and the search for duplicates need to know about the words.
//!
//! Must not know what the words mean.

use super::node::{Node, Scalar};
use super::word::Word;

/// Which words of one level are known by their first argument.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grammar {
    named: Vec<&'static str>,
    inner: Vec<(&'static str, Grammar)>,
    /// For words not in `inner`: the same level again.
    recursive: bool,
    /// Whether these are variables: any word may be here, and a value replaces a map and a map a value.
    pub variables: bool,
    /// Properties of a word of which one says instead of another where something is.
    alternatives: Vec<(&'static str, &'static [&'static str])>,
}

/// What a node is known by among its siblings: its word, and its first argument as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    word: String,
    first: Option<String>,
}

impl Grammar {
    /// The environment's own words, and in an app the kinds'.
    pub fn environment(words: &[Word]) -> Self {
        let plain = |named: &[&'static str]| Self {
            named: named.to_vec(),
            ..Self::default()
        };
        let variables = || Self {
            recursive: true,
            variables: true,
            ..Self::default()
        };
        let app = Self {
            named: words
                .iter()
                .filter(|word| word.repeated)
                .map(|word| word.word)
                .collect(),
            inner: words
                .iter()
                .map(|word| {
                    (
                        word.word,
                        Self {
                            recursive: true,
                            ..plain(word.repeated_inside)
                        },
                    )
                })
                .collect(),
            ..Self::default()
        };
        Self {
            named: vec!["include", "assert", "secret", "host", "app"],
            inner: vec![
                ("vars", variables()),
                (
                    "host",
                    Self {
                        inner: vec![("vars", variables())],
                        ..plain(&["host-key", "identity"])
                    },
                ),
                ("app", app),
                ("rollout", plain(&["wave"])),
                ("notify", plain(&["webhook"])),
            ],
            alternatives: vec![("secret", &["env", "file", "command"])],
            ..Self::default()
        }
    }

    pub fn key(&self, node: &Node) -> Key {
        let first = node.arguments.first();
        self.key_of(&node.word, first.map(|first| &first.value))
    }

    /// The key of a node with that word and first argument.
    pub fn key_of(&self, word: &str, first: Option<&Scalar>) -> Key {
        let first = first.filter(|_| self.named.contains(&word));
        Key {
            word: word.to_owned(),
            first: first.map(Scalar::describe),
        }
    }

    /// Whether a property of a word takes the place of another one.
    pub fn is_instead(&self, word: &str, property: &str, of: &str) -> bool {
        let mut alternatives = self.alternatives.iter();
        alternatives.any(|(known, names)| {
            *known == word && names.contains(&property) && names.contains(&of)
        })
    }

    /// The grammar of the children of a node of this word.
    pub fn inside(&self, word: &str) -> Self {
        if let Some((_, grammar)) = self.inner.iter().find(|(known, _)| *known == word) {
            return grammar.clone();
        }
        if self.recursive {
            self.clone()
        } else {
            Self::default()
        }
    }
}

/// In a list written as children, `-` stands for one more item.
pub(crate) const ITEM: &str = "-";
/// Takes a node of an include away: `remove http "…"`.
pub(crate) const REMOVE: &str = "remove";
