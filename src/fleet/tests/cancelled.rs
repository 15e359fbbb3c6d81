//! Runs that are cancelled, and runs from which there is no way back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{cancelled, conducted, said, three, two_waves};
use crate::fleet::testing::{Fault, Lab, member, plan, step};
use crate::fleet::{Canceller, MemberEnd};
use crate::model::{Label, OutcomeKind, Wave};

/// Waits until a host was told so.
async fn told(lab: &Lab, words: &str) {
    while lab.told(words).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cancel_takes_all_back_and_holds_nothing() {
    let lab = three(vec![Fault::Hang {
        at: "steps current",
    }]);
    let (canceller, cancelling) = Canceller::new();
    let run = lab.run(two_waves());
    let cancel = async {
        told(&lab, "b steps current").await;
        canceller.signal(15);
    };
    let ((end, _), ()) = tokio::join!(cancelled(&lab, run, &cancelling), cancel);
    assert_eq!(said(&end), (OutcomeKind::Cancelled, 143));
    assert!(lab.host("a").ledger.holds.is_empty());
    assert!(lab.host("b").locked.is_none());
}

// A backup is under way, and after it comes what can't be taken back: as long as that has not begun, all go back.
#[tokio::test]
async fn a_cancel_before_a_point_of_no_return_goes_back() {
    let lab = Lab::new(&[("a", vec![Fault::Hang { at: "steps" }])]);
    let mut steps = plan(vec![
        step("a", "backup", 1, &[]),
        step("a", "migrate", 1, &["a/app/file:backup"]),
    ]);
    steps.steps[1].label = Label::Irreversible;
    let (canceller, cancelling) = Canceller::new();
    let run = lab.run(steps);
    let cancel = async {
        told(&lab, "a steps").await;
        canceller.signal(2);
    };
    let ((end, _), ()) = tokio::join!(cancelled(&lab, run, &cancelling), cancel);
    assert_eq!(said(&end), (OutcomeKind::Cancelled, 130));
    assert_eq!(end.ends[&member("a")], MemberEnd::Back);
}

#[tokio::test]
async fn what_makes_no_progress_past_a_point_of_no_return_is_waited_for_no_longer() {
    let lab = Lab::new(&[("a", vec![Fault::Hang { at: "steps" }])]);
    let mut steps = plan(vec![step("a", "migrate", 1, &[])]);
    steps.steps[0].label = Label::Irreversible;
    let mut run = lab.run(steps);
    run.pace.progress = Duration::from_millis(100);
    run.pace.guard = Duration::from_millis(100);
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Stuck, 8));
}

#[tokio::test]
async fn a_further_signal_ends_the_waiting() {
    let hang = vec![
        Fault::Hang {
            at: "steps current",
        },
        Fault::Hang { at: "go-back" },
    ];
    let lab = three(hang);
    let (canceller, cancelling) = Canceller::new();
    let run = lab.run(two_waves());
    let cancel = async {
        told(&lab, "b steps current").await;
        canceller.signal(2);
        told(&lab, "b go-back").await;
        canceller.signal(2);
    };
    let ((end, _), ()) = tokio::join!(cancelled(&lab, run, &cancelling), cancel);
    assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
}

#[tokio::test]
async fn past_a_point_of_no_return_nobody_who_is_new_goes_back() {
    let lab = three(vec![Fault::Step {
        name: "current",
        verdict: true,
    }]);
    let mut steps = two_waves();
    steps.steps[3].label = Label::Irreversible;
    let (end, _) = conducted(&lab, lab.run(steps)).await;
    assert_eq!(said(&end), (OutcomeKind::Stuck, 8));
    assert_eq!(end.ends[&member("a")], MemberEnd::Committed);
    assert!(matches!(end.ends[&member("b")], MemberEnd::Stuck { .. }));
    // c was in the same wave and came to its end.
    assert_eq!(end.ends[&member("c")], MemberEnd::Committed);
    assert!(lab.told("go-back").is_empty());
    assert_eq!(lab.told("stand"), ["b stand"]);
    let standing = lab.host("b").ledger.standing.clone().unwrap();
    assert!(standing.contains("can't be taken back"), "{standing}");
}

#[tokio::test]
async fn what_fails_past_a_point_of_no_return_is_neither_applied_nor_verified() {
    let lab = Lab::new(&[("a", vec![Fault::Gate]), ("b", vec![]), ("c", vec![])]);
    let mut steps = two_waves();
    steps.steps[1].label = Label::Irreversible;
    let mut run = lab.run(steps);
    run.pace.bakes = BTreeMap::from([(Wave(1), Duration::from_millis(1))]);
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Stuck, 8));
    let MemberEnd::Stuck { problems } = &end.ends[&member("a")] else {
        panic!("{:?}", end.ends);
    };
    assert!(problems[0].contains("status 500"), "{problems:?}");
    assert!(!lab.host("a").ledger.current().unwrap().verified);
}
