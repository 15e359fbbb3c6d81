//! Apps that are taken away, and who may forget them.

use std::fs;

use super::client::Place;
use crate::helper::protocol::{RefusalKind, Reply, Request};
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
