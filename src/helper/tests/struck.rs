//! Steps to which something happens.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::client::{Client, Place, begin};
use super::runs::in_memory;
use crate::apply::tests::toy::{After, difference, with};
use crate::helper::protocol::{AppAddress, Reply, Request};
use crate::host::{MemoryHost, Space};
use crate::model::{AppName, Author, Resource, RunId, State, Step};
use crate::step::kind::{StepContext, StepError};

static MET: Mutex<usize> = Mutex::new(0);
static ARRIVED: Condvar = Condvar::new();

/// Goes back only when two do so at the same time.
fn meet(_: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
    if step.to.is_none() {
        let mut met = MET.lock().unwrap();
        *met += 1;
        ARRIVED.notify_all();
        let alone = |met: &mut usize| *met < 2;
        let waited = ARRIVED.wait_timeout_while(met, Duration::from_secs(20), alone);
        assert!(
            !waited.unwrap().1.timed_out(),
            "the other app waits for this one"
        );
    }
    Ok(())
}

#[test]
fn what_fails_on_a_full_disk_says_nothing_about_the_app() {
    for (left, at_last, verdict) in [
        (1 << 24, 1 << 24, true),
        (1 << 24, 1 << 10, false),
        // It had failed by the time at which room was made.
        (1 << 10, 1 << 24, false),
    ] {
        let place = Place::new();
        let host = in_memory(&place);
        let room = move |host: &MemoryHost, bytes| {
            host.set_free(Some(Space { bytes, inodes: 100 }));
        };
        let struck = host.clone();
        let kinds = with(After(Box::new(
            move |context: &StepContext<'_>, step: &Step| {
                if step.to.is_none() {
                    return Ok(());
                }
                room(&struck, left);
                assert!(!(context.cancelled)());
                room(&struck, at_last);
                Err(StepError::Gates("the bot doesn't answer".to_owned()))
            },
        )));
        let mut client = Client::on(host, place.options(kinds));
        let plan = client.begin(&place, "1", &place.wanted(&[("a", "1")]));
        let Reply::Steps { failed } = client.steps("1", &plan) else {
            panic!("the step fails");
        };
        let failed = failed.unwrap();
        assert_eq!(failed.verdict, verdict, "{failed:?}");
        assert_eq!(failed.error.contains("no space left"), !verdict);
    }
}

#[test]
fn apps_that_lose_their_controller_go_back_side_by_side() {
    let place = Place::new();
    let mut client = place.client_of(with(After(Box::new(meet))));
    let addresses = ["one", "other"].map(|name| {
        let root = place.root().join(name);
        std::fs::create_dir(&root).unwrap();
        AppAddress {
            app: AppName::new(name).unwrap(),
            root: root.to_string_lossy().into_owned(),
            ..place.address()
        }
    });
    let before = place.seen();
    let run = RunId("1".to_owned());
    let locked = client.ask(Request::Lock {
        run: run.clone(),
        apps: addresses.to_vec(),
        author: Author::default(),
        command: "apply".to_owned(),
        guard: 0,
    });
    assert!(matches!(locked, Reply::Done), "{locked:?}");
    for address in addresses {
        let mut id = place.id("note", &format!("{}/a", address.app));
        id.app = address.app.clone();
        let wanted = State {
            resources: [(id, Resource::new().with("content", "1"))].into(),
        };
        let plan = difference(&State::default(), &wanted);
        let steps = plan.steps.iter().map(|step| step.id.clone()).collect();
        let app = address.app.clone();
        let mut request = begin(&place, "1", plan, None);
        if let Request::Begin(begin) = &mut request {
            begin.app = address;
        }
        let begun = client.ask(request);
        assert!(matches!(begun, Reply::Begun { .. }), "{begun:?}");
        let run = run.clone();
        let done = client.ask(Request::Steps { run, app, steps });
        assert!(matches!(done, Reply::Steps { failed: None }), "{done:?}");
    }
    assert_ne!(place.seen(), before);
    assert_eq!(client.lose(), 0);
    assert_eq!(place.seen(), before);
}
