//! What must hold at every moment, and what a host must be like in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::declared::{ROOT, STATE, program};
use crate::host::memory::{Instant, Listing, ServiceSnapshot, Tree};
use crate::host::{Activity, MemoryHost, ReadHost, Unit};

/// Collects what was seen on the way and mustn't be.
#[derive(Clone, Default)]
pub struct Guardian(Arc<Mutex<Vec<String>>>);

impl Guardian {
    /// Looks at every moment of a host from now on, and of its forks.
    pub fn watch(&self, host: &MemoryHost) {
        let seen = self.clone();
        let current = Path::new(ROOT).join("current");
        // What wasn't whole before the run is put back as it was.
        let broken: Vec<String> = ["1", "2"]
            .into_iter()
            .filter(|version| {
                let path = Path::new(ROOT).join(format!("releases/{version}/server.py"));
                let there = host.listing(|it| it == path).paths().next().is_some();
                there && host.read(&path).ok() != Some(program(version))
            })
            .map(str::to_owned)
            .collect();
        let data = DATA.map(|path| host.listing(|it| it == Path::new(path)));
        let has_data = data
            .each_ref()
            .map(|listing| listing.paths().next().is_some());
        host.guard(move |instant| {
            let mut blame = |what: String| {
                let words = format!("after {}: {what}", instant.primitive);
                seen.0.lock().unwrap().push(words);
            };
            shown(instant.now(), &current, &broken, &mut blame);
            for (path, was) in DATA.iter().zip(has_data) {
                if was && !instant.now().exists(path) {
                    blame(format!("{path}, which is the app's data, is gone"));
                }
            }
            announced(instant, &mut blame);
            for running in instant.running() {
                for place in running
                    .places
                    .iter()
                    .filter(|place| place.starts_with(ROOT))
                {
                    // Renamed aside it is still there for its process; removed it isn't.
                    let removes = instant.primitive.name == "remove_file";
                    if removes && instant.primitive.path.starts_with(place) {
                        blame(format!("a process still runs in {}", place.display()));
                    }
                }
            }
        });
    }

    /// What was seen since it was last asked.
    pub fn blames(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// What the app itself wrote.
pub const DATA: [&str; 2] = ["/opt/bot/shared/data/db", "/opt/bot/shared/quotes/1"];

/// Law 9: what `current` points to is whole.
fn shown(tree: &Tree, current: &Path, broken: &[String], blame: &mut impl FnMut(String)) {
    let Some(target) = tree.link(current) else {
        return;
    };
    let version = target.file_name().unwrap_or_default().to_string_lossy();
    let at = Path::new(ROOT).join(&target);
    if !target.starts_with("releases") {
        return;
    }
    match tree.bytes(at.join("server.py")) {
        Some(bytes) if bytes == program(&version) || version == "by-hand" => {}
        Some(_) if broken.iter().any(|it| *it == version) => {}
        Some(_) => blame(format!("current points to {version}, which isn't whole")),
        None => blame(format!("current points to {version}, which isn't there")),
    }
}

/// Law 6: what changes the host was announced in the journal, durably.
fn announced(instant: &Instant<'_>, blame: &mut impl FnMut(String)) {
    let primitive = instant.primitive;
    let changed = primitive.to.as_ref().unwrap_or(&primitive.path);
    let own = [&primitive.path, changed].iter().all(|path| {
        path.starts_with(Path::new(ROOT).join(".rosey"))
            || path.starts_with(STATE)
            || path.ends_with(".rosey")
    });
    let quiet = ["sync", "sync_tree", "daemon-reload"].contains(&primitive.name);
    if own || quiet {
        return;
    }
    let Announced { last, open } = announcements(instant.durable());
    let sweeping = last
        .as_deref()
        .is_some_and(|last| last.starts_with("{\"settled\""));
    let may_be_swept = primitive.name.starts_with("remove")
        && (primitive.path.to_string_lossy().contains(".rosey-")
            || primitive.path == Path::new(ROOT));
    if !(open || sweeping && may_be_swept) {
        let last: String = last.unwrap_or_default().chars().take(60).collect();
        blame(format!(
            "no record in the journal announces it; the last one is {last:?}"
        ));
    }
}

/// What a journal announces.
struct Announced {
    /// The beginning of its last record.
    last: Option<String>,
    /// Whether a step was begun and has not ended.
    open: bool,
}

fn announcements(tree: &Tree) -> Announced {
    let journal = tree.bytes(Path::new(STATE).join("journal"));
    announcements_in(journal.unwrap_or_default())
}

/// What isn't chained to the record before it is left over.
fn announcements_in(bytes: &[u8]) -> Announced {
    let (mut at, mut last, mut check) = (0, None, vec![0; 8]);
    let mut open = BTreeSet::new();
    while let Some(header) = bytes.get(at..at + 12) {
        let length = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        let Some(record) = bytes.get(at + 12..at + 12 + length) else {
            break;
        };
        let next = blake3::hash(&[&check, record].concat()).as_bytes()[..8].to_vec();
        if next != header[4..] {
            break;
        }
        if let Some(step) = step_in(
            record,
            &[r#"{"begin":{"step":""#, r#"{"begin-back":{"step":{"id":""#],
        ) {
            open.insert(step);
        } else if let Some(step) = step_in(record, &[r#"{"end":{"step":""#]) {
            open.remove(step);
        }
        (last, check) = (Some(record), next);
        at += 12 + length;
    }
    let words =
        |record: &[u8]| String::from_utf8_lossy(&record[..record.len().min(60)]).into_owned();
    Announced {
        last: last.map(words),
        open: !open.is_empty(),
    }
}

/// The name that follows one of these beginnings, as it is written.
fn step_in<'r>(record: &'r [u8], beginnings: &[&str]) -> Option<&'r [u8]> {
    let mut beginnings = beginnings.iter();
    let name = beginnings.find_map(|it| record.strip_prefix(it.as_bytes()))?;
    name.split(|byte| *byte == b'"').next()
}

/// A host, read whole.
#[derive(Clone)]
pub struct Seen {
    listing: Listing,
    services: BTreeMap<Unit, (ServiceSnapshot, Option<String>)>,
}

impl Seen {
    pub fn of(host: &MemoryHost) -> Self {
        let mut services = host.service_snapshot();
        let listing = host.listing(counts);
        services.retain(|unit, service| {
            // That a start failed once is told by the manager until somebody forgets it.
            service.failed = false;
            // Of what doesn't run, isn't enabled and has no file any more a manager unloads all that it knew
            // (systemd.unit(5), `CollectMode=`).
            let has_file = listing.paths().any(|path| path.ends_with(&unit.name));
            has_file || service.enabled || service.activity != Activity::Inactive
        });
        // And with which definition it runs: it may have been started before that was put back.
        let with_program = services.into_iter().map(|(unit, service)| {
            let running = host.running(&unit).map(|running| running.definition);
            (unit, (service, running))
        });
        Self {
            listing,
            services: with_program.collect(),
        }
    }

    /// What is other than it was; nothing when all is as it was. Of services that weren't to run at boot a reboot
    /// leaves what it leaves.
    pub fn differences(&self, rebooted: &Self, now: &Self) -> Vec<String> {
        let mut lines = self.listing.differences(&now.listing, same_stamp);
        let units: BTreeSet<&Unit> = self.services.keys().chain(now.services.keys()).collect();
        for unit in units {
            let found = now.services.get(unit);
            if found != self.services.get(unit) && found != rebooted.services.get(unit) {
                let was = self.services.get(unit);
                lines.push(format!("{} is {found:?}, was {was:?}", unit.name));
            }
        }
        lines
    }
}

/// Rosey's own is apart: what it keeps beside the app, the registry, and the journal. What says what is done is not.
fn counts(path: &Path) -> bool {
    if path.starts_with(Path::new(ROOT).join(".rosey")) {
        return false;
    }
    let Ok(own) = path.strip_prefix(STATE) else {
        return true;
    };
    let hidden = path
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let counted = ["stamps", "services", "env"]
        .iter()
        .any(|name| own.starts_with(name));
    counted && own.components().count() > 1 && !hidden
}

/// A stamp says when it was made, and how long that took: what was done again is as good.
fn same_stamp(path: &Path, one: &[u8], two: &[u8]) -> bool {
    let is_stamp =
        path.starts_with(Path::new(STATE).join("stamps")) || path.ends_with(".rosey-stamp");
    let without = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let lines = text.lines().map(str::trim);
        let told = ["\"at\"", "\"elapsed\"", "\"run\""];
        lines
            .filter(|line| !told.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect()
    };
    is_stamp && without(one) == without(two)
}

/// Whether the run stands; an open one, and one that never was, doesn't. Read without parsing what it all says.
pub fn is_committed(host: &MemoryHost) -> bool {
    let bytes = host
        .read(&Path::new(STATE).join("journal"))
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.contains("{\"settled\":\"committed\"}")
}

/// What a run has put aside and nobody has removed.
pub fn debris(host: &MemoryHost) -> Vec<String> {
    let staging = Path::new(ROOT).join(".rosey/staging");
    let left = host.listing(|path| {
        let aside = path.starts_with(&staging) && path != staging;
        aside
            || path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().contains(".rosey-2026"))
    });
    left.paths()
        .map(|path| path.display().to_string())
        .collect()
}
