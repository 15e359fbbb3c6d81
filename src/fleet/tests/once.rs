//! What a run does once for all hosts, where the run fails.

use std::sync::Arc;

use super::{FAILS, conducted, said, two_waves};
use crate::config::OnFailure;
use crate::fleet::run::conduct;
use crate::fleet::testing::{self, Fault, Lab, Texts, member, plan, step};
use crate::fleet::{Canceller, MemberEnd};
use crate::model::{EventKind, OutcomeKind};

#[tokio::test]
async fn others_go_on_once_it_has_happened() {
    let lab = Lab::new(&[("a", vec![Fault::Slow { at: "steps" }]), ("b", vec![])]);
    let steps = vec![
        step("a", "migrate", 1, &[]),
        step("a", "current", 1, &["a/app/file:migrate"]),
        step("b", "current", 1, &["a/app/file:migrate"]),
    ];
    let (events, mut heard) = testing::events();
    let (canceller, cancelling) = Canceller::new();
    let cancel = async {
        // The gates of the first host may take minutes.
        while let Some(event) = heard.recv().await {
            if matches!(&event.kind, EventKind::StepDone { host, .. } if host.as_str() == "b") {
                break;
            }
        }
        canceller.signal(15);
    };
    let run = conduct(
        lab.run(plan(steps)),
        &lab.fleet,
        Arc::new(Texts),
        &events,
        &cancelling,
    );
    let (end, ()) = tokio::join!(run, cancel);
    assert_eq!(said(&end), (OutcomeKind::Cancelled, 143));
    assert_eq!(lab.told("steps current"), ["b steps current"]);
}

#[tokio::test]
async fn what_happened_once_is_undone_last() {
    let lab = Lab::new(&[("a", vec![Fault::Once]), ("b", vec![]), ("c", vec![FAILS])]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::RolledBack, 7));
    let told = lab.told("go-back");
    assert_eq!(told.len(), 4);
    assert_eq!(told[3], "a go-back all");
}

#[tokio::test]
async fn what_happened_once_stays_while_a_host_is_not_back() {
    let lab = Lab::new(&[
        ("a", vec![Fault::Once]),
        (
            "b",
            vec![Fault::Lost {
                at: "go-back",
                after: false,
            }],
        ),
        ("c", vec![FAILS]),
    ]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    // Nobody is needed: the host that is lost goes back by itself, and the next command undoes the rest.
    assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
    assert!(lab.told("go-back all").is_empty());
}

#[tokio::test]
async fn what_happened_once_stays_while_a_person_is_needed() {
    let lab = Lab::new(&[
        ("a", vec![Fault::Once]),
        ("b", vec![Fault::NotBack]),
        ("c", vec![FAILS]),
    ]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::Stuck, 8));
    assert!(lab.told("go-back all").is_empty());
}

#[tokio::test]
async fn what_happened_once_waits_for_a_host_that_was_put_up_with() {
    let lost = Fault::Lost {
        at: "steps",
        after: false,
    };
    let lab = Lab::new(&[
        ("a", vec![Fault::Once]),
        ("b", vec![lost]),
        ("c", vec![FAILS]),
    ]);
    let mut run = lab.run(two_waves());
    run.pace.max_failures = 1;
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
    assert!(lab.told("go-back all").is_empty());
}

#[tokio::test]
async fn what_happened_once_stays_done_where_others_are_new_for_good() {
    let lab = Lab::new(&[
        ("a", vec![]),
        ("b", vec![Fault::Once, FAILS]),
        ("c", vec![]),
    ]);
    let mut run = lab.run(two_waves());
    run.pace.on_failure = OnFailure::RollbackWave;
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Degraded, 17));
    assert_eq!(end.ends[&member("a")], MemberEnd::Committed);
    assert_eq!(end.ends[&member("b")], MemberEnd::Back);
    let told = lab.told("go-back");
    assert_eq!(told.last().unwrap(), "b go-back from what stays");
    assert!(lab.told("go-back all").is_empty());
    assert!(lab.host("b").open.is_none());
}
