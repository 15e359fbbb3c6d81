//! Links outside of releases, which share their way with files.

use super::*;

#[test]
fn a_link_is_made_changed_and_removed() {
    let bench = Bench::new();
    let at = "/opt/bot/current";
    let id = id(ResourceKind::LINK, at);
    let host = MemoryHost::new();
    host.put_directory("/opt/bot/releases");
    let tree = release(&bench, &host, b"one");
    let wanted = link("releases/1").setting("tree", tree.text("tree").unwrap());
    let of_release = self::id(ResourceKind::RELEASE, "/opt/bot/releases/1");
    let made = step(&Release, &of_release, None, Some(tree)).unwrap();
    let forward = step(&Link, &id, None, Some(wanted.clone())).unwrap();

    let error = bench.apply(&host, &Link, &forward).unwrap_err();
    assert!(error.to_string().contains("it is no directory"), "{error}");
    bench.apply(&host, &Release, &made).unwrap();
    holds(&bench, &host, &Link, &id, Some(wanted.clone()));

    // An absolute link that leads nowhere is put back as it was.
    host.put_link(at, "/opt/bot/releases/gone");
    host.put_owner(at, "rosey", "rosey");
    holds(&bench, &host, &Link, &id, Some(wanted.clone()));
    holds(&bench, &host, &Link, &id, None);

    host.put_file("/opt/bot/releases/1/bin/run", "edited");
    let from = bench.observe(&host, &Link, &id, Some(&wanted));
    let forward = step(&Link, &id, from, Some(wanted.clone())).unwrap();
    let before = seen(&host);
    let error = bench.apply(&host, &Link, &forward).unwrap_err();
    assert!(error.to_string().contains("bin/run: content"), "{error}");
    assert_eq!(seen(&host), before);
}

#[test]
fn a_file_in_the_place_of_a_link_is_taken_over_only_where_that_is_declared() {
    let bench = Bench::new();
    let at = "/opt/bot/current";
    let id = id(ResourceKind::LINK, at);
    let host = MemoryHost::new();
    host.put_directory("/opt/bot/releases/1");
    host.put_file(at, "a file");
    let wanted = link("releases/1");
    holds(
        &bench,
        &host,
        &Link,
        &id,
        Some(wanted.clone().setting("adopt", true)),
    );
    for prepare in [
        |host: &MemoryHost| host.put_file("/opt/bot/current", "a file"),
        |host: &MemoryHost| host.put_directory("/opt/bot/current"),
    ] {
        host.take_away(at);
        prepare(&host);
        let from = bench.observe(&host, &Link, &id, Some(&wanted));
        let refused = step(&Link, &id, from, Some(wanted.clone())).unwrap();
        let error = bench.apply(&host, &Link, &refused).unwrap_err();
        assert!(matches!(error, StepError::Conflict { .. }), "{error}");
    }
    // What somebody has in a directory doesn't leave with the link.
    let from = bench.observe(&host, &Link, &id, Some(&wanted)).unwrap();
    assert_eq!(step(&Link, &id, Some(from.clone()), None), None);
    let mut leaves = step(&Link, &id, Some(wanted), None).unwrap();
    leaves.from = Some(from);
    let before = seen(&host);
    let error = bench.apply(&host, &Link, &leaves).unwrap_err();
    assert!(matches!(error, StepError::Conflict { .. }), "{error}");
    assert_eq!(seen(&host), before);
}

#[test]
fn a_file_and_a_link_of_one_path_keep_apart_aside() {
    let bench = Bench::new();
    let host = MemoryHost::new();
    host.put_directory("/opt/bot/releases/1");
    host.put_file("/opt/bot/current", "a file");
    host.settle();
    let original = seen(&host);
    let as_file = id(ResourceKind::FILE, "/opt/bot/current");
    let as_link = id(ResourceKind::LINK, "/opt/bot/current");
    let from = bench.observe(&host, &File, &as_file, None);
    let leaves = step(&File, &as_file, from.clone(), None).unwrap();
    let comes = step(&Link, &as_link, None, Some(link("releases/1"))).unwrap();
    bench.apply(&host, &File, &leaves).unwrap();
    bench.apply(&host, &Link, &comes).unwrap();
    let now = bench.observe(&host, &Link, &as_link, None);
    let leaves = step(&Link, &as_link, now, None).unwrap();
    let comes = step(&File, &as_file, None, from).unwrap();
    bench.apply(&host, &Link, &leaves).unwrap();
    bench.apply(&host, &File, &comes).unwrap();
    assert_eq!(seen(&host), original);
}

#[test]
fn a_link_uses_what_it_leads_to() {
    let it = |name: &str, target: &str| {
        let id = id(ResourceKind::LINK, name);
        let resource = link(target).setting("stamps", vec!["migrate"]);
        let named = crate::step::kind::Named {
            id: &id,
            resource: &resource,
        };
        let uses = Link.uses(named);
        uses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let stamp = "the stamp of migrate";
    assert_eq!(
        it("/opt/bot/current", "releases/1"),
        ["/opt/bot/releases/1", stamp]
    );
    assert_eq!(it("/opt/bot/current", "/srv/x"), ["/srv/x", stamp]);
    assert_eq!(it("/opt/bot/a/b", "./../x"), ["/opt/bot/x", stamp]);
}
