//! Reads a source from a directory of the controller.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::hashing::{HashingReader, in_parallel};
use super::manifest::{EntryPath, LinkTarget, Manifest, ManifestEntry};
use super::patterns::Patterns;
use super::source::{
    Origin, SourceError, SourceProblem, SourceTree, leaving_links, open_file, patterns,
};
use crate::model::Digest;

/// How many threads hash.
const THREADS: usize = 2;

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;

/// Reads a directory: all of it but what `exclude` and a `.roseyignore` at its top match.
///
/// Names may be any bytes. Links are kept as they are, and must stay inside.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn read_source(directory: &Path, exclude: &[String]) -> Result<SourceTree, SourceError> {
    let mut problems = Vec::new();
    let tree = read(directory, exclude, &mut problems);
    if problems.is_empty() {
        Ok(tree)
    } else {
        Err(SourceError {
            source_name: directory.to_owned(),
            problems,
        })
    }
}

fn read(directory: &Path, exclude: &[String], problems: &mut Vec<SourceProblem>) -> SourceTree {
    let mut tree = SourceTree::default();
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            problems.push(SourceProblem::NoDirectory);
            return tree;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            problems.push(SourceProblem::Missing);
            return tree;
        }
        Err(cause) => {
            problems.push(unreadable(None, cause));
            return tree;
        }
    }
    let ignore_file = match fs::read(directory.join(".roseyignore")) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => {
            problems.push(unreadable(EntryPath::new(".roseyignore").as_ref(), cause));
            None
        }
    };
    let patterns = patterns(exclude, ignore_file.as_deref(), problems);
    let mut walk = Walk {
        directory,
        patterns,
        manifest: Manifest::default(),
        files: Vec::new(),
        problems,
    };
    walk.enter(None);
    let Walk {
        manifest,
        files,
        problems,
        ..
    } = walk;
    tree.manifest = manifest;
    let read = in_parallel(THREADS, &files, |path| {
        let at = path.below(directory);
        (hash_steadily(&at, |_| ()), at)
    });
    for (path, (result, at)) in files.into_iter().zip(read) {
        match result {
            Ok(Some((mode, size, digest))) => {
                let entry = ManifestEntry::File { mode, size, digest };
                tree.manifest.entries.insert(path.clone(), entry);
                tree.origins.insert(path, Origin::File(at));
            }
            Ok(None) => problems.push(SourceProblem::Changing { path }),
            Err(cause) => problems.push(unreadable(Some(&path), cause)),
        }
    }
    problems.extend(leaving_links(&tree.manifest));
    tree
}

fn unreadable(path: Option<&EntryPath>, cause: io::Error) -> SourceProblem {
    SourceProblem::Unreadable {
        path: path.map_or_else(|| ".".to_owned(), ToString::to_string),
        cause,
    }
}

struct Walk<'a> {
    directory: &'a Path,
    patterns: Patterns,
    manifest: Manifest,
    files: Vec<EntryPath>,
    problems: &'a mut Vec<SourceProblem>,
}

impl Walk<'_> {
    fn enter(&mut self, path: Option<&EntryPath>) {
        let at = path.map_or_else(
            || self.directory.to_owned(),
            |path| path.below(self.directory),
        );
        let names: io::Result<Vec<_>> = fs::read_dir(at)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        let mut names = match names {
            Ok(names) => names,
            Err(cause) => return self.problems.push(unreadable(path, cause)),
        };
        names.sort();
        for name in names {
            let mut bytes = Vec::new();
            if let Some(path) = path {
                bytes.extend_from_slice(path.as_bytes());
                bytes.push(b'/');
            }
            bytes.extend_from_slice(name.as_bytes());
            let path = EntryPath::new(bytes)
                .expect("BUG: a directory lists no name that is empty, '.', '..' or has a slash");
            if let Err(cause) = self.take(&path) {
                self.problems.push(unreadable(Some(&path), cause));
            }
        }
    }

    fn take(&mut self, path: &EntryPath) -> io::Result<()> {
        let at: PathBuf = path.below(self.directory);
        let found = fs::symlink_metadata(&at)?;
        let kind = found.file_type();
        if self.patterns.matches(path, kind.is_dir()) {
            return Ok(());
        }
        if kind.is_dir() {
            let entry = ManifestEntry::Directory { mode: 0o755 };
            self.manifest.entries.insert(path.clone(), entry);
            self.enter(Some(path));
        } else if kind.is_file() {
            self.files.push(path.clone());
        } else if kind.is_symlink() {
            let target = LinkTarget(fs::read_link(&at)?.as_os_str().as_bytes().to_vec());
            self.manifest
                .entries
                .insert(path.clone(), ManifestEntry::Link { target });
        } else {
            let what = if kind.is_socket() {
                "a socket"
            } else if kind.is_fifo() {
                "a pipe"
            } else {
                "a device"
            };
            let path = path.clone();
            self.problems.push(SourceProblem::Special { path, what });
        }
        Ok(())
    }
}

/// Hashes a file that stays the same from before to after: mode, size and digest. None when it
/// changed each time. `meanwhile` is called between reading and looking again.
fn hash_steadily(
    path: &Path,
    mut meanwhile: impl FnMut(usize),
) -> io::Result<Option<(u32, u64, Digest)>> {
    for attempt in 0..TRIES {
        let file = match open_file(path) {
            Ok(file) => file,
            // It was listed, so somebody has just removed it, or put a link in its place.
            Err(error) if gone(&error) => continue,
            Err(error) => return Err(error),
        };
        let before = file.metadata()?;
        if !before.is_file() {
            continue;
        }
        let (digest, size) = HashingReader::new(&file, None).drain()?;
        meanwhile(attempt);
        let after = match fs::symlink_metadata(path) {
            Ok(after) => after,
            Err(error) if gone(&error) => continue,
            Err(error) => return Err(error),
        };
        if identity(&before) == identity(&after) && size == after.len() {
            let mode = if after.mode() & 0o100 != 0 {
                0o755
            } else {
                0o644
            };
            return Ok(Some((mode, size, digest)));
        }
    }
    Ok(None)
}

fn gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    code == Some(Errno::NOENT.raw_os_error()) || code == Some(Errno::LOOP.raw_os_error())
}

/// What changes with the content. The time of the last status change can't be set back by a writer.
fn identity(found: &fs::Metadata) -> (u64, u64, u64, i64, i64, i64, i64) {
    (
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::new(text).unwrap()
    }

    fn told(error: &SourceError) -> String {
        error
            .to_string()
            .replace(&error.source_name.display().to_string(), "SOURCE")
    }

    #[test]
    fn a_tree_is_read_as_it_is_with_modes_made_plain() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        fs::create_dir(at.join("bin")).unwrap();
        fs::set_permissions(at.join("bin"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(at.join("bin/run me\n"), "x").unwrap();
        fs::set_permissions(at.join("bin/run me\n"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(at.join(OsStr::from_bytes(b"\xff.txt")), "odd").unwrap();
        fs::set_permissions(
            at.join(OsStr::from_bytes(b"\xff.txt")),
            fs::Permissions::from_mode(0o606),
        )
        .unwrap();
        symlink("bin/nothing", at.join("link")).unwrap();
        fs::write(at.join(".roseyignore"), "*.log\n# words\n/data/\n").unwrap();
        fs::write(at.join("x.log"), "").unwrap();
        fs::create_dir(at.join("data")).unwrap();
        fs::write(at.join("data/kept-out"), "").unwrap();
        fs::create_dir(at.join(".git")).unwrap();
        let tree = read_source(at, &[".git".to_owned()]).unwrap();
        let listed: String = tree
            .manifest
            .entries
            .iter()
            .map(|(path, entry)| match entry {
                ManifestEntry::Directory { mode } => format!("{path} {mode:o}/\n"),
                ManifestEntry::File { mode, size, .. } => format!("{path} {mode:o} {size}\n"),
                ManifestEntry::Link { target } => format!("{path} -> {target}\n"),
            })
            .collect();
        insta::assert_snapshot!(listed, @r"
        .roseyignore 644 21
        bin 755/
        bin/run me%0A 755 1
        link -> bin/nothing
        %FF.txt 644 3
        ");
        let odd = EntryPath::new(&b"\xff.txt"[..]).unwrap();
        assert_eq!(tree.read(&odd).unwrap().unwrap(), b"odd");
        assert!(tree.read(&path("link")).unwrap().is_none());
        fs::write(at.join(OsStr::from_bytes(b"\xff.txt")), "new").unwrap();
        assert!(tree.read(&odd).is_err());
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let _socket = std::os::unix::net::UnixListener::bind(at.join("a.sock")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        symlink("/etc/passwd", at.join("absolute")).unwrap();
        symlink("../x", at.join("up")).unwrap();
        fs::write(at.join(".roseyignore"), "*.ok\na{\n").unwrap();
        let error = read_source(at, &["{b".to_owned()]).unwrap_err();
        insta::assert_snapshot!(told(&error), @r#"
        the source SOURCE can't be deployed:
          exclude: "{b" is not a pattern: error parsing glob '{b': unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
          .roseyignore: "a{" is not a pattern: error parsing glob 'a{': unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
          a.sock is a socket; remove it, or exclude it
          pipe is a pipe; remove it, or exclude it
          absolute is a link to /etc/passwd, which leaves the source; make it relative and point inside, or exclude it
          up is a link to ../x, which leaves the source; make it relative and point inside, or exclude it
        "#);
        let missing = read_source(&at.join("nothing"), &[]).unwrap_err();
        assert!(missing.to_string().ends_with("there is no such directory"));
        let file = read_source(&at.join(".roseyignore"), &[]).unwrap_err();
        assert!(file.to_string().ends_with("it is no directory"));
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_given_up_at_last() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        fs::write(&file, "one").unwrap();
        let once = hash_steadily(&file, |attempt| {
            if attempt == 0 {
                fs::write(&file, "three").unwrap();
            }
        });
        assert_eq!(once.unwrap(), Some((0o644, 5, Digest::of(b"three"))));
        let mut length = 0;
        let always = hash_steadily(&file, |_| {
            length += 1;
            fs::write(&file, "x".repeat(length)).unwrap();
        });
        assert_eq!(always.unwrap(), None);
        let replaced = hash_steadily(&file, |_| {
            fs::remove_file(&file).unwrap();
            symlink("/etc/passwd", &file).unwrap();
        });
        assert_eq!(replaced.unwrap(), None);
    }
}
