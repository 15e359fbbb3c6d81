//! Reads one node with types, and keeps account of what was asked for: what
//! nobody asked for is an unknown word, reported with the nearest known one.
//!
//! Every fault is noted with its place and reading goes on, so that all faults
//! are found at once. Must not know any particular word.

use std::path::PathBuf;

use crate::model::names::TreePath;

use super::node::{Entry, Node, Scalar};
use super::place::Place;
use super::problem::{Problem, nearest};
use super::scalar::{FromScalar, Templating};
use super::session::Session;
use super::word::{Claim, Claimed, FileContent, NamedFile, Reference, Text};

/// A typed view of one node.
///
/// Ask for everything that the node may have first; decide with `?` after
/// that, since whatever was not asked for is reported as unknown.
pub struct Reader<'a> {
    node: &'a Node,
    session: &'a Session<'a>,
    next_argument: usize,
    asked_properties: Vec<&'static str>,
    asked_children: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(node: &'a Node, session: &'a Session<'a>) -> Self {
        Self {
            node,
            session,
            next_argument: 0,
            asked_properties: Vec::new(),
            asked_children: Vec::new(),
        }
    }

    /// The node's word.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.node.word
    }

    /// Where the node's word stands.
    #[must_use]
    pub fn place(&self) -> Place {
        self.node.word_place
    }

    /// Where the first argument stands, or the word if there is none.
    #[must_use]
    pub fn name_place(&self) -> Place {
        self.node
            .arguments
            .first()
            .map_or(self.node.word_place, |first| first.place)
    }

    /// The first argument if it is a string, without asking for it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.node.arguments.first().map(|entry| &entry.value) {
            Some(Scalar::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Where the value of a property stands.
    #[must_use]
    pub fn property_place(&self, name: &str) -> Place {
        self.node
            .property(name)
            .map_or(self.node.word_place, |property| property.value.place)
    }

    /// Where the first child of that word stands, or else the node.
    #[must_use]
    pub fn child_place(&self, word: &str) -> Place {
        let child = self.node.children.iter().find(|child| child.word == word);
        child.map_or(self.node.word_place, |child| child.word_place)
    }

    /// Whether a child of that word is there, without asking for it.
    #[must_use]
    pub fn has_child(&self, word: &str) -> bool {
        self.node.children.iter().any(|child| child.word == word)
    }

    /// Notes that something is wrong.
    pub fn problem(&self, problem: Problem) {
        self.session.problem(problem);
    }

    /// The next argument, which must be there.
    pub fn argument<T: FromScalar>(&mut self) -> Option<T> {
        let found = self.optional_argument();
        if self.next_argument > self.node.arguments.len() {
            self.problem(
                Problem::new(format!("`{}` needs {}", self.node.word, T::EXPECTED))
                    .at(self.node.word_place, "nothing follows"),
            );
        }
        found
    }

    /// The next argument, if there is one.
    pub fn optional_argument<T: FromScalar>(&mut self) -> Option<T> {
        let entry = self.node.arguments.get(self.next_argument);
        self.next_argument += 1;
        entry.and_then(|entry| self.convert(&self.node.word, entry))
    }

    /// All arguments that are left; none is allowed.
    pub fn arguments<T: FromScalar>(&mut self) -> Vec<T> {
        self.placed_arguments()
            .into_iter()
            .map(|(value, _)| value)
            .collect()
    }

    /// All arguments that are left, at least one.
    pub fn some_arguments<T: FromScalar>(&mut self) -> Vec<T> {
        self.some_placed_arguments()
            .into_iter()
            .map(|(value, _)| value)
            .collect()
    }

    /// All arguments that are left, at least one, each with its place.
    pub fn some_placed_arguments<T: FromScalar>(&mut self) -> Vec<(T, Place)> {
        if self.next_argument >= self.node.arguments.len() {
            self.problem(
                Problem::new(format!(
                    "`{}` needs {}, or several",
                    self.node.word,
                    T::EXPECTED
                ))
                .at(self.node.word_place, "nothing follows"),
            );
        }
        self.placed_arguments()
    }

    /// All arguments that are left, each with its place.
    pub fn placed_arguments<T: FromScalar>(&mut self) -> Vec<(T, Place)> {
        let start = self.next_argument.min(self.node.arguments.len());
        self.next_argument = self.node.arguments.len();
        let rest = &self.node.arguments[start..];
        rest.iter()
            .filter_map(|entry| Some((self.convert(&self.node.word, entry)?, entry.place)))
            .collect()
    }

    /// A property, if it is there.
    pub fn property<T: FromScalar>(&mut self, name: &'static str) -> Option<T> {
        self.asked_properties.push(name);
        let property = self.node.property(name)?;
        self.convert(name, &property.value)
    }

    /// A property that must be there.
    pub fn required_property<T: FromScalar>(&mut self, name: &'static str) -> Option<T> {
        if self.node.property(name).is_none() {
            self.problem(
                Problem::new(format!(
                    "`{}` needs `{name}={}`",
                    self.node.describe(),
                    T::EXAMPLE
                ))
                .at(self.node.word_place, format!("`{name}` is missing")),
            );
        }
        self.property(name)
    }

    /// All properties, whatever their names are, with the place of the name.
    pub fn every_property<T: FromScalar>(&mut self) -> Vec<(String, Place, T)> {
        let properties = self.node.properties.iter();
        let values = properties.filter_map(|property| {
            let value = self.convert(&property.name, &property.value)?;
            Some((property.name.clone(), property.name_place, value))
        });
        let values = values.collect();
        // Nothing can be left over, so the account is closed by an impossible name.
        self.asked_properties.push(EVERY);
        values
    }

    /// Whether `name=#true`, or a child `name` or `name #true`, is there.
    pub fn flag(&mut self, name: &'static str) -> bool {
        let property = self.property::<bool>(name);
        let child = self.child(name, |child| {
            Some(child.optional_argument::<bool>().unwrap_or(true))
        });
        property.or(child).unwrap_or(false)
    }

    /// The child of that word, read by `read`; more than one is an error.
    pub fn child<T>(
        &mut self,
        word: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
    ) -> Option<T> {
        self.asked_children.push(word);
        let mut found = self.node.children.iter().filter(|child| child.word == word);
        let first = found.next()?;
        let mut reader = Reader::new(first, self.session);
        let value = read(&mut reader);
        reader.done();
        value
    }

    /// The child of that word, which must be there.
    pub fn required_child<T>(
        &mut self,
        word: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Option<T>,
    ) -> Option<T> {
        if !self.node.children.iter().any(|child| child.word == word) {
            self.problem(
                Problem::new(format!(
                    "`{}` needs `{word}` inside its braces",
                    self.node.describe()
                ))
                .at(self.name_place(), format!("`{word}` is missing"))
                .absent(),
            );
        }
        self.child(word, read)
    }

    /// The single argument of the child of that word.
    pub fn value<T: FromScalar>(&mut self, word: &'static str) -> Option<T> {
        self.child(word, Reader::argument)
    }

    /// The arguments of the child of that word, at least one if it is there.
    pub fn values<T: FromScalar>(&mut self, word: &'static str) -> Vec<T> {
        self.child(word, |child| Some(child.some_arguments()))
            .unwrap_or_default()
    }

    /// All children of that word, in the order of the file.
    pub fn children<T>(
        &mut self,
        word: &'static str,
        read: impl FnMut(&mut Reader<'a>) -> Option<T>,
    ) -> Vec<T> {
        self.children_of(&[word], read)
    }

    /// All children of any of those words, in the order of the file.
    pub fn children_of<T>(
        &mut self,
        words: &[&'static str],
        mut read: impl FnMut(&mut Reader<'a>) -> Option<T>,
    ) -> Vec<T> {
        self.asked_children.extend_from_slice(words);
        let mut values = Vec::new();
        for child in self
            .node
            .children
            .iter()
            .filter(|child| words.contains(&child.word.as_str()))
        {
            let mut reader = Reader::new(child, self.session);
            values.extend(read(&mut reader));
            reader.done();
        }
        values
    }

    /// Notes that the declaration takes something for itself.
    pub fn claim(&self, what: Claimed, place: Place) {
        self.session
            .notes
            .borrow_mut()
            .claims
            .push(Claim { what, place });
    }

    /// Notes that the declaration names a file of the source.
    pub fn names_file(&self, path: &TreePath, place: Place, content: FileContent) {
        self.session.notes.borrow_mut().files.push(NamedFile {
            path: path.clone(),
            place,
            content,
        });
    }

    /// Notes that the declaration needs another one of the same app: `service "name"`.
    pub fn refers_to(&self, word: &str, name: &str, place: Place) {
        let reference = Reference {
            word: word.to_owned(),
            name: name.to_owned(),
            place,
        };
        self.session.notes.borrow_mut().references.push(reference);
    }

    /// A path on the controller, meant from the directory of the file that it stands in.
    pub(crate) fn controller_path(&self, written: &str, place: Place) -> PathBuf {
        if written == "~" || written.starts_with("~/") {
            // The home directory is the caller's to know; see `expand_home`.
            return PathBuf::from(written);
        }
        super::include::normal(&self.session.sources.directory_of(place).join(written))
    }

    pub(crate) fn session(&self) -> &'a Session<'a> {
        self.session
    }

    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }

    /// Leaves the children to somebody who reads the node itself.
    pub(crate) fn skip_children(&mut self) {
        self.asked_children.push(EVERY);
    }

    fn convert<T: FromScalar>(&self, name: &str, entry: &Entry) -> Option<T> {
        let rendered = match (T::TEMPLATING, &entry.value) {
            (Templating::Now, Scalar::String(text)) => {
                let scope = self.session.scope.borrow();
                match scope.render_now(text) {
                    Ok(rendered) => Scalar::String(rendered),
                    Err(problem) => {
                        self.problem(problem.into_problem(entry.place));
                        return None;
                    }
                }
            }
            (Templating::Later { secrets }, Scalar::String(text)) => {
                let text = Text {
                    template: text.clone(),
                    place: entry.place,
                    secrets,
                };
                self.session.notes.borrow_mut().texts.push(text);
                entry.value.clone()
            }
            _ => entry.value.clone(),
        };
        match T::from_scalar(&rendered) {
            Ok(value) => Some(value),
            Err(why) => {
                let problem = Problem::new(format!("`{name}` needs {}", T::EXPECTED));
                let problem = match why.label {
                    Some(label) => problem.at(entry.place, label),
                    None => problem.at(entry.place, format!("found {}", rendered.describe())),
                };
                self.problem(match why.help {
                    Some(help) => problem.help(help),
                    None => problem,
                });
                None
            }
        }
    }

    /// Reports everything that nobody asked for.
    pub(crate) fn done(&mut self) {
        for entry in self.node.arguments.iter().skip(self.next_argument) {
            let problem = Problem::new(format!("`{}` takes no further argument", self.node.word));
            self.problem(problem.at(entry.place, "not expected here"));
        }
        for property in &self.node.properties {
            if !known(&self.asked_properties, &property.name) {
                let problem = Problem::new(format!(
                    "unknown property `{}` of `{}`",
                    property.name, self.node.word
                ))
                .at(property.name_place, "not known here");
                self.problem(self.hint(problem, &property.name, true));
            }
        }
        for child in &self.node.children {
            if !known(&self.asked_children, &child.word) {
                child.word_places(&mut self.session.misread.borrow_mut());
                let whereabouts = match self.node.is_environment() {
                    true => String::new(),
                    false => format!(" in `{}`", self.node.describe()),
                };
                let problem = Problem::new(format!("unknown word `{}`{whereabouts}", child.word))
                    .at(child.word_place, "not known here");
                self.problem(self.hint(problem, &child.word, false));
            }
        }
    }

    /// The nearest word of its own sort, or of the other sort with how that is written.
    fn hint(&self, problem: Problem, word: &str, is_property: bool) -> Problem {
        let (properties, children) = (
            self.asked_properties.iter().copied(),
            self.asked_children.iter().copied(),
        );
        let node = &self.node.word;
        if is_property {
            match (nearest(word, properties.clone()), nearest(word, children)) {
                (None, Some(near)) => problem.help(format!(
                    "`{near}` is written inside the braces: `{node} {{ {near} … }}`"
                )),
                _ => problem.help_nearest(word, properties),
            }
        } else {
            match (nearest(word, children.clone()), nearest(word, properties)) {
                (None, Some(near)) => problem.help(format!(
                    "`{near}` is written as a property: `{node} {near}=…`"
                )),
                _ => problem.help_nearest(word, children),
            }
        }
    }
}

/// Stands for every name in an account; no KDL name has a line feed in it.
const EVERY: &str = "\n";

fn known(asked: &[&'static str], name: &str) -> bool {
    asked.iter().any(|known| *known == name || *known == EVERY)
}
