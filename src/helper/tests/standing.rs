//! Points of no return: what is left between old and new, and what clears it.

use super::client::{Client, Place, begin};
use crate::apply::tests::toy::difference;
use crate::helper::protocol::{Reply, Request};
use crate::model::{AppName, Label, Plan, RunId, Value};

const NOTES: [(&str, &str); 2] = [("a", "2"), ("b", "2")];

/// A generation, and then a run whose first step can't be taken back and is done.
fn half(place: &Place, compatible: bool) -> (Client, Plan) {
    let mut client = place.client();
    client.apply(place, "1", 1, &place.wanted(&[("a", "1"), ("b", "1")]));
    let wanted = place.wanted(&NOTES);
    let head = client.survey(place).ledger.unwrap().head;
    let mut plan = difference(&client.actual(place, &wanted), &wanted);
    let first = &mut plan.steps[0];
    first.label = Label::Irreversible;
    if let Some(to) = &mut first.to {
        let compatible = Value::Bool(compatible);
        to.settings.insert("compatible".to_owned(), compatible);
    }
    assert!(matches!(client.lock(place, "2"), Reply::Done));
    let begun = client.ask(begin(place, "2", plan.clone(), head));
    assert!(matches!(begun, Reply::Begun { .. }), "{begun:?}");
    let first = Plan {
        steps: plan.steps[..1].to_vec(),
    };
    let done = client.steps("2", &first);
    assert!(matches!(done, Reply::Steps { failed: None }), "{done:?}");
    (client, plan)
}

/// It is told that the app stands there, until the next run has committed.
fn goes_on(place: &Place) {
    let mut next = place.client();
    let survey = next.survey(place);
    assert!(survey.interrupted.is_none() && survey.holder.is_none());
    let standing = survey.ledger.unwrap().standing.unwrap();
    assert!(standing.contains("between old and new"), "{standing}");
    let state = std::path::PathBuf::from(survey.state);
    assert!(state.join("ledger.json").exists());
    assert!(!state.join("ledger.reserve").exists(), "room is given back");
    next.apply(place, "3", 2, &place.wanted(&NOTES));
    assert_eq!(next.survey(place).ledger.unwrap().standing, None);
}

#[test]
fn a_lost_controller_takes_nothing_back_past_the_point_of_no_return() {
    let place = Place::new();
    let (client, _) = half(&place, false);
    let stands = place.seen();
    assert_eq!(client.lose(), 0);
    assert_eq!(place.seen(), stands);
    goes_on(&place);
}

#[test]
fn what_the_old_release_can_live_with_is_taken_back() {
    let place = Place::new();
    let (client, _) = half(&place, true);
    let stands = place.seen();
    assert_eq!(client.lose(), 0);
    assert_ne!(place.seen(), stands);
    assert_eq!(place.client().survey(&place).ledger.unwrap().standing, None);
}

#[test]
fn nor_does_anybody_who_asks_for_it() {
    let place = Place::new();
    let (mut client, _) = half(&place, false);
    let stands = place.seen();
    let back = client.ask(Request::GoBack {
        run: RunId("2".to_owned()),
        app: AppName::new("toy").unwrap(),
        reason: "a gate failed".to_owned(),
        hold: None,
        once: crate::model::Once::Undone,
    });
    match back {
        Reply::WentBack(back) => assert_eq!((back.steps, back.problems.len()), (0, 1)),
        other => panic!("{other:?}"),
    }
    let run = RunId("2".to_owned());
    assert!(matches!(client.ask(Request::Unlock { run }), Reply::Done));
    assert_eq!(client.lose(), 0);
    assert_eq!(place.seen(), stands);
    goes_on(&place);
}

#[test]
fn a_host_is_left_standing_for_what_another_has_done() {
    let place = Place::new();
    // Its own steps could all be taken back.
    let (mut client, _) = half(&place, true);
    let stands = place.seen();
    let stand = client.ask(Request::Stand {
        run: RunId("2".to_owned()),
        app: AppName::new("toy").unwrap(),
        reason: "the migration on another host can't be taken back".to_owned(),
    });
    assert!(matches!(stand, Reply::Done), "{stand:?}");
    assert_eq!(client.lose(), 0);
    assert_eq!(place.seen(), stands);
    goes_on(&place);
}
