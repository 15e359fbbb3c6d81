//! What is deployed, on the controller: a tree with where its bytes are.
//!
//! Start reading at [`SourceTree`]; [`super::walk`] reads one from a directory, [`super::git`] from a
//! commit.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::git::Blobs;
use super::manifest::{EntryPath, Manifest, ManifestEntry};
use super::pack::{PackError, PackWriter};
use super::patterns::{InvalidPattern, Patterns};
use crate::model::Digest;

/// A tree on the controller, and where the bytes of its files are.
///
/// Modes are normalised as git does it, so that neither a umask nor a checkout changes what is
/// deployed: a file is 0755 where its user may execute it and 0644 otherwise, a directory 0755.
#[derive(Debug, Clone, Default)]
pub struct SourceTree {
    /// What it consists of.
    pub manifest: Manifest,
    pub(super) origins: BTreeMap<EntryPath, Origin>,
}

/// Where the bytes of one file are.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// In a file of its own.
    File(PathBuf),
    /// In a git repository, under this object name.
    Blob { repository: PathBuf, object: String },
}

/// Why a source can't be deployed: everything that is wrong with it.
#[derive(Debug, Error)]
#[error("the source {} can't be deployed:{}", source_name.display(), lines(problems))]
pub struct SourceError {
    /// The directory or repository.
    pub source_name: PathBuf,
    /// All problems, in the order of the paths.
    pub problems: Vec<SourceProblem>,
}

fn lines(problems: &[SourceProblem]) -> String {
    problems
        .iter()
        .map(|problem| format!("\n  {problem}"))
        .collect()
}

/// One thing that is wrong with a source. Paths are those inside of it.
#[derive(Debug, Error)]
pub enum SourceProblem {
    /// There is no such directory.
    #[error("there is no such directory")]
    Missing,
    /// It isn't a directory.
    #[error("it is no directory")]
    NoDirectory,
    /// Something in it can't be read.
    #[error("{path} can't be read: {cause}")]
    Unreadable {
        /// The path; `.` for the source itself.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Something in it is no file, directory or link.
    #[error("{path} is {what}; remove it, or exclude it")]
    Special {
        /// The path.
        path: EntryPath,
        /// `a socket`, `a pipe`, `a device`.
        what: &'static str,
    },
    /// A link leads out of the tree, and would lead elsewhere on a server.
    #[error(
        "{path} is a link to {target}, which leaves the source; make it relative and point inside, or exclude it"
    )]
    LeavingLink {
        /// The link.
        path: EntryPath,
        /// Where it points.
        target: String,
    },
    /// A file was written to each time that it was read.
    #[error("{path} changes while it is read; stop what writes to it, or exclude it")]
    Changing {
        /// The file.
        path: EntryPath,
    },
    /// A pattern is none.
    #[error("{place}: {cause}")]
    Pattern {
        /// `exclude` or `.roseyignore`.
        place: &'static str,
        /// What is wrong.
        cause: InvalidPattern,
    },
    /// A submodule, of which a commit has only the name.
    #[error(
        "{path} is a git submodule, whose content is not in the commit; deploy from a checkout (source \"DIR\") instead, or exclude it"
    )]
    Submodule {
        /// Where it is.
        path: EntryPath,
    },
    /// The commit doesn't have the directory that is the source.
    #[error("{reference} has no directory {path}; commit it, or name another ref")]
    NotInCommit {
        /// Where it is in the repository.
        path: String,
        /// The commit, as it is named.
        reference: String,
    },
    /// git knows no such commit, in its own words.
    #[error("git {doing}: {words}")]
    Reference {
        /// What was asked of it.
        doing: String,
        /// What it said.
        words: String,
    },
    /// git failed, in its own words.
    #[error("git {doing}: {words}")]
    Git {
        /// What was asked of it.
        doing: String,
        /// What it said.
        words: String,
    },
}

impl SourceTree {
    /// The bytes of one file; none when the tree has no such file.
    ///
    /// # Errors
    /// When it can't be read, or isn't any more what it was when the tree was read.
    pub fn read(&self, path: &EntryPath) -> Result<Option<Vec<u8>>, PackError> {
        let (Some(origin), Some(ManifestEntry::File { digest, .. })) =
            (self.origins.get(path), self.manifest.entries.get(path))
        else {
            return Ok(None);
        };
        let unreadable = |cause| PackError::Unreadable {
            path: path.to_string(),
            cause,
        };
        let mut bytes = Vec::new();
        match origin {
            Origin::File(file) => {
                let mut file = open_file(file).map_err(unreadable)?;
                file.read_to_end(&mut bytes).map_err(unreadable)?;
            }
            Origin::Blob { repository, object } => {
                let objects = [object.as_str()];
                let mut blobs = Blobs::open(repository, &objects).map_err(unreadable)?;
                blobs
                    .next(|_, content| content.read_to_end(&mut bytes).map(|_| ()))
                    .map_err(unreadable)?;
            }
        }
        if Digest::of(&bytes) == *digest {
            Ok(Some(bytes))
        } else {
            Err(PackError::Changed {
                path: path.to_string(),
            })
        }
    }

    /// Writes the content of those digests that this tree has and that are wanted, each once, in the
    /// order of the digests.
    ///
    /// # Errors
    /// When a file can't be read or has changed since the tree was read, or the pack can't be written.
    pub fn pack<W: Write>(
        &self,
        wanted: &BTreeSet<Digest>,
        pack: &mut PackWriter<W>,
    ) -> Result<(), PackError> {
        let mut chosen: BTreeMap<Digest, (&EntryPath, u64, &Origin)> = BTreeMap::new();
        for (path, digest, size) in self.manifest.files() {
            if let Some(origin) = self.origins.get(path)
                && wanted.contains(&digest)
            {
                chosen.entry(digest).or_insert((path, size, origin));
            }
        }
        let mut blobs: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
        for (_, _, origin) in chosen.values() {
            if let Origin::Blob { repository, object } = origin {
                blobs.entry(repository).or_default().push(object);
            }
        }
        let mut readers = BTreeMap::new();
        for (repository, objects) in blobs {
            let unreadable = |cause| PackError::Unreadable {
                path: repository.display().to_string(),
                cause,
            };
            let opened = Blobs::open(repository, &objects).map_err(unreadable)?;
            readers.insert(repository, opened);
        }
        for (digest, (path, size, origin)) in chosen {
            let named = |cause| PackError::Unreadable {
                path: path.to_string(),
                cause,
            };
            let written = match origin {
                Origin::File(file) => {
                    let mut file = open_file(file).map_err(named)?;
                    pack.add(&digest, size, &mut file)
                }
                Origin::Blob { repository, .. } => {
                    let blobs = readers
                        .get_mut(repository.as_path())
                        .expect("BUG: every repository that an origin names was opened");
                    let mut written = Ok(());
                    blobs
                        .next(|_, content| {
                            written = pack.add(&digest, size, content);
                            Ok(())
                        })
                        .map_err(named)?;
                    written
                }
            };
            written.map_err(|error| error.about(path))?;
        }
        Ok(())
    }
}

/// Opens a regular file without following a link that has taken its place.
pub(super) fn open_file(path: &Path) -> io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    Ok(file)
}

/// The patterns of a source: those declared, then those of the `.roseyignore` in it.
pub(super) fn patterns(
    exclude: &[String],
    ignore_file: Option<&[u8]>,
    problems: &mut Vec<SourceProblem>,
) -> Patterns {
    let text = ignore_file.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let text = text.unwrap_or_default();
    let mut check = |place, lines: Vec<&str>| {
        if let Err(wrong) = Patterns::new(lines) {
            problems.extend(
                wrong
                    .into_iter()
                    .map(|cause| SourceProblem::Pattern { place, cause }),
            );
        }
    };
    check("exclude", exclude.iter().map(String::as_str).collect());
    check(".roseyignore", text.lines().collect());
    let all: Vec<String> = exclude
        .iter()
        .cloned()
        .chain(text.lines().map(str::to_owned))
        .collect();
    Patterns::lenient(&all)
}

/// Names every link that leads out of the tree, through other links too.
pub(super) fn leaving_links(manifest: &Manifest) -> Vec<SourceProblem> {
    manifest
        .entries
        .iter()
        .filter_map(|(path, entry)| match entry {
            ManifestEntry::Link { target } if leaves(manifest, path, &target.0) => {
                Some(SourceProblem::LeavingLink {
                    path: path.clone(),
                    target: target.to_string(),
                })
            }
            _ => None,
        })
        .collect()
}

/// Whether a link leads out of the tree. Follows it as the kernel would; what isn't in the tree is
/// taken for a directory that somebody may yet make there.
fn leaves(manifest: &Manifest, link: &EntryPath, target: &[u8]) -> bool {
    let mut here: Vec<Vec<u8>> = split(link.as_bytes());
    here.pop();
    let mut todo: Vec<Vec<u8>> = split(target);
    todo.reverse();
    if target.first() == Some(&b'/') {
        return true;
    }
    // As many as the kernel follows (path_resolution(7)); a loop leads nowhere, so not outside either.
    let mut links = 40;
    while let Some(part) = todo.pop() {
        if part == b"." {
            continue;
        }
        if part == b".." {
            if here.pop().is_none() {
                return true;
            }
            continue;
        }
        here.push(part);
        let path = EntryPath::new(here.join(&b'/'));
        if let Some(ManifestEntry::Link { target }) =
            path.and_then(|path| manifest.entries.get(&path))
        {
            if target.0.first() == Some(&b'/') {
                return true;
            }
            links -= 1;
            if links == 0 {
                return false;
            }
            here.pop();
            todo.extend(split(&target.0).into_iter().rev());
        }
    }
    false
}

fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::LinkTarget;

    #[test]
    fn a_link_is_followed_as_the_kernel_would() {
        let links = [
            ("fine", "a/b/../c"),
            ("a/up", ".."),
            ("a/b/top", "../.."),
            ("a/b/out", "../../.."),
            ("absolute", "/etc"),
            // In words it stays inside: a/b/top/../x is a/b/x. Really it is ../x.
            ("through", "a/b/top/../x"),
            ("a/b/through", "top/a/x"),
            ("loop", "loop/x"),
            ("dangling", "nowhere/.././x"),
        ];
        let mut manifest = Manifest::default();
        for (path, target) in links {
            let target = LinkTarget(target.into());
            let path = EntryPath::new(path).unwrap();
            manifest
                .entries
                .insert(path, ManifestEntry::Link { target });
        }
        let told: String = leaving_links(&manifest)
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect();
        insta::assert_snapshot!(told, @r"
        a/b/out is a link to ../../.., which leaves the source; make it relative and point inside, or exclude it
        absolute is a link to /etc, which leaves the source; make it relative and point inside, or exclude it
        through is a link to a/b/top/../x, which leaves the source; make it relative and point inside, or exclude it
        ");
    }
}
