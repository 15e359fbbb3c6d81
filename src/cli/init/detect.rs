//! What is in a directory: which language, how it is started, which version it says.
//!
//! Reads a few files by their usual names; what isn't recognised is no guess but the example.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use serde_json::Value;

use crate::model::AppName;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// A name for the app, from the directory's.
    pub app: String,
    /// The directory of the source, relative to the project; empty for the project itself.
    pub source: String,
    /// The directory that the app is deployed to, relative to the project.
    pub root: String,
    /// What it is.
    pub content: Content,
    /// Whether a file VERSION says the version.
    pub version: bool,
    /// A systemd unit that is there, relative to the source.
    pub unit: Option<String>,
}

/// What an app is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Python: the file that is started, and the files that dependencies come from.
    Python { start: String, inputs: Vec<String> },
    /// Node: the command that starts it, and the files that dependencies come from.
    Node { start: String, inputs: Vec<String> },
    /// A program that was built: its path.
    Program { start: String },
    /// Files that are served as they are.
    Static,
    /// Nothing that is known: a small example is written.
    Example,
}

impl Found {
    /// Whether the source has yet to be written.
    pub fn is_example(&self) -> bool {
        self.content == Content::Example
    }
}

/// Looks at a directory, which needn't be there yet.
///
/// # Errors
/// When it can't be read, or every name for what is to be made is taken.
pub fn detect(directory: &Path) -> io::Result<Found> {
    let content = content(directory);
    let root = unused(directory, &["demo", "demo-root", "rosey-demo"])?;
    let example = content == Content::Example;
    let source = if example {
        unused(directory, &["app", "hello", "example-app"])?
    } else {
        String::new()
    };
    let app = if example {
        "hello".to_owned()
    } else {
        app_name(directory)
    };
    let version = fs::read_to_string(directory.join("VERSION")).is_ok_and(|text| is_version(&text));
    let (version, unit) = if example {
        (true, None)
    } else {
        (version, unit(directory))
    };
    Ok(Found {
        app,
        source,
        root,
        content,
        version,
        unit,
    })
}

fn content(directory: &Path) -> Content {
    let has = |name: &str| directory.join(name).is_file();
    if has("package.json")
        && let Some(node) = node(directory)
    {
        return node;
    }
    let start = ["server.py", "app.py", "main.py"]
        .into_iter()
        .find(|name| has(name));
    match start {
        Some(start) => Content::Python {
            start: start.to_owned(),
            inputs: requirements(directory),
        },
        None => match program(directory) {
            Some(start) => Content::Program { start },
            None if has("index.html") => Content::Static,
            None => Content::Example,
        },
    }
}

/// The one program that was built, where there is one and no more.
fn program(directory: &Path) -> Option<String> {
    let mut programs = Vec::new();
    for place in ["", "bin/"] {
        let entries = fs::read_dir(directory.join(place));
        let names = entries.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let paths = names.map(|name| format!("{place}{name}"));
        programs.extend(paths.filter(|path| is_plain(path) && is_program(&directory.join(path))));
    }
    match programs.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    }
}

/// Whether a file may be executed and begins as ELF does (elf(5)); scripts are what people have many of.
fn is_program(path: &Path) -> bool {
    let executable = fs::metadata(path).is_ok_and(|it| it.is_file() && it.mode() & 0o111 != 0);
    let mut magic = [0; 4];
    let read = |mut file: fs::File| file.read_exact(&mut magic);
    executable && fs::File::open(path).and_then(read).is_ok() && &magic == b"\x7fELF"
}

/// How `npm start` would start it, without npm between: that wouldn't pass signals on.
fn node(directory: &Path) -> Option<Content> {
    let text = fs::read_to_string(directory.join("package.json")).ok()?;
    let package: Value = serde_json::from_str(&text).ok()?;
    let has = |name: &str| directory.join(name).is_file();
    let script = package.pointer("/scripts/start").and_then(Value::as_str);
    let script = script.filter(|script| is_plain(script) && script.starts_with("node "));
    let main = package
        .get("main")
        .and_then(Value::as_str)
        .filter(|main| is_plain(main) && has(main));
    let file = main.or_else(|| {
        ["server.js", "index.js", "app.js"]
            .into_iter()
            .find(|name| has(name))
    });
    let start = script
        .map(str::to_owned)
        .or_else(|| file.map(|file| format!("node {file}")))?;
    let dependencies = package.get("dependencies").and_then(Value::as_object);
    let mut inputs = Vec::new();
    if let Some(dependencies) = dependencies.filter(|it| !it.is_empty()) {
        let files = ["package.json", "package-lock.json", ".npmrc"];
        inputs.extend(files.into_iter().filter_map(|it| own(directory, it)));
        let values = dependencies.values().filter_map(Value::as_str);
        let files = values.filter_map(|it| it.strip_prefix("file:"));
        inputs.extend(files.filter_map(|it| own(directory, it)));
    }
    Some(Content::Node { start, inputs })
}

/// `requirements.txt` with everything of the project that it names, since dependencies are made from that
/// alone (pip's "Requirements File Format"); nothing where there is none.
fn requirements(directory: &Path) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut todo: Vec<String> = own(directory, "requirements.txt").into_iter().collect();
    while let Some(file) = todo.pop() {
        if found.contains(&file) {
            continue;
        }
        // What is no text, such as a wheel, names nothing.
        let text = fs::read_to_string(directory.join(&file)).unwrap_or_default();
        let beside = file.rsplit_once('/').map_or("", |(beside, _)| beside);
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let word = words.find(|word| !word.starts_with('-'));
            let path = word.map(|word| match beside {
                "" => word.to_owned(),
                beside => format!("{beside}/{word}"),
            });
            todo.extend(path.and_then(|path| own(directory, &path)));
        }
        found.push(file);
    }
    found
}

/// A file or directory of the project, as a task names it among its inputs; none for anything else.
fn own(directory: &Path, name: &str) -> Option<String> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    let path = Path::new(name);
    if !is_plain(name) || name.is_empty() || !path.components().all(inside) {
        return None;
    }
    let kind = fs::metadata(directory.join(path)).ok()?;
    let name = name.trim_end_matches('/');
    Some(if kind.is_dir() {
        format!("{name}/")
    } else {
        name.to_owned()
    })
}

/// Whether a command needs no shell and no quoting.
fn is_plain(command: &str) -> bool {
    command
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || " ./_-=".contains(c))
}

fn is_version(text: &str) -> bool {
    crate::model::names::Version::new(text.trim()).is_ok()
}

/// A unit that somebody wrote for this app.
fn unit(directory: &Path) -> Option<String> {
    for place in ["", "systemd/", "deploy/"] {
        let entries = fs::read_dir(directory.join(place))
            .into_iter()
            .flatten()
            .flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut units: Vec<_> = names
            .filter(|name| name.ends_with(".service") && is_plain(name))
            .collect();
        units.sort();
        if let Some(unit) = units.first() {
            return Some(format!("{place}{unit}"));
        }
    }
    None
}

/// The directory's name, made fit to be an app's.
fn app_name(directory: &Path) -> String {
    let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let name = real
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let fit: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let fit = fit.trim_matches('-').to_owned();
    if AppName::new(fit.clone()).is_ok() {
        fit
    } else {
        "app".to_owned()
    }
}

/// The first name that nothing has yet.
fn unused(directory: &Path, names: &[&str]) -> io::Result<String> {
    let free = names
        .iter()
        .find(|name| fs::symlink_metadata(directory.join(name)).is_err());
    free.map(|&name| name.to_owned()).ok_or_else(|| {
        io::Error::other(format!(
            "{} are all there already; nothing was written",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn with(files: &[(&str, &str)]) -> (tempfile::TempDir, Found) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = detect(directory.path()).unwrap();
        (directory, found)
    }

    #[test]
    fn an_empty_directory_gets_the_example_beside_whatever_has_its_names() {
        let (_directory, found) = with(&[]);
        assert!(found.is_example());
        assert_eq!(
            (&*found.source, &*found.root, &*found.app),
            ("app", "demo", "hello")
        );
        let (_directory, found) = with(&[("app/notes.txt", ""), ("demo", "")]);
        assert_eq!((&*found.source, &*found.root), ("hello", "demo-root"));
        let error = unused(Path::new("/"), &["etc", "usr"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("etc, usr"), "{error}");
    }

    #[test]
    fn languages_are_known_by_their_files() {
        let (_directory, found) = with(&[
            ("server.py", ""),
            ("requirements.txt", ""),
            ("VERSION", "1.2.3\n"),
        ]);
        assert_eq!(
            found.content,
            Content::Python {
                start: "server.py".into(),
                inputs: vec!["requirements.txt".into()],
            }
        );
        assert!(found.version);
        let (_directory, found) = with(&[("index.html", ""), ("VERSION", "\n")]);
        assert_eq!((found.content, found.version), (Content::Static, false));
        let (_directory, found) = with(&[("app.py", ""), ("systemd/bot.service", "")]);
        assert_eq!(found.unit.as_deref(), Some("systemd/bot.service"));
    }

    #[test]
    fn a_program_that_was_built_is_known_where_there_is_but_one() {
        let (directory, _) = with(&[("bin/notes.txt", "\x7fELF"), ("index.html", "")]);
        let build = |name: &str, begins: &str| {
            let path = directory.path().join(name);
            fs::write(&path, begins).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            detect(directory.path()).unwrap().content
        };
        assert_eq!(build("run.sh", "#!/bin/sh\n"), Content::Static);
        let start = "bin/serve".to_owned();
        assert_eq!(build("bin/serve", "\x7fELF…"), Content::Program { start });
        assert_eq!(build("other", "\x7fELF…"), Content::Static);
    }

    #[test]
    fn node_is_started_without_a_shell() {
        let start = |json: &str| match with(&[("package.json", json), ("server.js", "")]).1.content
        {
            Content::Node { start, inputs } => (start, inputs.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            start(r#"{"scripts":{"start":"node src/x.js"}}"#),
            ("node src/x.js".into(), 0)
        );
        assert_eq!(
            start(r#"{"scripts":{"start":"tsc && node x"}}"#),
            ("node server.js".into(), 0)
        );
        assert_eq!(
            start(r#"{"dependencies":{"a":"1"}}"#),
            ("node server.js".into(), 1)
        );
        assert!(with(&[("package.json", "{broken")]).1.is_example());
    }

    #[test]
    fn dependencies_are_made_from_all_that_is_named_for_them() {
        let inputs = |files: &[(&str, &str)]| match with(files).1.content {
            Content::Node { inputs, .. } | Content::Python { inputs, .. } => inputs,
            other => panic!("{other:?}"),
        };
        let package = r#"{"main": "x.js", "dependencies": {"a": "^1", "b": "file:./lib/b.tgz", "c": "file:../c"}}"#;
        let node = [
            ("package.json", package),
            ("x.js", ""),
            (".npmrc", ""),
            ("lib/b.tgz", ""),
        ];
        assert_eq!(inputs(&node), ["package.json", ".npmrc", "lib/b.tgz"]);
        let first = "-r more/base.txt  # and more\n./own.whl ; python_version > '3'\nsix==1.17\n/etc/hosts\n-e ./lib\n";
        let python = [
            ("main.py", ""),
            ("requirements.txt", first),
            ("more/base.txt", "-c ../outside.txt\n-c limits.txt\n"),
            ("more/limits.txt", ""),
            ("lib/setup.py", ""),
            ("own.whl", "\0"),
        ];
        let mut found = inputs(&python);
        found.sort();
        let named = [
            "lib/",
            "more/base.txt",
            "more/limits.txt",
            "own.whl",
            "requirements.txt",
        ];
        assert_eq!(found, named);
        // Itself again is no end of it.
        let round = [
            ("main.py", ""),
            ("requirements.txt", "-r requirements.txt\n"),
        ];
        assert_eq!(inputs(&round), ["requirements.txt"]);
    }

    #[test]
    fn an_app_is_called_like_its_directory_as_far_as_that_can_be() {
        assert_eq!(app_name(Path::new("/x/My Bot")), "my-bot");
        assert_eq!(app_name(Path::new("/")), "app");
    }
}
