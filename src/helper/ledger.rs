//! The ledger file: one app's generations, holds and times of changes on this host.
//!
//! Written whole, synced and renamed; where there is no room for that, into what was set aside when the run began, so
//! that the record of a way back needs no new space. What its words mean is in [`crate::model::ledger`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::protocol::{Marks, Restated};
use super::registry::{read_if_there, write_durably};
use crate::apply::step::is_attendant;
use crate::apply::{Opened, Told};
use crate::host::{HostError, HostErrorKind, Owner, ReadHost, WriteHost};
use crate::model::{
    GateResult, Generation, Ledger, ResourceId, ResourceKind, State, Value, Verdict,
};

const FORMAT: &str = "rosey ledger 1";

/// Why a ledger can't be read.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// A primitive failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Another program wrote it.
    #[error(
        "the ledger {path} has the format {format:?}, which this version of rosey doesn't know; nothing was touched. Use the version that wrote it"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        format: String,
    },
    /// It says that it has our format, and hasn't.
    #[error("the ledger {path} is damaged; nothing was touched: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct File<L> {
    format: String,
    ledger: L,
}

/// The ledger in an app's directory of the registry; none before the first run.
///
/// # Errors
/// When it is there and can't be read.
pub fn load(host: &dyn ReadHost, state: &Path) -> Result<Option<Ledger>, LedgerError> {
    let path = state.join("ledger.json");
    let Some(bytes) = read_if_there(host, &path)? else {
        return Ok(None);
    };
    let damaged = |source| LedgerError::Damaged {
        path: path.clone(),
        source,
    };
    let named: File<serde_json::Value> = serde_json::from_slice(&bytes).map_err(damaged)?;
    if named.format != FORMAT {
        return Err(LedgerError::UnknownFormat {
            path,
            format: named.format,
        });
    }
    serde_json::from_value(named.ledger)
        .map(Some)
        .map_err(damaged)
}

/// Writes the ledger. When this returns it is durable; cut off, the one before stands. Without room it takes what was
/// [reserved](reserve), once. What stands already is only made durable, which needs no room.
///
/// # Errors
/// When it can't be written.
pub fn store(
    host: &dyn WriteHost,
    state: &Path,
    ledger: &Ledger,
    owner: &Owner,
) -> Result<(), HostError> {
    let path = state.join("ledger.json");
    let file = File {
        format: FORMAT.to_owned(),
        ledger,
    };
    let bytes = serde_json::to_vec(&file).map_err(|error| HostError {
        doing: "write".to_owned(),
        path: path.display().to_string(),
        kind: HostErrorKind::Other(error.to_string()),
    })?;
    if read_if_there(host.as_read(), &path)?.is_some_and(|it| it.trim_ascii_end() == bytes) {
        host.sync(&path)?;
        return host.sync(state);
    }
    match write_durably(host, &path, &bytes, owner) {
        Err(error) if error.kind == HostErrorKind::NoSpace => {
            into_reserve(host, &path, bytes)?.then_some(()).ok_or(error)
        }
        written => written,
    }
}

/// Bytes that the ledger may need at the end of a run beside what is in it now and in the journal: a hold, a notice,
/// the head.
const END: usize = 16 << 10;

/// Bytes that the time of one more change takes beside the name of the resource.
const CHANGE: usize = 256;

/// Sets room aside for the ledger as a run may leave it. What an earlier run has set aside goes.
///
/// # Errors
/// When there is no such room; nothing is set aside then.
pub fn reserve(
    host: &dyn WriteHost,
    state: &Path,
    size: usize,
    owner: &Owner,
) -> Result<(), HostError> {
    give_up_reserve(host, state)?;
    let path = reserve_in(state);
    host.write_file(&path, &mut &[][..], 0o600, owner)?;
    if let Err(error) = host.allocate(&path, size as u64) {
        give_up_reserve(host, state)?;
        return Err(error);
    }
    host.sync(&path)?;
    host.sync(state)
}

/// How much is to be set aside: the ledger grows by what the run changes, and at first by all that was there before.
///
/// # Errors
/// When it can't be written as JSON.
pub fn size_at_end(ledger: Option<&Ledger>, opened: &Opened) -> Result<usize, serde_json::Error> {
    let known = ledger.map(serde_json::to_vec).transpose()?;
    let opened_size = serde_json::to_vec(opened)?.len();
    let changes = opened.plan.steps.len() * CHANGE;
    Ok(known.map_or(0, |known| known.len()) + 2 * opened_size + changes + END)
}

/// Gives back what was set aside. Called again, it does nothing.
///
/// # Errors
/// When it can't be removed; the next run tries again.
pub fn give_up_reserve(host: &dyn WriteHost, state: &Path) -> Result<(), HostError> {
    match host.remove_file(&reserve_in(state)) {
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Makes what was set aside the ledger; false where nothing was, or not enough. To end where the file ends, the text is
/// followed by spaces, which JSON allows.
fn into_reserve(host: &dyn WriteHost, path: &Path, mut bytes: Vec<u8>) -> Result<bool, HostError> {
    let state = path.parent().unwrap_or(path);
    let reserve = reserve_in(state);
    let room = host.entry(&reserve)?.map_or(0, |entry| entry.size);
    let room = usize::try_from(room).unwrap_or(0);
    if bytes.len() > room {
        return Ok(false);
    }
    bytes.resize(room, b' ');
    host.write_at(&reserve, 0, &bytes)?;
    host.sync(&reserve)?;
    host.replace(&reserve, path)?;
    host.sync(state)?;
    Ok(true)
}

fn reserve_in(state: &Path) -> PathBuf {
    state.join("ledger.reserve")
}

/// What rosey has applied and answers for. What was there before it came (generation 0, or a
/// generation that went back to that) is nobody's: it is not removed for not being declared.
#[must_use]
pub fn applied(ledger: &Ledger) -> Option<&State> {
    let current = ledger.current()?;
    current.release.is_some().then_some(&current.state)
}

/// A ledger at an app's first run: what was there before rosey came is generation 0.
#[must_use]
pub fn begin(told: &Told) -> Ledger {
    let opened = &told.opened;
    let root = opened.root.to_string_lossy().into_owned();
    let mut ledger = Ledger::new(opened.environment.clone(), opened.app.clone(), root);
    ledger.generations.push(Generation {
        run: None,
        number: 0,
        parent: None,
        release: None,
        version: None,
        content: None,
        declared: None,
        variables: None,
        state: opened.before.clone(),
        gates: crate::model::Gates::default(),
        backup: None,
        author: opened.author.clone(),
        at: opened.at.clone(),
        verified: false,
        left: false,
    });
    ledger
}

/// Takes in what a run has come to: its head, and when it changed what.
pub fn take_in(ledger: &mut Ledger, told: &Told) {
    if !told.opened.plan.is_empty() {
        ledger.head = Some(told.opened.run.clone());
    }
    let changes = told.changes.iter();
    ledger
        .changes
        .extend(changes.map(|(id, moment)| (id.clone(), moment.clone())));
}

/// Whether somebody else's thing of this kind would be lost if rosey changed it. What lies in the
/// app's shared directory is its own; a release and a task are rosey's by their nature.
fn may_be_foreign(told: &Told, id: &ResourceId) -> bool {
    let shared = told.opened.root.join("shared");
    id.kind != ResourceKind::RELEASE
        && id.kind != ResourceKind::TASK
        && !Path::new(&id.name).starts_with(shared)
}

/// What a run takes over: it was there, rosey didn't answer for it, and the plan makes something else of it. What it only
/// removes is somebody's change of what rosey had made.
#[must_use]
pub fn taken_over(told: &Told) -> State {
    let opened = &told.opened;
    let steps = opened.plan.steps.iter();
    let steps = steps.filter(|step| step.to.is_some() && !is_attendant(step));
    let changed: BTreeSet<&ResourceId> = steps.map(|step| &step.resource).collect();
    let resources = opened.before.resources.iter().filter(|(id, resource)| {
        changed.contains(id)
            && opened.known.get(id).is_none()
            && may_be_foreign(told, id)
            && resource.settings.get("external").and_then(Value::as_bool) != Some(true)
    });
    State {
        resources: resources
            .map(|(id, resource)| (id.clone(), resource.clone()))
            .collect(),
    }
}

/// What a run found as it should be, of which no run before it knew: it was there before rosey came
/// to it. At the first run that is everything that no step changes.
#[must_use]
pub fn met(ledger: &Ledger, told: &Told, state: &State) -> State {
    let first = ledger.generations.iter().all(|it| it.run.is_none());
    let steps = &told.opened.plan.steps;
    let applied = |id: &ResourceId| {
        let mut generations = ledger.generations.iter().filter(|it| it.release.is_some());
        generations.any(|it| it.state.get(id).is_some())
    };
    let resources = state.resources.iter().filter(|(id, resource)| {
        !resource.attributes.is_empty()
            && !steps.iter().any(|step| &step.resource == *id)
            && (first || (may_be_foreign(told, id) && !applied(id)))
    });
    State {
        resources: resources
            .map(|(id, resource)| (id.clone(), resource.clone()))
            .collect(),
    }
}

/// Takes in what a run has found that rosey didn't make, into generation 0; and lets go there what
/// the new generation gives back, since from then on it is somebody else's again.
pub fn find(ledger: &mut Ledger, found: State, told: &Told, generation: &Generation) {
    let Some(first) = ledger.generations.first_mut() else {
        return;
    };
    if first.run.is_some() {
        return;
    }
    first.state.extend(found);
    if generation.release.is_some() {
        let given_back = |id: &ResourceId| {
            told.opened.known.get(id).is_some() && generation.state.get(id).is_none()
        };
        first.state.resources.retain(|id, _| !given_back(id));
    }
}

/// Takes in marks.
pub fn mark(ledger: &mut Ledger, marks: &Marks) {
    for generation in &mut ledger.generations {
        generation.left |= marks.left.contains(&generation.number);
    }
    ledger
        .holds
        .retain(|hold| !marks.lift_all && !marks.lift.contains(&hold.declared));
    for hold in &marks.hold {
        ledger.holds.retain(|known| known.declared != hold.declared);
        ledger.holds.push(hold.clone());
    }
    if marks.unfreeze {
        ledger.freeze = None;
    }
    if let Some(freeze) = &marks.freeze {
        ledger.freeze = Some(freeze.as_ref().clone());
    }
    if let (Some(restated), Some(current)) = (&marks.restate, ledger.generations.last_mut()) {
        let Restated {
            gates,
            backup,
            declared,
            variables,
            run: _,
        } = restated.as_ref();
        current.gates.clone_from(gates);
        current.backup.clone_from(backup);
        current.declared = *declared;
        current.variables.clone_from(variables);
        // It was read by these gates, and is recorded because they passed.
        ledger.judged = None;
    }
}

/// Appends a generation; the same run again changes nothing.
pub fn append(ledger: &mut Ledger, generation: Generation) {
    let known = |it: &Generation| it.run.is_some() && it.run == generation.run;
    if !ledger.generations.iter().any(known) {
        ledger.generations.push(generation);
    }
    ledger.notice = None;
    ledger.standing = None;
    ledger.judged = None;
}

/// Takes in what gates said after a way back. Those that failed before the run weren't read again, and are what they were.
pub fn judge(ledger: &mut Ledger, told: &Told, gates: &[GateResult]) {
    if gates.is_empty() {
        return;
    }
    let mut all = told.opened.baseline.iter().filter(|before| {
        let mut again = gates.iter();
        !again.any(|result| result.gate == before.gate)
    });
    let passed = |result: &GateResult| result.verdict == Verdict::Passed;
    ledger.judged = Some(gates.iter().all(passed) && all.all(passed));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::MemoryHost;
    use crate::model::{AppName, Author, Digest, EnvironmentName, Freeze, Hold, RunId};

    fn example() -> Ledger {
        Ledger::new(
            EnvironmentName::new("prod").unwrap(),
            AppName::new("bot").unwrap(),
            "/opt/bot".to_owned(),
        )
    }

    fn owner() -> Owner {
        Owner {
            user: "root".to_owned(),
            group: "root".to_owned(),
        }
    }

    #[test]
    fn what_is_stored_is_loaded_and_another_format_is_left_alone() {
        let host = MemoryHost::new();
        host.put_directory("/s");
        assert_eq!(load(&host, Path::new("/s")).unwrap(), None);
        store(&host, Path::new("/s"), &example(), &owner()).unwrap();
        assert_eq!(load(&host, Path::new("/s")).unwrap(), Some(example()));
        host.put_file(
            "/s/ledger.json",
            r#"{"format":"rosey ledger 2","ledger":[]}"#,
        );
        let error = load(&host, Path::new("/s")).unwrap_err();
        assert!(error.to_string().contains("rosey ledger 2"), "{error}");
    }

    #[test]
    fn holds_are_set_once_and_lifted() {
        let mut ledger = example();
        let hold = Hold {
            declared: Digest::of(b"1"),
            release: "1".to_owned(),
            why: "a gate".to_owned(),
            run: RunId("1".to_owned()),
            at: String::new(),
        };
        let set = Marks {
            hold: vec![hold],
            ..Marks::default()
        };
        mark(&mut ledger, &set);
        mark(&mut ledger, &set);
        assert_eq!(ledger.holds.len(), 1);
        let lift = Marks {
            lift: vec![Digest::of(b"1")],
            ..Marks::default()
        };
        mark(&mut ledger, &lift);
        assert_eq!(ledger.holds.len(), 0);
    }

    #[test]
    fn a_freeze_is_replaced_by_a_later_one_and_lifted() {
        let mut ledger = example();
        let freeze = |reason: &str| Freeze {
            author: Author {
                reason: Some(reason.to_owned()),
                ..Author::default()
            },
            at: "2026-11-20T10:00:00Z".to_owned(),
            until: None,
        };
        let set = |reason| Marks {
            freeze: Some(Box::new(freeze(reason))),
            ..Marks::default()
        };
        mark(&mut ledger, &set("fair"));
        mark(&mut ledger, &set("audit"));
        mark(&mut ledger, &Marks::default());
        assert_eq!(ledger.freeze, Some(freeze("audit")));
        let lift = Marks {
            unfreeze: true,
            ..Marks::default()
        };
        mark(&mut ledger, &lift);
        assert_eq!(ledger.freeze, None);
    }

    #[test]
    fn without_room_it_takes_what_was_set_aside_and_only_once() {
        use crate::host::Space;
        let host = MemoryHost::new();
        host.put_directory("/s");
        let state = Path::new("/s");
        store(&host, state, &example(), &owner()).unwrap();
        reserve(&host, state, 4096, &owner()).unwrap();
        host.set_free(Some(Space {
            bytes: 0,
            inodes: 0,
        }));
        let mut told = example();
        told.notice = Some("it went back".to_owned());
        store(&host, state, &told, &owner()).unwrap();
        assert_eq!(load(&host, state).unwrap(), Some(told.clone()));
        host.crash(0);
        host.reboot();
        assert_eq!(load(&host, state).unwrap(), Some(told.clone()));
        // What was in its place has left its room.
        host.set_free(Some(Space {
            bytes: 0,
            inodes: 0,
        }));
        store(&host, state, &told, &owner()).unwrap();
        host.set_free(Some(Space {
            bytes: 0,
            inodes: 0,
        }));
        let error = store(&host, state, &example(), &owner()).unwrap_err();
        assert_eq!(error.kind, HostErrorKind::NoSpace);
        assert_eq!(load(&host, state).unwrap(), Some(told));
    }

    #[test]
    fn too_little_room_sets_nothing_aside() {
        use crate::host::Space;
        let host = MemoryHost::new();
        host.put_directory("/s");
        host.set_free(Some(Space {
            bytes: 100,
            inodes: 5,
        }));
        let error = reserve(&host, Path::new("/s"), 4096, &owner()).unwrap_err();
        assert_eq!(error.kind, HostErrorKind::NoSpace);
        assert!(host.list(Path::new("/s")).unwrap().is_empty());
    }
}
