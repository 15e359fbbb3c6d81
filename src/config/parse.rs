//! KDL text to a tree of nodes, with every fault of the syntax on its place.
//!
//! The one module that names the `kdl` crate.

use std::collections::HashMap;

use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};

use super::limits;
use super::node::{Entry, Node, Property, Scalar};
use super::place::{Place, Sources};
use super::problem::Problem;

/// The parser recurses, and its tree is dropped by recursion too.
const STACK: usize = 64 << 20;
/// Later faults tend to follow from earlier ones.
const MOST_FAULTS: usize = 10;

/// Parses one of the sources; what could be understood is returned beside the problems.
pub(crate) fn parse(sources: &Sources, source: u32) -> (Vec<Node>, Vec<Problem>) {
    if let Err(problem) = limits::check(sources, source) {
        return (Vec::new(), vec![problem]);
    }
    let Some(file) = sources.file(source) else {
        return (Vec::new(), Vec::new());
    };
    let text = file.text.to_string();
    let thread = std::thread::Builder::new()
        .name("kdl".to_owned())
        .stack_size(STACK);
    let parsed = thread
        .spawn(move || parse_here(&text, source))
        .map(std::thread::JoinHandle::join);
    match parsed {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => (
            Vec::new(),
            vec![Problem::new(format!(
                "{} makes the KDL parser fail",
                file.shown
            ))],
        ),
        Err(error) => (
            Vec::new(),
            vec![Problem::new(format!(
                "failed to start a thread for {}: {error}",
                file.shown
            ))],
        ),
    }
}

fn parse_here(text: &str, source: u32) -> (Vec<Node>, Vec<Problem>) {
    // The parser tells a missing brace twice: where it was opened, and over everything that follows.
    const ECHO: &str = "closing '}' was not found after nodes";
    match KdlDocument::parse_v2(text) {
        Ok(document) => {
            let mut problems = Vec::new();
            let mut converter = Converter {
                text,
                source,
                problems: &mut problems,
            };
            let nodes = converter.nodes(&document);
            (nodes, problems)
        }
        Err(error) => {
            let faults = error
                .diagnostics
                .iter()
                .map(|fault| syntax(fault, source, text));
            let mut problems: Vec<Problem> =
                faults.filter(|problem| problem.message() != ECHO).collect();
            let rest = problems.len().saturating_sub(MOST_FAULTS);
            if rest > 0 {
                problems.truncate(MOST_FAULTS);
                problems.push(Problem::new(format!(
                    "and {rest} more faults of syntax, which may follow from these"
                )));
            }
            (Vec::new(), problems)
        }
    }
}

fn syntax(fault: &kdl::KdlDiagnostic, source: u32, text: &str) -> Problem {
    let message = fault
        .message
        .clone()
        .unwrap_or_else(|| "this is not KDL".to_owned());
    let label = fault.label.clone().unwrap_or_else(|| "here".to_owned());
    let offset = fault.span.offset().min(text.len());
    let length = fault.span.len().min(text.len() - offset);
    let problem = Problem::new(lower_first(&message)).at(Place::new(source, offset, length), label);
    let written = text.get(offset..offset + length).unwrap_or_default().trim();
    match &fault.help {
        _ if ["true", "false", "null"].contains(&written) => {
            problem.help(format!("KDL 2 writes it with a hash: `#{written}`"))
        }
        Some(help) => problem.help(help),
        None => problem,
    }
}

fn lower_first(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut letters = message.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

struct Converter<'a> {
    source: u32,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Converter<'_> {
    fn place(&self, span: miette::SourceSpan) -> Place {
        Place::new(self.source, span.offset(), span.len())
    }

    /// Where the value of a property begins: behind `=`, which may have space around it.
    fn after_equals(&self, name_end: usize) -> usize {
        let rest = self.text.get(name_end..).unwrap_or_default();
        name_end + rest.len()
            - rest
                .trim_start_matches(|letter: char| letter == '=' || letter.is_whitespace())
                .len()
    }

    fn nodes(&mut self, document: &KdlDocument) -> Vec<Node> {
        document
            .nodes()
            .iter()
            .map(|node| self.node(node))
            .collect()
    }

    fn node(&mut self, node: &KdlNode) -> Node {
        self.refuse_annotation(node.ty());
        let mut arguments = Vec::new();
        let mut properties: Vec<Property> = Vec::new();
        let mut seen: HashMap<&str, Place> = HashMap::new();
        for entry in node.entries() {
            self.refuse_annotation(entry.ty());
            let Some(name) = entry.name() else {
                arguments.push(self.entry(entry, entry.span()));
                continue;
            };
            let name_place = self.place(name.span());
            let value_start = self.after_equals(name.span().offset() + name.span().len());
            let value_length =
                (entry.span().offset() + entry.span().len()).saturating_sub(value_start);
            let value = self.entry(
                entry,
                miette::SourceSpan::new(value_start.into(), value_length),
            );
            if let Some(first) = seen.insert(name.value(), name_place) {
                self.problems.push(
                    Problem::new(format!("`{}` is given twice", name.value()))
                        .at(name_place, "again here")
                        .at(first, "first here"),
                );
                continue;
            }
            properties.push(Property {
                name: name.value().to_owned(),
                name_place,
                value,
            });
        }
        let children = node
            .children()
            .map(|children| self.nodes(children))
            .unwrap_or_default();
        Node {
            word: node.name().value().to_owned(),
            word_place: self.place(node.name().span()),
            arguments,
            properties,
            children,
        }
    }

    fn entry(&mut self, entry: &KdlEntry, span: miette::SourceSpan) -> Entry {
        let value = match entry.value() {
            KdlValue::String(text) => Scalar::String(text.clone()),
            KdlValue::Integer(number) => Scalar::Integer(*number),
            KdlValue::Float(number) => Scalar::Float(*number),
            KdlValue::Bool(yes) => Scalar::Bool(*yes),
            KdlValue::Null => Scalar::Null,
        };
        Entry {
            value,
            place: self.place(span),
        }
    }

    fn refuse_annotation(&mut self, annotation: Option<&kdl::KdlIdentifier>) {
        if let Some(annotation) = annotation {
            let place = self.place(annotation.span());
            self.problems.push(
                Problem::new("type annotations have no meaning here").at(place, "leave it out"),
            );
        }
    }
}
