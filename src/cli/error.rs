//! Errors of commands: what to say, which hint, which exit code. The only place that knows all three.

use std::fmt;

use miette::Diagnostic;

use super::exit::Exit;

/// Why a command failed.
pub struct CommandError {
    /// Its exit code.
    pub exit: Exit,
    what: What,
    hints: Vec<String>,
}

enum What {
    Words(String),
    Places(Box<dyn Diagnostic + Send + Sync>),
    /// All has been said already.
    Said,
}

impl CommandError {
    /// An error in words: a sentence that says what failed, where and why.
    #[must_use]
    pub fn new(exit: Exit, words: impl fmt::Display) -> Self {
        Self {
            exit,
            what: What::Words(words.to_string()),
            hints: Vec::new(),
        }
    }

    /// An error with its places in files.
    #[must_use]
    pub fn at_places(exit: Exit, places: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            exit,
            what: What::Places(Box::new(places)),
            hints: Vec::new(),
        }
    }

    /// Only an exit code: all has been said.
    #[must_use]
    pub fn said(exit: Exit) -> Self {
        Self {
            exit,
            what: What::Said,
            hints: Vec::new(),
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Everything that there is to say, for stderr; none when all has been said.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let mut text = match &self.what {
            What::Said => return None,
            What::Words(words) => format!("rosey: {words}"),
            What::Places(places) => {
                let mut text = String::new();
                let handler = miette::GraphicalReportHandler::new();
                if handler.render_report(&mut text, places.as_ref()).is_err() {
                    text = places.to_string();
                }
                text.trim_end().to_owned()
            }
        };
        for hint in &self.hints {
            text += "\n  ";
            text += &hint.replace('\n', "\n  ");
        }
        Some(text)
    }

    /// The words alone, for JSON.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.what {
            What::Words(words) => words.clone(),
            What::Places(places) => places.to_string(),
            What::Said => String::new(),
        }
    }
}
