//! One step, and many: done, done already, done by somebody else.

use std::sync::Mutex;

use super::toy::{Run, bell, difference, host_with, id, journal_path, note, owner, seen, state};
use crate::apply::{Batch, Cancel, Done, Journal, TakeError, Way, take_all};
use crate::host::memory::Fault;
use crate::host::{HostErrorKind, WriteHost};
use crate::model::{Action, EventKind, Resource, ResourceId, ResourceKind, State};
use crate::step::kind::StepError;
use crate::step::registry::registry;

#[test]
fn taking_a_plan_twice_is_taking_it_once() {
    let from = state([note("a", "1"), note("gone", "x"), bell("b.bell", &["a"])]);
    let to = state([
        note("a", "2"),
        note("new", "y"),
        bell("b.bell", &["a", "new"]),
    ]);
    let plan = difference(&from, &to);
    for workers in [1, 4] {
        let host = host_with(&from);
        let run = Run::new();
        let opened = run.opened(plan.clone(), from.clone());
        let journal = Journal::create(&host, &journal_path(), opened, &owner()).unwrap();
        let outcome = run.take(&host, &journal, &plan, |_| true, workers);
        assert!(outcome.failed.is_empty() && outcome.left.is_empty());
        assert!(outcome.done.values().all(|done| *done == Done::Changed));
        let after = seen(&host);
        let again = run.take(&host, &journal, &plan, |_| true, workers);
        assert_eq!(again.done.len(), plan.steps.len());
        assert!(again.done.values().all(|done| *done == Done::Unchanged));
        assert_eq!(seen(&host), after);
    }
}

#[test]
fn what_somebody_else_changed_is_not_overwritten() {
    let from = state([note("a", "1")]);
    let to = state([note("a", "2"), note("b", "1")]);
    let plan = difference(&from, &to);
    let host = host_with(&from);
    host.put_file(id("note", "a").name, "by hand");
    host.put_file(id("note", "b").name, "by hand");
    let before = seen(&host);
    let run = Run::new();
    let opened = run.opened(plan.clone(), from);
    let journal = Journal::create(&host, &journal_path(), opened, &owner()).unwrap();
    for step in &plan.steps {
        let outcome = run.take(&host, &journal, &plan, |id| id == &step.id, 1);
        let [(_, error)] = outcome.failed.as_slice() else {
            panic!("one step, one failure")
        };
        assert!(
            matches!(error, TakeError::Step(StepError::Conflict { .. })),
            "{error}"
        );
        assert!(error.is_conflict());
    }
    assert_eq!(seen(&host), before);
    assert!(journal.told().begun.is_empty());
}

#[test]
fn after_a_failure_nothing_further_begins() {
    let from = state([note("a", "1")]);
    let to = state([note("a", "2"), note("b", "1"), bell("c.bell", &["a"])]);
    let plan = difference(&from, &to);
    let host = host_with(&from);
    let run = Run::new();
    let opened = run.opened(plan.clone(), from);
    let journal = Journal::create(&host, &journal_path(), opened, &owner()).unwrap();
    host.fault_at(5, Fault::Error(HostErrorKind::Other("broken".to_owned())));
    let outcome = run.take(&host, &journal, &plan, |_| true, 1);
    assert_eq!((outcome.done.len(), outcome.failed.len()), (0, 1));
    assert_eq!(outcome.left.len(), 2);
}

#[test]
fn no_step_begins_before_those_that_it_waits_for() {
    let from = state([]);
    let names = ["a", "b", "c", "d", "e"];
    let mut resources: Vec<_> = names.iter().map(|name| note(name, "1")).collect();
    resources.push(bell("f.bell", &names));
    let plan = difference(&from, &state(resources));
    let host = host_with(&from);
    let written = std::sync::Arc::new(Mutex::new(Vec::new()));
    let hear = written.clone();
    host.watch(move |_, primitive| {
        if primitive.name == "replace" {
            let to = primitive.to.clone().unwrap_or_default();
            hear.lock().unwrap().push(to);
        }
    });
    let run = Run::new();
    let opened = run.opened(plan.clone(), from);
    let journal = Journal::create(&host, &journal_path(), opened, &owner()).unwrap();
    let outcome = run.take(&host, &journal, &plan, |_| true, 4);
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    let written = written.lock().unwrap();
    assert_eq!(written.len(), 7, "the journal, five notes and a bell");
    assert!(written.last().unwrap().ends_with("f.bell"));
    assert!(
        host.as_read()
            .entry(written.last().unwrap())
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_step_that_panics_fails_and_holds_nobody_up() {
    let from = state([]);
    let to = state([note("a", "1"), note("b", "1"), bell("c.bell", &["a", "b"])]);
    let plan = difference(&from, &to);
    let host = host_with(&from);
    let run = Run::new();
    let opened = run.opened(plan.clone(), from);
    let journal = Journal::create(&host, &journal_path(), opened, &owner()).unwrap();
    let known = journal.told().known();
    let outcome = run.site(&host, |site| {
        let batch = Batch {
            steps: plan.steps.iter().collect(),
            way: Way::Forward,
            known: &known,
            workers: 2,
            cancel: &Cancel::new(),
            tell: &|event| match event {
                EventKind::StepStarted { step, .. } if step == plan.steps[0].id => {
                    panic!("on purpose")
                }
                _ => {}
            },
        };
        take_all(site, &journal, &batch)
    });
    let failed = outcome
        .failed
        .iter()
        .find(|(id, _)| *id == plan.steps[0].id);
    assert_eq!(
        failed.unwrap().1.to_string(),
        "a fault in rosey: on purpose"
    );
    assert!(!outcome.done.contains_key(&plan.steps[2].id));
}

#[test]
fn a_reload_that_failed_was_none() {
    let id = |kind, name: &str| ResourceId {
        kind,
        name: name.to_owned(),
        ..super::toy::id("note", "")
    };
    let file = id(ResourceKind::FILE, "/etc/nginx/bot.conf");
    let nginx = id(ResourceKind::SERVICE, "nginx.service");
    let renewed = Resource::new()
        .with("enabled", true)
        .with("active", true)
        .with("fresh", true)
        .setting("external", true)
        .setting("restart", "reload")
        .setting("uses", vec![file.name.as_str()]);
    let stale = renewed.clone().with("fresh", false);
    for (reloads, definition) in [
        (
            true,
            "[Service]\nExecStart=/bin/nginx\nExecReload=/bin/true\n[Install]\n",
        ),
        (false, "[Service]\nExecStart=/bin/nginx\n[Install]\n"),
    ] {
        let host = host_with(&State::default());
        host.put_file("/usr/lib/systemd/system/nginx.service", definition);
        let wants = "/etc/systemd/system/multi-user.target.wants/nginx.service";
        host.put_link(wants, "/usr/lib/systemd/system/nginx.service");
        host.reboot();
        let mut run = Run::new();
        run.kinds = registry();
        run.changes.insert(file.clone(), host.as_read().moment());
        let before = state([
            (file.clone(), Resource::new().with("content", "new")),
            (nginx.clone(), stale.clone()),
        ]);
        let mut plan = difference(&State::default(), &state([note("a", "1")]));
        let step = &mut plan.steps[0];
        step.resource = nginx.clone();
        step.action = Action::Reload;
        step.from = Some(stale.clone());
        step.to = Some(renewed.clone());
        let opened = run.opened(plan.clone(), before);
        let journal = Journal::create(&host, &journal_path(), opened, &owner()).unwrap();
        let outcome = run.take(&host, &journal, &plan, |_| true, 1);
        assert_eq!(outcome.failed.is_empty(), reloads, "{:?}", outcome.failed);
        let known = journal.told().known();
        let found = run.site(&host, |site| {
            site.observe(&journal, &known, &nginx, Some(&renewed))
        });
        let found = found.unwrap().resource.unwrap();
        assert_eq!(found.is("fresh"), reloads);
    }
}
