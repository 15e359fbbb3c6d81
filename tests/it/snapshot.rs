//! The eyes with which other tests see are tested first: a difference that they miss would make those tests prove nothing.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::{Look, Project};

fn tree() -> Project {
    let project = Project::new();
    project.write("tree/file", "content");
    project.write("tree/.rosey/objects/x", "rosey's own");
    project.write("tree/data/db", "an application's");
    symlink("file", project.path("tree/link")).expect("a link can be made");
    project
}

fn look(project: &Project) -> Look {
    Look::at([project.path("tree")]).except("*/data/db")
}

/// What a look reports after `change`, each line cut to the sign and the name.
fn seen(change: impl FnOnce(&Path)) -> Vec<String> {
    let project = tree();
    let before = look(&project).here();
    change(&project.path("tree"));
    let root = format!("{}/", project.root().display());
    let line = |line: String| {
        line.replace(&root, "")
            .split(": ")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    before
        .differences(&look(&project).here())
        .into_iter()
        .map(line)
        .collect()
}

#[test]
fn the_same_tree_is_the_same_picture() {
    let project = tree();
    let before = look(&project).here();
    before.must_equal(&look(&project).here());
    let root = project.root().display().to_string();
    let names: Vec<_> = before.names().map(|name| name.replace(&root, "")).collect();
    assert_eq!(names, ["/tree", "/tree/data", "/tree/file", "/tree/link"]);
}

#[test]
fn every_kind_of_change_is_seen() {
    let changed = ["- tree/file", "+ tree/file"];
    assert_eq!(
        seen(|tree| std::fs::write(tree.join("file"), "Content").unwrap()),
        changed
    );
    assert_eq!(
        seen(
            |tree| std::fs::set_permissions(tree.join("file"), PermissionsExt::from_mode(0o600))
                .unwrap()
        ),
        changed
    );
    assert_eq!(
        seen(|tree| std::fs::remove_file(tree.join("file")).unwrap()),
        ["- tree/file"]
    );
    assert_eq!(
        seen(|tree| std::fs::write(tree.join("new"), "").unwrap()),
        ["+ tree/new"]
    );
    let xattr = |tree: &Path| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(tree.join("file"), "user.test", b"value", flags).unwrap();
    };
    assert_eq!(seen(xattr), changed);
    let relink = |tree: &Path| {
        std::fs::remove_file(tree.join("link")).unwrap();
        symlink("elsewhere", tree.join("link")).unwrap();
    };
    assert_eq!(seen(relink), ["- tree/link", "+ tree/link"]);
}

#[test]
fn what_is_left_aside_is_not_seen() {
    assert!(seen(|tree| std::fs::write(tree.join(".rosey/objects/y"), "").unwrap()).is_empty());
    assert!(seen(|tree| std::fs::write(tree.join("data/db"), "written to").unwrap()).is_empty());
}

#[test]
fn names_that_are_no_text_are_told_apart() {
    let odd = |tree: &Path| {
        for name in [&b"two\nlines"[..], b"not \xff utf-8", b"not \xfe utf-8"] {
            std::fs::write(tree.join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
        }
    };
    assert_eq!(
        seen(odd),
        [
            "+ tree/not \\xfe utf-8",
            "+ tree/not \\xff utf-8",
            "+ tree/two\nlines"
        ]
    );
}
