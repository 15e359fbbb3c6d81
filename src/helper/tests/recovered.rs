//! What a helper does that was just started, with no controller.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::client::{Client, Place};
use super::runs::{in_memory, registry_on};
use crate::apply::tests::toy::KINDS;
use crate::helper::Options;
use crate::helper::lock::AppLock;
use crate::helper::protocol::Holder;
use crate::helper::recover::recover;
use crate::host::memory::Fault;
use crate::model::{AppName, Author, RunId};

static SAID: Mutex<String> = Mutex::new(String::new());
static HEARD: Condvar = Condvar::new();

fn hear(words: &str) {
    SAID.lock().unwrap().push_str(words);
    HEARD.notify_all();
}

#[test]
fn a_lock_that_is_held_for_something_else_is_waited_for() {
    let place = Place::new();
    let host = in_memory(&place);
    let mut client = Client::on(host.clone(), place.options(&KINDS));
    client.take(&place, "1", &place.wanted(&[("a", "1")]));
    host.fault_at(1, Fault::CrashBefore);
    client.lose();
    host.revive();
    let is_new = || {
        !host
            .listing(|path| path == place.root().join("a"))
            .is_empty()
    };
    assert!(is_new());

    let freezing = Holder {
        app: AppName::new("toy").unwrap(),
        run: RunId("2".to_owned()),
        author: Author::default(),
        command: "freeze".to_owned(),
        since: String::new(),
        process: std::process::id(),
    };
    let state = registry_on(&host, &place).places(&place.root()).state;
    let lock = AppLock::try_take(&state, &freezing).unwrap().unwrap();
    let options = Options {
        log: hear,
        ..place.options(&KINDS)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| recover(&*host, &options));
        let said = SAID.lock().unwrap();
        let silent = |said: &mut String| !said.contains("toy is held by `freeze`");
        let waited = HEARD.wait_timeout_while(said, Duration::from_secs(20), silent);
        assert!(!waited.unwrap().1.timed_out());
        drop(lock);
    });
    assert!(!is_new());
}
