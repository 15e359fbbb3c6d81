//! Something of another type where rosey made something: found before a step would only stop at it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::client::{Client, Place};
use super::foreign::{applied, observed};
use crate::helper::protocol::{ObserveApp, ObservedApp, Reply, Request};
use crate::host::MemoryHost;
use crate::model::{FindingClass, Gates, Resource, ResourceId, ResourceKind, State};
use crate::step::registry::registry;

const OUTSIDE: &str = "/etc/site.conf";

fn wanted(place: &Place) -> State {
    let mut state = State::default();
    let mut want = |kind: &'static str, name: &str, resource: Resource| {
        let mut id = place.id(kind, name);
        id.name = id.name.trim_end_matches('/').to_owned();
        state.resources.insert(id, resource);
    };
    let owned = || Resource::new().with("owner", "root").with("group", "root");
    for name in ["", "releases", "shared", "shared/uploads"] {
        want("directory", name, owned().with("mode", "0755"));
    }
    want("release", "releases/1.0.0", owned().with("tree", "blake3"));
    let link = Resource::new().with("target", "releases/1.0.0");
    want("link", "current", link);
    let content = crate::model::Digest::of(b"ours");
    let file = owned().with("mode", "0640").with("content", content);
    want("file", OUTSIDE, file);
    state
}

/// A host on which it was applied, as far as its types go.
fn deployed(place: &Place) -> MemoryHost {
    let host = MemoryHost::new();
    let root = place.root();
    host.put_directory(root.join("releases/1.0.0"));
    host.put_directory(root.join("shared/uploads"));
    host.put_link(root.join("current"), "releases/1.0.0");
    host.put_file(OUTSIDE, "ours");
    applied(&host, place, &wanted(place));
    host
}

/// What stands in the way, each with what to type.
fn blocking(seen: ObservedApp) -> BTreeSet<String> {
    let findings = seen.findings.into_iter();
    let findings = findings.filter(|it| it.class == FindingClass::Blocking);
    let line = |it: crate::model::Finding| {
        let remedy = it.remedy.expect("there is a line to type");
        format!("{}: {remedy}", it.message)
    };
    findings.map(line).collect()
}

/// The same resources, as a drift asks for them.
fn read(host: &Arc<MemoryHost>, place: &Place) -> Reply {
    let mut client = Client::on(host.clone(), place.options(registry()));
    client.ask(Request::Observe {
        apps: vec![ObserveApp {
            app: place.address(),
            wanted: wanted(place),
            manifests: BTreeMap::new(),
            findings: false,
            incoming: 0,
            units: BTreeMap::new(),
            gates: Gates::default(),
        }],
    })
}

/// Takes away what is at a path, puts something else there, and says what is found of that: what is told, and the type
/// that is read.
#[track_caller]
fn found(path: &str, put: impl Fn(&MemoryHost, &Path)) -> (String, Option<String>) {
    let place = Place::new();
    let host = deployed(&place);
    assert_eq!(
        blocking(observed(&Arc::new(host.fork()), &place, wanted(&place))),
        BTreeSet::new()
    );
    let path = place.root().join(path);
    host.take_away(&path);
    put(&host, &path);
    let host = Arc::new(host);
    let told = blocking(observed(&host, &place, wanted(&place)));
    assert_eq!(told.len(), 1, "{told:#?}");
    let told = told.into_iter().next().unwrap();
    let Reply::Observed(apps) = read(&host, &place) else {
        panic!("it can be read: {:?}", read(&host, &place))
    };
    let is = |id: &ResourceId| Path::new(&id.name) == path;
    let mut all = apps[0].actual.resources.iter();
    let (_, resource) = all.find(|(id, _)| is(id)).expect("something is there");
    let root = format!("{}/", place.root().display());
    (
        told.replace(&root, ""),
        resource.text("type").map(ToOwned::to_owned),
    )
}

#[test]
fn what_lies_in_the_place_of_something_is_told_with_what_belongs_there() {
    let directory = |host: &MemoryHost, path: &Path| host.put_file(path.join("mine"), "x");
    let file = |host: &MemoryHost, path: &Path| host.put_file(path, "x");
    let link = |host: &MemoryHost, path: &Path| {
        host.put_directory("/mnt/big/1.0.0");
        host.put_link(path, "/mnt/big");
    };
    let socket = |host: &MemoryHost, path: &Path| host.put_socket(path);
    let expected = |line: &str, kind: &str| (line.to_owned(), Some(kind.to_owned()));
    assert_eq!(
        found("current", directory),
        expected(
            "current is a directory, and a link to releases/1.0.0 belongs there: sudo mv current current.old",
            "directory"
        )
    );
    assert_eq!(
        found("current", file),
        expected(
            "current is a file, and a link to releases/1.0.0 belongs there: sudo mv current current.old",
            "file"
        )
    );
    assert_eq!(
        found("current", socket),
        expected(
            "current is a device, pipe or socket, and a link to releases/1.0.0 belongs there: sudo mv current current.old",
            "other"
        )
    );
    assert_eq!(
        found("releases/1.0.0", file),
        expected(
            "releases/1.0.0 is a file, and a directory belongs there: sudo mv releases/1.0.0 releases/1.0.0.old",
            "file"
        )
    );
    assert_eq!(
        found(OUTSIDE, directory),
        expected(
            "/etc/site.conf is a directory, and a file belongs there: sudo mv /etc/site.conf /etc/site.conf.old",
            "directory"
        )
    );
    assert_eq!(
        found("shared/uploads", file),
        expected(
            "shared/uploads is a file, and a directory belongs there: sudo mv shared/uploads shared/uploads.old",
            "file"
        )
    );
    assert_eq!(
        found("shared/uploads", link),
        expected(
            "shared/uploads is a link to /mnt/big, and a directory belongs there: sudo mv shared/uploads shared/uploads.old",
            "link"
        )
    );
    assert_eq!(
        found("releases", link),
        expected(
            "releases is a link to /mnt/big, and a directory belongs there: sudo mv releases releases.old",
            "link"
        )
    );
}

#[test]
fn what_adopting_helps_against_is_told_with_that() {
    let place = Place::new();
    let host = MemoryHost::new();
    host.put_directory(place.root());
    let current = place.root().join("current");
    let told = |host: &MemoryHost, adopt: bool| {
        let mut wanted = wanted(&place);
        wanted
            .resources
            .retain(|id, _| id.kind == ResourceKind::LINK);
        for resource in wanted.resources.values_mut() {
            *resource = resource.clone().setting("adopt", adopt);
        }
        let told = blocking(observed(&Arc::new(host.fork()), &place, wanted));
        let root = format!("{}/", place.root().display());
        let told = told.into_iter().map(|line| line.replace(&root, ""));
        told.collect::<Vec<_>>()
    };
    host.put_file(&current, "x");
    assert_eq!(told(&host, true), [""; 0]);
    assert_eq!(
        told(&host, false),
        [
            "link current is there already, and rosey didn't make it: write `adopt #true` for it, or: sudo mv current current.old"
        ]
    );
    host.take_away(&current);
    host.put_file(current.join("mine"), "x");
    let never = "current is a directory, and a link to releases/1.0.0 belongs there: sudo mv current current.old";
    assert_eq!(told(&host, true), [never]);
    assert_eq!(told(&host, false), [never]);
}
