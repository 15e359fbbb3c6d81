//! What one reading of a declaration gathers, shared by all its readers.
//!
//! Must not know any word.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::place::{Place, Sources};
use super::problem::Problem;
use super::template::Scope;
use super::word::{Claim, NamedFile, Reference, Text};

/// What is gathered while a declaration is read.
pub(crate) struct Session<'a> {
    pub sources: &'a Sources,
    pub problems: RefCell<Vec<Problem>>,
    /// What quoted strings outside of declarations may use: the environment's own variables.
    pub scope: RefCell<Scope>,
    pub notes: RefCell<Notes>,
    /// The words that nobody reads, and all words inside of them.
    pub misread: RefCell<BTreeSet<Place>>,
}

/// What a declaration says beside its body.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub texts: Vec<Text>,
    pub claims: Vec<Claim>,
    pub files: Vec<NamedFile>,
    pub references: Vec<Reference>,
    /// The words and names of declarations that something is wrong with, which is told already.
    pub spoiled: Vec<(String, String)>,
}

impl<'a> Session<'a> {
    pub fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            problems: RefCell::default(),
            scope: RefCell::new(Scope::default()),
            notes: RefCell::default(),
            misread: RefCell::default(),
        }
    }

    pub fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }
}
