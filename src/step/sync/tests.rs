//! What every kind that changes paths promises, with a fault at every primitive: taken again, it
//! ends as it should; taken back, everything is as it was, to the byte and without new space.

use std::collections::BTreeMap;

use crate::content::manifest::LinkTarget;
use crate::content::{EntryPath, Manifest, ManifestEntry, Store};
use crate::host::memory::{Fault, Snapshot};
use crate::host::{HostErrorKind, LocalHost, MemoryHost, Owner, Space, WriteHost};
use crate::model::{
    Action, AppName, Digest, HostName, Label, Places, Resource, ResourceId, ResourceKind, RunId,
    Step, StepId, Wave,
};
use crate::step::kind::{Change, Kind, ObserveContext, StepContext, StepError};
use crate::step::link::Link;

use super::{Directory, File, Release};

const KEY: [u8; 32] = [7; 32];

struct Bench {
    places: Places,
    run: RunId,
    owner: Owner,
    ignore: Vec<String>,
    known: Vec<(ResourceId, Resource)>,
}

fn owner(name: &str) -> Owner {
    Owner {
        user: name.to_owned(),
        group: name.to_owned(),
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            places: Places {
                root: "/opt/bot".into(),
                state: "/var/lib/rosey/bot".into(),
            },
            run: RunId("run".into()),
            owner: owner("root"),
            ignore: vec!["*.pyc".to_owned()],
            known: Vec::new(),
        }
    }

    fn store<'a>(&'a self, host: &'a dyn WriteHost) -> Store<'a> {
        Store::new(host, &self.places, &KEY).with_workers(1)
    }

    fn acting<T>(&self, host: &dyn WriteHost, act: impl FnOnce(&StepContext<'_>) -> T) -> T {
        let store = self.store(host);
        let manifest = |tree: &str| store.manifest(&tree.parse().ok()?).ok()?;
        let observe = ObserveContext {
            host: host.as_read(),
            places: &self.places,
            ignore: &self.ignore,
            seal: &KEY,
            manifest: &manifest,
            changed: &|_| None,
            known: &self.known,
        };
        act(&StepContext {
            host,
            observe: &observe,
            run: &self.run,
            owner: &self.owner,
            content: &store,
            cancelled: &|| false,
        })
    }

    fn observe(
        &self,
        host: &dyn WriteHost,
        kind: &dyn Kind,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Option<Resource> {
        self.acting(host, |context| {
            kind.observe(context.observe, id, wanted).unwrap().resource
        })
    }

    fn apply(&self, host: &dyn WriteHost, kind: &dyn Kind, step: &Step) -> Result<(), StepError> {
        self.acting(host, |context| kind.apply(context, step))
    }
}

fn id(kind: ResourceKind, name: &str) -> ResourceId {
    ResourceId {
        host: HostName::new("a").unwrap(),
        app: AppName::new("bot").unwrap(),
        kind,
        name: name.to_owned(),
    }
}

fn step(
    kind: &dyn Kind,
    id: &ResourceId,
    from: Option<Resource>,
    to: Option<Resource>,
) -> Option<Step> {
    let change = Change {
        id,
        from: from.as_ref(),
        to: to.as_ref(),
    };
    let reasons = kind.compare(change);
    if reasons.is_empty() {
        return None;
    }
    let part = kind.parts(change, &reasons, false).pop().unwrap();
    Some(Step {
        id: StepId::of(id, ""),
        kind: kind.step(),
        resource: id.clone(),
        action: part.action,
        from: part.from,
        to: part.to,
        reasons,
        label: Label::Reversible,
        wave: Wave(1),
        after: Vec::new(),
    })
}

/// Everything but what is rosey's own.
fn seen(host: &MemoryHost) -> Snapshot {
    let mut all = host.snapshot(&["/opt", "/etc"]);
    all.retain(|path, _| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !path.starts_with("/opt/bot/.rosey") && !name.contains(".rosey-")
    });
    all
}

const FAULTS: [Fault; 4] = [
    Fault::Error(HostErrorKind::NoSpace),
    Fault::CrashBefore,
    Fault::CrashMiddle,
    Fault::CrashAfter,
];

/// Brings a resource from how it is on a host to how it should be, cut off at every primitive.
fn holds(
    bench: &Bench,
    before: &MemoryHost,
    kind: &dyn Kind,
    id: &ResourceId,
    to: Option<Resource>,
) {
    before.settle();
    let from = bench.observe(before, kind, id, to.as_ref());
    let forward = step(kind, id, from.clone(), to.clone()).expect("a test changes something");
    let original = seen(before);
    let done = before.fork();
    bench.apply(&done, kind, &forward).unwrap();
    let changed = seen(&done);
    assert_ne!(changed, original);
    let found = bench.observe(&done, kind, id, to.as_ref());
    assert!(step(kind, id, found, to.clone()).is_none(), "law 2");
    let twice = done.fork();
    bench.apply(&twice, kind, &forward).unwrap();
    assert_eq!(seen(&twice), changed, "twice is once");

    let back = |host: &MemoryHost, what: &str| {
        // The way back needs no space.
        host.set_free(Some(Space {
            bytes: 0,
            inodes: 0,
        }));
        let now = bench.observe(host, kind, id, from.as_ref());
        if let Some(back) = step(kind, id, now, from.clone()) {
            bench
                .apply(host, kind, &back)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        assert_eq!(seen(host), original, "law 3, {what}");
        host.set_free(None);
        bench.acting(host, |context| kind.sweep(context, &forward).unwrap());
        let all = host.snapshot(&["/"]);
        let aside = |path: &&std::path::PathBuf| {
            let text = path.to_string_lossy();
            text.contains(".rosey-") || text.contains("staging/run/")
        };
        assert_eq!(all.keys().find(aside), None, "{what}");
    };
    back(&done.fork(), "after all");

    let start = before.primitives();
    let count = done.primitives() - start;
    for at in 1..=count {
        for fault in FAULTS {
            for power in [None, Some(0), Some(at * 7919), Some(u64::MAX)] {
                let what = format!("{fault:?} at {at} of {count}, power cut {power:?}");
                let host = before.fork();
                host.fault_at(at, fault.clone());
                bench.apply(&host, kind, &forward).unwrap_err();
                match power {
                    None => host.revive(),
                    Some(choice) => {
                        host.crash(choice);
                        host.reboot();
                    }
                }
                back(&host.fork(), &what);
                bench
                    .apply(&host, kind, &forward)
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(seen(&host), changed, "law 7, {what}");
                // What was shown is durable when the step says that it is done.
                host.crash(0);
                host.reboot();
                assert_eq!(seen(&host), changed, "law 11, {what}");
                back(&host, &what);
            }
        }
    }
}

fn file(content: &[u8], mode: &str, user: &str) -> Resource {
    super::desire::file(Digest::of(content), mode, user, user)
}

fn with_content(bench: &Bench, host: &dyn WriteHost, contents: &[&[u8]]) {
    let plain = contents
        .iter()
        .map(|bytes| (Digest::of(bytes), bytes.to_vec()));
    let sealed = (Digest::sealed(&KEY, b"hush"), b"hush".to_vec());
    let contents: BTreeMap<_, _> = plain.chain([sealed]).collect();
    bench.store(host).keep(&contents).unwrap();
}

const PATHS: [&str; 2] = ["/etc/nginx/bot.conf", "/opt/bot/shared/local.env"];

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
        let secret = super::desire::file(Digest::sealed(&KEY, b"hush"), "0600", "root", "root");
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
    let was = super::desire::file(Digest::sealed(&KEY, b"hush"), "0600", "root", "root");
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

fn tree(content: &[u8]) -> Manifest {
    let path = |text: &str| EntryPath::new(text).unwrap();
    let file = |content: &[u8], sealed: bool| ManifestEntry::File {
        mode: 0o644,
        size: content.len() as u64,
        digest: if sealed {
            Digest::sealed(&KEY, content)
        } else {
            Digest::of(content)
        },
    };
    let target = LinkTarget(b"../../shared/data".to_vec());
    let entries = [
        (path("bin"), ManifestEntry::Directory { mode: 0o755 }),
        (path("bin/run"), file(content, false)),
        (path("data"), ManifestEntry::Link { target }),
        (path("secret"), file(b"hush", true)),
    ];
    Manifest {
        entries: entries.into_iter().collect(),
    }
}

fn release(bench: &Bench, host: &dyn WriteHost, content: &[u8]) -> Resource {
    with_content(bench, host, &[content]);
    let tree = bench.store(host).keep_manifest(&tree(content)).unwrap();
    Resource::new()
        .with("tree", tree)
        .with("owner", "rosey")
        .with("group", "rosey")
        .setting("uses", vec!["/opt/bot/shared/data"])
}

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

fn link(target: &str) -> Resource {
    Resource::new().with("target", target)
}

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

/// Everything at and below a directory of this machine but what is rosey's own.
fn listed(directory: &std::path::Path, all: &mut BTreeMap<String, String>) {
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with(".rosey") || path.to_string_lossy().contains(".rosey-") {
            continue;
        }
        let found = path.symlink_metadata().unwrap();
        let words = if found.is_dir() {
            listed(&path, all);
            String::new()
        } else if found.is_symlink() {
            path.read_link().unwrap().display().to_string()
        } else {
            std::fs::read_to_string(&path).unwrap()
        };
        let words = format!("{:o} {} {words}", found.mode(), found.uid());
        all.insert(path.display().to_string(), words);
    }
}

#[test]
fn all_of_it_holds_on_a_real_file_system() {
    use crate::content::own_owner;
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    let at = |below: &str| real.join(below).display().to_string();
    let host = LocalHost::new();
    let own = own_owner(&host).unwrap();
    let mut bench = Bench::new();
    bench.places.root = real.join("app");
    bench.owner = own.clone();
    for below in ["app/releases", "app/shared", "etc", "app/gone"] {
        std::fs::create_dir_all(at(below)).unwrap();
    }
    std::fs::write(at("etc/there.conf"), "old").unwrap();
    std::fs::write(at("app/shared/seed"), "by the app").unwrap();
    std::os::unix::fs::symlink("/nowhere", at("app/current")).unwrap();
    with_content(&bench, &host, &[b"new"]);
    let owned = |resource: Resource| {
        resource
            .with("owner", own.user.as_str())
            .with("group", own.group.as_str())
    };
    let new = |mode| owned(file(b"new", mode, ""));
    let tree = owned(release(&bench, &host, b"one"));
    let shown = link("releases/1").setting("tree", tree.text("tree").unwrap());
    let (files, directories) = (ResourceKind::FILE, ResourceKind::DIRECTORY);
    let wanted_directory = owned(Resource::new().with("mode", "0700"));
    let changes: [(&dyn Kind, ResourceKind, &str, Option<Resource>); 8] = [
        (&File, files.clone(), "etc/new.conf", Some(new("0640"))),
        (&File, files.clone(), "etc/there.conf", Some(new("0600"))),
        (
            &File,
            files,
            "app/shared/seed",
            Some(new("0604").setting("seed", true)),
        ),
        (
            &Directory,
            directories.clone(),
            "app/made",
            Some(wanted_directory.clone()),
        ),
        (
            &Directory,
            directories.clone(),
            "app/shared",
            Some(wanted_directory),
        ),
        (&Directory, directories, "app/gone", None),
        (
            &Release,
            ResourceKind::RELEASE,
            "app/releases/1",
            Some(tree),
        ),
        (&Link, ResourceKind::LINK, "app/current", Some(shown)),
    ];
    let seen = || {
        let mut all = BTreeMap::new();
        listed(&real, &mut all);
        all
    };
    let original = seen();
    let mut taken = Vec::new();
    for (kind, word, below, to) in changes {
        let id = id(word, &at(below));
        let from = bench.observe(&host, kind, &id, to.as_ref());
        let forward = step(kind, &id, from.clone(), to.clone()).expect("a test changes something");
        let before = seen();
        for _ in 0..2 {
            bench.apply(&host, kind, &forward).unwrap();
        }
        assert_ne!(seen(), before, "{id}");
        let found = bench.observe(&host, kind, &id, to.as_ref());
        assert!(step(kind, &id, found, to).is_none(), "{id}");
        taken.push((kind, id, from, forward));
    }
    for (kind, id, from, _) in taken.iter().rev() {
        let now = bench.observe(&host, *kind, id, from.as_ref());
        let back = step(*kind, id, now, from.clone()).unwrap();
        bench.apply(&host, *kind, &back).unwrap();
    }
    assert_eq!(seen(), original);
    for (kind, _, _, forward) in &taken {
        bench.acting(&host, |context| kind.sweep(context, forward).unwrap());
    }
    assert_eq!(seen(), original);
    assert_eq!(std::fs::read_dir(at("etc")).unwrap().count(), 1);
    assert_eq!(
        std::fs::read_dir(at("app/.rosey/staging/run"))
            .unwrap()
            .count(),
        0
    );
}
