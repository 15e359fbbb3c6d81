//! Commits that are cut off: the ledger is where a run commits, whatever becomes of its journal.

use super::client::{Client, Place, begin};
use crate::helper::protocol::{RefusalKind, Reply, Request};
use crate::model::{AppName, EventKind, Plan, RunId};

/// A run that has said that it is ready.
fn ready(place: &Place) -> Client {
    let mut client = place.client();
    let wanted = place.wanted(&[("a", "1")]);
    let plan = client.begin(place, "1", &wanted);
    let done = client.steps("1", &plan);
    assert!(matches!(done, Reply::Steps { failed: None }), "{done:?}");
    assert!(matches!(client.ready("1"), Reply::Done));
    client
}

fn journal(place: &Place) -> std::path::PathBuf {
    let apps = std::fs::read_dir(place.state().join("apps")).unwrap();
    let app = apps.last().unwrap().unwrap();
    app.path().join("journal")
}

/// The next run begins, and finds the generation of the first.
fn goes_on(place: &Place) {
    let mut next = place.client();
    let survey = next.survey(place);
    assert!(survey.interrupted.is_none());
    assert_eq!(survey.ledger.unwrap().current().unwrap().number, 1);
    next.apply(place, "2", 2, &place.wanted(&[("a", "2")]));
}

#[test]
fn a_commit_cut_off_before_its_journal_is_closed_is_a_commit() {
    let place = Place::new();
    let mut client = ready(&place);
    let path = journal(&place);
    let open = std::fs::read(&path).unwrap();
    let committed = client.commit("1");
    assert!(matches!(committed, Reply::Committed(_)), "{committed:?}");
    assert_eq!(client.lose(), 0);
    std::fs::write(&path, open).unwrap();
    goes_on(&place);
}

#[test]
fn nobody_goes_back_from_what_the_ledger_has() {
    let place = Place::new();
    let mut client = ready(&place);
    let path = journal(&place);
    let open = std::fs::read(&path).unwrap();
    client.commit("1");
    assert_eq!(client.lose(), 0);
    std::fs::write(&path, open).unwrap();
    let after = place.seen();
    let mut next = place.client();
    assert!(matches!(next.lock(&place, "2"), Reply::Done));
    let back = next.ask(Request::GoBack {
        run: RunId("1".to_owned()),
        app: AppName::new("toy").unwrap(),
        reason: "too late".to_owned(),
        hold: None,
        once: crate::model::Once::Undone,
    });
    match back {
        Reply::Refused(refusal) => assert_eq!(refusal.kind, RefusalKind::Internal),
        other => panic!("{other:?}"),
    }
    assert_eq!(place.seen(), after);
    let head = Some(RunId("1".to_owned()));
    let begun = next.ask(begin(&place, "2", Plan::default(), head));
    assert!(matches!(begun, Reply::Begun { .. }), "{begun:?}");
}

#[test]
fn a_journal_that_refuses_the_last_record_takes_no_commit_back() {
    let place = Place::new();
    let mut client = ready(&place);
    let path = journal(&place);
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::fs::create_dir(&path).unwrap();
    let committed = client.commit("1");
    assert!(matches!(committed, Reply::Committed(_)), "{committed:?}");
    let noted = client.events.iter().any(
        |event| matches!(event, EventKind::Note { text, .. } if text.contains("is still open")),
    );
    assert!(noted, "{:?}", client.events);
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(client.lose(), 0);
    goes_on(&place);
}
