//! What is wrong with a declaration: every problem on its place, all at once.
//!
//! Must not know how the files are read nor what the words mean.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

use super::place::{Place, Sources};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    message: String,
    /// The first is where it is wrong; others are what it clashes with.
    labels: Vec<(Place, String)>,
    help: Option<String>,
    /// Whether something that couldn't be read may be all that is missing.
    absence: bool,
}

impl Problem {
    /// Says what is wrong, without a place yet.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            labels: Vec::new(),
            help: None,
            absence: false,
        }
    }

    /// Says that something is missing: not told while a file that may have it can't be read.
    #[must_use]
    pub fn absent(mut self) -> Self {
        self.absence = true;
        self
    }

    pub(crate) fn is_absence(&self) -> bool {
        self.absence
    }

    /// Adds a place and what is there.
    #[must_use]
    pub fn at(mut self, place: Place, label: impl Into<String>) -> Self {
        self.labels.push((place, label.into()));
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do about it when the nearest known word is near enough.
    #[must_use]
    pub fn help_nearest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        if let Some(near) = nearest(word, known.iter().copied()) {
            return self.help(format!("did you mean `{near}`?"));
        }
        if known.is_empty() {
            return self;
        }
        self.help(format!("known here: {}", known.join(", ")))
    }

    /// Where it is wrong.
    pub(crate) fn place(&self) -> Option<Place> {
        self.labels.first().map(|(place, _)| *place)
    }

    /// The sentence and its places: help may differ where the same is wrong for two hosts.
    pub(crate) fn identity(&self) -> String {
        format!("{} {:?}", self.message, self.labels)
    }

    /// The sentence, without place and help.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The known word that was probably meant: at most a third of the letters differ.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// More than these nobody reads, and each costs time to show.
const MOST_REPORTS: usize = 100;

/// Everything that is wrong with one declaration, as a `miette` report.
#[derive(Clone)]
pub struct ConfigErrors {
    shown: String,
    reports: Vec<Report>,
    /// How many more there are.
    rest: usize,
}

impl ConfigErrors {
    /// Puts the problems in the order of their places; the same one twice is said once.
    #[must_use]
    pub fn new(sources: &Sources, problems: Vec<Problem>) -> Self {
        let mut problems = problems;
        problems.sort_by_key(Problem::place);
        problems.dedup();
        let shown = sources
            .file(0)
            .map_or_else(|| "the declaration".to_owned(), |file| file.shown.clone());
        let rest = problems.len().saturating_sub(MOST_REPORTS);
        problems.truncate(MOST_REPORTS);
        let reports = problems
            .iter()
            .map(|problem| Report::new(sources, problem))
            .collect();
        Self {
            shown,
            reports,
            rest,
        }
    }

    /// The sentences alone, in the order of their places.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.reports.iter().map(|report| report.message.as_str())
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reports.len() + self.rest {
            1 => write!(formatter, "{} has an error", self.shown),
            count if self.rest > 0 => {
                let told = self.reports.len();
                write!(
                    formatter,
                    "{} has {count} errors, of which these are the first {told}",
                    self.shown
                )
            }
            count => write!(formatter, "{} has {count} errors", self.shown),
        }
    }
}

impl fmt::Debug for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")?;
        for message in self.messages() {
            write!(formatter, "\n- {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl Diagnostic for ConfigErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(
            self.reports.iter().map(|report| report as &dyn Diagnostic),
        ))
    }
}

/// A problem with the text that it is in: `miette` shows one file a diagnostic,
/// so labels in another file become a report below this one.
#[derive(Debug, Clone)]
struct Report {
    message: String,
    help: Option<String>,
    labels: Vec<LabeledSpan>,
    source: Option<NamedSource<Arc<str>>>,
    elsewhere: Vec<Report>,
    severity: Severity,
}

impl Report {
    fn new(sources: &Sources, problem: &Problem) -> Self {
        let home = problem.labels.first().map(|(place, _)| place.source);
        let (here, others): (Vec<_>, Vec<_>) = problem
            .labels
            .iter()
            .partition(|(place, _)| Some(place.source) == home);
        let labelled = |(place, text): &(Place, String)| {
            LabeledSpan::new_with_span(Some(text.clone()), place.span())
        };
        Self {
            message: problem.message.clone(),
            help: problem.help.clone(),
            labels: here.into_iter().map(labelled).collect(),
            source: home.map(|source| sources.named(source)),
            elsewhere: others
                .into_iter()
                .map(|label| Report {
                    message: label.1.clone(),
                    help: None,
                    labels: vec![labelled(label)],
                    source: Some(sources.named(label.0.source)),
                    elsewhere: Vec::new(),
                    severity: Severity::Advice,
                })
                .collect(),
            severity: Severity::Error,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.elsewhere.is_empty() {
            return None;
        }
        Some(Box::new(
            self.elsewhere
                .iter()
                .map(|report| report as &dyn Diagnostic),
        ))
    }
}
