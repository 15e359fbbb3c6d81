//! Reads a source from a commit, through the `git` program.
//!
//! Only objects are read: no checkout, no filter, no hook, no attribute has a say. A file that git
//! keeps elsewhere (LFS) is therefore deployed as the pointer that the commit has.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::hashing::HashingReader;
use super::manifest::{EntryPath, LinkTarget, Manifest, ManifestEntry};
use super::source::{Origin, SourceError, SourceProblem, SourceTree, leaving_links, patterns};

/// What of a repository is a source.
#[derive(Debug, Clone, Copy)]
pub struct GitSource<'a> {
    /// The repository, or a directory inside of it.
    pub directory: &'a Path,
    /// Whether the repository is meant as a whole, wherever inside of it the directory is.
    pub whole: bool,
    /// A commit, tag or branch.
    pub reference: &'a str,
}

/// Reads the tree that a commit has of a source: all of it but what `exclude` and its own `.roseyignore` match.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn read_git(source: &GitSource<'_>, exclude: &[String]) -> Result<SourceTree, SourceError> {
    let mut problems = Vec::new();
    let tree = read(source, Some(exclude), &mut problems);
    complete(source, tree, problems)
}

/// Writes the tree that a commit has of a source below `cache`, what `.roseyignore` leaves out included, for a
/// build that runs in it: it stays there, with what the build made, until another commit is wanted.
///
/// # Errors
/// Everything that is wrong with it, at once; or when it can't be written.
pub fn check_out(source: &GitSource<'_>, cache: &Path, name: &str) -> Result<PathBuf, SourceError> {
    let mut problems = Vec::new();
    let tree = read(source, None, &mut problems);
    let tree = complete(source, tree, problems)?;
    let written = write(&tree, cache, name);
    written.map_err(|(path, cause)| SourceError {
        source_name: source.directory.to_owned(),
        problems: vec![SourceProblem::Git {
            doing: "checkout".to_owned(),
            words: format!("{} can't be written: {cause}", path.display()),
        }],
    })
}

fn complete(
    source: &GitSource<'_>,
    tree: Result<SourceTree, SourceProblem>,
    mut problems: Vec<SourceProblem>,
) -> Result<SourceTree, SourceError> {
    match tree {
        Ok(tree) if problems.is_empty() => Ok(tree),
        other => {
            problems.extend(other.err());
            Err(SourceError {
                source_name: source.directory.to_owned(),
                problems,
            })
        }
    }
}

/// One line of `git ls-tree`.
struct Listed {
    mode: u32,
    object: String,
    path: EntryPath,
}

/// Writes a tree to a directory of its own, known by its content; whatever else was checked out by that
/// name goes.
fn write(tree: &SourceTree, cache: &Path, name: &str) -> Result<PathBuf, (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| (path, cause)
    };
    let prefix = format!("checkout-{name}@");
    let directory = cache.join(format!("{prefix}{}", tree.manifest.digest().short()));
    if directory.is_dir() {
        return Ok(directory);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(cache)
        .map_err(at(cache))?;
    for entry in std::fs::read_dir(cache).map_err(at(cache))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            std::fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
        }
    }
    let mut staged = directory.clone().into_os_string();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    std::fs::create_dir(&staged).map_err(at(&staged))?;
    // A directory comes before what it holds: the manifest is sorted.
    for (entry_path, entry) in &tree.manifest.entries {
        let path = staged.join(OsStr::from_bytes(entry_path.as_bytes()));
        let written = match entry {
            ManifestEntry::Directory { .. } => std::fs::create_dir(&path),
            ManifestEntry::Link { target } => symlink(OsStr::from_bytes(&target.0), &path),
            ManifestEntry::File { mode, .. } => tree
                .read(entry_path)
                .map_err(io::Error::other)
                .and_then(|bytes| std::fs::write(&path, bytes.unwrap_or_default()))
                .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(*mode))),
        };
        written.map_err(at(&path))?;
    }
    std::fs::rename(&staged, &directory).map_err(at(&directory))?;
    Ok(directory)
}

/// `exclude`: none for everything that the commit has.
fn read(
    source: &GitSource<'_>,
    exclude: Option<&[String]>,
    problems: &mut Vec<SourceProblem>,
) -> Result<SourceTree, SourceProblem> {
    let repository = source.directory;
    if !repository.is_dir() {
        return Err(SourceProblem::Missing);
    }
    let tree = tree_of(source)?;
    let list = ["ls-tree", "-r", "-t", "-z", "--full-tree", &tree];
    let listed = parse(&ask(repository, &list)?)?;
    let ignore_file = listed.iter().find(|listed| {
        listed.path.as_bytes() == b".roseyignore" && listed.mode & 0o170_000 == FILE
    });
    let ignore_file = match ignore_file.filter(|_| exclude.is_some()) {
        Some(listed) => Some(blob(repository, &listed.object)?),
        None => None,
    };
    let patterns = patterns(
        exclude.unwrap_or_default(),
        ignore_file.as_deref(),
        problems,
    );
    let mut manifest = Manifest::default();
    let mut contents = Vec::new();
    let mut left_out = BTreeSet::new();
    for listed in listed {
        let is_directory = listed.mode & 0o170_000 == DIRECTORY;
        // A directory comes before what it holds, and nothing in one that is left out is taken back in.
        let parent = listed.path.parent();
        if parent.is_some_and(|parent| left_out.contains(&parent))
            || patterns.matches(&listed.path, is_directory)
        {
            left_out.insert(listed.path);
            continue;
        }
        match listed.mode & 0o170_000 {
            DIRECTORY => {
                let entry = ManifestEntry::Directory { mode: 0o755 };
                manifest.entries.insert(listed.path, entry);
            }
            FILE | LINK => contents.push(listed),
            _ => problems.push(SourceProblem::Submodule { path: listed.path }),
        }
    }
    let mut tree = SourceTree {
        manifest,
        ..SourceTree::default()
    };
    read_contents(repository, contents, &mut tree)?;
    problems.extend(leaving_links(&tree.manifest));
    Ok(tree)
}

/// The commit, or the tree that it has of a directory inside of the repository.
fn tree_of(source: &GitSource<'_>) -> Result<String, SourceProblem> {
    let GitSource {
        directory,
        whole,
        reference,
    } = *source;
    let commit = format!("{reference}^{{commit}}");
    let resolve = ["rev-parse", "--verify", "--end-of-options", &commit];
    let resolved = ask(directory, &resolve).map_err(|problem| about(reference, problem))?;
    let commit = String::from_utf8_lossy(&resolved).trim().to_owned();
    if whole {
        return Ok(commit);
    }
    // With a slash behind it, and the end of the line; nothing at the top, and in a bare repository.
    let mut path = ask(directory, &["rev-parse", "--show-prefix"])?;
    while path.last().is_some_and(|byte| b"/\n".contains(byte)) {
        path.pop();
    }
    if path.is_empty() {
        return Ok(commit);
    }
    let path = OsStr::from_bytes(&path);
    let list = ["ls-tree", "-z", "--full-tree", &commit, "--"].map(OsStr::new);
    let listed = parse(&ask(directory, &[list.as_slice(), &[path]].concat())?)?;
    let found = listed
        .into_iter()
        .find(|listed| listed.mode & 0o170_000 == DIRECTORY);
    found
        .map(|listed| listed.object)
        .ok_or_else(|| SourceProblem::NotInCommit {
            path: path.to_string_lossy().into_owned(),
            reference: reference.to_owned(),
        })
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

fn read_contents(
    repository: &Path,
    contents: Vec<Listed>,
    tree: &mut SourceTree,
) -> Result<(), SourceProblem> {
    let objects: Vec<&str> = contents.iter().map(|one| one.object.as_str()).collect();
    let failed = |error: io::Error| SourceProblem::Git {
        doing: "cat-file".to_owned(),
        words: error.to_string(),
    };
    let mut blobs = Blobs::open(repository, &objects).map_err(failed)?;
    for listed in &contents {
        let entry = if listed.mode & 0o170_000 == LINK {
            let mut target = Vec::new();
            blobs
                .next(|_, content| content.read_to_end(&mut target).map(|_| ()))
                .map_err(failed)?;
            ManifestEntry::Link {
                target: LinkTarget(target),
            }
        } else {
            let mut hashed = None;
            blobs
                .next(|_, content| {
                    hashed = Some(HashingReader::new(content, None).drain()?);
                    Ok(())
                })
                .map_err(failed)?;
            let (digest, size) = hashed.expect("BUG: next() calls its visitor or fails");
            let mode = if listed.mode & 0o100 != 0 {
                0o755
            } else {
                0o644
            };
            let origin = Origin::Blob {
                repository: repository.to_owned(),
                object: listed.object.clone(),
            };
            tree.origins.insert(listed.path.clone(), origin);
            ManifestEntry::File { mode, size, digest }
        };
        tree.manifest.entries.insert(listed.path.clone(), entry);
    }
    Ok(())
}

fn blob(repository: &Path, object: &str) -> Result<Vec<u8>, SourceProblem> {
    ask(repository, &["cat-file", "blob", object])
}

/// git in a repository, reading only, and blind to the repository that a hook may have named to us.
fn git<A: AsRef<OsStr>>(repository: &Path, arguments: &[A]) -> Command {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(repository)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_LITERAL_PATHSPECS", "1")
        .stdin(Stdio::null());
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_GLOB_PATHSPECS",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS",
    ] {
        command.env_remove(name);
    }
    command
}

/// The problem as one of the reference, which git doesn't name when it knows no such one.
fn about(reference: &str, problem: SourceProblem) -> SourceProblem {
    match problem {
        SourceProblem::Git { doing, mut words } => {
            let doing = format!("{doing} {reference}");
            let unknown = ["Needed a single revision", "unknown revision"];
            if unknown.iter().any(|it| words.contains(it)) {
                words.push_str("; fetch it, or name another ref");
                return SourceProblem::Reference { doing, words };
            }
            SourceProblem::Git { doing, words }
        }
        other => other,
    }
}

fn ask<A: AsRef<OsStr>>(repository: &Path, arguments: &[A]) -> Result<Vec<u8>, SourceProblem> {
    let doing = arguments[0].as_ref().to_string_lossy().into_owned();
    match git(repository, arguments).output() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(SourceProblem::Git {
            doing,
            words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SourceProblem::Git {
            doing,
            words: "the git program is not installed".to_owned(),
        }),
        Err(error) => Err(SourceProblem::Git {
            doing,
            words: error.to_string(),
        }),
    }
}

/// Lines of `git ls-tree -z`: mode, type, object, a tab, the path, a zero byte (git-ls-tree(1)).
fn parse(output: &[u8]) -> Result<Vec<Listed>, SourceProblem> {
    let mut listed = Vec::new();
    for line in output
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
    {
        let one = parse_line(line).ok_or_else(|| SourceProblem::Git {
            doing: "ls-tree".to_owned(),
            words: format!("said {:?}", String::from_utf8_lossy(line)),
        })?;
        listed.push(one);
    }
    Ok(listed)
}

fn parse_line(line: &[u8]) -> Option<Listed> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&line[..tab]).ok()?.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let object = words.nth(1)?.to_owned();
    let path = EntryPath::new(&line[tab + 1..])?;
    Some(Listed { mode, object, path })
}

/// Blobs of a repository, one after the other, from one process.
pub(super) struct Blobs {
    process: Child,
    output: BufReader<ChildStdout>,
    asking: Option<std::thread::JoinHandle<()>>,
}

impl Blobs {
    /// Asks for objects; they come in this order.
    pub(super) fn open(repository: &Path, objects: &[&str]) -> io::Result<Self> {
        let mut process = git(repository, &["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut input = process.stdin.take().expect("BUG: the input is a pipe");
        let output = process.stdout.take().expect("BUG: the output is a pipe");
        let mut asked = objects.join("\n");
        asked.push('\n');
        // Both pipes are bounded: who wrote all questions first would wait for who waits for an answer to be read.
        let asking = std::thread::spawn(move || {
            // When git has gone, reading its answers says so.
            let _ = input.write_all(asked.as_bytes());
        });
        Ok(Self {
            process,
            output: BufReader::with_capacity(128 * 1024, output),
            asking: Some(asking),
        })
    }

    /// Shows the next one, with its size. What the visitor leaves is skipped.
    pub(super) fn next(
        &mut self,
        visit: impl FnOnce(u64, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        // `<object> SP <type> SP <size> LF <content> LF` (git-cat-file(1)).
        let size = line
            .trim_end()
            .rsplit_once(" blob ")
            .or_else(|| line.trim_end().split_once(" blob "))
            .and_then(|(_, size)| size.parse().ok())
            .ok_or_else(|| io::Error::other(format!("git answered {:?}", line.trim_end())))?;
        let mut content = (&mut self.output).take(size);
        visit(size, &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        let cut_off = content.limit() > 0;
        let mut end = [0];
        self.output.read_exact(&mut end)?;
        if cut_off {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // It ends by itself at the end of its input; one that still has something to say is stopped.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(asking) = self.asking.take() {
            let _ = asking.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::content::pack::PackWriter;
    use crate::content::walk::read_source;

    #[test]
    fn only_a_reference_that_git_does_not_know_is_to_be_fetched() {
        let told = |words: &str| {
            let problem = SourceProblem::Git {
                doing: "rev-parse".to_owned(),
                words: words.to_owned(),
            };
            about("v9", problem).to_string()
        };
        for words in [
            "fatal: Needed a single revision",
            "fatal: ambiguous argument 'v9': unknown revision or path not in the working tree.",
        ] {
            assert!(told(words).contains("fetch it"), "{words}");
        }
        for words in [
            "the git program is not installed",
            "fatal: detected dubious ownership in repository at '/srv/bot'",
            "fatal: not a git repository (or any of the parent directories): .git",
        ] {
            assert!(!told(words).contains("fetch it"), "{words}");
            assert!(told(words).contains("v9"), "{words}");
        }
    }

    fn run(directory: &Path, arguments: &[&str]) {
        let mut command = git(directory, arguments);
        for (name, value) in [
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@example.org"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ] {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn top<'a>(directory: &'a Path, reference: &'a str) -> GitSource<'a> {
        GitSource {
            directory,
            whole: false,
            reference,
        }
    }

    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        run(at, &["init", "-q", "-b", "main"]);
        fs::create_dir_all(at.join("a/deep")).unwrap();
        fs::write(at.join("a/deep/file \n x"), "content").unwrap();
        fs::write(at.join("a/big"), vec![b'x'; 300_000]).unwrap();
        fs::write(at.join("skip.pyc"), "").unwrap();
        fs::write(at.join(".roseyignore"), "*.pyc\n").unwrap();
        std::os::unix::fs::symlink("a/big", at.join("link")).unwrap();
        run(at, &["add", "."]);
        run(at, &["update-index", "--chmod=+x", "a/big"]);
        run(at, &["commit", "-q", "-m", "one"]);
        run(at, &["tag", "v1"]);
        directory
    }

    #[test]
    fn a_commit_is_read_as_its_checkout_would_be() {
        let repository = repository();
        let at = repository.path();
        let tree = read_git(&top(at, "v1"), &["/nothing".to_owned()]).unwrap();
        run(at, &["checkout", "-q", "-f", "v1"]);
        let checkout = read_source(at, &[".git".to_owned()]).unwrap();
        assert_eq!(tree.manifest, checkout.manifest);
        let file = EntryPath::new("a/deep/file \n x").unwrap();
        assert_eq!(tree.read(&file).unwrap().unwrap(), b"content");
        let wanted: BTreeSet<_> = tree.manifest.files().map(|(_, digest, _)| digest).collect();
        let mut pack = PackWriter::new(Vec::new()).unwrap();
        tree.pack(&wanted, &mut pack).unwrap();
        let mut other = PackWriter::new(Vec::new()).unwrap();
        checkout.pack(&wanted, &mut other).unwrap();
        assert_eq!(pack.finish().unwrap(), other.finish().unwrap());
    }

    fn paths(tree: &SourceTree) -> Vec<String> {
        let paths = tree.manifest.entries.keys();
        paths.map(ToString::to_string).collect()
    }

    #[test]
    fn a_directory_of_a_repository_is_that_directory_alone() {
        let repository = repository();
        let at = repository.path();
        fs::write(at.join("a/.roseyignore"), "/big\n").unwrap();
        fs::create_dir(at.join("a/[x] *")).unwrap();
        fs::write(at.join("a/[x] */y"), "").unwrap();
        run(at, &["add", "."]);
        run(at, &["commit", "-q", "-m", "two"]);
        fs::create_dir(at.join("new")).unwrap();

        let part = read_git(&top(&at.join("a"), "HEAD"), &[]).unwrap();
        let expected = [
            ".roseyignore",
            "[x] *",
            "[x] */y",
            "deep",
            "deep/file %0A x",
        ];
        assert_eq!(paths(&part), expected);
        let odd = read_git(&top(&at.join("a/[x] *"), "HEAD"), &[]).unwrap();
        assert_eq!(paths(&odd), ["y"]);
        // By what the commit has, not what is there now.
        let before = read_git(&top(&at.join("a"), "v1"), &[]).unwrap();
        assert_eq!(paths(&before), ["big", "deep", "deep/file %0A x"]);
        let inside = at.join("a");
        let whole = GitSource {
            whole: true,
            ..top(&inside, "HEAD")
        };
        let everything = read_git(&top(at, "HEAD"), &[]).unwrap();
        assert_eq!(read_git(&whole, &[]).unwrap().manifest, everything.manifest);
        for (directory, reference) in [("new", "HEAD"), ("a/[x] *", "v1")] {
            let error = read_git(&top(&at.join(directory), reference), &[]).unwrap_err();
            let told = format!("{reference} has no directory {directory}");
            assert!(error.to_string().contains(&told), "{error}");
        }

        let cache = tempfile::tempdir().unwrap();
        let written = check_out(&top(&at.join("a"), "HEAD"), cache.path(), "bot").unwrap();
        assert!(written.join("big").is_file() && !written.join("a").exists());
    }

    #[test]
    fn a_bare_repository_is_the_whole_of_it() {
        let repository = repository();
        let bare = tempfile::tempdir().unwrap();
        let at = bare.path().to_str().unwrap();
        run(repository.path(), &["clone", "-q", "--bare", ".", at]);
        assert_eq!(
            read_git(&top(bare.path(), "v1"), &[]).unwrap().manifest,
            read_git(&top(repository.path(), "v1"), &[])
                .unwrap()
                .manifest
        );
    }

    #[test]
    fn a_build_gets_all_that_the_commit_has() {
        let repository = repository();
        let at = repository.path();
        let cache = tempfile::tempdir().unwrap();
        let first = check_out(&top(at, "v1"), cache.path(), "bot").unwrap();
        assert!(
            first.join("skip.pyc").is_file(),
            "although it is left out of the content"
        );
        assert_eq!(fs::read(first.join("link")).unwrap().len(), 300_000);
        fs::remove_file(at.join(".roseyignore")).unwrap();
        run(at, &["checkout", "-q", "-f", "v1"]);
        let checkout = read_source(at, &[".git".to_owned()]).unwrap();
        assert_eq!(
            read_source(&first, &[]).unwrap().manifest,
            checkout.manifest
        );
        // What a build made stays for the same commit, and goes with it.
        fs::write(first.join("made"), "").unwrap();
        assert_eq!(
            check_out(&top(at, "v1"), cache.path(), "bot").unwrap(),
            first
        );
        assert!(first.join("made").exists());
        fs::write(at.join("more"), "").unwrap();
        run(at, &["add", "."]);
        run(at, &["commit", "-q", "-m", "two"]);
        let second = check_out(&top(at, "HEAD"), cache.path(), "bot").unwrap();
        assert!(second.join("more").is_file() && !second.join("made").exists());
        assert!(!first.exists());
    }

    #[test]
    fn what_git_cannot_give_is_told_in_words() {
        let repository = repository();
        let at = repository.path();
        let unknown = read_git(&top(at, "v9"), &[]).unwrap_err().to_string();
        assert!(unknown.contains("git rev-parse v9: "), "{unknown}");
        assert!(unknown.contains("name another ref"), "{unknown}");
        let option = read_git(&top(at, "--help"), &[]).unwrap_err().to_string();
        assert!(option.contains("git rev-parse --help: "), "{option}");
        let head = "160000,0123456789012345678901234567890123456789,sub";
        run(at, &["update-index", "--add", "--cacheinfo", head]);
        run(at, &["commit", "-q", "-m", "two"]);
        let sub = read_git(&top(at, "HEAD"), &[]).unwrap_err().to_string();
        assert!(sub.contains("sub is a git submodule"), "{sub}");
        assert!(read_git(&top(at, "HEAD"), &["sub".to_owned()]).is_ok());
        let missing = read_git(&top(&at.join("x"), "HEAD"), &[])
            .unwrap_err()
            .to_string();
        assert!(missing.contains("there is no such directory"), "{missing}");
    }
}
