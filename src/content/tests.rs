//! Receiving, staging, reading back and collecting on a host in memory, with faults everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::pack::tests::{KEY, pack};
use super::*;
use crate::host::memory::Fault;
use crate::host::{HostErrorKind, LocalHost, MemoryHost, Owner, ReadHost, Space, WriteHost};
use crate::model::{Digest, Places, RunId};

fn places() -> Places {
    Places {
        root: "/opt/bot".into(),
        state: "/var/lib/rosey/bot".into(),
    }
}

fn rosey() -> Owner {
    Owner {
        user: "rosey".into(),
        group: "rosey".into(),
    }
}

fn path(text: &str) -> EntryPath {
    EntryPath::new(text).unwrap()
}

fn file(content: &[u8], mode: u32, sealed: bool) -> ManifestEntry {
    let digest = if sealed {
        Digest::sealed(&KEY, content)
    } else {
        Digest::of(content)
    };
    ManifestEntry::File {
        mode,
        size: content.len() as u64,
        digest,
    }
}

fn link(target: &str) -> ManifestEntry {
    ManifestEntry::Link {
        target: LinkTarget(target.into()),
    }
}

const DIRECTORY: ManifestEntry = ManifestEntry::Directory { mode: 0o755 };

fn manifest(entries: &[(&str, ManifestEntry)]) -> Manifest {
    let entries = entries.iter();
    Manifest {
        entries: entries
            .map(|(text, entry)| (path(text), entry.clone()))
            .collect(),
    }
}

/// A tree with one of everything that is awkward.
fn tree() -> Manifest {
    manifest(&[
        ("bin", DIRECTORY),
        ("bin/run", file(b"#!/bin/sh", 0o755, false)),
        ("copy", file(b"#!/bin/sh", 0o644, false)),
        ("data", link("../../shared/data")),
        ("deep", ManifestEntry::Directory { mode: 0o555 }),
        ("deep/deeper", DIRECTORY),
        ("deep/deeper/file", file(b"deep", 0o444, false)),
        ("deep.txt", file(b"between", 0o644, false)),
        ("empty", file(b"", 0o600, false)),
        ("secret", file(b"hush", 0o640, true)),
    ])
}

fn contents() -> BTreeMap<Digest, Vec<u8>> {
    let plain = [&b"#!/bin/sh"[..], b"deep", b"between"];
    let plain = plain
        .iter()
        .map(|bytes| (Digest::of(bytes), bytes.to_vec()));
    let secret = (Digest::sealed(&KEY, b"hush"), b"hush".to_vec());
    plain.chain([secret]).collect()
}

fn store<'a>(host: &'a MemoryHost, places: &'a Places) -> Store<'a> {
    Store::new(host, places, &KEY).with_workers(1)
}

fn read(host: &MemoryHost, at: &str, wanted: &Manifest) -> FoundTree {
    let ignore = Patterns::new(["*.pyc"]).unwrap();
    let query = TreeQuery {
        root: Path::new(at),
        seal: &KEY,
        ignore: &ignore,
        wanted: Some(wanted),
        owner: Some(&rosey()),
    };
    read_tree(host, query).unwrap().unwrap()
}

const AT: &str = "/opt/bot/.rosey/staging/run/tree";

fn stage(host: &MemoryHost, tree: &Manifest) -> Result<(), ContentError> {
    let places = places();
    let digest = tree.digest().to_string();
    store(host, &places).stage(&digest, Path::new(AT), &rosey())
}

/// A host that has the manifest and all content.
fn provided() -> MemoryHost {
    let host = MemoryHost::new();
    let places = places();
    let store = store(&host, &places);
    store.keep_manifest(&tree()).unwrap();
    store.keep(&contents()).unwrap();
    host
}

fn assert_complete(host: &MemoryHost, at: &str) {
    let found = read(host, at, &tree());
    assert_eq!(found.changes, []);
    assert_eq!(found.digest(), tree().digest());
    assert_eq!(found.owner, rosey());
}

#[test]
fn a_tree_is_staged_whole_and_durable() {
    let host = provided();
    stage(&host, &tree()).unwrap();
    host.crash(0);
    host.reboot();
    assert_complete(&host, AT);
    let before = host.snapshot(&[AT]);
    let written = host.primitives();
    stage(&host, &tree()).unwrap();
    assert_eq!(host.snapshot(&[AT]), before);
    // Three syncs, and the mode of a directory that forbids writing, off and on: nothing that is right
    // is written again, so the way back needs no space.
    assert_eq!(host.primitives() - written, 5);
}

#[test]
fn staging_goes_on_after_being_cut_off_anywhere() {
    let whole = provided();
    let before = whole.primitives();
    stage(&whole, &tree()).unwrap();
    let count = whole.primitives() - before;
    let expected = whole.snapshot(&[AT]);
    assert!(count > 15, "{count}");
    for at in 1..=count {
        for fault in [
            Fault::Error(HostErrorKind::NoSpace),
            Fault::CrashBefore,
            Fault::CrashMiddle,
            Fault::CrashAfter,
        ] {
            for power_cut in [None, Some(0), Some(at * 7919), Some(u64::MAX)] {
                let host = provided();
                host.fault_at(at, fault.clone());
                stage(&host, &tree()).unwrap_err();
                match power_cut {
                    None => host.revive(),
                    Some(choice) => {
                        host.crash(choice);
                        host.reboot();
                    }
                }
                stage(&host, &tree()).unwrap();
                assert_eq!(host.snapshot(&[AT]), expected, "{fault:?} at {at}");
            }
        }
    }
}

#[test]
fn staging_puts_right_whatever_stands_there() {
    let host = provided();
    stage(&host, &tree()).unwrap();
    let expected = host.snapshot(&[AT]);
    host.put_file(format!("{AT}/bin/run"), "#!/bin/xx");
    host.take_away(format!("{AT}/data"));
    host.put_file(format!("{AT}/data/not-a-link"), "x");
    host.put_link(format!("{AT}/deep/deeper"), "/etc");
    host.put_file(format!("{AT}/more/and/more"), "x");
    host.put_mode(format!("{AT}/secret"), 0o777);
    host.put_owner(format!("{AT}/empty"), "nobody", "nobody");
    stage(&host, &tree()).unwrap();
    assert_eq!(host.snapshot(&[AT]), expected);
    host.take_away(AT);
    host.put_link(AT, "/etc");
    stage(&host, &tree()).unwrap();
    assert_eq!(host.snapshot(&[AT]), expected);
}

#[test]
fn kept_releases_give_what_they_have_unless_it_was_edited() {
    let host = provided();
    stage(&host, &tree()).unwrap();
    host.put_directory("/opt/bot/releases");
    let release = "/opt/bot/releases/1";
    host.rename(Path::new(AT), Path::new(release)).unwrap();
    let places = places();
    let store = store(&host, &places);
    let stay = BTreeSet::from([tree().digest()]);
    for name in host.list(&places.objects()).unwrap() {
        host.remove_file(&places.objects().join(name)).unwrap();
    }
    assert_eq!(
        store.lacking(&[tree().digest()], &BTreeSet::new()).unwrap(),
        []
    );
    stage(&host, &tree()).unwrap();
    assert_complete(&host, AT);
    host.take_away(AT);

    host.put_file(format!("{release}/deep.txt"), "edited!");
    let edited = Digest::of(b"between");
    let lacking = store.lacking(&[tree().digest()], &BTreeSet::new());
    assert_eq!(lacking.unwrap(), [edited]);
    let error = stage(&host, &tree()).unwrap_err();
    assert!(
        matches!(&error, ContentError::MissingContent { path, digest }
            if path == "deep.txt" && *digest == edited.to_string()),
        "{error}"
    );
    assert_eq!(store.bytes(&edited.to_string()).unwrap(), None);
    // The same content stands elsewhere in the release, so another path serves as well.
    host.put_file(format!("{release}/copy"), "edited");
    let shell = Digest::of(b"#!/bin/sh").to_string();
    assert_eq!(store.bytes(&shell).unwrap().unwrap(), b"#!/bin/sh");

    store.keep(&contents()).unwrap();
    stage(&host, &tree()).unwrap();
    assert_complete(&host, AT);
    store.collect_garbage(&stay, &BTreeSet::new()).unwrap();
    assert_eq!(
        store.bytes(&edited.to_string()).unwrap().unwrap(),
        b"between"
    );
}

#[test]
fn a_damaged_pack_gives_what_another_has_to() {
    let host = provided();
    let places = places();
    let store = store(&host, &places);
    let packs = Packs::open(&host, &places, &KEY).unwrap();
    let first = packs.find(&Digest::of(b"between")).unwrap();
    let first = first.pack(&places);
    let mut bytes = host.read(&first).unwrap();
    bytes.truncate(bytes.len() - 6);
    host.put_file(&first, bytes);
    let error = stage(&host, &tree()).unwrap_err();
    assert!(matches!(error, ContentError::MissingContent { .. }));

    let mut more = contents();
    more.insert(Digest::of(b"more"), b"more".to_vec());
    let more: Vec<(Digest, &[u8])> = more
        .iter()
        .map(|(digest, bytes)| (*digest, &bytes[..]))
        .collect();
    receive_pack(&host, &places, &KEY, &mut &pack(&more)[..]).unwrap();
    stage(&host, &tree()).unwrap();
    assert_complete(&host, AT);
    let deep = Digest::of(b"deep").to_string();
    assert_eq!(store.bytes(&deep).unwrap().unwrap(), b"deep");
}

#[test]
fn nothing_of_a_bad_pack_can_be_found() {
    let whole = pack(&[
        (Digest::of(b"one"), b"one"),
        (Digest::sealed(&KEY, b"two"), b"two"),
    ]);
    let wrong = pack(&[(Digest::sealed(&[9; 32], b"two"), b"two")]);
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let places = places();
    for bad in [&whole[..whole.len() - 1], &wrong, &damaged, b"", b"hello"] {
        let host = MemoryHost::new();
        receive_pack(&host, &places, &KEY, &mut &bad[..]).unwrap_err();
        assert_eq!(host.list(&places.objects()).unwrap().len(), 0);
    }
    let empty = pack(&[]);
    let host = MemoryHost::new();
    let received = receive_pack(&host, &places, &KEY, &mut &empty[..]).unwrap();
    assert_eq!(received, Received::default());
}

#[test]
fn a_pack_is_received_whole_or_not_at_all() {
    let stream = pack(&[(Digest::of(b"one"), b"one")]);
    let places = places();
    let receive = |host: &MemoryHost| receive_pack(host, &places, &KEY, &mut &stream[..]);
    let whole = MemoryHost::new();
    receive(&whole).unwrap();
    let count = whole.primitives();
    for at in 1..=count {
        for fault in [
            Fault::Error(HostErrorKind::NoSpace),
            Fault::CrashMiddle,
            Fault::CrashAfter,
        ] {
            for choice in [0, at * 7919, u64::MAX] {
                let host = MemoryHost::new();
                host.fault_at(at, fault.clone());
                receive(&host).unwrap_err();
                host.crash(choice);
                host.reboot();
                let packs = Packs::open(&host, &places, &KEY).unwrap();
                let digest = Digest::of(b"one");
                if packs.find(&digest).is_some() {
                    let bytes = packs.read(&host, &places, &KEY, &digest).unwrap();
                    assert_eq!(bytes.unwrap(), b"one", "{fault:?} at {at}");
                }
                receive(&host).unwrap();
                store(&host, &places)
                    .collect_garbage(&BTreeSet::new(), &BTreeSet::from([digest]))
                    .unwrap();
                assert_eq!(host.list(&places.objects()).unwrap().len(), 2);
            }
        }
    }
}

#[test]
fn garbage_is_what_nothing_kept_needs() {
    let host = provided();
    let places = places();
    let store = store(&host, &places);
    let other = pack(&[(Digest::of(b"other"), b"other")]);
    receive_pack(&host, &places, &KEY, &mut &other[..]).unwrap();
    let old = manifest(&[("old", file(b"old", 0o644, false))]);
    store.keep_manifest(&old).unwrap();
    host.put_file(places.objects().join(".incoming-1-0"), "debris");
    let trees = BTreeSet::from([tree().digest()]);
    let single = BTreeSet::from([Digest::of(b"other")]);
    let removed = store.collect_garbage(&trees, &single).unwrap();
    assert_eq!(removed.count, 2);
    assert_eq!(store.lacking(&[tree().digest()], &single).unwrap(), []);
    assert!(store.manifest(&old.digest()).unwrap().is_none());
    let again = store.collect_garbage(&trees, &single).unwrap();
    assert_eq!(again, Removed::default());
    // The pack of the other content, and the secret's, which has one of its own.
    let without = manifest(&[("deep.txt", file(b"between", 0o644, false))]);
    store.keep_manifest(&without).unwrap();
    let trees = BTreeSet::from([without.digest()]);
    let removed = store.collect_garbage(&trees, &BTreeSet::new()).unwrap();
    assert_eq!(removed.count, 5);
    let hush = Digest::sealed(&KEY, b"hush").to_string();
    assert_eq!(store.bytes(&hush).unwrap(), None);
}

#[test]
fn no_secret_outlives_what_needs_it() {
    let host = MemoryHost::new();
    let places = places();
    let store = store(&host, &places);
    let (old, new) = (Digest::sealed(&KEY, b"old"), Digest::sealed(&KEY, b"new"));
    let plain = Digest::of(b"plain");
    let mixed = pack(&[(old, b"old"), (new, b"new"), (plain, b"plain")]);
    receive_pack(&host, &places, &KEY, &mut &mixed[..]).unwrap();
    let needed = BTreeSet::from([new, plain]);
    let removed = store.collect_garbage(&BTreeSet::new(), &needed).unwrap();
    assert_eq!(removed.count, 2);
    assert_eq!(store.bytes(&old.to_string()).unwrap(), None);
    assert_eq!(store.bytes(&new.to_string()).unwrap().unwrap(), b"new");
    assert_eq!(store.bytes(&plain.to_string()).unwrap().unwrap(), b"plain");
    let again = store.collect_garbage(&BTreeSet::new(), &needed).unwrap();
    assert_eq!(again, Removed::default());
    // A full disk leaves everything as it was.
    host.set_free(Some(Space {
        bytes: 0,
        inodes: 0,
    }));
    let fewer = BTreeSet::from([plain]);
    store.collect_garbage(&BTreeSet::new(), &fewer).unwrap_err();
    assert_eq!(store.bytes(&new.to_string()).unwrap().unwrap(), b"new");
}

#[test]
fn leftovers_of_other_runs_go() {
    let host = provided();
    stage(&host, &tree()).unwrap();
    host.put_file("/opt/bot/.rosey/staging/old/x/y", "1234");
    let places = places();
    let store = store(&host, &places);
    let removed = store.collect_staging(Some(&RunId("run".into()))).unwrap();
    assert_eq!((removed.count, removed.bytes), (3, 4));
    assert_complete(&host, AT);
    assert!(store.collect_staging(None).unwrap().count > 5);
    assert!(host.entry(Path::new(AT)).unwrap().is_none());
}

#[test]
fn every_edit_of_a_tree_is_seen() {
    let base = provided();
    stage(&base, &tree()).unwrap();
    let edit = |act: &dyn Fn(&MemoryHost)| {
        let host = base.fork();
        act(&host);
        let found = read(&host, AT, &tree());
        let differs = found.digest() != tree().digest() || found.owner != rosey();
        let told: Vec<String> = found
            .changes
            .iter()
            .map(|change| {
                let at = change.path.strip_prefix(AT).unwrap();
                format!("{:?} {at} ({})", change.change, change.detail)
            })
            .collect();
        assert_eq!(differs, !told.is_empty());
        told.join("; ")
    };
    let inside = |name: &str| format!("{AT}/{name}");
    let told = [
        edit(&|host| host.put_file(inside("x.pyc"), "x")),
        edit(&|host| host.put_mode(AT, 0o700)),
        edit(&|host| host.put_mode(inside("secret"), 0o644)),
        edit(&|host| host.put_owner(inside("deep/deeper"), "nobody", "rosey")),
        edit(&|host| host.put_socket(inside("sock"))),
        edit(&|host| host.take_away(inside("deep/deeper"))),
        edit(&|host| host.put_file(inside("more"), "x")),
        edit(&|host| {
            host.put_file(inside("secret"), "HUSH");
            host.put_owner(inside("secret"), "rosey", "rosey");
        }),
        edit(&|host| host.put_link(inside("data"), "/data")),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"

    Modified  (mode 0700, expected 0755)
    Modified /secret (mode 0644, expected 0640)
    Modified /deep/deeper (owner nobody:rosey, expected rosey:rosey)
    Extra /sock (socket, pipe or device)
    Missing /deep/deeper (directory); Missing /deep/deeper/file (file)
    Extra /more (file)
    Modified /secret (content, mode 0644, expected 0640)
    Modified /data (link to /data, expected ../../shared/data, owner root:root, expected rosey:rosey)
    ");
    assert!(
        read_tree(
            &base,
            TreeQuery {
                root: Path::new("/opt/nothing"),
                seal: &KEY,
                ignore: &Patterns::lenient(&[]),
                wanted: None,
                owner: None,
            }
        )
        .unwrap()
        .is_none()
    );
}

#[test]
fn rosey_keeps_its_own_directory_to_itself() {
    let places = places();
    let host = MemoryHost::new();
    host.put_directory("/opt/bot/.rosey");
    make_own(&host, &places, &places.objects()).unwrap();
    assert_eq!(host.entry(&places.own()).unwrap().unwrap().mode, 0o700);
    assert_eq!(host.entry(&places.objects()).unwrap().unwrap().mode, 0o700);
    for prepare in [
        |host: &MemoryHost| host.put_owner("/opt/bot/.rosey", "nobody", "nobody"),
        |host: &MemoryHost| host.put_link("/opt/bot/.rosey", "/tmp"),
    ] {
        let host = host.fork();
        host.take_away("/opt/bot/.rosey");
        host.put_directory("/opt/bot/.rosey");
        prepare(&host);
        make_own(&host, &places, &places.objects()).unwrap_err();
    }
    let fresh = MemoryHost::new();
    make_own(&fresh, &places, &places.manifests()).unwrap();
    assert_eq!(fresh.entry(&places.root).unwrap().unwrap().mode, 0o755);
    assert_eq!(
        fresh.entry(&places.manifests()).unwrap().unwrap().mode,
        0o700
    );
}

#[test]
fn a_source_of_any_names_arrives_on_a_real_file_system() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let source = tempfile::tempdir().unwrap();
    let at = source.path();
    for name in [&b"plain"[..], b"with space\n", b"\xff\xfe"] {
        std::fs::create_dir(at.join(OsStr::from_bytes(name))).unwrap();
        for number in 0..40_u32 {
            let file = at.join(OsStr::from_bytes(name)).join(number.to_string());
            std::fs::write(file, [name, &number.to_le_bytes()].concat()).unwrap();
        }
    }
    std::fs::write(at.join("large"), vec![7; 3_000_000]).unwrap();
    std::fs::write(at.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("plain/1", at.join("link")).unwrap();
    let tree = read_source(at, &[]).unwrap();

    let server = tempfile::tempdir().unwrap();
    let real = server.path().canonicalize().unwrap();
    let places = Places {
        root: real.join("app"),
        state: real.join("state"),
    };
    let host = LocalHost::new();
    let store = Store::new(&host, &places, &KEY);
    let digest = store.keep_manifest(&tree.manifest).unwrap();
    let lacking = store.lacking(&[digest], &BTreeSet::new()).unwrap();
    assert_eq!(lacking.len(), 121);
    let mut pack = PackWriter::new(Vec::new()).unwrap();
    tree.pack(&lacking.into_iter().collect(), &mut pack)
        .unwrap();
    let pack = pack.finish().unwrap();
    receive_pack(&host, &places, &KEY, &mut &pack[..]).unwrap();
    assert_eq!(store.lacking(&[digest], &BTreeSet::new()).unwrap(), []);

    let owner = own_owner(&host).unwrap();
    let found = |root: &Path| {
        let query = TreeQuery {
            root,
            seal: &KEY,
            ignore: &Patterns::lenient(&[]),
            wanted: Some(&tree.manifest),
            owner: Some(&owner),
        };
        read_tree(&host, query).unwrap().unwrap()
    };
    let first = places.releases().join("1");
    std::fs::create_dir(places.releases()).unwrap();
    store.stage(&digest.to_string(), &first, &owner).unwrap();
    assert_eq!(
        (found(&first).changes, found(&first).digest()),
        (Vec::new(), digest)
    );

    // The next one comes from the first, but for what was edited there.
    std::fs::write(first.join("plain/1"), "1234567890").unwrap();
    assert_eq!(found(&first).changes.len(), 1);
    let second = places.releases().join("2");
    store.stage(&digest.to_string(), &second, &owner).unwrap();
    assert_eq!(
        (found(&second).changes, found(&second).digest()),
        (Vec::new(), digest)
    );
    assert!(remove_tree(&host, &first).unwrap().bytes > 3_000_000);
}
