//! Tasks and services on this machine: real commands, and real processes of the built-in manager.

use std::fs;
use std::path::Path;

use crate::host::{LocalHost, ReadHost, ServiceAct, WriteHost};
use crate::model::{Action, Resource, ResourceId, ResourceKind, StepKind};

use super::kind::{Change, Kind, StepError};
use super::restart::{Service, unit_of};
use super::run::Task;
use super::testing::{Bench, id, step};

/// A directory for an app, by its real path, and the app.
fn place() -> (tempfile::TempDir, Bench) {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    let (root, state) = (real.join("root"), real.join("state"));
    for path in [&root, &state, &root.join("built"), &root.join("release")] {
        fs::create_dir_all(path).unwrap();
    }
    let host = LocalHost::new();
    let owner = crate::content::own_owner(&host).unwrap();
    let mut bench = Bench::at(&root, &state, &owner.user);
    bench.owner = owner;
    (directory, bench)
}

fn bring(
    bench: &Bench,
    (kind, word): (&dyn Kind, StepKind),
    (id, wanted): (&ResourceId, &Resource),
    to: Option<&Resource>,
) -> Result<Vec<Action>, StepError> {
    let host = LocalHost::new();
    let from = bench.observe(&host, kind, id, wanted).resource;
    let from = from.as_ref();
    let change = Change { id, from, to };
    let reasons = kind.compare(change);
    let mut taken = Vec::new();
    for part in kind.parts(change, &reasons, false) {
        let step = step(
            word.clone(),
            id,
            part.action,
            part.from.as_ref(),
            part.to.as_ref(),
        );
        bench.apply(&host, kind, &step)?;
        taken.push(part.action);
    }
    Ok(taken)
}

#[test]
fn a_task_builds_fails_and_is_stopped_in_time() {
    let (_directory, bench) = place();
    let root = &bench.places.root;
    fs::write(root.join("release/list"), "one\ntwo\n").unwrap();
    let built = root.join("built/words-123456789abc");
    let id = id(ResourceKind::TASK, built.to_str().unwrap());
    let task = |run: &str, timeout: i64| {
        Resource::new()
            .with("stamp", "1")
            .setting("run", run)
            .setting("inputs", vec!["list"])
            .setting("output", "out")
            .setting("release", root.join("release").to_str().unwrap())
            .setting("user", bench.owner.user.as_str())
            .setting("timeout", timeout)
    };
    let build = |task: &Resource| bring(&bench, (&Task, StepKind::RUN), (&id, task), Some(task));
    let good = task(
        "mkdir out && sort -r list > out/sorted && test -n \"$HOME\"",
        30_000,
    );
    let error = build(&task("echo oh no; exit 3", 30_000)).unwrap_err();
    assert_eq!(error.to_string(), "task \"words\" exited with 3\n  oh no");
    // It waits for input, which there is none of; then for something that never comes.
    assert!(build(&task("read answer", 30_000)).is_err());
    let error = build(&task("echo waiting; sleep 600", 300))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("took longer than 0.3 s and was killed\n  waiting"),
        "{error}"
    );
    assert!(!built.exists());

    assert_eq!(build(&good).unwrap(), [Action::Run]);
    assert_eq!(
        fs::read_to_string(built.join("out/sorted")).unwrap(),
        "two\none\n"
    );
    assert!(!built.join("list").exists());
    assert_eq!(build(&good).unwrap(), []);
    bring(&bench, (&Task, StepKind::RUN), (&id, &good), None).unwrap();
    assert!(!built.exists());
    assert_eq!(build(&good).unwrap(), [Action::Run]);
    assert!(built.join("out/sorted").exists());
}

fn write_unit(directory: &Path, exec: &str) {
    let text = format!(
        "[Service]\nWorkingDirectory={}\nExecStart={exec}\n[Install]\nWantedBy=multi-user.target\n",
        directory.display()
    );
    fs::write(directory.join("bot.service"), text).unwrap();
}

#[test]
fn a_service_of_the_built_in_manager_is_started_renewed_and_removed() {
    let (_directory, mut bench) = place();
    let host = LocalHost::new();
    let directory = bench.places.state.join("process");
    fs::create_dir(&directory).unwrap();
    let unit_file = directory.join("bot.service");
    let id = id(ResourceKind::SERVICE, "bot.service");
    let wanted = Resource::new()
        .with("enabled", true)
        .with("active", true)
        .with("fresh", true)
        .setting("manager", "process")
        .setting("process_directory", directory.to_str().unwrap())
        .setting("start_timeout", 20_000)
        .setting("stop_timeout", 20_000)
        .setting("uses", vec![unit_file.to_str().unwrap()]);
    let unit = unit_of(&id, &wanted);
    let kind: (&dyn Kind, StepKind) = (&Service, StepKind::RESTART);

    write_unit(&directory, "/nonexistent/program");
    let error = bring(&bench, kind.clone(), (&id, &wanted), Some(&wanted)).unwrap_err();
    assert!(matches!(error, StepError::Service { .. }), "{error}");

    write_unit(&directory, "/bin/sleep 600");
    let taken = bring(&bench, kind.clone(), (&id, &wanted), Some(&wanted)).unwrap();
    assert_eq!(taken, [Action::Start]);
    let found = bench.observe(&host, &Service, &id, &wanted).resource;
    assert_eq!(found.as_ref(), Some(&wanted));
    let first = host.service(&unit).unwrap().main_process;
    assert!(first.is_some());

    let file = super::testing::id(ResourceKind::FILE, unit_file.to_str().unwrap());
    bench.known = vec![(file.clone(), Resource::new())];
    bench.changes.insert(file, host.moment());
    let taken = bring(&bench, kind.clone(), (&id, &wanted), Some(&wanted)).unwrap();
    assert_eq!(taken, [Action::Restart]);
    assert_ne!(host.service(&unit).unwrap().main_process, first);
    assert_eq!(
        bring(&bench, kind.clone(), (&id, &wanted), Some(&wanted)).unwrap(),
        []
    );

    // Restarted by hand it is as fresh as before.
    let again = std::time::Duration::from_secs(20);
    host.manage(&unit, &ServiceAct::Restart, again).unwrap();
    assert_eq!(
        bring(&bench, kind.clone(), (&id, &wanted), Some(&wanted)).unwrap(),
        []
    );

    assert_eq!(
        bring(&bench, kind, (&id, &wanted), None).unwrap(),
        [Action::Remove]
    );
    assert_eq!(bench.observe(&host, &Service, &id, &wanted).resource, None);
    assert_eq!(host.service(&unit).unwrap().main_process, None);
}
