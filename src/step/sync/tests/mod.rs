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

mod directories;
mod files;
mod links;
mod real;
mod releases;

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
            failing: &|| {},
            waits: &|_| {},
            gates: &|_| {},
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

fn link(target: &str) -> Resource {
    Resource::new().with("target", target)
}
