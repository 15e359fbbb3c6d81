//! The import rule: a module uses only modules before it in the order of `src/lib.rs`.

use super::sources::{Source, after, of_the_program};

/// The layers as DESIGN.md tells them. `host` stands before `content`, which reads and writes trees through its ports.
const LAYERS: [&str; 13] = [
    "model", "config", "host", "content", "step", "plan", "apply", "helper", "remote", "fleet",
    "history", "report", "cli",
];

fn position(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == module)
}

/// Each use of a module that doesn't stand before its own: `file:line uses module`.
fn violations(source: &Source) -> Vec<String> {
    let own = match source.module() {
        "lib" => return Vec::new(),
        // It begins the program, and nothing uses it.
        "main" => Some(LAYERS.len()),
        module => position(module),
    };
    let mut found = Vec::new();
    for line in source.lines() {
        let mut blame = |what: &str| {
            found.push(format!("{}:{} uses {what}", source.path, line.number));
        };
        let root = "super::".repeat(source.depth());
        if !root.is_empty() && line.code.contains(&root) {
            blame("the crate's root by `super`: a module of it is named by `crate::`");
        }
        for module in after(&line.code, "crate::") {
            match (own, position(module)) {
                (Some(own), Some(other)) if other <= own => {}
                _ if module == source.module() => {}
                // A macro of an inner module is called by the root's name; it only makes code that stands here.
                (Some(_), None) if line.code.contains(&format!("crate::{module}!")) => {}
                _ if module.is_empty() => blame("several modules at once: one `use` for each"),
                _ => blame(module),
            }
        }
    }
    found
}

#[test]
fn a_module_uses_only_modules_before_it() {
    let found: Vec<String> = of_the_program().iter().flat_map(violations).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_use_of_a_later_module_is_found() {
    let source = Source {
        path: "src/plan/order.rs".to_owned(),
        text: "\
use crate::model::Step;
use crate::plan::saved::Body;
fn f() { crate::apply::step::take(); super::super::cli::main() }
use crate::{host, fleet};
use super::saved::Body;
"
        .to_owned(),
    };
    insta::assert_snapshot!(violations(&source).join("\n"), @"
    src/plan/order.rs:3 uses the crate's root by `super`: a module of it is named by `crate::`
    src/plan/order.rs:3 uses apply
    src/plan/order.rs:4 uses several modules at once: one `use` for each
    ");
}

#[test]
fn the_root_declares_and_describes_every_module_in_layer_order() {
    let sources = of_the_program();
    let root = sources
        .iter()
        .find(|source| source.path == "src/lib.rs")
        .expect("the crate has a root");
    let lines = || root.text.lines();
    let declared: Vec<_> = lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(declared, LAYERS, "the `pub mod` lines of src/lib.rs");
    let described: Vec<_> = lines()
        .filter_map(|line| line.strip_prefix("//! - [`")?.split_once("`]: "))
        .map(|(module, _)| module)
        .collect();
    assert_eq!(described, LAYERS, "the crate documentation in src/lib.rs");
    for source in &sources {
        let module = source.module();
        let is_known = position(module).is_some() || ["lib", "main"].contains(&module);
        assert!(is_known, "{} is in no layer", source.path);
    }
}
