//! Units that somebody else has made: found before they are taken over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::client::{Client, Place, generation};
use crate::content::PathChangeKind;
use crate::helper::ledger;
use crate::helper::protocol::{AppAddress, ObserveApp, ObservedApp, Reply, Request};
use crate::helper::registry::Registry;
use crate::host::{Manager, MemoryHost, ReadHost, ServiceAct, Unit, WriteHost};
use crate::model::{
    AppName, EnvironmentName, FindingClass, Gates, Ledger, Resource, ResourceId, ResourceKind,
    State,
};
use crate::step::registry::registry;

const TEXT: &str = "[Service]\nExecStart=/bin/sleep\n[Install]\nWantedBy=multi-user.target\n";
const PACKAGED: &str = "/usr/lib/systemd/system/bot.service";

/// A host whose package has brought a unit, as systemd has read it.
fn packaged(path: &str) -> Arc<MemoryHost> {
    let host = MemoryHost::new();
    host.put_directory("/etc/systemd/system/multi-user.target.wants");
    host.put_file(path, TEXT);
    act(&host, &ServiceAct::DaemonReload);
    Arc::new(host)
}

fn act(host: &MemoryHost, act: &ServiceAct) {
    let unit = Unit {
        manager: Manager::Systemd,
        name: "bot.service".to_owned(),
    };
    host.manage(&unit, act, std::time::Duration::ZERO).unwrap();
}

/// An app with a unit of its own, whose service has these settings too.
fn wanted(place: &Place, settings: &[(&str, bool)]) -> State {
    let id = |kind, name: &str| ResourceId {
        kind,
        name: name.to_owned(),
        ..place.id("note", "")
    };
    let unit = "/etc/systemd/system/bot.service";
    let file = Resource::new()
        .with("content", crate::model::Digest::of(b"ours"))
        .with("mode", "0644")
        .setting("unit", "bot.service");
    let service = Resource::new()
        .with("enabled", true)
        .with("active", true)
        .with("fresh", true)
        .setting("uses", vec![unit.to_owned()])
        .setting("manager", "systemd");
    let service = settings
        .iter()
        .fold(service, |it, (name, value)| it.setting(name, *value));
    let mut state = State::default();
    let resources = &mut state.resources;
    resources.insert(id(ResourceKind::FILE, unit), file);
    resources.insert(id(ResourceKind::SERVICE, "bot.service"), service);
    state
}

/// What is found of an app of which that is wanted.
pub(super) fn observed(host: &Arc<MemoryHost>, place: &Place, wanted: State) -> ObservedApp {
    let mut client = Client::on(host.clone(), place.options(registry()));
    let observed = client.ask(Request::Observe {
        apps: vec![ObserveApp {
            app: place.address(),
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
    apps.remove(0)
}

/// What stands in the way of it.
fn blocking(host: &Arc<MemoryHost>, settings: &[(&str, bool)]) -> Vec<String> {
    let place = Place::new();
    let findings = observed(host, &place, wanted(&place, settings)).findings;
    let findings = findings.into_iter();
    let findings = findings.filter(|it| it.class == FindingClass::Blocking);
    let line = |it: crate::model::Finding| match it.remedy {
        Some(remedy) => format!("{}: {remedy}", it.message),
        None => it.message,
    };
    findings.map(line).collect()
}

#[test]
fn a_unit_that_systemd_knows_from_elsewhere_is_found_whether_it_runs_or_not() {
    let host = packaged(PACKAGED);
    let expected = "service bot.service is defined in /usr/lib/systemd/system/bot.service already, and a unit of the app would take its place: write `adopt #true` for it, or give the service another name";
    assert_eq!(blocking(&host, &[]), [expected]);
    act(&host, &ServiceAct::Start);
    assert_eq!(blocking(&host, &[]), [expected]);
    act(&host, &ServiceAct::Enable);
    assert_eq!(blocking(&host, &[]), [expected]);
    for taken in ["adopt", "external"] {
        let found = blocking(&host, &[(taken, true)]);
        let of_service = |line: &&String| line.starts_with("service");
        assert_eq!(found.iter().find(of_service), None, "{taken}");
    }
}

#[test]
fn a_file_in_the_place_of_the_apps_own_is_found_for_what_it_holds() {
    let host = packaged("/etc/systemd/system/bot.service");
    let found = blocking(&host, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("file /etc/systemd/system/bot.service is there already"));
}

/// As the ledger has it in which that stands.
pub(super) fn applied(host: &MemoryHost, place: &Place, state: &State) {
    applied_by(host, place, place.address(), state);
}

fn applied_by(host: &MemoryHost, place: &Place, address: AppAddress, state: &State) {
    let mut ledger = Ledger::new(address.environment, address.app, address.root.clone());
    ledger.generations = vec![generation("1", 1, state)];
    let registry = Registry::open(host, place.options(registry()).place(), [0; 32]).unwrap();
    let places = registry.places(&host.real_path(Path::new(&address.root)).unwrap());
    registry.make(host, &places).unwrap();
    ledger::store(host, &places.state, &ledger, registry.user()).unwrap();
}

/// What is found beside its unit: somebody's changes, and what is left; with notes of the latter.
fn beside(host: &Arc<MemoryHost>, place: &Place, wanted: State) -> [Vec<String>; 3] {
    let seen = observed(host, place, wanted);
    let changes = seen.changes.into_iter().flat_map(|(_, paths)| paths);
    let extra = changes.filter(|it| it.change == PathChangeKind::Extra);
    let extra = extra.map(|it| format!("{} {} by {}", it.path, it.detail, it.owner.unwrap()));
    let actual = seen.actual.resources.into_iter();
    let left = actual.filter(|(_, it)| it.settings.contains_key("left"));
    let notes = seen.findings.into_iter();
    let notes = notes.filter(|it| it.class == FindingClass::Note);
    [
        extra.collect(),
        left.map(|(id, _)| id.name).collect(),
        notes.map(|it| it.message).collect(),
    ]
}

const UNIT: &str = "/etc/systemd/system/bot.service";

#[test]
fn what_is_put_beside_a_unit_is_found_and_what_was_there_before_is_left() {
    let host = packaged(PACKAGED);
    let own = format!("{UNIT}.d/limits.conf");
    host.put_file(&own, "[Service]\n");
    let place = Place::new();
    let all = || wanted(&place, &[("beside", true), ("adopt", true)]);
    let before = beside(&host, &place, all());
    let note = format!("{own} is there already, and is left: it goes on changing bot.service");
    assert_eq!(before, [vec![], vec![own.clone()], vec![note.clone()]]);

    // The ledger of a rosey that didn't note what stands there.
    applied(&host, &place, &wanted(&place, &[]));
    assert_eq!(beside(&host, &place, all()), before);

    let mut state = all();
    let file = |name: &str| ResourceId {
        kind: ResourceKind::FILE,
        name: name.to_owned(),
        ..place.id("note", "")
    };
    state
        .resources
        .insert(file(&own), Resource::new().setting("left", "bot.service"));
    applied(&host, &place, &state);
    assert_eq!(
        beside(&host, &place, all()),
        [vec![], vec![own.clone()], vec![]]
    );

    let nobodys = [
        "/etc/systemd/system/service.d/all.conf",
        "/usr/lib/systemd/system/bot.service.d/package.conf",
        "/etc/systemd/system/bot.service.d/.hidden.conf",
        "/etc/systemd/system/bot.service.d/README",
    ];
    let ours = [
        "/etc/systemd/system.control/bot.service.d/50-memory.conf",
        "/etc/systemd/system/bot.service.d/override.conf",
        "/run/systemd/system/bot.service.d/override.conf",
    ];
    for path in nobodys.iter().chain(&ours) {
        host.put_file(path, "[Service]\n");
    }
    let expected = ours.map(|path| format!("{path} beside bot.service by root:root"));
    let found = beside(&host, &place, all());
    assert_eq!(found, [expected.to_vec(), vec![own.clone()], vec![]]);
    // An app that goes takes it along; somebody else's service is not ours to look at.
    assert_eq!(beside(&host, &place, State::default())[0], expected);
    let others = wanted(&place, &[("beside", true), ("external", true)]);
    assert_eq!(beside(&host, &place, others)[0], [""; 0]);
}

#[test]
fn of_a_root_that_another_app_or_environment_has_only_that_is_told() {
    let place = Place::new();
    let root = place.root().display().to_string();
    for (environment, app, whose, remedy) in [
        (
            "test",
            "other",
            "the app other of this environment",
            "rosey remove test other --only a   # or give toy another root",
        ),
        (
            "prod",
            "toy",
            "the app toy of the environment prod",
            "rosey remove prod toy   # or give toy another root",
        ),
    ] {
        let host = packaged(UNIT);
        host.put_directory(place.root());
        let others = AppAddress {
            environment: EnvironmentName::new(environment).unwrap(),
            app: AppName::new(app).unwrap(),
            ..place.address()
        };
        let mut theirs = State::default();
        let directory = ResourceId {
            app: others.app.clone(),
            ..place.id("directory", "")
        };
        theirs
            .resources
            .insert(directory, Resource::new().with("mode", "0755"));
        applied_by(&host, &place, others, &theirs);
        let seen = observed(&host, &place, wanted(&place, &[]));
        let told: Vec<_> = seen.findings.into_iter().chain(seen.starting).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].class, FindingClass::Blocking);
        assert_eq!(
            told[0].message,
            format!("the root {root} belongs to {whose}")
        );
        assert_eq!(told[0].remedy.as_deref(), Some(remedy));
        // Nothing of theirs is taken for this app's.
        let apps = seen.actual.resources.keys().map(|id| id.app.clone());
        let known: std::collections::BTreeSet<_> = apps.collect();
        assert!(
            known.iter().all(|it| *it == place.address().app),
            "{known:?}"
        );
        let mut client = Client::on(host.clone(), place.options(registry()));
        let surveyed = client.survey(&place);
        assert_eq!(surveyed.ledger, None);
        assert_eq!(surveyed.releases, BTreeMap::new());
    }
}
