//! Steps to which something happens.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::client::{Client, Place, begin};
use super::runs::in_memory;
use crate::apply::tests::toy::{KINDS, Note, difference};
use crate::helper::protocol::{AppAddress, Reply, Request};
use crate::host::{HostError, Space};
use crate::model::{
    AppName, Author, Reason, Resource, ResourceId, ResourceKind, RunId, State, Step, StepKind,
    Thing,
};
use crate::step::kind::{
    Change, Kind, Named, ObserveContext, Observed, Part, StepContext, StepError,
};

/// A note, before which something happens.
struct After(fn(&Step) -> Result<(), StepError>);

static MET: Mutex<usize> = Mutex::new(0);
static ARRIVED: Condvar = Condvar::new();

impl Kind for After {
    fn resource(&self) -> ResourceKind {
        Note.resource()
    }
    fn step(&self) -> StepKind {
        Note.step()
    }
    fn makes(&self, it: Named<'_>) -> Vec<Thing> {
        Note.makes(it)
    }
    fn uses(&self, it: Named<'_>) -> Vec<Thing> {
        Note.uses(it)
    }
    fn parts(&self, change: Change<'_>, reasons: &[Reason], disturbed: bool) -> Vec<Part> {
        Note.parts(change, reasons, disturbed)
    }
    fn is_inert(&self, change: Change<'_>) -> bool {
        Note.is_inert(change)
    }
    fn observe(
        &self,
        context: &ObserveContext<'_>,
        id: &ResourceId,
        wanted: Option<&Resource>,
    ) -> Result<Observed, HostError> {
        Note.observe(context, id, wanted)
    }
    fn apply(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        (self.0)(step)?;
        Note.apply(context, step)
    }
    fn sweep(&self, context: &StepContext<'_>, step: &Step) -> Result<(), StepError> {
        Note.sweep(context, step)
    }
}

/// Goes back only when two do so at the same time.
fn meet(step: &Step) -> Result<(), StepError> {
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
    let fails = |step: &Step| match step.to {
        Some(_) => Err(StepError::Gates("the bot doesn't answer".to_owned())),
        None => Ok(()),
    };
    let fails: &'static dyn Kind = Box::leak(Box::new(After(fails)));
    let mut kinds = KINDS.to_vec();
    let note = kinds
        .iter_mut()
        .find(|it| it.resource() == fails.resource());
    *note.unwrap() = fails;
    let kinds = kinds.leak();
    for (left, verdict) in [(1 << 20, true), (1 << 10, false)] {
        let place = Place::new();
        let host = in_memory(&place);
        let mut client = Client::on(host.clone(), place.options(kinds));
        let plan = client.begin(&place, "1", &place.wanted(&[("a", "1")]));
        host.set_free(Some(Space {
            bytes: left,
            inodes: 100,
        }));
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
    let mut client = place.client_of(&[&After(meet)]);
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
