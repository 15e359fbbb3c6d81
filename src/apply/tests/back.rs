//! Law 3 over the small model: stopped after any set of steps, or inside any step at any primitive,
//! going back gives what was there before.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::laws::{app::App, declared::SITE, shapes};
use super::toy::{
    After, KINDS, Note, Run, bell, difference, host_with, id, journal_path, note, owner, seen,
    state, with,
};
use crate::apply::{Journal, Returned, Unfinished};
use crate::host::memory::Fault;
use crate::host::{
    HostError, HostErrorKind, Manager, MemoryHost, ReadHost, ServiceAct, Space, Unit, WriteHost,
};
use crate::model::{EventKind, Plan, State, Step, StepId};
use crate::step::kind::{Kind, StepContext, StepError};

struct Model {
    from: State,
    plan: Plan,
    run: Run,
}

impl Model {
    fn new() -> Self {
        let from = state([
            note("a", "1"),
            note("gone", "x"),
            bell("kept.bell", &["a"]),
            bell("old.bell", &["gone"]),
        ]);
        let to = state([
            note("a", "2"),
            note("new", "y"),
            bell("kept.bell", &["a", "new"]),
            bell("young.bell", &["new"]),
        ]);
        let plan = difference(&from, &to);
        assert_eq!(plan.steps.len(), 6);
        Self {
            from,
            plan,
            run: Run::new(),
        }
    }

    fn host(&self) -> MemoryHost {
        host_with(&self.from)
    }

    fn open<'h>(&self, host: &'h MemoryHost) -> Option<Journal<'h>> {
        let opened = self.run.opened(self.plan.clone(), self.from.clone());
        Journal::create(host, &journal_path(), opened, &owner()).ok()
    }

    /// Every set of steps that the graph allows to be finished.
    fn sets(&self) -> Vec<BTreeSet<StepId>> {
        let steps = &self.plan.steps;
        let chosen = |bits: usize| -> BTreeSet<StepId> {
            let set = steps.iter().enumerate();
            set.filter(|(index, _)| bits & (1 << index) != 0)
                .map(|(_, step)| step.id.clone())
                .collect()
        };
        (0..1 << steps.len())
            .map(chosen)
            .filter(|set| {
                let mut inside = steps.iter().filter(|step| set.contains(&step.id));
                inside.all(|step| step.after.iter().all(|id| set.contains(id)))
            })
            .collect()
    }

    fn assert_back(&self, host: &MemoryHost, before: &MemoryHost, what: &str) {
        let result = self.run.recover(host);
        let returned = result.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(returned.problems, Vec::<String>::new(), "{what}");
        assert_eq!(returned.unfinished, None, "{what}");
        assert_eq!(seen(host), seen(before), "{what}");
        let again = self.run.recover(host).unwrap();
        assert_eq!(
            again.steps, 0,
            "{what}: a second time there is nothing to do"
        );
        assert_eq!(seen(host), seen(before), "{what}");
    }
}

#[test]
fn what_a_step_that_failed_has_left_as_it_was_renews_nobody() {
    type Fails = fn(&StepContext<'_>, &Step) -> Result<(), StepError>;
    let conflict: Fails = |_, step| {
        Err(StepError::Conflict {
            resource: step.resource.to_string(),
            found: "a directory is there".to_owned(),
        })
    };
    let full: Fails = |context, step| {
        let path = std::path::Path::new(&step.resource.name);
        context.host.sync(path)?;
        Err(HostError::new("write", path, HostErrorKind::NoSpace).into())
    };
    let late: Fails = |context, step| {
        Note.apply(context, step)?;
        let path = std::path::Path::new(&step.resource.name);
        Err(HostError::new("sync", path, HostErrorKind::NoSpace).into())
    };
    let from = state([note("a", "1"), bell("b.bell", &["a"])]);
    let plan = difference(&from, &state([note("a", "2"), bell("b.bell", &["a"])]));
    for (fails, steps) in [(conflict, 0), (full, 0), (late, 2)] {
        let host = host_with(&from);
        let before = host.snapshot(&[id("bell", "b.bell").name]);
        let mut run = Run::new();
        run.kinds = with(After(Box::new(fails)));
        let opened = run.opened(plan.clone(), from.clone());
        let journal = Journal::create(&host, &journal_path(), opened, &owner()).unwrap();
        let outcome = run.take(&host, &journal, &plan, |_| true, 1);
        assert_eq!(outcome.failed.len(), 1);
        run.kinds = &KINDS;
        let returned = run.back(&host, &journal).unwrap();
        assert_eq!((returned.steps, returned.problems), (steps, vec![]));
        let rings_as_before = host.snapshot(&[id("bell", "b.bell").name]) == before;
        assert_eq!(rings_as_before, steps == 0);
        assert_eq!(seen(&host), seen(&host_with(&from)));
    }
}

#[test]
fn after_every_set_of_finished_steps() {
    let model = Model::new();
    let sets = model.sets();
    assert!(sets.len() > 10, "{}", sets.len());
    for set in sets {
        let host = model.host();
        let journal = model.open(&host).unwrap();
        let outcome = model
            .run
            .take(&host, &journal, &model.plan, |id| set.contains(id), 1);
        assert_eq!(outcome.done.len(), set.len());
        drop(journal);
        model.assert_back(&host, &model.host(), &format!("{set:?}"));
    }
}

#[test]
fn inside_every_step_at_every_primitive_and_again_on_the_way_back() {
    let model = Model::new();
    let faults = || {
        [
            Fault::Error(HostErrorKind::Other("broken".to_owned())),
            Fault::Error(HostErrorKind::NoSpace),
            Fault::CrashBefore,
            Fault::CrashMiddle,
            Fault::CrashAfter,
        ]
    };
    let go = |host: &MemoryHost| {
        if let Some(journal) = model.open(host) {
            let _cut_off = model.run.take(host, &journal, &model.plan, |_| true, 1);
        }
    };
    let whole = model.host();
    let first = whole.primitives();
    go(&whole);
    let mut fired = 0;
    for at in 1..=whole.primitives() - first {
        for fault in faults() {
            let host = model.host();
            host.fault_at(at, fault.clone());
            go(&host);
            host.revive();
            for choice in [None, Some(at)] {
                let host = host.fork();
                if let Some(choice) = choice {
                    host.crash(choice);
                    host.reboot();
                }
                fired += 1;
                // Every seventh also with a fault on the way back.
                if fired % 7 == 0 {
                    let fault_back = faults()[(at % 5) as usize].clone();
                    host.fault_at(1 + at % 31, fault_back);
                    let _cut_off = model.run.recover(&host);
                    host.revive();
                }
                model.assert_back(
                    &host,
                    &model.host(),
                    &format!("{fault:?} at {at}, {choice:?}"),
                );
            }
        }
    }
    assert!(fired > 500, "{fired}");
}

#[test]
fn what_somebody_else_changed_meanwhile_is_left_and_told() {
    let model = Model::new();
    let host = model.host();
    let journal = model.open(&host).unwrap();
    let outcome = model.run.take(&host, &journal, &model.plan, |_| true, 1);
    assert!(outcome.failed.is_empty());
    host.put_file(id("note", "new").name, "by hand");
    let returned = model.run.back(&host, &journal).unwrap();
    assert_eq!(returned.problems.len(), 1, "{:?}", returned.problems);
    assert!(returned.problems[0].contains("/opt/toy/new"));
    assert_eq!(returned.unfinished, None);
    let mut expected = seen(&model.host());
    let kept = seen(&host).remove(std::path::Path::new("/opt/toy/new"));
    expected.extend(kept.map(|kept| ("/opt/toy/new".into(), kept)));
    assert_eq!(seen(&host), expected);
}

#[test]
fn what_the_run_did_not_begin_is_not_its_business() {
    let model = Model::new();
    let host = model.host();
    let journal = model.open(&host).unwrap();
    let steps = model.plan.steps.iter();
    let mut first = steps.filter(|step| step.resource == id("note", "a"));
    let first = first.next().unwrap().id.clone();
    let outcome = model
        .run
        .take(&host, &journal, &model.plan, |id| *id == first, 1);
    assert_eq!(outcome.done.len(), 1);
    host.take_away(id("bell", "old.bell").name);
    let mut expected = seen(&model.host());
    expected.remove(std::path::Path::new("/opt/toy/old.bell"));
    let returned = model.run.back(&host, &journal).unwrap();
    assert_eq!(returned.problems, Vec::<String>::new());
    assert_eq!(seen(&host), expected);
}

#[test]
fn while_the_file_system_refuses_writes_the_way_back_stays_open() {
    let model = Model::new();
    let host = model.host();
    let journal = model.open(&host).unwrap();
    let _done = model.run.take(&host, &journal, &model.plan, |_| true, 1);
    host.set_read_only(true);
    assert!(model.run.back(&host, &journal).is_err());
    host.set_read_only(false);
    drop(journal);
    model.assert_back(&host, &model.host(), "after the file system was put right");
}

#[test]
fn while_a_way_back_waits_its_journal_does_not_grow() {
    let model = Model::new();
    let host = model.host();
    let journal = model.open(&host).unwrap();
    let _done = model.run.take(&host, &journal, &model.plan, |_| true, 1);
    let fill_up = || {
        // What is removed leaves room for what is put back.
        host.set_free(Some(Space {
            bytes: 0,
            inodes: 0,
        }));
    };
    let waits = |returned: Returned| {
        assert_eq!(returned.unfinished, Some(Unfinished::Temporary));
        host.read(&journal_path()).unwrap()
    };
    for _ in 0..4 {
        fill_up();
        waits(model.run.back(&host, &journal).unwrap());
    }
    let written = host.read(&journal_path()).unwrap();
    for _ in 0..40 {
        fill_up();
        let now = waits(model.run.back(&host, &journal).unwrap());
        assert!(now == written, "by the same helper");
    }
    drop(journal);
    for _ in 0..40 {
        fill_up();
        let now = waits(model.run.recover(&host).unwrap());
        assert!(now == written, "by one that was just started");
    }
    host.set_free(None);
    model.assert_back(&host, &model.host(), "when there is room again");
}

#[test]
fn what_has_to_be_put_back_again_and_again_while_a_way_back_waits_does_not_fill_its_journal() {
    let model = Model::new();
    let host = model.host();
    let journal = model.open(&host).unwrap();
    let _done = model.run.take(&host, &journal, &model.plan, |_| true, 1);
    drop(journal);
    let refused = |_: &StepContext<'_>, step: &Step| match step.resource.name.ends_with("/a") {
        true => Err(StepError::Host(HostError {
            doing: "write".to_owned(),
            path: step.resource.name.clone(),
            kind: HostErrorKind::NoSpace,
        })),
        false => Ok(()),
    };
    let waiting = Run {
        kinds: with(After(Box::new(refused))),
        ..Run::new()
    };
    let bell = model.plan.steps.iter().find(|step| {
        // It went with the run, and has nothing to do with what is refused.
        step.resource.name.ends_with("old.bell")
    });
    let bell = PathBuf::from(&bell.unwrap().resource.name);
    let waits = || {
        let returned = waiting.recover(&host).unwrap();
        assert_eq!(returned.unfinished, Some(Unfinished::Temporary));
        host.remove_file(&bell).unwrap();
        host.read(&journal_path()).unwrap()
    };
    let first = waits();
    for _ in 0..20 {
        waits();
    }
    let written = waits();
    assert!(written != first);
    for _ in 0..20 {
        assert!(waits() == written);
    }
    model.assert_back(&host, &model.host(), "when there is room again");
}

// The new version has filled the disk: the old one can't start before somebody makes room, and does then.
#[test]
fn what_fails_on_a_full_disk_is_tried_again_when_there_is_room() {
    let model = Model::new();
    let host = model.host();
    let journal = model.open(&host).unwrap();
    let _done = model.run.take(&host, &journal, &model.plan, |_| true, 1);
    drop(journal);
    let starts = |context: &StepContext<'_>, _: &Step| {
        let left = context.host.space(&context.observe.places.root)?;
        match left.bytes {
            0 => Err(StepError::Service {
                unit: "bot.service".to_owned(),
                how: "failed (exit-code)".to_owned(),
                tail: String::new(),
            }),
            _ => Ok(()),
        }
    };
    let waiting = Run {
        kinds: with(After(Box::new(starts))),
        ..Run::new()
    };
    for _ in 0..3 {
        host.set_free(Some(Space {
            bytes: 0,
            inodes: 100,
        }));
        let returned = waiting.recover(&host).unwrap();
        assert_eq!(returned.unfinished, Some(Unfinished::Temporary));
        let told = returned.problems.join("; ");
        assert!(told.contains("no space left"), "{told}");
    }
    host.set_free(None);
    let returned = waiting.recover(&host).unwrap();
    assert_eq!((returned.unfinished, returned.problems), (None, vec![]));
}

#[test]
fn a_way_back_that_is_cut_off_before_a_reload_reloads() {
    let nginx = Unit {
        manager: Manager::Systemd,
        name: "nginx.service".to_owned(),
    };
    let reloads = |host: &MemoryHost| host.running(&nginx).unwrap().reloads;
    let shape = shapes::named("a secret and a reload");
    let (app, host): (&App, _) = (&shape.app, &shape.host);
    let before = host.read(std::path::Path::new(SITE)).unwrap();
    let prospect = app.prospect(host, shape.to.as_ref());
    let journal = app.open(host, &prospect).unwrap();
    app.take(host, &journal, &prospect, |_| true, &|_| {})
        .unwrap();
    drop(journal);
    let there = reloads(host);
    let whole = host.fork();
    drop(whole.take_trace());
    app.recover(&whole, &|_| {}).unwrap();
    let trace = whole.take_trace();
    let reload = trace.iter().position(|it| it.name == "reload").unwrap() as u64 + 1;
    for (fault, more) in [
        (Fault::CrashBefore, 1),
        // Nobody knows that it was done: it is done once more.
        (Fault::CrashAfter, 2),
    ] {
        let host = host.fork();
        host.fault_at(reload, fault.clone());
        drop(app.recover(&host, &|_| {}));
        host.revive();
        let returned = app.recover(&host, &|_| {}).unwrap();
        assert_eq!(returned.problems, Vec::<String>::new(), "{fault:?}");
        assert_eq!(host.read(std::path::Path::new(SITE)).unwrap(), before);
        assert_eq!(reloads(&host), there + more, "{fault:?}");
    }
}

/// A run that has changed all that a service uses, and not begun to restart it.
fn before_the_restart() -> (shapes::Shape, MemoryHost, Unit) {
    let shape = shapes::named("a secret and a reload");
    let host = shape.host.fork();
    let prospect = shape.app.prospect(&host, shape.to.as_ref());
    let journal = shape.app.open(&host, &prospect).unwrap();
    let is_no_service = |id: &str| !id.contains(".service") || id.contains("file:");
    shape
        .app
        .take(&host, &journal, &prospect, is_no_service, &|_| {})
        .unwrap();
    drop(journal);
    let bot = Unit {
        manager: Manager::Systemd,
        name: "bot.service".to_owned(),
    };
    (shape, host, bot)
}

#[test]
fn a_service_that_died_of_what_the_run_changed_is_started_on_the_way_back() {
    let (shape, host, bot) = before_the_restart();
    let before = shape.host.running(&bot).unwrap().definition;
    host.on_start(
        |_, _, definition| match definition.contains("/bin/bot.service 2") {
            true => Err("exit-code".to_owned()),
            false => Ok(()),
        },
    );
    // All definitions are read, for whomever, and the service dies.
    host.manage(&bot, &ServiceAct::DaemonReload, Duration::ZERO)
        .unwrap();
    host.let_services_die();
    assert!(host.service(&bot).unwrap().failed);
    let returned = shape.app.recover(&host, &|_| {}).unwrap();
    assert_eq!(returned.problems, Vec::<String>::new());
    assert_eq!(host.running(&bot).unwrap().definition, before);
}

#[test]
fn a_service_that_dies_right_before_its_step_of_the_way_back_is_started() {
    let (shape, host, bot) = before_the_restart();
    let before = shape.host.running(&bot).unwrap().definition;
    let dies = |event: EventKind| {
        if let EventKind::StepStarted { resource, .. } = event
            && resource == bot.name
        {
            host.kill_service(&bot, "start-limit-hit");
        }
    };
    let returned = shape.app.recover(&host, &dies).unwrap();
    assert_eq!(returned.problems, Vec::<String>::new());
    assert_eq!(host.running(&bot).unwrap().definition, before);
}
