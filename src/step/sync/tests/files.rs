//! Files outside of releases.

use super::*;

#[test]
fn a_file_is_made_changed_and_removed() {
    for path in PATHS {
        let bench = Bench::new();
        let id = id(ResourceKind::FILE, path);
        let host = MemoryHost::new();
        host.put_directory("/opt/bot/shared");
        with_content(&bench, &host, &[b"new"]);
        let new = file(b"new", "0640", "rosey");
        holds(&bench, &host, &File, &id, Some(new.clone()));

        host.put_file(path, "old");
        host.put_attribute(path, "user.note", b"kept");
        holds(&bench, &host, &File, &id, Some(new));
        holds(
            &bench,
            &host,
            &File,
            &id,
            Some(file(b"old", "0600", "root")),
        );
        holds(&bench, &host, &File, &id, None);
        let secret =
            crate::step::sync::desire::file(Digest::sealed(&KEY, b"hush"), "0600", "root", "root");
        holds(
            &bench,
            &host,
            &File,
            &id,
            Some(secret.setting("secret", true)),
        );
    }
}

#[test]
fn a_link_in_the_place_of_a_file_is_taken_over_only_where_that_is_declared() {
    let bench = Bench::new();
    for path in PATHS {
        let id = id(ResourceKind::FILE, path);
        let host = MemoryHost::new();
        with_content(&bench, &host, &[b"new"]);
        host.put_directory("/opt/bot/shared");
        host.put_link(path, "/somewhere/else");
        let wanted = file(b"new", "0644", "root");
        holds(
            &bench,
            &host,
            &File,
            &id,
            Some(wanted.clone().setting("adopt", true)),
        );
        let before = seen(&host);
        let from = bench.observe(&host, &File, &id, Some(&wanted));
        let refused = step(&File, &id, from, Some(wanted.clone())).unwrap();
        let error = bench.apply(&host, &File, &refused).unwrap_err();
        assert!(error.to_string().contains("a link is there"), "{error}");
        assert_eq!(seen(&host), before);

        // A directory is never taken over: what is in it could not be kept.
        host.take_away(path);
        host.put_file(format!("{path}/data"), "precious");
        let wanted = wanted.setting("adopt", true);
        let from = bench.observe(&host, &File, &id, Some(&wanted));
        let refused = step(&File, &id, from, Some(wanted)).unwrap();
        let error = bench.apply(&host, &File, &refused).unwrap_err();
        assert!(
            error.to_string().contains("a directory is there"),
            "{error}"
        );
    }
}

#[test]
fn what_somebody_changed_meanwhile_is_left_alone() {
    let bench = Bench::new();
    let id = id(ResourceKind::FILE, PATHS[0]);
    let host = MemoryHost::new();
    with_content(&bench, &host, &[b"new"]);
    host.put_file(PATHS[0], "old");
    let wanted = Some(file(b"new", "0644", "root"));
    let from = bench.observe(&host, &File, &id, wanted.as_ref());
    let planned = step(&File, &id, from.clone(), wanted.clone()).unwrap();
    let removal = step(&File, &id, from, None).unwrap();
    host.put_file(PATHS[0], "by hand");
    let before = seen(&host);
    for step in [planned, removal] {
        let error = bench.apply(&host, &File, &step).unwrap_err();
        assert!(matches!(error, StepError::Conflict { .. }), "{error}");
        assert_eq!(seen(&host), before);
    }
}

#[test]
fn a_seeded_file_belongs_to_the_app_once_it_is_there() {
    let bench = Bench::new();
    let path = PATHS[1];
    let id = id(ResourceKind::FILE, path);
    let host = MemoryHost::new();
    host.put_directory("/opt/bot/shared");
    with_content(&bench, &host, &[b"seed"]);
    let wanted = file(b"seed", "0640", "rosey").setting("seed", true);
    holds(&bench, &host, &File, &id, Some(wanted.clone()));

    host.put_file(path, "seed");
    let pristine = bench.observe(&host, &File, &id, Some(&wanted));
    assert!(step(&File, &id, pristine, None).is_some());
    host.put_file(path, "by the app");
    // Only mode and owner are put right, in the file that is there.
    host.put_attribute(path, "user.note", b"the same file");
    holds(&bench, &host, &File, &id, Some(wanted.clone()));
    let found = bench.observe(&host, &File, &id, Some(&wanted)).unwrap();
    let met = File.met(&wanted, &found);
    assert!(step(&File, &id, Some(found.clone()), Some(met)).is_none());
    assert!(
        step(&File, &id, Some(found), None).is_none(),
        "never removed"
    );
}

#[test]
fn a_file_that_is_only_expected_is_never_read() {
    let bench = Bench::new();
    let id = id(ResourceKind::FILE, PATHS[1]);
    let host = MemoryHost::new();
    let wanted = Resource::new().setting("expected", "shared file local.env");
    assert_eq!(bench.observe(&host, &File, &id, Some(&wanted)), None);
    assert!(step(&File, &id, None, Some(wanted.clone())).is_none());
    host.put_file(PATHS[1], "secret");
    let found = bench.observe(&host, &File, &id, Some(&wanted));
    assert_eq!(found.as_ref(), Some(&wanted));
    assert!(step(&File, &id, found, None).is_none());
}

#[test]
fn no_plain_digest_of_what_was_a_secret_is_told() {
    let mut bench = Bench::new();
    let id = id(ResourceKind::FILE, PATHS[0]);
    let host = MemoryHost::new();
    host.put_file(PATHS[0], "hush");
    let was =
        crate::step::sync::desire::file(Digest::sealed(&KEY, b"hush"), "0600", "root", "root");
    bench.known = vec![(id.clone(), was)];
    let wanted = file(b"public", "0644", "root");
    let told = |host: &MemoryHost| {
        let found = bench.observe(host, &File, &id, Some(&wanted)).unwrap();
        found.text("content").unwrap().to_owned()
    };
    assert_eq!(told(&host), Digest::sealed(&KEY, b"hush").to_string());
    host.put_file(PATHS[0], "public");
    assert_eq!(told(&host), Digest::of(b"public").to_string());
}
