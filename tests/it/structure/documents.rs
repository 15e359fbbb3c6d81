//! What the documents show is what the program takes: its commands and options, and declarations in KDL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rosey::config::load;
use rosey::step::words::words;

use crate::support::{Project, Rosey, checkout, copy_tree};

/// Options that every command has, or that `docs/commands.md` tells of once for all.
const EVERYWHERE: [&str; 5] = ["--help", "--verbose", "--quiet", "--only", "--except"];

fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .filter(|word| !EVERYWHERE.contains(word))
        .map(ToOwned::to_owned)
        .collect()
}

/// The commands of the first table of `docs/commands.md`, with their options.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(checkout().join("docs/commands.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let first = rows.map(|row| row.trim_start_matches('|').split(" | ").next().unwrap());
    first
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .map(|shown| {
            let name = shown.split(' ').next().unwrap().to_owned();
            (name, options(shown))
        })
        .collect()
}

#[test]
fn commands_and_options_are_those_of_the_program() {
    let project = Project::new();
    let rosey = Rosey::here(&project);
    let help = rosey.run(&["--help"]).exits(0).stdout;
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // A description that is wrapped is set in deeper.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    let of_program: BTreeMap<String, BTreeSet<String>> = listed
        .map(|name| {
            let help = rosey.run(&[name, "--help"]).exits(0).stdout;
            // Each option is described on a line that begins with it; other texts may name others.
            let lines = help.lines().map(str::trim_start);
            let described = lines.filter(|line| line.starts_with('-'));
            let described: Vec<_> = described
                .map(|line| line.split("  ").next().unwrap())
                .collect();
            (name.to_owned(), options(&described.join(" ")))
        })
        .collect();
    assert!(of_program.len() > 15, "{of_program:#?}");
    assert_eq!(documented(), of_program);
}

#[test]
fn declarations_are_read_without_an_error() {
    let mut files = vec![checkout().join("README.md")];
    let docs = std::fs::read_dir(checkout().join("docs")).unwrap();
    files.extend(docs.map(|entry| entry.unwrap().path()));
    let mut seen = 0;
    for file in files
        .iter()
        .filter(|it| it.extension().is_some_and(|it| it == "md"))
    {
        let text = std::fs::read_to_string(file).unwrap();
        for block in text.split("```kdl\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            let project = Project::new();
            copy_tree(&checkout().join("examples"), &project.path("examples"));
            project.environment("shown", block);
            let path: PathBuf = project.path("environments/shown.kdl");
            if let Err(errors) = load(&path, &words()) {
                panic!("{}: {errors:?}\n{block}", file.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "the README shows a declaration");
}
