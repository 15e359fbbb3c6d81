//! Runs with the kinds that change paths: a root that isn't there yet, releases, and what is put back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client::{Client, Place, begin, collect};
use crate::content::{EntryPath, Manifest, ManifestEntry, PackWriter};
use crate::helper::protocol::{AppAddress, Message, ObserveApp, Reply, Request};
use crate::host::{MemoryHost, Owner, Space};
use crate::model::{
    AppName, Digest, FindingClass, Gates, Plan, Resource, ResourceKind, RunId, State,
};
use crate::plan::{PlanInput, plan};
use crate::step::registry::registry;

/// An app of one file in a release, one file beside it, and a directory.
struct Wanted {
    state: State,
    manifest: Manifest,
    contents: BTreeMap<Digest, Vec<u8>>,
}

fn wanted(place: &Place, client: &mut Client, version: &str) -> Wanted {
    let owner = client.survey(place).owner;
    let content = format!("version {version}").into_bytes();
    let digest = Digest::of(&content);
    let mut manifest = Manifest::default();
    let mode = 0o644;
    let size = content.len() as u64;
    let entry = ManifestEntry::File { mode, size, digest };
    let path = EntryPath::new("server.py").unwrap();
    manifest.entries.insert(path, entry);
    let owned = |resource: Resource| {
        resource
            .with("owner", owner.user.as_str())
            .with("group", owner.group.as_str())
    };
    let mut state = State::default();
    let mut want = |kind: ResourceKind, name: &str, resource: Resource| {
        let mut id = place.id("file", name);
        id.kind = kind;
        id.name = id.name.trim_end_matches('/').to_owned();
        state.resources.insert(id, resource);
    };
    for name in ["", "releases", "shared"] {
        let directory = owned(Resource::new().with("mode", "0755"));
        want(ResourceKind::DIRECTORY, name, directory);
    }
    let file = owned(Resource::new().with("content", digest).with("mode", "0600"));
    want(ResourceKind::FILE, "beside.conf", file);
    let release = owned(Resource::new().with("tree", manifest.digest()));
    want(
        ResourceKind::RELEASE,
        &format!("releases/{version}"),
        release,
    );
    let link = Resource::new()
        .with("target", format!("releases/{version}"))
        .setting("tree", manifest.digest());
    want(ResourceKind::LINK, "current", link);
    Wanted {
        state,
        manifest,
        contents: BTreeMap::from([(digest, content)]),
    }
}

fn difference(client: &mut Client, place: &Place, wanted: &Wanted) -> Plan {
    let observed = client.ask(Request::Observe {
        apps: vec![ObserveApp {
            app: place.address(),
            wanted: wanted.state.clone(),
            manifests: BTreeMap::from([(
                wanted.manifest.digest().to_string(),
                wanted.manifest.clone(),
            )]),
            findings: true,
            incoming: 100,
            units: BTreeMap::new(),
            gates: Gates::default(),
        }],
    });
    let actual = match observed {
        Reply::Observed(mut apps) => {
            let app = apps.remove(0);
            assert_eq!(app.findings, []);
            app.actual
        }
        other => panic!("{other:?}"),
    };
    // Kept releases stay, as with every kind that is retained.
    let to = crate::plan::states::to_be(&wanted.state, &actual, &wanted.state, registry()).unwrap();
    plan(&PlanInput {
        from: &actual,
        to: &to,
        kinds: registry(),
        attendants: &[],
        waves: &BTreeMap::new(),
    })
    .unwrap()
}

/// Begins, sends what lacks, and takes all steps.
fn take(client: &mut Client, place: &Place, run: &str, wanted: &Wanted) -> Plan {
    let plan = difference(client, place, wanted);
    assert!(!plan.is_empty());
    let head = client.survey(place).ledger.and_then(|ledger| ledger.head);
    assert!(matches!(client.lock(place, run), Reply::Done));
    let begun = client.ask(begin(place, run, plan.clone(), head));
    assert!(matches!(begun, Reply::Begun { .. }), "{begun:?}");
    let tree = wanted.manifest.digest().to_string();
    let lacking = client.ask(Request::Lacking {
        app: place.address(),
        manifests: BTreeMap::from([(tree, wanted.manifest.clone())]),
        digests: wanted.contents.keys().copied().collect(),
    });
    let Reply::Lacking(lacking) = lacking else {
        panic!("{lacking:?}")
    };
    if !lacking.is_empty() {
        assert_eq!(
            lacking,
            wanted.contents.keys().copied().collect::<BTreeSet<_>>()
        );
        let mut pack = PackWriter::new(Vec::new()).unwrap();
        for (digest, content) in &wanted.contents {
            let size = content.len() as u64;
            pack.add(digest, size, &mut &content[..]).unwrap();
        }
        let pack = pack.finish().unwrap();
        let app = place.address();
        let id = client.send(Request::Pack { app });
        client.bytes(&pack);
        let bytes = pack.len() as u64;
        client.message(&Message::PackEnd { id, bytes });
        assert!(matches!(client.answer(id), Reply::Done));
    }
    let done = client.steps(run, &plan);
    assert!(matches!(done, Reply::Steps { failed: None }), "{done:?}");
    plan
}

fn finish(client: &mut Client, run: &str, number: u64, wanted: &Wanted) {
    client.promise = Some(super::client::generation(run, number, &wanted.state));
    assert!(matches!(client.ready(run), Reply::Done));
    let committed = client.commit(run);
    assert!(matches!(committed, Reply::Committed(_)), "{committed:?}");
    let run = RunId(run.to_owned());
    assert!(matches!(client.ask(Request::Unlock { run }), Reply::Done));
}

/// Every path with its type, mode and content or target.
fn all(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    collect(root, &mut files);
    files
        .into_keys()
        .map(|path| {
            let data = fs::symlink_metadata(&path).unwrap();
            let content = if data.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else if data.is_file() {
                format!("{:?}", fs::read(&path).unwrap())
            } else {
                String::new()
            };
            let mode = data.permissions().mode();
            (path, format!("{mode:o} {content}"))
        })
        .collect()
}

#[test]
fn a_first_deploy_that_is_cut_off_leaves_nothing_not_even_the_root() {
    let mut place = Place::new();
    place.below("deep/below/root");
    let mut client = place.client_of(registry());
    let wanted = wanted(&place, &mut client, "1");
    take(&mut client, &place, "1", &wanted);
    assert!(place.root().join("current/server.py").exists());
    assert_eq!(client.lose(), 0);
    assert!(!place.directory.path().join("deep").exists());
    let mut again = place.client_of(registry());
    take(&mut again, &place, "2", &wanted);
    finish(&mut again, "2", 1, &wanted);
    assert!(difference(&mut again, &place, &wanted).is_empty());
}

#[test]
fn a_second_deploy_that_is_cut_off_leaves_the_first_byte_for_byte() {
    let place = Place::new();
    fs::remove_dir(place.root()).unwrap();
    let mut client = place.client_of(registry());
    let first = wanted(&place, &mut client, "1");
    take(&mut client, &place, "1", &first);
    finish(&mut client, "1", 1, &first);
    let before = all(&place.root());
    let second = wanted(&place, &mut client, "2");
    take(&mut client, &place, "2", &second);
    assert_ne!(all(&place.root()), before);
    assert_eq!(client.lose(), 0);
    assert_eq!(all(&place.root()), before);
    let staging = place.root().join(".rosey/staging");
    let left = fs::read_dir(staging).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing is left aside");
}

#[test]
fn releases_that_nobody_needs_are_pruned() {
    let place = Place::new();
    let mut client = place.client_of(registry());
    for version in 1..=4 {
        let run = version.to_string();
        let wanted = wanted(&place, &mut client, &run);
        take(&mut client, &place, &run, &wanted);
        let mut state = wanted.state.clone();
        // What is retained is in the state that stands, too.
        for older in 1..version {
            let older = super::paths::wanted(&place, &mut client, &older.to_string());
            let releases = older.state.resources.into_iter();
            state.extend(State {
                resources: releases
                    .filter(|(id, _)| id.kind == ResourceKind::RELEASE)
                    .collect(),
            });
        }
        let mut generation = super::client::generation(&run, version, &state);
        generation.release = Some(run.clone());
        client.promise = Some(generation);
        assert!(matches!(client.ready(&run), Reply::Done));
        let committed = client.commit(&run);
        assert!(matches!(committed, Reply::Committed(_)), "{committed:?}");
        let pruned = client.ask(Request::Prune {
            run: RunId(run.clone()),
            app: AppName::new("toy").unwrap(),
            releases: 2,
            backups: 1,
        });
        assert!(matches!(pruned, Reply::Pruned { .. }), "{pruned:?}");
        let run = RunId(run);
        assert!(matches!(client.ask(Request::Unlock { run }), Reply::Done));
    }
    let mut left: Vec<_> = fs::read_dir(place.root().join("releases"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["3", "4"]);
    assert!(place.root().join("current/server.py").exists());
    let ledger = client.survey(&place).ledger.unwrap();
    let numbers: Vec<_> = ledger.generations.iter().map(|it| it.number).collect();
    assert_eq!(numbers, [0, 3, 4]);
}

#[test]
fn the_lines_for_a_missing_file_leave_it_to_the_apps_user() {
    let place = Place::new();
    let owner = |user: &str| Owner {
        user: user.to_owned(),
        group: user.to_owned(),
    };
    let host = Arc::new(MemoryHost::new());
    let remedy = |user: &str| {
        let mut client = Client::on(host.clone(), place.options(registry()));
        let mut id = place.id("note", "");
        id.kind = ResourceKind::FILE;
        id.name = "/opt/toy/shared/bot.env".to_owned();
        let mut wanted = State::default();
        let file = Resource::new().setting("expected", "environment file");
        wanted.resources.insert(id, file);
        let observed = client.ask(Request::Observe {
            apps: vec![ObserveApp {
                app: AppAddress {
                    owner: Some(owner(user)),
                    ..place.address()
                },
                wanted,
                manifests: BTreeMap::new(),
                findings: true,
                incoming: 0,
                units: BTreeMap::new(),
                gates: Gates::default(),
            }],
        });
        let Reply::Observed(mut apps) = observed else {
            panic!("{observed:?}")
        };
        let mut findings = apps.remove(0).findings.into_iter();
        let finding = findings.find(|it| it.message.contains("is missing"));
        finding.unwrap().remedy.unwrap()
    };
    insta::assert_snapshot!(remedy("bot"), @r"
    sudo useradd --system --user-group --shell /usr/sbin/nologin bot
    sudo install -d -o bot -g bot /opt/toy/shared
    sudo install -m 0640 -o bot -g bot /dev/stdin /opt/toy/shared/bot.env   # and its content; or give it a `seed` in the declaration
    ");
    host.add_account("bot", 2000);
    insta::assert_snapshot!(remedy("bot"), @r"
    sudo install -d -o bot -g bot /opt/toy/shared
    sudo install -m 0640 -o bot -g bot /dev/stdin /opt/toy/shared/bot.env   # and its content; or give it a `seed` in the declaration
    ");
    host.put_directory("/opt/toy/shared");
    insta::assert_snapshot!(remedy("bot"), @"sudo install -m 0640 -o bot -g bot /dev/stdin /opt/toy/shared/bot.env   # and its content; or give it a `seed` in the declaration");
}

#[test]
fn what_comes_needs_room_and_an_inode_for_each_entry() {
    let place = Place::new();
    let host = super::runs::in_memory(&place);
    let mut client = Client::on(host.clone(), place.options(registry()));
    let wanted = wanted(&place, &mut client, "1");
    let mut told = |bytes: u64, inodes: u64, incoming: u64| {
        host.set_free(Some(Space { bytes, inodes }));
        let observed = client.ask(Request::Observe {
            apps: vec![ObserveApp {
                app: place.address(),
                wanted: wanted.state.clone(),
                manifests: BTreeMap::from([(
                    wanted.manifest.digest().to_string(),
                    wanted.manifest.clone(),
                )]),
                findings: true,
                incoming,
                units: BTreeMap::new(),
                gates: Gates::default(),
            }],
        });
        let Reply::Observed(mut apps) = observed else {
            panic!("{observed:?}")
        };
        let findings = apps.remove(0).findings.into_iter();
        let words = findings.map(|it| {
            assert_eq!(it.class, FindingClass::Blocking);
            let remedy = it.remedy.unwrap();
            format!("{}; {remedy}", it.message).replace(&*place.root().to_string_lossy(), "ROOT")
        });
        words.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(told(109, 10, 100), @"1 MiB are needed on the file system of ROOT, 0 MiB are free; df -h ROOT   # make room, or keep fewer releases (`keep releases=N`)");
    insta::assert_snapshot!(told(1 << 20, 10, 1 << 20), @"2 MiB are needed on the file system of ROOT, 1 MiB are free; df -h ROOT   # make room, or keep fewer releases (`keep releases=N`)");
    insta::assert_snapshot!(told(110, 0, 100), @"1 inodes are needed on the file system of ROOT, 0 are free; df -h ROOT   # make room, or keep fewer releases (`keep releases=N`)");
    // With nothing on its way nothing is needed.
    assert_eq!(told(0, 0, 0), "");
    assert_eq!(told(110, 1, 100), "");
}
