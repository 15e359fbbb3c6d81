//! An include and the file that includes it, made into one tree.
//!
//! A node is known by its word, or by its word and first argument (see
//! `grammar`). The including file's arguments and properties replace, children
//! merge by the same rule, and `remove WORD ["first argument"]` drops a node.
//! Must not know what the words mean.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::grammar::{Grammar, ITEM, Key, REMOVE};
use super::node::{Node, Scalar};
use super::problem::Problem;

/// Reports nodes of one file that are known by the same thing.
pub(crate) fn refuse_duplicates(nodes: &[Node], grammar: &Grammar, problems: &mut Vec<Problem>) {
    let mut seen: HashMap<Key, &Node> = HashMap::new();
    for node in nodes {
        refuse_duplicates(&node.children, &grammar.inside(&node.word), problems);
        if node.word == ITEM || node.word == REMOVE {
            continue;
        }
        match seen.entry(grammar.key(node)) {
            Entry::Vacant(vacant) => {
                vacant.insert(node);
            }
            Entry::Occupied(first) => problems.push(
                Problem::new(format!("`{}` is declared twice", node.describe()))
                    .at(node.word_place, "again here")
                    .at(first.get().word_place, "first here")
                    .help("keep one of them"),
            ),
        }
    }
}

/// Lays the including file's nodes over the included ones.
pub(crate) fn merge(
    base: Vec<Node>,
    over: Vec<Node>,
    grammar: &Grammar,
    problems: &mut Vec<Problem>,
) -> Vec<Node> {
    if base.is_empty() || over.iter().any(|node| node.word == ITEM) {
        // A list written as children is replaced whole, as one in a line is.
        return over;
    }
    let mut merged: Vec<Option<Node>> = base.into_iter().map(Some).collect();
    let known = merged.iter().flatten().enumerate();
    let mut known: HashMap<Key, usize> = known
        .map(|(index, node)| (grammar.key(node), index))
        .collect();
    for node in over {
        if node.word == REMOVE {
            remove(&mut merged, &mut known, &node, grammar, problems);
            continue;
        }
        let key = grammar.key(&node);
        match known
            .get(&key)
            .and_then(|index| merged[*index].take().map(|below| (*index, below)))
        {
            Some((index, below)) => {
                merged[index] = Some(merge_node(below, node, grammar, problems));
            }
            None => {
                known.insert(key, merged.len());
                merged.push(Some(node));
            }
        }
    }
    merged.into_iter().flatten().collect()
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
    // Another source of a secret is no second one.
    properties.retain(|old| {
        let mut new = over.properties.iter();
        !new.any(|new| new.name != old.name && grammar.is_instead(&over.word, &new.name, &old.name))
    });
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

fn remove(
    nodes: &mut [Option<Node>],
    known: &mut HashMap<Key, usize>,
    order: &Node,
    grammar: &Grammar,
    problems: &mut Vec<Problem>,
) {
    let mut wanted = order.arguments.iter();
    let Some(Scalar::String(word)) = wanted.next().map(|entry| &entry.value) else {
        problems.push(
            Problem::new("`remove` needs the word of what it removes")
                .at(order.word_place, "of what?")
                .help("such as `remove http \"http://127.0.0.1:8000/\"`"),
        );
        return;
    };
    let first = wanted.next().map(|entry| &entry.value);
    let mut gone = 0;
    for place in nodes.iter_mut() {
        let Some(node) = place.as_ref().filter(|node| node.word == *word) else {
            continue;
        };
        let key = grammar.key(node);
        if first.is_none() || key == grammar.key_of(word, first) {
            known.remove(&key);
            *place = None;
            gone += 1;
        }
    }
    if gone == 0 {
        let there: Vec<String> = nodes.iter().flatten().map(Node::describe).collect();
        let problem = Problem::new("nothing to remove: no included file declares it")
            .at(order.word_place, "here");
        problems.push(match there.is_empty() {
            true => problem,
            false => problem.help(format!("declared by the includes: {}", there.join(", "))),
        });
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
