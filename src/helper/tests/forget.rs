//! Apps that are taken away, and who may forget them.

use std::fs;

use super::client::{Client, Place};
use super::runs::in_memory;
use crate::apply::tests::toy::KINDS;
use crate::helper::protocol::{RefusalKind, Reply, Request};
use crate::host::memory::Fault;
use crate::host::{HostErrorKind, ReadHost};
use crate::model::{AppName, RunId};

#[test]
fn a_removed_app_is_forgotten() {
    let place = Place::new();
    let mut client = place.client();
    client.apply(&place, "1", 1, &place.wanted(&[("a", "1")]));
    let nothing = place.wanted(&[]);
    client.begin_and_forget(&place, "2", &nothing);
    assert!(!place.root().exists(), "nothing was left in it");
    assert!(client.survey(&place).ledger.is_none());
    let apps = fs::read_dir(place.state().join("apps")).unwrap();
    assert_eq!(apps.count(), 0);
    assert!(matches!(client.lock(&place, "3"), Reply::Done));
}

#[test]
fn an_app_that_was_deployed_again_meanwhile_is_not_forgotten() {
    let place = Place::new();
    let mut client = place.client();
    let wanted = place.wanted(&[("a", "1")]);
    client.apply(&place, "1", 1, &wanted);
    client.begin_and_forget(&place, "2", &place.wanted(&[]));
    assert!(matches!(
        client.ask(Request::Unlock {
            run: RunId("2".to_owned())
        }),
        Reply::Done
    ));
    fs::create_dir(place.root()).unwrap();
    client.apply(&place, "3", 1, &wanted);
    let before = place.seen();
    // Who asked a person in between whether to take away what was left of the app knows nothing of the last run.
    assert!(matches!(client.lock(&place, "4"), Reply::Done));
    let forget = |data| Request::Forget {
        run: RunId("4".to_owned()),
        app: AppName::new("toy").unwrap(),
        data,
    };
    for data in [false, true] {
        let reply = client.ask(forget(data));
        let is_stale = matches!(&reply, Reply::Refused(it) if it.kind == RefusalKind::Stale);
        assert!(is_stale, "{reply:?}");
    }
    assert_eq!(place.seen(), before);
    assert!(client.survey(&place).ledger.is_some());
}

#[test]
fn an_app_is_forgotten_only_when_nothing_of_it_is_left() {
    let place = Place::new();
    let host = in_memory(&place);
    let mut client = Client::on(host.clone(), place.options(&KINDS));
    client.apply(&place, "1", 1, &place.wanted(&[("a", "1")]));
    client.take(&place, "2", &place.wanted(&[]));
    assert!(matches!(client.ready("2"), Reply::Done));
    assert!(matches!(client.commit("2"), Reply::Committed(_)));
    host.set_read_only(true);
    let id = client.send_forget("2");
    // Once it is forgotten nobody knows that what is left is rosey's.
    let waits = client.receive();
    assert!(
        format!("{waits:?}").contains("toy to be forgotten"),
        "{waits:?}"
    );
    host.set_read_only(false);
    let forgotten = client.answer(id);
    assert!(matches!(forgotten, Reply::Forgotten(_)), "{forgotten:?}");
    assert!(client.survey(&place).ledger.is_none());
}

#[test]
fn what_a_commit_could_not_take_away_goes_before_the_app_is_forgotten() {
    let aside = |at: u64| {
        let place = Place::new();
        let host = in_memory(&place);
        let mut client = Client::on(host.clone(), place.options(&KINDS));
        client.apply(&place, "1", 1, &place.wanted(&[("a", "1")]));
        let plan = client.begin(&place, "2", &place.wanted(&[]));
        client.steps("2", &plan);
        client.ready("2");
        let aside = place.root().join("a.new");
        host.put_file(&aside, "put aside");
        host.fault_at(at, Fault::Error(HostErrorKind::ReadOnly));
        let committed = matches!(client.commit("2"), Reply::Committed(_));
        let was_left = host.entry(&aside).unwrap().is_some();
        if committed {
            let id = client.send_forget("2");
            let forgotten = client.answer(id);
            assert!(
                matches!(forgotten, Reply::Forgotten(_)),
                "{at}: {forgotten:?}"
            );
            assert!(host.entry(&aside).unwrap().is_none(), "{at}");
        }
        committed && was_left
    };
    assert!((1..40).any(aside), "no fault kept it from going");
}
