//! An include and the file that includes it, made into one tree.
//!
//! A node is known by its word, or by its word and first argument (see
//! `grammar`). The including file's arguments and properties replace, children
//! merge by the same rule, and `remove WORD ["first argument"]` drops a node.
//! Must not know what the words mean.

use super::grammar::{Grammar, ITEM, Key, REMOVE};
use super::node::Node;
use super::problem::Problem;

/// Reports nodes of one file that are known by the same thing.
pub(crate) fn refuse_duplicates(nodes: &[Node], grammar: &Grammar, problems: &mut Vec<Problem>) {
    let mut seen: Vec<(Key, &Node)> = Vec::new();
    for node in nodes
        .iter()
        .filter(|node| node.word != ITEM && node.word != REMOVE)
    {
        let key = grammar.key(node);
        match seen.iter().find(|(other, _)| *other == key) {
            Some((_, first)) => problems.push(
                Problem::new(format!("`{}` is declared twice", node.describe()))
                    .at(node.word_place, "again here")
                    .at(first.word_place, "first here")
                    .help("keep one of them"),
            ),
            None => seen.push((key, node)),
        }
        refuse_duplicates(&node.children, &grammar.inside(&node.word), problems);
    }
}

/// Lays the including file's nodes over the included ones.
pub(crate) fn merge(
    base: Vec<Node>,
    over: Vec<Node>,
    grammar: &Grammar,
    problems: &mut Vec<Problem>,
) -> Vec<Node> {
    if over.iter().any(|node| node.word == ITEM) {
        // A list written as children is replaced whole, as one in a line is.
        return over;
    }
    let mut merged = base;
    for node in over {
        if node.word == REMOVE {
            remove(&mut merged, &node, grammar, problems);
            continue;
        }
        let key = grammar.key(&node);
        match merged.iter().position(|other| grammar.key(other) == key) {
            Some(index) => {
                let below = merged[index].clone();
                merged[index] = merge_node(below, node, grammar, problems);
            }
            None => merged.push(node),
        }
    }
    merged
}

fn merge_node(base: Node, over: Node, grammar: &Grammar, problems: &mut Vec<Problem>) -> Node {
    let inside = grammar.inside(&over.word);
    let is_map = |node: &Node| {
        node.arguments.is_empty() && !node.children.iter().any(|child| child.word == ITEM)
    };
    if grammar.variables && !(is_map(&base) && is_map(&over)) {
        return over;
    }
    let mut properties = base.properties;
    for property in over.properties {
        match properties
            .iter_mut()
            .find(|other| other.name == property.name)
        {
            Some(other) => *other = property,
            None => properties.push(property),
        }
    }
    Node {
        word: over.word,
        word_place: over.word_place,
        arguments: if over.arguments.is_empty() {
            base.arguments
        } else {
            over.arguments
        },
        properties,
        children: merge(base.children, over.children, &inside, problems),
    }
}

fn remove(nodes: &mut Vec<Node>, order: &Node, grammar: &Grammar, problems: &mut Vec<Problem>) {
    let mut wanted = order.arguments.iter();
    let Some(super::node::Scalar::String(word)) = wanted.next().map(|entry| &entry.value) else {
        problems.push(
            Problem::new("`remove` needs the word of what it removes")
                .at(order.word_place, "of what?")
                .help("such as `remove http \"http://127.0.0.1:8000/\"`"),
        );
        return;
    };
    let first = wanted.next().map(|entry| &entry.value);
    let before = nodes.len();
    nodes.retain(|node| {
        let same_word = node.word == *word;
        let same_first = first.is_none_or(|first| grammar.key(node).first.as_ref() == Some(first));
        !(same_word && same_first)
    });
    if nodes.len() == before {
        let known: Vec<String> = nodes.iter().map(Node::describe).collect();
        let mut problem = Problem::new("nothing to remove: no included file declares it")
            .at(order.word_place, "here");
        if !known.is_empty() {
            problem = problem.help(format!("declared by the includes: {}", known.join(", ")));
        }
        problems.push(problem);
    }
}

/// Reports every `remove` in a tree that has nothing below it to remove from.
pub(crate) fn refuse_removals(nodes: &[Node], problems: &mut Vec<Problem>) {
    for node in nodes {
        if node.word == REMOVE {
            problems.push(
                Problem::new("nothing to remove: no included file declares it")
                    .at(node.word_place, "here")
                    .help("`remove` drops what an include declared at the same place"),
            );
        }
        refuse_removals(&node.children, problems);
    }
}
