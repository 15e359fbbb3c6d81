//! The program's sources as lines of code: without comments, and without what only its tests have.
//!
//! It reads text as rustfmt leaves it, and is no parser: an item ends where its indentation does. What it can't tell
//! apart (a word of code inside a string) may be blamed wrongly, never overlooked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::checkout;

/// One source file, by its path in the checkout: `src/step/link.rs`.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// A line that counts.
pub struct Line {
    pub number: usize,
    pub code: String,
}

/// Every Rust file below some directory of the checkout, sorted by path.
pub fn all_below(directory: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&checkout().join(directory), &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "{directory} has no sources");
    let read = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).expect("a source can be read"),
        path: path
            .strip_prefix(checkout())
            .expect("it is in the checkout")
            .display()
            .to_string(),
    };
    paths.into_iter().map(read).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry of a directory").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The files of the program itself: all below `src/` but modules that only exist in tests.
pub fn of_the_program() -> Vec<Source> {
    let all = all_below("src");
    let mut of_tests = BTreeSet::new();
    for source in &all {
        let directory = source.directory();
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            if !line.starts_with("#[cfg(test)]") {
                continue;
            }
            // The attributes that follow, up to the item: one of them may name the module's file.
            let mut named = None;
            for next in &lines[index + 1..] {
                let path = next
                    .strip_prefix("#[path = \"")
                    .and_then(|it| it.strip_suffix(".rs\"]"));
                let beside = source
                    .path
                    .rsplit_once('/')
                    .map_or("", |(beside, _)| beside);
                named = named.or_else(|| path.map(|path| format!("{beside}/{path}")));
                if !next.starts_with("#[") {
                    let usual = declared(next).map(|module| format!("{directory}/{module}"));
                    of_tests.extend(usual.map(|usual| named.unwrap_or(usual)));
                    break;
                }
            }
        }
    }
    let is_of_tests = |source: &Source| {
        let inside = |module: &String| {
            source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/"))
        };
        of_tests.iter().any(inside)
    };
    let (left_out, program): (Vec<_>, Vec<_>) = all.into_iter().partition(is_of_tests);
    assert!(!left_out.is_empty(), "no test module was recognised");
    program
}

/// The module that a line such as `pub(crate) mod tests;` declares.
fn declared(line: &str) -> Option<&str> {
    let (visibility, rest) = line.split_once("mod ")?;
    let is_item = visibility.is_empty() || visibility.starts_with("pub");
    rest.strip_suffix(';').filter(|_| is_item)
}

impl Source {
    /// The top module that it belongs to: `step`; `lib` and `main` are their own.
    pub fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").expect("it is below src");
        let first = inside.split('/').next().expect("a path has a component");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many `super::` lead from it to the crate's root.
    pub fn depth(&self) -> usize {
        let components = self.path.matches('/').count();
        let is_root = ["/mod.rs", "/lib.rs", "/main.rs"]
            .iter()
            .any(|name| self.path.ends_with(name));
        components - usize::from(is_root)
    }

    /// Where modules that it declares lie.
    fn directory(&self) -> String {
        let stem = self.path.strip_suffix(".rs").expect("a Rust file");
        let stem = stem.strip_suffix("/mod").unwrap_or(stem);
        stem.strip_suffix("/lib").unwrap_or(stem).to_owned()
    }

    /// Its lines of code.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut skipped: Option<usize> = None;
        let mut begun = false;
        for (index, line) in self.text.lines().enumerate() {
            let code = without_comment(line);
            if code.trim().is_empty() {
                continue;
            }
            let indentation = code.len() - code.trim_start().len();
            let trimmed = code.trim();
            if let Some(outer) = skipped {
                // The item begins after its attributes; it ends at its own indentation, or on its first line.
                let is_attribute = !begun && trimmed.starts_with("#[");
                let ends = trimmed.ends_with([';', '}', ',']);
                if !is_attribute && indentation == outer && ends {
                    skipped = None;
                }
                begun |= !is_attribute;
                continue;
            }
            if trimmed.starts_with("#[cfg(test)]") {
                skipped = Some(indentation);
                begun = false;
                continue;
            }
            lines.push(Line {
                number: index + 1,
                code: code.to_owned(),
            });
        }
        assert!(
            skipped.is_none(),
            "{}: where does its #[cfg(test)] end?",
            self.path
        );
        lines
    }
}

/// A line up to its comment; the `//` of an address is none.
fn without_comment(line: &str) -> &str {
    let mut from = 0;
    while let Some(found) = line[from..].find("//") {
        let at = from + found;
        if !line[..at].ends_with(':') {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

/// The words after each `path` in a line of code, where `path` isn't the end of a longer word: the modules that
/// `crate::` leads to.
pub fn after<'a>(code: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(path).filter_map(move |(at, _)| {
        let rest = &code[at + path.len()..];
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        (!code[..at].ends_with(is_word)).then_some(&rest[..end])
    })
}

#[test]
fn what_only_tests_have_is_no_code() {
    let text = "\
//! Words.
use a::b; // why
#[cfg(test)]
use c::d;
const AT: &str = \"http://x\"; // there
#[cfg(test)]
#[allow(unused)]
mod tests {
    use e::f;
}
impl X {
    #[cfg(test)]
    fn y() {
        g::h();
    }
    fn z() {}
}
";
    let source = Source {
        path: "src/x/y.rs".to_owned(),
        text: text.to_owned(),
    };
    let lines: Vec<String> = source
        .lines()
        .into_iter()
        .map(|line| format!("{} {}", line.number, line.code.trim()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    2 use a::b;
    5 const AT: &str = "http://x";
    11 impl X {
    16 fn z() {}
    17 }
    "#);
    assert_eq!((source.module(), source.depth()), ("x", 2));
    let found: Vec<_> = after("crate::plan::x(my_crate::step, crate::host)", "crate::").collect();
    assert_eq!(found, ["plan", "host"]);
}
