//! An app: where it goes, where its content comes from, and what the step
//! kinds' words declare in its body.
//!
//! Must not know any step kind: their words are handed in.

use serde::{Deserialize, Serialize};

use crate::model::names::{AccountName, AppName, HostName, RemotePath};

use super::host::Host;
use super::place::Place;
use super::problem::Problem;
use super::reader::Reader;
use super::root;
use super::source::{self, Build, Source, VersionSource};
use super::word::{Declaration, Word};

/// An app as declared.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    /// What it is called.
    pub name: AppName,
    /// The hosts that it goes to, in the order of their declaration.
    pub hosts: Vec<HostName>,
    /// Its directory on each of them.
    pub root: RemotePath,
    /// Who owns what is deployed.
    pub owner: Option<Owner>,
    /// What runs its services, if the declaration says.
    pub manager: Option<Manager>,
    /// Where its content comes from, if it has any.
    pub source: Option<Source>,
    /// What is run on the controller to finish the content.
    pub build: Option<Build>,
    /// What its version is, if the declaration says.
    pub version: Option<VersionSource>,
    /// How much of the past is kept.
    pub keep: Keep,
    /// Whether a root and links that somebody else made are taken over.
    pub adopt: bool,
    /// What the step kinds' words declare, in the order of the file.
    pub declarations: Vec<Declaration>,
    /// Where it is declared.
    pub place: Place,
    /// Where its root is declared.
    pub root_place: Place,
}

/// Who owns what is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub user: AccountName,
    /// The group; the user's own when left out.
    pub group: Option<AccountName>,
    /// Whether they are created where they are missing.
    pub create: bool,
}

crate::choice! {
    /// What runs services on a host.
    Manager {
        /// systemd.
        Systemd = "systemd",
        /// The built-in one.
        Process = "process",
    }
}

/// How much of the past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Distinct releases, the current one among them; at least 1.
    pub releases: u32,
    /// Backups.
    pub backups: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            releases: 5,
            backups: 10,
        }
    }
}

/// Reads `app "name" { … }`; `hosts` are all of the environment.
pub(crate) fn decode(reader: &mut Reader<'_>, hosts: &[Host], words: &[Word]) -> Option<App> {
    let place = reader.name_place();
    let name = reader.argument::<AppName>();
    let chosen = reader.child("on", |on| Some(choose(on, hosts)));
    let chosen = chosen.unwrap_or_else(|| hosts.iter().map(|host| host.name.clone()).collect());
    let local = chosen.iter().all(|name| {
        hosts
            .iter()
            .any(|host| host.name == *name && host.is_local())
    });
    let root_place = reader.child_place("root");
    let root = reader.required_child("root", |child| {
        decode_root(child, local && !chosen.is_empty())
    });
    let owner = reader.child("owner", decode_owner);
    let manager = reader.value::<Manager>("manager");
    let source = reader.child("source", source::decode_source);
    let build = reader.child("build", source::decode_build);
    let version = reader.child("version", source::decode_version);
    let keep = reader.child("keep", decode_keep).unwrap_or_default();
    let adopt = reader.flag("adopt");
    let declarations = decode_declarations(reader, words);

    Some(App {
        name: name?,
        hosts: chosen,
        root: root?,
        owner,
        manager,
        source,
        build,
        version,
        keep,
        adopt,
        declarations,
        place,
        root_place,
    })
}

/// The hosts that any of the names or tags means, in the order of their declaration.
fn choose(reader: &mut Reader<'_>, hosts: &[Host]) -> Vec<HostName> {
    let mut selected = vec![false; hosts.len()];
    for (wanted, place) in some_placed(reader) {
        let mut any = false;
        for (host, selected) in hosts.iter().zip(&mut selected) {
            if host.name.as_str() == wanted || host.tags.iter().any(|tag| tag.as_str() == wanted) {
                *selected = true;
                any = true;
            }
        }
        if !any {
            let names = hosts.iter().map(|host| host.name.as_str());
            let mut known: Vec<&str> = names
                .chain(
                    hosts
                        .iter()
                        .flat_map(|host| host.tags.iter().map(|tag| tag.as_str())),
                )
                .collect();
            known.dedup();
            let problem = Problem::new(format!("no host has the name or tag {wanted:?}"))
                .at(place, "nobody is meant");
            reader.problem(problem.help_nearest(&wanted, known).absent());
        }
    }
    hosts
        .iter()
        .zip(selected)
        .filter(|(_, selected)| *selected)
        .map(|(host, _)| host.name.clone())
        .collect()
}

fn some_placed(reader: &mut Reader<'_>) -> Vec<(String, Place)> {
    let wanted = reader.placed_arguments::<String>();
    if wanted.is_empty() {
        let problem = Problem::new("`on` needs the name or tag of a host")
            .at(reader.place(), "nothing follows");
        reader.problem(problem.help("leave `on` out for every host"));
    }
    wanted
}

fn decode_root(reader: &mut Reader<'_>, local: bool) -> Option<RemotePath> {
    let place = reader.name_place();
    let written = reader.argument::<String>()?;
    if written.starts_with('~') {
        let problem = Problem::new("`root` needs an absolute path on the server");
        let problem = problem.at(place, "no home directory is looked up here");
        reader.problem(problem.help("write out which one is meant, such as \"/home/ann/NAME\""));
        return None;
    }
    let path = if !written.starts_with('/') && local {
        let path = reader.controller_path(&written, place);
        // Replaced bytes would name another directory.
        let Some(path) = path.to_str() else {
            let shown = path.display();
            let problem = Problem::new(format!("{shown} is not UTF-8, which a root must be"));
            reader.problem(problem.at(place, "meant from the directory of this file"));
            return None;
        };
        path.to_owned()
    } else {
        written
    };
    let path =
        match RemotePath::new(path) {
            Ok(path) => path,
            Err(error) => {
                let problem = Problem::new("`root` needs an absolute path on the server")
                    .at(place, error.why);
                reader.problem(problem.help(
                    "a path relative to this file is possible when all hosts are `local=#true`",
                ));
                return None;
            }
        };
    if let Some(why) = root::why_not(&path) {
        let problem = Problem::new(format!("{path} can't be the root of an app")).at(place, why);
        reader.problem(problem.help(root::OWN_DIRECTORY));
        return None;
    }
    Some(path)
}

fn decode_owner(reader: &mut Reader<'_>) -> Option<Owner> {
    let user = reader.argument::<AccountName>();
    let group = reader.property::<AccountName>("group");
    let create = reader.flag("create");
    Some(Owner {
        user: user?,
        group,
        create,
    })
}

fn decode_keep(reader: &mut Reader<'_>) -> Option<Keep> {
    let default = Keep::default();
    let releases = reader
        .property::<u32>("releases")
        .unwrap_or(default.releases);
    let backups = reader.property::<u32>("backups").unwrap_or(default.backups);
    if releases == 0 {
        let problem = Problem::new("`releases` is at least 1")
            .at(reader.property_place("releases"), "the current one counts");
        reader.problem(problem);
    }
    Some(Keep { releases, backups })
}

fn decode_declarations(reader: &mut Reader<'_>, words: &[Word]) -> Vec<Declaration> {
    let known: Vec<&'static str> = words.iter().map(|word| word.word).collect();
    let session = reader.session();
    // What was noted so far (the version's file) is the app's own, and stays.
    let mut own = std::mem::take(&mut *session.notes.borrow_mut());
    let declarations = reader.children_of(&known, |child| {
        let word = words.iter().find(|word| word.word == child.word())?;
        let name = child.name().map(str::to_owned);
        let place = child.name_place();
        let body = (word.decode)(child);
        let notes = std::mem::take(&mut *session.notes.borrow_mut());
        let word = word.word.to_owned();
        let Some(body) = body else {
            own.spoiled.extend(name.map(|name| (word, name)));
            return None;
        };
        Some(Declaration {
            word,
            name,
            body,
            place,
            texts: notes.texts,
            claims: notes.claims,
            files: notes.files,
            references: notes.references,
        })
    });
    *session.notes.borrow_mut() = own;
    declarations
}
