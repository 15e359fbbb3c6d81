//! Directories outside of releases.

use super::*;
use crate::step::sync::desire;

#[test]
fn a_directory_is_made_changed_and_removed_when_empty() {
    let wanted = Resource::new()
        .with("mode", "2750")
        .with("owner", "rosey")
        .with("group", "rosey");
    for path in ["/opt/bot/shared", "/etc/bot.d"] {
        let bench = Bench::new();
        let id = id(ResourceKind::DIRECTORY, path);
        let host = MemoryHost::new();
        host.put_directory("/opt/bot");
        holds(&bench, &host, &Directory, &id, Some(wanted.clone()));
        host.put_directory(path);
        holds(&bench, &host, &Directory, &id, None);
        host.put_file(format!("{path}/data"), "precious");
        holds(&bench, &host, &Directory, &id, Some(wanted.clone()));
        let found = bench
            .observe(&host, &Directory, &id, Some(&wanted))
            .unwrap();
        assert!(step(&Directory, &id, Some(found.clone()), None).is_none());

        // Something that came into it after the plan was made keeps it too.
        let planned = found.with("empty", true);
        let removal = step(&Directory, &id, Some(planned), None).unwrap();
        let before = seen(&host);
        bench.apply(&host, &Directory, &removal).unwrap();
        assert_eq!(seen(&host), before);
    }
}

#[test]
fn a_directory_holds_nothing_when_all_in_it_is_known() {
    let mut bench = Bench::new();
    let directory = |name: &str| (id(ResourceKind::DIRECTORY, name), Resource::new());
    bench.known = vec![
        directory("/opt/bot/shared"),
        directory("/opt/bot/shared/a"),
        directory("/opt/bot/shared/b"),
        (
            id(ResourceKind::FILE, "/opt/bot/shared/a/file"),
            Resource::new(),
        ),
    ];
    let host = MemoryHost::new();
    host.put_file("/opt/bot/shared/a/file", "x");
    host.put_directory("/opt/bot/shared/b");
    let empty = |host: &MemoryHost| {
        let id = id(ResourceKind::DIRECTORY, "/opt/bot/shared");
        bench
            .observe(host, &Directory, &id, None)
            .unwrap()
            .is("empty")
    };
    assert!(empty(&host));
    host.put_file("/opt/bot/shared/b/data", "precious");
    assert!(!empty(&host));
}

#[test]
fn a_directory_that_was_there_is_taken_as_it_is() {
    let bench = Bench::new();
    let path = "/opt/bot/shared";
    let id = id(ResourceKind::DIRECTORY, path);
    let host = MemoryHost::new();
    host.put_directory(path);
    host.put_mode(path, 0o700);
    let wanted = Resource::new()
        .with("mode", "0755")
        .with("owner", "rosey")
        .with("group", "rosey");
    let differs = |wanted: &Resource| {
        let found = bench.observe(&host, &Directory, &id, Some(wanted)).unwrap();
        let met = Directory.met(wanted, &found);
        step(&Directory, &id, Some(found), Some(met)).map(|step| step.reasons.len())
    };
    assert_eq!(differs(&wanted), None);
    assert_eq!(
        differs(&wanted.clone().setting("declared", vec!["mode"])),
        Some(1)
    );
    host.take_away(path);
    host.put_link(path, "/srv/data");
    assert_eq!(differs(&wanted), None);
}

#[test]
fn another_owner_that_is_declared_is_a_change_and_the_same_one_is_none() {
    let owner = |name: &str| crate::host::Owner {
        user: name.to_owned(),
        group: name.to_owned(),
    };
    let wanted = |name: &str| desire::directory(None, &owner(name));
    let is = |resource: &Resource, name: &str| {
        resource.text("owner") == Some(name) && resource.text("group") == Some(name)
    };
    // As it was made, with the declaration that made it.
    let made = wanted("root");
    assert!(is(&Directory.met(&wanted("ann"), &made), "ann"));
    // As somebody else had made it, which was taken as it was.
    let mut there = Resource::new().with("mode", "0700");
    there = there.with("owner", "deploy").with("group", "deploy");
    let met = Directory.met(&wanted("ann"), &there);
    assert!(is(&met, "deploy"), "{met:?}");
    let again = Directory.met(&wanted("ann"), &met);
    assert!(is(&again, "deploy"), "{again:?}");
    let changed = Directory.met(&wanted("bob"), &again);
    assert!(is(&changed, "bob"), "{changed:?}");
    assert_eq!(changed.text("mode"), Some("0700"));
    // By then it is as declared, and stays so.
    assert!(is(&Directory.met(&wanted("bob"), &changed), "bob"));
}
