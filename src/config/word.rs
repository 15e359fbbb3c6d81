//! The words that step kinds bring into an app's body, and what they declare.
//!
//! Must not know any kind: it only carries what a kind's decoder made of its node.

use serde::{Deserialize, Serialize};

use crate::model::names::{RemotePath, TreePath};

use super::place::Place;
use super::reader::Reader;

/// One word of an app's body, brought by a step kind.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// The node's name in KDL.
    pub word: &'static str,
    /// Reads the node. It asks for everything that the node may have before it
    /// gives up with `None`, since what nobody asked for is reported as unknown.
    pub decode: fn(&mut Reader<'_>) -> Option<serde_json::Value>,
    /// Whether an app may have several, each known by its first argument.
    pub repeated: bool,
    /// The words inside, at any depth, that are known by their first argument.
    pub repeated_inside: &'static [&'static str],
}

/// What one node of an app's body declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declaration {
    /// Which kind's word.
    pub word: String,
    /// The first argument, when it is a string.
    pub name: Option<String>,
    /// What the kind's decoder made of the node; no place in it, so that moving a line changes nothing.
    pub body: serde_json::Value,
    /// Where the node stands.
    pub place: Place,
    /// Every templated string in the node, for problems found when it is rendered.
    pub texts: Vec<Text>,
    /// What the node takes for itself on each host of the app.
    pub claims: Vec<Claim>,
    /// The files of the source that the node names.
    pub files: Vec<NamedFile>,
    /// Other declarations of the app that the node names.
    pub references: Vec<Reference>,
}

impl Declaration {
    /// Where in the node the templated string stands; the node itself if it is not there.
    #[must_use]
    pub fn place_of(&self, template: &str) -> Place {
        let text = self.texts.iter().find(|text| text.template == template);
        text.map_or(self.place, |text| text.place)
    }
}

/// A templated string and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// As written.
    pub template: String,
    /// Where.
    pub place: Place,
    /// Whether a secret may appear in what it renders to.
    pub secrets: bool,
}

/// Something that only one declaration of a host may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What is taken.
    pub what: Claimed,
    /// Where.
    pub place: Place,
}

/// What a declaration takes for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Claimed {
    /// A systemd unit; apps under the `process` manager have none.
    Unit(String),
    /// A path outside the app's root.
    Path(RemotePath),
    /// A path inside the release or the app's `shared/`.
    Inside(TreePath),
}

/// A file of the source that a declaration names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFile {
    /// Where in the source.
    pub path: TreePath,
    /// Where it is named.
    pub place: Place,
    /// What is in it.
    pub content: FileContent,
}

/// What is in a file that a declaration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileContent {
    /// Anything.
    Plain,
    /// A template without secrets: what it renders to may be seen by anybody.
    Template,
    /// A template that may hold secrets.
    SecretTemplate,
}

/// Another declaration of the same app, by its word and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The word: `service`.
    pub word: String,
    /// The name.
    pub name: String,
    /// Where it is named.
    pub place: Place,
}
