//! A declaration as a plain tree of words, arguments and properties, each with
//! its place: what files are merged as, and what a [`super::Reader`] reads.
//!
//! Must not know any word, nor the parser that it came from (see `parse`).

use std::collections::BTreeSet;

use super::place::Place;

/// A value as written, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub value: Scalar,
    pub place: Place,
}

/// A property: `name=value`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Property {
    pub name: String,
    pub name_place: Place,
    pub value: Entry,
}

/// A single value as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A string, quoted or not.
    String(String),
    /// A whole number.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// `#true` or `#false`.
    Bool(bool),
    /// `#null`.
    Null,
}

impl Scalar {
    /// The value as a message shows it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::String(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(yes) => format!("#{yes}"),
            Self::Null => "#null".to_owned(),
        }
    }
}

/// One node: `word arguments… name=value… { children }`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub word: String,
    pub word_place: Place,
    pub arguments: Vec<Entry>,
    pub properties: Vec<Property>,
    pub children: Vec<Node>,
}

impl Node {
    /// The whole tree of an environment as one node, whose children are those of the file.
    pub fn of_environment(children: Vec<Node>) -> Self {
        Self {
            word: String::new(),
            word_place: Place::new(0, 0, 0),
            arguments: Vec::new(),
            properties: Vec::new(),
            children,
        }
    }

    /// Whether it is the node made by [`Self::of_environment`].
    pub fn is_environment(&self) -> bool {
        self.word.is_empty()
    }

    /// The node as a message names it: its word and first argument.
    pub fn describe(&self) -> String {
        match self.arguments.first() {
            Some(first) => format!("{} {}", self.word, first.value.describe()),
            None => self.word.clone(),
        }
    }

    /// Where its word stands, and all words inside of it.
    pub fn word_places(&self, places: &mut BTreeSet<Place>) {
        places.insert(self.word_place);
        self.children
            .iter()
            .for_each(|child| child.word_places(places));
    }

    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties
            .iter()
            .find(|property| property.name == name)
    }
}
