//! `rosey init`: a first environment for what is in a directory, ready to apply on this machine.
//!
//! `detect` finds out what is there, `declare` words it. Nothing that is there is ever overwritten.

mod declare;
mod detect;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;

use crate::config::discover::DIRECTORY;

use crate::model::shell::quote;

use super::Session;
use super::arguments;
use super::error::CommandError;
use super::exit::Exit;
use super::say::say;
use declare::{declaration, example};
use detect::{Found, detect};

pub(super) fn run(session: &Session, arguments: &arguments::Init) -> Result<Exit, CommandError> {
    let here = &session.around.directory;
    let directory = arguments
        .directory
        .as_ref()
        .map_or_else(|| here.clone(), |it| here.join(it));
    refuse_known(&directory)?;
    let found = detect(&directory).map_err(|error| failed(&directory, &error))?;
    let mut files = vec![(
        format!("{DIRECTORY}/demo.kdl"),
        declaration(&found, free_port()),
    )];
    if found.is_example() {
        files.extend(example(&found));
    }
    if !directory.join(".gitignore").exists() {
        let ignored = format!("/.rosey/\n/{}/\n", found.root);
        files.push((".gitignore".to_owned(), ignored));
    }
    for (name, text) in &files {
        let path = directory.join(name);
        write_new(&path, text).map_err(|error| failed(&path, &error))?;
        say!("wrote {}", shown(here, &path));
    }
    if !session.around.directory.starts_with(&directory) {
        say!("\ncd {}", quote(&shown(here, &directory)));
    }
    say!("{}", next(&found));
    Ok(Exit::DONE)
}

/// A project that has environments needs no first one.
fn refuse_known(directory: &Path) -> Result<(), CommandError> {
    let environments = directory.join(DIRECTORY);
    let mut known: Vec<String> = Vec::new();
    for entry in fs::read_dir(&environments).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "kdl") {
            known.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    known.sort();
    match known.first() {
        None => Ok(()),
        Some(first) => {
            let message = format!(
                "{} has environments already ({}); nothing was written",
                environments.display(),
                known.join(", ")
            );
            Err(CommandError::new(Exit::ERROR, message)
                .hint(format!("look at one: rosey plan {first}")))
        }
    }
}

fn next(found: &Found) -> String {
    let what = if found.is_example() {
        "the example app"
    } else {
        &found.app
    };
    format!(
        "\nnext, for {what} on this machine:\n  \
         rosey check              is everything right?\n  \
         rosey plan demo          what would happen\n  \
         rosey apply demo         make it so; `rosey remove demo` takes it away again"
    )
}

/// Writes a file that isn't there yet, with the directories above it.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// A port that nothing listens on here: the example has to start at once.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (8000..8100).find(free).unwrap_or(8000)
}

fn shown(here: &Path, path: &Path) -> String {
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn failed(path: &Path, error: &io::Error) -> CommandError {
    CommandError::new(Exit::ERROR, format!("{}: {error}", path.display()))
}
