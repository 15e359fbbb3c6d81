//! Releases.

use super::*;

#[test]
fn a_release_is_made_put_right_and_removed() {
    let bench = Bench::new();
    let at = "/opt/bot/releases/1";
    let id = id(ResourceKind::RELEASE, at);
    let host = MemoryHost::new();
    host.put_directory("/opt/bot/releases");
    let wanted = release(&bench, &host, b"one");
    holds(&bench, &host, &Release, &id, Some(wanted.clone()));

    let forward = step(&Release, &id, None, Some(wanted.clone())).unwrap();
    assert_eq!(forward.action, Action::Create);
    bench.apply(&host, &Release, &forward).unwrap();
    host.put_attribute(format!("{at}/bin/run"), "user.note", b"kept");
    host.put_file(format!("{at}/bin/x.pyc"), "may be extra");
    let found = bench.observe(&host, &Release, &id, Some(&wanted));
    assert_eq!(found.as_ref(), Some(&wanted));
    holds(&bench, &host, &Release, &id, None);

    host.put_file(format!("{at}/bin/run"), "edited");
    host.put_file(format!("{at}/more"), "extra");
    host.put_owner(format!("{at}/bin"), "root", "root");
    host.put_socket(format!("{at}/socket"));
    holds(&bench, &host, &Release, &id, Some(wanted.clone()));
    host.take_away(at);
    host.put_link(at, "/etc");
    let from = bench.observe(&host, &Release, &id, Some(&wanted));
    let refused = step(&Release, &id, from, Some(wanted)).unwrap();
    let error = bench.apply(&host, &Release, &refused).unwrap_err();
    assert!(error.to_string().contains("a link is there"), "{error}");
}
