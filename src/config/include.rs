//! Reads the environment's file and everything that it includes, and merges
//! them into one tree. The only module that opens the declaration's files.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::grammar::Grammar;
use super::limits;
use super::merge;
use super::node::{Node, Scalar};
use super::parse::parse;
use super::place::{Place, SourceFile, Sources};
use super::problem::Problem;

/// Includes within includes, at most; a loop is noticed earlier.
const MOST_FILES: usize = 200;

/// Everything that the files say, and what is wrong with them so far.
pub(crate) struct Loaded {
    pub sources: Sources,
    pub nodes: Vec<Node>,
    pub problems: Vec<Problem>,
    /// Whether a file is missing from the tree because it can't be read.
    pub incomplete: bool,
}

/// Loads the file at `path`; `path` is also how messages name it.
pub(crate) fn load(path: &Path, grammar: &Grammar) -> Loaded {
    let mut loader = Loader {
        grammar,
        sources: Sources::default(),
        problems: Vec::new(),
        open: Vec::new(),
        incomplete: false,
    };
    let nodes = loader.file(path, None);
    let nodes = loader.without_removals(nodes);
    Loaded {
        sources: loader.sources,
        nodes,
        problems: loader.problems,
        incomplete: loader.incomplete,
    }
}

struct Loader<'a> {
    grammar: &'a Grammar,
    sources: Sources,
    problems: Vec<Problem>,
    /// The files being read, from the environment's own to the present one.
    open: Vec<(PathBuf, u32)>,
    incomplete: bool,
}

impl Loader<'_> {
    /// The merged nodes of a file and its includes.
    fn file(&mut self, shown: &Path, included_at: Option<Place>) -> Vec<Node> {
        match self.read(shown, included_at) {
            Ok(source) => {
                let (nodes, mut problems) = parse(&self.sources, source);
                self.incomplete |= nodes.is_empty() && !problems.is_empty();
                self.problems.append(&mut problems);
                merge::refuse_duplicates(&nodes, self.grammar, &mut self.problems);
                let merged = self.with_includes(shown, nodes);
                self.open.pop();
                merged
            }
            Err(problem) => {
                self.incomplete = true;
                self.problems.push(problem);
                Vec::new()
            }
        }
    }

    fn read(&mut self, shown: &Path, included_at: Option<Place>) -> Result<u32, Problem> {
        let located = |problem: Problem, label: &str| match included_at {
            Some(place) => problem.at(place, label),
            None => problem,
        };
        let path = std::fs::canonicalize(shown)
            .map_err(|error| unreadable(shown, &error))
            .map_err(|problem| located(problem, "included here"))?;
        if let Some(index) = self.open.iter().position(|(open, _)| *open == path) {
            let chain: Vec<String> = self.open[index..]
                .iter()
                .filter_map(|(_, source)| self.sources.file(*source))
                .map(|file| file.shown.clone())
                .chain([normal(shown).display().to_string()])
                .collect();
            let problem = Problem::new(format!(
                "the includes run in a circle: {}",
                chain.join(" -> ")
            ));
            return Err(
                located(problem, "closes the circle").help("take one of these includes out")
            );
        }
        if let Some(source) = self.sources.find(&path) {
            // Included by two others: its places, and so its errors, are the same ones.
            self.open.push((path, source));
            return Ok(source);
        }
        if self.sources.paths().count() >= MOST_FILES {
            return Err(located(
                Problem::new(format!("more than {MOST_FILES} files are included")),
                "one too many",
            ));
        }
        let name = normal(shown).display().to_string();
        let bytes = read_limited(&path)
            .map_err(|error| located(unreadable(shown, &error), "included here"))?;
        let text =
            limits::as_text(&name, bytes).map_err(|problem| located(problem, "included here"))?;
        let source = self.sources.add(SourceFile {
            shown: name,
            path: path.clone(),
            text: Arc::from(text),
        });
        self.open.push((path, source));
        Ok(source)
    }

    fn with_includes(&mut self, shown: &Path, nodes: Vec<Node>) -> Vec<Node> {
        let (includes, own): (Vec<Node>, Vec<Node>) =
            nodes.into_iter().partition(|node| node.word == "include");
        if includes.is_empty() {
            return own;
        }
        let mut base = Vec::new();
        for include in includes {
            let Some(target) = self.include_target(&include) else {
                continue;
            };
            let path = shown.parent().unwrap_or(Path::new("")).join(target);
            let place = include
                .arguments
                .first()
                .map_or(include.word_place, |first| first.place);
            let included = self.file(&path, Some(place));
            let included = self.without_removals(included);
            base = merge::merge(base, included, self.grammar, &mut self.problems);
        }
        merge::merge(base, own, self.grammar, &mut self.problems)
    }

    /// Takes out what `remove` left over, once nothing is below it any more.
    fn without_removals(&mut self, nodes: Vec<Node>) -> Vec<Node> {
        merge::refuse_removals(&nodes, &mut self.problems);
        strip_removals(nodes)
    }

    fn include_target(&mut self, include: &Node) -> Option<String> {
        let extra = include.arguments.get(1).map(|entry| entry.place);
        let extra = extra.or_else(|| {
            include
                .properties
                .first()
                .map(|property| property.name_place)
        });
        if let Some(place) =
            extra.or_else(|| include.children.first().map(|child| child.word_place))
        {
            self.problems.push(
                Problem::new("`include` takes one path and nothing else").at(place, "not here"),
            );
        }
        match include
            .arguments
            .first()
            .map(|entry| (&entry.value, entry.place))
        {
            Some((Scalar::String(target), _)) => Some(target.clone()),
            Some((other, place)) => {
                let found = format!("found {}", other.describe());
                self.problems
                    .push(Problem::new("`include` needs a path").at(place, found));
                None
            }
            None => {
                self.problems.push(
                    Problem::new("`include` needs a path").at(include.word_place, "of which file?"),
                );
                None
            }
        }
    }
}

fn strip_removals(nodes: Vec<Node>) -> Vec<Node> {
    let kept = nodes
        .into_iter()
        .filter(|node| node.word != super::grammar::REMOVE);
    kept.map(|node| Node {
        children: strip_removals(node.children),
        ..node
    })
    .collect()
}

/// Reads at most a byte more than is allowed, so that a huge file costs nothing.
fn read_limited(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    // A pipe or a device could keep us waiting for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    let most = limits::LARGEST_FILE as u64 + 1;
    std::fs::File::open(path)?
        .take(most)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(shown: &Path, error: &std::io::Error) -> Problem {
    let shown = normal(shown);
    match error.kind() {
        std::io::ErrorKind::NotFound => Problem::new(format!("{} does not exist", shown.display())),
        _ => Problem::new(format!("failed to read {}: {error}", shown.display())),
    }
}

/// The path without `.` and `..`, by its text alone.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.iter().collect()
}
