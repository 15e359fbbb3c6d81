//! Each outside library is named in one module; what more there is stands here, with its reason.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{after, of_the_program};
use crate::support::checkout;

/// A library, and the files or directories below `src/` that name it.
struct Library {
    name: &'static str,
    places: &'static [&'static str],
}

const fn library(name: &'static str, places: &'static [&'static str]) -> Library {
    Library { name, places }
}

/// What every module may name: derives and plain JSON values, which have no effect and hide nothing.
const EVERYWHERE: [&str; 3] = ["serde", "serde_json", "thiserror"];

const LIBRARIES: &[Library] = &[
    // Words for a terminal.
    library("anstream", &["cli"]),
    library("clap", &["cli"]),
    library("clap_complete", &["cli"]),
    library("clap_mangen", &["cli"]),
    library("comfy_table", &["report"]),
    library("dialoguer", &["cli"]),
    library("indicatif", &["report"]),
    // The declaration. `miette` is the shape of a place in a file; the command line draws it.
    library("kdl", &["config"]),
    library("miette", &["config", "cli/error.rs"]),
    library("minijinja", &["config/template"]),
    library("strsim", &["config"]),
    // Trees. Patterns are `.gitignore`'s wherever a person writes some: `.roseyignore` and `exclude` are refused where
    // they are declared if they can't be read, and matched where the tree is walked.
    library("ignore", &["config/source.rs", "content/patterns.rs"]),
    library("zstd", &["content"]),
    // Digests. One type for all; trees hash while they read, and the journal and the helper hash without the type: a
    // checksum of a record, and a key made of a machine's secret.
    library(
        "blake3",
        &[
            "model/digest.rs",
            "content",
            "apply/journal.rs",
            "helper/serve.rs",
        ],
    ),
    library("petgraph", &["plan"]),
    library("serde_yaml", &["plan/saved.rs"]),
    // One server. The controller's own files are read without a port (content), a lock is a file lock and a unit's socket
    // is waited for (helper), and SSH sets an option of its socket (remote); the rest is who and where the person is, and
    // that a terminal is left as it was found (cli).
    library(
        "rustix",
        &[
            "host",
            "content/source.rs",
            "content/walk.rs",
            "helper/lock.rs",
            "helper/serve.rs",
            "helper/unit.rs",
            "remote/wire.rs",
            "remote/trust.rs",
            "cli/approval.rs",
            "cli/surroundings.rs",
        ],
    ),
    library("http_body_util", &["host/local/http.rs"]),
    library("hyper", &["host/local/http.rs"]),
    library("hyper_util", &["host/local/http.rs"]),
    // TLS for the gates; the command line chooses the provider once for the whole process.
    library("rustls", &["host/local/http.rs", "cli/mod.rs"]),
    library("rustls_native_certs", &["host/local/http.rs"]),
    library("tokio_rustls", &["host/local/http.rs"]),
    // SQLite: the user's databases on a server, and the history on the controller.
    library("rusqlite", &["host/local", "history"]),
    library("refinery", &["history"]),
    // SSH.
    library("russh", &["remote"]),
    library("flate2", &["remote"]),
    library("hmac", &["remote"]),
    library("sha1", &["remote"]),
    library("tokio_util", &["remote"]),
    // Waiting for many at once: everything that talks over a network, and the two consumers of the event stream. The
    // helper is plain threads but for its wire; the gates' HTTP client needs a runtime of its own.
    library(
        "tokio",
        &[
            "remote",
            "fleet",
            "cli",
            "history/record.rs",
            "helper/wire.rs",
            "host/local/http.rs",
        ],
    ),
    // Secrets in memory: where they are read, asked for, and carried.
    library(
        "zeroize",
        &[
            "model/masks.rs",
            "config",
            "remote",
            "helper/protocol.rs",
            "cli/deployment.rs",
        ],
    ),
    // Times: written by hosts and by the command line, read where a person may name one.
    library(
        "jiff",
        &[
            "cli",
            "fleet/target.rs",
            "host/local/facts.rs",
            "host/memory/read.rs",
            "content/observe.rs",
        ],
    ),
];

/// The names of `[dependencies]` in Cargo.toml, as code writes them.
fn dependencies() -> BTreeSet<String> {
    let text = std::fs::read_to_string(checkout().join("Cargo.toml")).expect("Cargo.toml is there");
    text.lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect()
}

fn is_in(path: &str, place: &str) -> bool {
    let inside = path
        .strip_prefix("src/")
        .and_then(|it| it.strip_prefix(place));
    inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[test]
fn each_library_is_named_only_where_the_table_says() {
    let mut wrong = Vec::new();
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in of_the_program() {
        for line in source.lines() {
            for library in LIBRARIES {
                let path = format!("{}::", library.name);
                // `crate::config::…::kdl::` would be a module of ours.
                let at_start = format!(":{path}");
                if after(&line.code, &path).next().is_none() || line.code.contains(&at_start) {
                    continue;
                }
                let place = library
                    .places
                    .iter()
                    .find(|place| is_in(&source.path, place));
                match place {
                    Some(place) => {
                        used.entry(library.name).or_default().insert(place);
                    }
                    None => {
                        let at = format!("{}:{}", source.path, line.number);
                        wrong.push(format!(
                            "{at} names {}, which is for {:?}",
                            library.name, library.places
                        ));
                    }
                }
            }
        }
    }
    // A table that allows what nobody needs says nothing.
    for library in LIBRARIES {
        let used = used.remove(library.name).unwrap_or_default();
        let unused = library.places.iter().filter(|place| !used.contains(*place));
        wrong.extend(unused.map(|place| format!("{place} doesn't name {}", library.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_dependency_is_in_the_table() {
    let known: BTreeSet<String> = LIBRARIES
        .iter()
        .map(|library| library.name)
        .chain(EVERYWHERE)
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(dependencies(), known);
}
