//! Tasks on a host in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::host::memory::View;
use crate::host::{Command, CommandOutput, MemoryHost};
use crate::model::{
    Action, AppName, Digest, Label, Resource, ResourceId, ResourceKind, RunId, Step, StepKind,
    Value,
};
use crate::step::kind::{Change, Kind, Named, StepError};
use crate::step::testing::{Bench, dying_everywhere, id, step};

use super::Task;

const BUILT: &str = "/opt/bot/built/venv-123456789abc";
const RELEASE: &str = "/opt/bot/releases/1-0";

fn built() -> (ResourceId, Resource) {
    let resource = Resource::new()
        .with("stamp", Digest::of(b"1"))
        .setting("run", "make venv")
        .setting("inputs", vec!["requirements.txt", "lib/sub"])
        .setting("output", "out/venv")
        .setting("built", BUILT)
        .setting("release", RELEASE)
        .setting("user", "rosey")
        .setting("timeout", 1500)
        .setting("uses", vec![RELEASE]);
    (id(ResourceKind::TASK, BUILT), resource)
}

fn migrate(stamp: &str) -> Resource {
    Resource::new()
        .with("stamp", stamp)
        .setting("run", format!("up {stamp}"))
        .setting("undo", format!("down {stamp}"))
        .setting("once", true)
        .setting("release", RELEASE)
        .setting("timeout", 1500)
}

fn migration() -> ResourceId {
    id(ResourceKind::TASK, "migrate")
}

fn host(
    act: impl Fn(&Command, &mut View<'_>) -> Result<(), String> + Send + Sync + 'static,
) -> MemoryHost {
    let host = MemoryHost::new();
    host.put_file(format!("{RELEASE}/requirements.txt"), "flask");
    host.put_file(format!("{RELEASE}/lib/sub/x"), "x");
    host.put_file(format!("{RELEASE}/lib/y"), "y");
    host.put_directory("/opt/bot/built");
    host.on_command(move |command, view| {
        let done = act(command, view);
        CommandOutput {
            status: Some(i32::from(done.is_err())),
            output: done.err().unwrap_or_default(),
            timed_out: false,
        }
    });
    host
}

fn building() -> MemoryHost {
    host(|command, view| {
        assert_eq!(command.user.as_deref(), Some("rosey"));
        assert!(view.tree().exists(command.directory.join("lib/sub/x")));
        assert!(!view.tree().exists(command.directory.join("lib/y")));
        view.write("out/venv/bin/python3", b"made")
            .map_err(|error| error.to_string())
    })
}

/// The log of a host whose commands write what they are called.
fn migrating() -> MemoryHost {
    host(|command, view| {
        let log = "/opt/bot/shared/log";
        let path = view.path(log).map_err(|error| error.to_string())?;
        let old = view.tree().read(&path).unwrap_or_default();
        let new = [old, command.shell.clone().into_bytes(), b"; ".to_vec()].concat();
        view.write(log, &new).map_err(|error| error.to_string())
    })
}

fn log(host: &MemoryHost) -> String {
    let snapshot = host.snapshot(&["/opt/bot/shared/log"]);
    snapshot
        .values()
        .map(|entry| entry.content.clone())
        .collect()
}

fn way(id: &ResourceId, from: Option<&Resource>, to: Option<&Resource>) -> Option<Step> {
    let change = Change { id, from, to };
    let reasons = Task.compare(change);
    let part = Task.parts(change, &reasons, false).pop()?;
    Some(step(StepKind::RUN, id, part.action, from, to))
}

fn found(bench: &Bench, host: &MemoryHost, id: &ResourceId, wanted: &Resource) -> Option<Resource> {
    bench.observe(host, &Task, id, wanted).resource
}

fn bring(
    bench: &Bench,
    host: &MemoryHost,
    (id, wanted): (&ResourceId, &Resource),
    to: Option<&Resource>,
) -> Result<Option<Action>, StepError> {
    let from = found(bench, host, id, wanted);
    let Some(step) = way(id, from.as_ref(), to) else {
        return Ok(None);
    };
    bench.apply(host, &Task, &step)?;
    let now = found(bench, host, id, wanted);
    let stamp =
        |resource: Option<&Resource>| resource.and_then(|it| it.text("stamp").map(str::to_owned));
    assert_eq!(stamp(now.as_ref()), stamp(to), "{:?}", step.action);
    Ok(Some(step.action))
}

#[test]
fn what_is_built_holds_the_output_and_not_the_inputs_and_is_kept_when_it_goes() {
    let bench = Bench::new();
    let host = building();
    let (id, wanted) = built();
    assert_eq!(found(&bench, &host, &id, &wanted), None);
    assert_eq!(
        bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap(),
        Some(Action::Run)
    );
    assert_eq!(found(&bench, &host, &id, &wanted), Some(wanted.clone()));
    let paths: Vec<String> = host
        .snapshot(&[BUILT])
        .into_iter()
        .map(|(path, entry)| format!("{} {}", path.display(), entry.owner))
        .collect();
    insta::assert_snapshot!(paths.join("\n"), @"
    /opt/bot/built/venv-123456789abc rosey:rosey
    /opt/bot/built/venv-123456789abc/.rosey-stamp root:root
    /opt/bot/built/venv-123456789abc/out rosey:rosey
    /opt/bot/built/venv-123456789abc/out/venv rosey:rosey
    /opt/bot/built/venv-123456789abc/out/venv/bin rosey:rosey
    /opt/bot/built/venv-123456789abc/out/venv/bin/python3 rosey:rosey
    ");
    assert_eq!(
        bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap(),
        None
    );

    let whole = host.snapshot(&[BUILT]);
    assert_eq!(
        bring(&bench, &host, (&id, &wanted), None).unwrap(),
        Some(Action::Remove)
    );
    assert!(host.snapshot(&[BUILT]).is_empty());
    host.on_command(|_, _| panic!("BUG: it is kept and not built again"));
    bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap();
    assert_eq!(host.snapshot(&[BUILT]), whole);

    bring(&bench, &host, (&id, &wanted), None).unwrap();
    let removed = super::prune_unused(&host, &bench.places).unwrap();
    assert_eq!(removed.count, 6);
    assert_eq!(super::prune_unused(&host, &bench.places).unwrap().count, 0);
}

#[test]
fn a_build_that_fails_leaves_nothing_and_says_why() {
    let bench = Bench::new();
    let (id, wanted) = built();
    type Act = fn(&mut View<'_>) -> Result<(), String>;
    let cases: [(&str, Act); 3] = [
        ("task \"venv\" exited with 1\n  no such package", |_| {
            Err("no such package\n".to_owned())
        }),
        (
            "task \"venv\" exited with 0 but has not made its output out/venv",
            |_| Ok(()),
        ),
        (
            "task \"venv\" exited with 0 but its output out/venv is a link that leads elsewhere",
            |view| {
                view.make_directories("out").unwrap();
                view.link("out/venv", "/etc")
                    .map_err(|error| error.to_string())
            },
        ),
    ];
    for (text, act) in cases {
        let host = host(move |_, view| act(view));
        let error = bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(error.is_verdict());
        assert!(host.snapshot(&[BUILT]).is_empty());
    }
}

#[test]
fn debris_of_a_build_is_known_and_removed_either_way() {
    let bench = Bench::new();
    let (id, wanted) = built();
    let host = building();
    host.put_file(format!("{BUILT}/half"), "");
    let debris = found(&bench, &host, &id, &wanted).unwrap();
    assert_eq!(debris.text("stamp"), Some("unfinished"));
    let back = host.fork();
    bring(&bench, &back, (&id, &wanted), None).unwrap();
    assert!(back.snapshot(&[BUILT]).is_empty());
    bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap();
    assert!(host.snapshot(&[format!("{BUILT}/half")]).is_empty());
    bring(&bench, &host, (&id, &wanted), Some(&debris)).unwrap();

    let host = building();
    host.put_file(BUILT, "a file");
    let foreign = found(&bench, &host, &id, &wanted);
    let step = way(&id, foreign.as_ref(), Some(&wanted)).unwrap();
    let error = bench.apply(&host, &Task, &step).unwrap_err();
    assert!(matches!(error, StepError::Conflict { .. }));
}

#[test]
fn a_build_that_was_cut_off_anywhere_ends_the_same_or_goes_without_a_trace() {
    let bench = Bench::new();
    let (id, wanted) = built();
    let absent = building();
    let there = absent.fork();
    bring(&bench, &there, (&id, &wanted), Some(&wanted)).unwrap();
    let cached = there.fork();
    bring(&bench, &cached, (&id, &wanted), None).unwrap();
    let cases = [
        (&absent, None, Some(&wanted)),
        (&cached, None, Some(&wanted)),
        (&there, Some(&wanted), None),
    ];
    for (prepared, from, to) in cases {
        let step = way(&id, from, to).unwrap();
        let before = prepared.snapshot(&["/opt/bot/built"]);
        let after = prepared.fork();
        bench.apply(&after, &Task, &step).unwrap();
        let after = after.snapshot(&["/opt/bot/built"]);
        dying_everywhere(
            prepared,
            |host| drop(bench.apply(host, &Task, &step)),
            |host, told| {
                let now = found(&bench, host, &id, &wanted);
                let known = now.as_ref() == from || now.as_ref() == to;
                assert!(
                    known || Task.is_between(&step, now.as_ref()),
                    "{told}: {now:?}"
                );
                let back = host.fork();
                bring(&bench, &back, (&id, &wanted), from).unwrap();
                assert_eq!(
                    without_times(back.snapshot(&["/opt/bot/built"])),
                    without_times(before.clone()),
                    "{told}"
                );
                bring(&bench, host, (&id, &wanted), to).unwrap();
                assert_eq!(
                    without_times(host.snapshot(&["/opt/bot/built"])),
                    without_times(after.clone()),
                    "{told}"
                );
            },
        );
    }
}

/// The same without the stamps' content, which tells when and how long.
fn without_times(mut snapshot: crate::host::memory::Snapshot) -> crate::host::memory::Snapshot {
    for (path, entry) in &mut snapshot {
        if path.ends_with(".rosey-stamp") {
            entry.content.clear();
        }
    }
    snapshot
}

#[test]
fn a_task_is_run_again_for_other_inputs_and_undone_on_the_way_back_only() {
    let bench = Bench::new();
    let host = migrating();
    let id = migration();
    let to = |to: Option<&Resource>| bring(&bench, &host, (&id, &migrate("1")), to).unwrap();
    assert_eq!(to(Some(&migrate("1"))), Some(Action::Run));
    assert_eq!(to(Some(&migrate("1"))), None);
    assert_eq!(to(Some(&migrate("2"))), Some(Action::Run));
    assert_eq!(to(Some(&migrate("3"))), Some(Action::Run));
    assert_eq!(log(&host), "up 1; up 2; up 3; ");
    assert_eq!(to(Some(&migrate("1"))), Some(Action::Undo));
    assert_eq!(to(Some(&migrate("2"))), Some(Action::Run));
    assert_eq!(log(&host), "up 1; up 2; up 3; down 3; down 2; up 2; ");
    // Over several at once forward there is one command: it leads to where its release has the data.
    assert_eq!(to(Some(&migrate("1"))), Some(Action::Undo));
    assert_eq!(to(Some(&migrate("3"))), Some(Action::Run));
    assert!(log(&host).ends_with("up 2; down 2; up 3; "));
    assert_eq!(to(None), Some(Action::Undo));
    assert!(log(&host).ends_with("up 3; down 3; down 1; "));
    assert!(
        host.snapshot(&["/var/lib/rosey/bot/stamps/migrate.json"])
            .is_empty()
    );
}

#[test]
fn apps_of_one_host_may_have_tasks_of_one_name() {
    let resource = migrate("1");
    let made = |app: &str| {
        let id = ResourceId {
            app: AppName::new(app).unwrap(),
            ..migration()
        };
        Task.makes(Named {
            id: &id,
            resource: &resource,
        })
    };
    assert_eq!(made("bot"), made("bot"));
    assert_ne!(made("bot"), made("web"));
}

#[test]
fn what_another_host_did_is_noted_and_never_undone_here() {
    let bench = Bench::new();
    let host = migrating();
    let id = migration();
    let noted = step(StepKind::RUN, &id, Action::Note, None, Some(&migrate("1")));
    bench.apply(&host, &Task, &noted).unwrap();
    let before = found(&bench, &host, &id, &migrate("1")).unwrap();
    assert_eq!(
        bring(&bench, &host, (&id, &migrate("1")), None).unwrap(),
        Some(Action::Note)
    );
    // A run that took the app away goes back: the other host does it again, and here it is noted again.
    assert_eq!(
        bring(&bench, &host, (&id, &before), Some(&before)).unwrap(),
        Some(Action::Note)
    );
    assert_eq!(
        found(&bench, &host, &id, &migrate("1")),
        Some(before.clone())
    );
    assert_eq!(log(&host), "");
}

#[test]
fn a_stamp_without_undo_is_only_put_away_and_comes_back_in_the_same_run() {
    let mut bench = Bench::new();
    let host = migrating();
    let id = migration();
    let mut wanted = migrate("1");
    wanted.settings.remove("undo");
    bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap();
    let before = host.snapshot(&["/var/lib/rosey"]);
    assert_eq!(
        bring(&bench, &host, (&id, &wanted), None).unwrap(),
        Some(Action::Remove)
    );
    bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap();
    assert_eq!(host.snapshot(&["/var/lib/rosey"]), before);
    assert_eq!(log(&host), "up 1; ");
    bring(&bench, &host, (&id, &wanted), None).unwrap();
    let removed = way(&id, Some(&wanted), None).unwrap();
    bench
        .acting(&host, |context| Task.sweep(context, &removed))
        .unwrap();
    bench.run = RunId("another".to_owned());
    bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap();
    assert_eq!(log(&host), "up 1; up 1; ");

    let irreversible = bring(&bench, &host, (&id, &wanted), Some(&migrate("2")))
        .and_then(|_| bring(&bench, &host, (&id, &wanted), Some(&wanted)));
    assert_eq!(
        irreversible.unwrap(),
        Some(Action::Undo),
        "the newer one has an undo"
    );
}

#[test]
fn what_cannot_be_undone_any_more_comes_back_as_it_was_in_the_same_run() {
    let bench = Bench::new();
    let host = migrating();
    let id = migration();
    let wanted = migrate("1");
    bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap();
    // The release that it was run from has been pruned since.
    host.take_away(RELEASE);
    let before = host.snapshot(&["/var/lib/rosey"]);
    bring(&bench, &host, (&id, &wanted), None).unwrap();
    assert_eq!(found(&bench, &host, &id, &wanted), None);
    bring(&bench, &host, (&id, &wanted), Some(&wanted)).unwrap();
    assert_eq!(host.snapshot(&["/var/lib/rosey"]), before);
    assert_eq!(log(&host), "up 1; ");
}

#[test]
fn a_task_that_changes_its_release_fails() {
    let bench = Bench::new();
    let host = host(|command, view| {
        view.write(command.directory.join("lib/y"), b"new").unwrap();
        view.write(command.directory.join("lib/y.pyc"), b"may be")
            .unwrap();
        view.write(command.directory.join("made"), b"")
            .map_err(|error| error.to_string())
    });
    let error = bring(
        &bench,
        &host,
        (&migration(), &migrate("1")),
        Some(&migrate("1")),
    )
    .unwrap_err();
    insta::assert_snapshot!(error, @r#"
    task "migrate" changed 2 path(s) of the release, which must stay as it is; declare what it makes as `output`, or write to `shared`
      lib/y: content
      made: file
    "#);
    // It has run, so it is undone on the way back.
    let found = found(&bench, &host, &migration(), &migrate("1"));
    assert_eq!(found.unwrap().text("stamp"), Some("unfinished"));
}

#[test]
fn each_way_has_its_label() {
    let id = migration();
    let label =
        |from: Option<&Resource>, to: Option<&Resource>| Task.label(Change { id: &id, from, to });
    let mut plain = migrate("1");
    plain.settings.remove("undo");
    assert_eq!(label(None, Some(&migrate("1"))), Label::Compensable);
    assert_eq!(label(Some(&migrate("1")), None), Label::Compensable);
    assert_eq!(label(None, Some(&plain)), Label::Irreversible);
    assert_eq!(label(Some(&plain), None), Label::Reversible);
    // Back to an earlier stamp: only where the later one says how, or that it does no harm.
    let later = |of: &Resource| of.clone().setting("earlier", vec!["1"]);
    let back = |from: &Resource| label(Some(&later(from)), Some(&migrate("1")));
    let mut second = migrate("2");
    assert_eq!(back(&second), Label::Compensable);
    second.settings.remove("undo");
    assert_eq!(back(&second), Label::Irreversible);
    assert_eq!(
        back(&second.setting("compatible", true)),
        Label::Compensable
    );
    let (id, wanted) = built();
    let change = Change {
        id: &id,
        from: None,
        to: Some(&wanted),
    };
    assert_eq!(Task.label(change), Label::Reversible);
    assert!(Task.is_inert(change));
}

#[test]
fn secrets_reach_the_command_and_nothing_else() {
    let bench = Bench::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let host = host(move |command, _| {
        assert_eq!(command.env["TOKEN"], "hunter2");
        assert_eq!(command.env["PORT"], "80");
        seen.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    host.put_file(
        "/var/lib/rosey/bot/env/task-migrate.env",
        "TOKEN=\"hunter2\"\n",
    );
    let env = Value::Map([("PORT".to_owned(), Value::from("80"))].into());
    let wanted = migrate("1")
        .setting("env", env)
        .setting("env_file", "/var/lib/rosey/bot/env/task-migrate.env");
    bring(&bench, &host, (&migration(), &wanted), Some(&wanted)).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let stamps = host.snapshot(&["/var/lib/rosey/bot/stamps"]);
    assert!(
        stamps
            .values()
            .all(|entry| !entry.content.contains("hunter2"))
    );
}
