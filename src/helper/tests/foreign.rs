//! Units that somebody else has made: found before they are taken over.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::{Client, Place};
use crate::helper::protocol::{ObserveApp, Reply, Request};
use crate::host::{Manager, MemoryHost, ServiceAct, Unit, WriteHost};
use crate::model::{FindingClass, Gates, Resource, ResourceId, ResourceKind, State};
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

/// What stands in the way of it.
fn blocking(host: &Arc<MemoryHost>, settings: &[(&str, bool)]) -> Vec<String> {
    let place = Place::new();
    let mut client = Client::on(host.clone(), place.options(registry()));
    let observed = client.ask(Request::Observe {
        apps: vec![ObserveApp {
            app: place.address(),
            wanted: wanted(&place, settings),
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
    let findings = apps.remove(0).findings.into_iter();
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
