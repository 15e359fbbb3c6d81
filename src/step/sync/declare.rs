//! The words `shared`, `render` and `file`: what a declaration says about files.
//!
//! Must not know a host: only what is written.

use serde::{Deserialize, Serialize};

use crate::config::{Claimed, FileContent, Problem, Reader, Word};
use crate::model::names::{AccountName, Mode, RemotePath, TreePath};

/// `shared { … }`.
pub const SHARED: Word = Word {
    word: "shared",
    decode: |reader| serde_json::to_value(shared(reader)?).ok(),
    repeated: false,
    repeated_inside: &["dir", "file"],
};

/// `render "target" from="template"`.
pub const RENDER: Word = Word {
    word: "render",
    decode: |reader| serde_json::to_value(render(reader)?).ok(),
    repeated: true,
    repeated_inside: &[],
};

/// `file "/path" from="template"`.
pub const FILE: Word = Word {
    word: "file",
    decode: |reader| serde_json::to_value(file(reader)?).ok(),
    repeated: true,
    repeated_inside: &[],
};

/// What outlives releases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedDeclaration {
    /// Directories, linked into each release.
    pub directories: Vec<SharedDirectory>,
    /// Files, linked into each release.
    pub files: Vec<SharedFile>,
}

/// A directory that outlives releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedDirectory {
    /// Where it is, in `shared/` and in each release.
    pub path: TreePath,
    /// Its mode, if it is declared.
    pub mode: Option<Mode>,
}

/// A file that outlives releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFile {
    /// Where it is, in `shared/` and in each release.
    pub path: TreePath,
    /// The file of the source that it begins as; without one it must be there already.
    pub seed: Option<TreePath>,
    /// Its mode, if it is declared.
    pub mode: Option<Mode>,
}

/// A file of each release that is rendered from a template of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderDeclaration {
    /// Where it goes in the release.
    pub target: TreePath,
    /// The template.
    pub from: TreePath,
    /// Its mode; the template's own when left out.
    pub mode: Option<Mode>,
}

/// A file outside of every release that is rendered from a template of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDeclaration {
    /// Where it goes on the server.
    pub path: RemotePath,
    /// The template.
    pub from: TreePath,
    /// Its mode; `0644` when left out.
    pub mode: Option<Mode>,
    /// Who owns it; root, or who the helper is, when left out.
    pub owner: Option<AccountName>,
    /// Its group.
    pub group: Option<AccountName>,
    /// Whether a file that somebody else made is taken over.
    pub adopt: bool,
}

fn shared(reader: &mut Reader<'_>) -> Option<SharedDeclaration> {
    let directories = reader.children("dir", |child| {
        let mode = child.property::<Mode>("mode");
        let paths = inside(child);
        Some(
            paths
                .into_iter()
                .map(|path| SharedDirectory { path, mode })
                .collect::<Vec<_>>(),
        )
    });
    let files = reader.children("file", |child| {
        let mode = child.property::<Mode>("mode");
        let seed_place = child.property_place("seed");
        let seed = child.property::<TreePath>("seed");
        let paths = inside(child);
        if let Some(seed) = &seed {
            child.names_file(seed, seed_place, FileContent::Plain);
            if paths.len() > 1 {
                let problem = Problem::new("`seed` can't be the beginning of several files");
                child.problem(
                    problem
                        .at(seed_place, "of which?")
                        .help("give each file a line of its own"),
                );
            }
        }
        Some(
            paths
                .into_iter()
                .map(|path| SharedFile {
                    path,
                    seed: seed.clone(),
                    mode,
                })
                .collect::<Vec<_>>(),
        )
    });
    Some(SharedDeclaration {
        directories: directories.into_iter().flatten().collect(),
        files: files.into_iter().flatten().collect(),
    })
}

fn inside(reader: &mut Reader<'_>) -> Vec<TreePath> {
    let paths = reader.some_placed_arguments::<TreePath>();
    for (path, place) in &paths {
        reader.claim(Claimed::Inside(path.clone()), *place);
    }
    paths.into_iter().map(|(path, _)| path).collect()
}

fn render(reader: &mut Reader<'_>) -> Option<RenderDeclaration> {
    let place = reader.name_place();
    let target = reader.argument::<TreePath>();
    let from = template(reader);
    let mode = reader.property::<Mode>("mode");
    if let Some(target) = &target {
        reader.claim(Claimed::Inside(target.clone()), place);
    }
    Some(RenderDeclaration {
        target: target?,
        from: from?,
        mode,
    })
}

fn file(reader: &mut Reader<'_>) -> Option<FileDeclaration> {
    let place = reader.name_place();
    let path = reader.argument::<RemotePath>();
    let from = template(reader);
    let mode = reader.property::<Mode>("mode");
    let owner = reader.property::<AccountName>("owner");
    let group = reader.property::<AccountName>("group");
    let adopt = reader.flag("adopt");
    if let Some(path) = &path {
        reader.claim(Claimed::Path(path.clone()), place);
    }
    Some(FileDeclaration {
        path: path?,
        from: from?,
        mode,
        owner,
        group,
        adopt,
    })
}

fn template(reader: &mut Reader<'_>) -> Option<TreePath> {
    let place = reader.property_place("from");
    let from = reader.required_property::<TreePath>("from")?;
    reader.names_file(&from, place, FileContent::SecretTemplate);
    Some(from)
}
