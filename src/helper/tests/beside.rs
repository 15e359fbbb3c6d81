//! Two apps of one run on one host.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::client::{Client, Place, begin, generation};
use super::runs::{in_memory, registry_on};
use crate::apply::tests::toy::{After, KINDS, difference, with};
use crate::helper::protocol::{AppAddress, Marks, Reply, Request};
use crate::helper::recover::recover;
use crate::host::memory::Fault;
use crate::host::{MemoryHost, WriteHost};
use crate::model::{AppName, Author, HostName, Resource, RunId, State, Step};
use crate::step::kind::{Kind, StepContext, StepError};

const APPS: [&str; 2] = ["one", "other"];

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

/// A run that has made a note for each of two apps, and its controller.
struct Two {
    place: Place,
    host: Arc<MemoryHost>,
    client: Client,
}

impl Two {
    fn with(kinds: &'static [&'static dyn Kind]) -> Self {
        Self::named(kinds, ["a", "a"])
    }

    /// The host has a name for each of the apps.
    fn named(kinds: &'static [&'static dyn Kind], hosts: [&str; 2]) -> Self {
        let place = Place::new();
        let host = in_memory(&place);
        let registry = registry_on(&host, &place);
        let mut hosts = hosts.into_iter();
        let addresses = APPS.map(|name| {
            let root = place.root().join(name);
            host.put_directory(&root);
            std::fs::create_dir_all(registry.places(&root).state).unwrap();
            AppAddress {
                app: AppName::new(name).unwrap(),
                host: HostName::new(hosts.next().unwrap()).unwrap(),
                root: root.to_string_lossy().into_owned(),
                ..place.address()
            }
        });
        let on: Arc<dyn WriteHost> = host.clone();
        let mut client = Client::on(on, place.options(kinds));
        let locked = client.ask(Request::Lock {
            run: run(),
            apps: addresses.to_vec(),
            author: Author::default(),
            command: "apply".to_owned(),
            guard: 0,
        });
        assert!(matches!(locked, Reply::Done), "{locked:?}");
        for address in addresses {
            let mut id = place.id("note", &format!("{}/a", address.app));
            id.app = address.app.clone();
            id.host = address.host.clone();
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
            let run = run();
            let done = client.ask(Request::Steps { run, app, steps });
            assert!(matches!(done, Reply::Steps { failed: None }), "{done:?}");
        }
        let two = Self {
            place,
            host,
            client,
        };
        assert_eq!(two.stands_new(), APPS);
        two
    }

    fn ready(&mut self, name: &str, with_all: bool) {
        let ready = self.client.ask(Request::Ready {
            run: run(),
            app: AppName::new(name).unwrap(),
            generation: Box::new(generation("1", 1, &State::default())),
            marks: Marks::default(),
            with_all,
        });
        assert!(matches!(ready, Reply::Done), "{ready:?}");
    }

    fn go_back(&mut self, name: &str) {
        let back = self.client.ask(Request::GoBack {
            run: run(),
            app: AppName::new(name).unwrap(),
            reason: "a gate failed".to_owned(),
            hold: None,
            once: crate::model::Once::Waits,
        });
        assert!(matches!(back, Reply::WentBack(_)), "{back:?}");
    }

    /// The apps that are new.
    fn stands_new(&self) -> Vec<&'static str> {
        let is_new = |name: &&str| {
            let note = self.place.root().join(name).join("a");
            !self.host.listing(|path| path == note).is_empty()
        };
        APPS.into_iter().filter(is_new).collect()
    }

    /// The apps that are new once the controller is lost.
    fn lose(self) -> Vec<&'static str> {
        let Self {
            place,
            host,
            client,
        } = self;
        assert_eq!(client.lose(), 0);
        let client = Client::on(host.clone(), place.options(&KINDS));
        let left = Self {
            place,
            host,
            client,
        };
        left.stands_new()
    }

    /// The apps that are new when the helper has died with the controller, and was started again.
    fn lose_both(self) -> Vec<&'static str> {
        let host = self.host.clone();
        host.fault_at(1, Fault::CrashBefore);
        let options = self.place.options(&KINDS);
        let Self { place, client, .. } = self;
        client.lose();
        host.revive();
        recover(&*host, &options);
        let client = Client::on(host.clone(), options);
        let left = Self {
            place,
            host,
            client,
        };
        left.stands_new()
    }
}

fn run() -> RunId {
    RunId("1".to_owned())
}

#[test]
fn apps_that_lose_their_controller_go_back_side_by_side() {
    let two = Two::with(with(After(Box::new(meet))));
    assert_eq!(two.lose(), [""; 0]);
}

#[test]
fn who_is_ready_goes_back_with_an_app_beside_it_that_is_not() {
    let begun = |ready: &[&str]| {
        let mut two = Two::with(&KINDS);
        for name in ready {
            two.ready(name, true);
        }
        two
    };
    for end in [Two::lose, Two::lose_both] {
        assert_eq!(end(begun(&["one"])), [""; 0]);
        assert_eq!(end(begun(&["other"])), [""; 0]);
        // All were ready: members elsewhere may have committed.
        assert_eq!(end(begun(&APPS)), APPS);
        let mut went_back = begun(&["one"]);
        went_back.go_back("other");
        assert_eq!(end(went_back), [""; 0]);
    }
}

#[test]
fn who_is_to_stay_new_without_the_others_stays_so() {
    for end in [Two::lose, Two::lose_both] {
        // First ready with all, then by itself: the run has failed for the other one.
        let mut two = Two::with(&KINDS);
        two.ready("one", true);
        two.go_back("other");
        two.ready("one", false);
        assert_eq!(end(two), ["one"]);
    }
}

#[test]
fn of_two_names_for_one_machine_each_is_by_itself() {
    for end in [Two::lose, Two::lose_both] {
        let mut two = Two::named(&KINDS, ["a", "b"]);
        two.ready("one", true);
        assert_eq!(end(two), ["one"]);
    }
}
