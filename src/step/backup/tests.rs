//! Backups of a real SQLite database that is being written to.

use std::path::Path;

use rusqlite::Connection;

use crate::host::LocalHost;
use crate::model::{
    Action, AppName, HostName, Label, Resource, ResourceId, RunId, Step, StepId, StepKind, Wave,
};
use crate::step::attendant::Act;
use crate::step::testing::Bench;

use super::{Backups, desire};

/// Runs a backup step on a root of this machine.
fn act(root: &Path, action: Action, run: &str, with: Resource) -> Result<(), String> {
    let host = LocalHost::new();
    let owner = crate::content::own_owner(&host).map_err(|error| error.to_string())?;
    let mut bench = Bench::at(root, &root.join("state"), &owner.user);
    bench.run = RunId(run.to_owned());
    let id = ResourceId {
        host: HostName::new("here").unwrap(),
        app: AppName::new("app").unwrap(),
        kind: desire::BACKUP,
        name: "app".to_owned(),
    };
    let step = Step {
        id: StepId::of(&id, action.as_str()),
        kind: StepKind::BACKUP,
        resource: id,
        action,
        from: None,
        to: Some(with),
        reasons: Vec::new(),
        label: Label::Reversible,
        wave: Wave(1),
        after: Vec::new(),
    };
    let applied = bench.acting(&host, |context| Backups.act(context, &step));
    applied.map_err(|error| error.to_string())
}

fn count(database: &Path) -> i64 {
    let connection = Connection::open(database).unwrap();
    connection
        .query_row("SELECT count(*) FROM quotes", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn data_is_put_back_as_it_was_and_later_data_that_is_not_covered_stays() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let data = root.join("data");
    std::fs::create_dir_all(data.join("quotes")).unwrap();
    std::fs::write(data.join("quotes/one.txt"), "one").unwrap();
    let database = data.join("app.db");
    let writer = Connection::open(&database).unwrap();
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    writer
        .execute_batch("CREATE TABLE quotes (text); INSERT INTO quotes VALUES ('a')")
        .unwrap();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let with = || {
        Resource::new()
            .setting("sqlite", vec![text(&database), text(&data.join("none.db"))])
            .setting("paths", vec![text(&data.join("quotes"))])
    };
    act(&root, Action::Take, "run-1", with()).unwrap();
    let kept: Vec<_> = std::fs::read_dir(root.join(".rosey/backups/run-1"))
        .unwrap()
        .collect();
    assert_eq!(
        kept.len(),
        3,
        "the database, the directory and the manifest: {kept:?}"
    );
    // Twice is once.
    act(&root, Action::Take, "run-1", with()).unwrap();

    writer
        .execute_batch("INSERT INTO quotes VALUES ('b')")
        .unwrap();
    drop(writer);
    std::fs::write(data.join("quotes/one.txt"), "changed").unwrap();
    std::fs::write(data.join("none.db"), "made later").unwrap();
    assert_eq!(count(&database), 2);

    act(&root, Action::Restore, "run-1", with()).unwrap();
    assert_eq!(count(&database), 1);
    assert_eq!(
        std::fs::read_to_string(data.join("quotes/one.txt")).unwrap(),
        "one"
    );
    assert!(data.join("none.db").exists());

    let missing = act(&root, Action::Restore, "run-9", with()).unwrap_err();
    assert!(missing.contains("run-9"), "{missing}");
}
