//! Whole runs: what every host is told, in which order, and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{FAILS, conducted, said, three, two_waves};
use crate::config::OnFailure;
use crate::fleet::run::{Forget, conduct};
use crate::fleet::testing::{self, Fault, Lab, Texts, generation, host, member, plan, step};
use crate::fleet::{Canceller, Cancelling, MemberEnd};
use crate::helper::protocol::RefusalKind;
use crate::model::{Digest, EventKind, OutcomeKind, Wave};

/// The words of the log with every host's in one line each time the word changes.
fn phases(lab: &Lab) -> Vec<String> {
    let mut phases: Vec<(String, Vec<String>)> = Vec::new();
    for line in lab.log() {
        let (host, word) = line.split_once(' ').unwrap();
        match phases.last_mut() {
            Some((last, hosts)) if last == word => hosts.push(host.to_owned()),
            _ => phases.push((word.to_owned(), vec![host.to_owned()])),
        }
    }
    let line = |(word, mut hosts): (String, Vec<String>)| {
        hosts.sort();
        format!("{word}: {}", hosts.join(" "))
    };
    phases.into_iter().map(line).collect()
}

#[tokio::test]
async fn a_run_goes_wave_by_wave_and_ends_in_two_rounds() {
    let lab = three(vec![]);
    let (end, events) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::Applied, 0));
    let log = phases(&lab);
    let first = [
        "lock: a b c",
        "begin: a b c",
        "steps release: a b c",
        "steps current: a b c",
        "ready: a b c",
        "commit: a b c",
        "prune: a b c",
    ];
    assert_eq!(log[..first.len()], first);
    assert_eq!(log.last().unwrap(), "unlock: a b c");
    // The first wave was over before the second began.
    let waves: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::WaveStarted { wave, of, hosts } => Some((wave.0, *of, hosts.len())),
            _ => None,
        })
        .collect();
    assert_eq!(waves, [(0, 2, 3), (1, 2, 1), (2, 2, 2)]);
    assert_eq!(lab.told("steps current")[0], "a steps current");
    for name in ["a", "b", "c"] {
        let host = lab.host(name);
        let current = host.ledger.current().unwrap();
        assert!(current.verified);
        assert_eq!(current.at, "2026-11-20T12:00:00Z");
        assert!(host.locked.is_none() && host.open.is_none());
        let outcome = &end.outcome.hosts[&testing::host(name)][0];
        assert_eq!((outcome.generation, outcome.healthy), (Some(2), Some(true)));
    }
}

#[tokio::test]
async fn a_verdict_on_one_host_takes_all_back_and_holds_everywhere() {
    let lab = three(vec![FAILS]);
    let (end, events) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::RolledBack, 7));
    for name in ["a", "b", "c"] {
        let host = lab.host(name);
        assert!(host.done.is_empty() && host.open.is_none() && host.locked.is_none());
        assert_eq!(host.ledger.generations.len(), 1);
        assert_eq!(host.ledger.holds[0].declared, Digest::of(b"declared"));
        assert_eq!(
            end.outcome.hosts[&testing::host(name)][0].generation,
            Some(1)
        );
    }
    assert_eq!(lab.told("commit").len() + lab.told("ready").len(), 0);
    let back = events
        .iter()
        .filter(|it| matches!(it, EventKind::WentBack { complete: true, .. }));
    assert_eq!(back.count(), 3);
}

#[tokio::test]
async fn what_is_no_verdict_holds_nothing() {
    let lab = three(vec![Fault::Step {
        name: "current",
        verdict: false,
    }]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::RolledBack, 7));
    assert!(lab.host("a").ledger.holds.is_empty());
}

#[tokio::test]
async fn a_lost_host_is_still_going_back() {
    let lab = three(vec![Fault::Lost {
        at: "steps current",
        after: true,
    }]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
    assert_eq!(end.ends[&member("a")], MemberEnd::Back);
    assert!(matches!(
        end.ends[&member("b")],
        MemberEnd::GoingBack { .. }
    ));
    assert_eq!(end.outcome.hosts[&host("b")][0].healthy, None);
    assert!(lab.host("a").ledger.holds.is_empty());
}

#[tokio::test]
async fn a_host_that_falls_silent_between_its_steps_is_noticed() {
    // It stops answering with its first heartbeat after the release, long before its wave.
    let lab = Lab::new(&[
        (
            "a",
            vec![Fault::Hang {
                at: "steps current",
            }],
        ),
        ("b", vec![]),
        (
            "c",
            vec![Fault::Silent {
                at: "steps release",
            }],
        ),
    ]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
    assert!(
        end.failures[0].error.contains("no sign of life"),
        "{:?}",
        end.failures
    );
}

#[tokio::test]
async fn what_cannot_be_put_back_needs_a_person() {
    let lab = three(vec![FAILS, Fault::NotBack]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::Stuck, 8));
    let MemberEnd::Stuck { problems } = &end.ends[&member("b")] else {
        panic!("b isn't stuck");
    };
    assert_eq!(problems, &["/opt/app/current is not as it was"]);
    assert_eq!(end.ends[&member("c")], MemberEnd::Back);
}

#[tokio::test]
async fn a_held_lock_refuses_the_run_and_all_others_are_given_back() {
    let lab = three(vec![Fault::Busy { times: 1 }]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::Refused, 5));
    assert_eq!(end.holder.unwrap().run.0, "another");
    assert!(lab.told("begin").is_empty());
    for name in ["a", "b", "c"] {
        assert!(lab.host(name).locked.is_none());
    }
}

#[tokio::test]
async fn a_held_lock_is_tried_again_after_all_were_given_back() {
    let lab = three(vec![Fault::Busy { times: 2 }]);
    let mut run = lab.run(two_waves());
    run.pace.wait = true;
    let (end, events) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Applied, 0));
    let waiting: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::Waiting { reason, .. } => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(waiting.len(), 2);
    assert_eq!(
        waiting[0],
        "the lock of app, held by ann@desk for `apply` since 2026-11-20T11:00:00Z (run another)"
    );
    assert_eq!(
        phases(&lab)[..4],
        [
            "lock: a b c",
            "unlock: a b c",
            "lock: a b c",
            "unlock: a b c"
        ]
    );
}

#[tokio::test]
async fn a_stale_plan_changes_nothing_anywhere() {
    let kind = RefusalKind::Stale;
    let lab = three(vec![Fault::Refuse { at: "begin", kind }]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::Refused, 6));
    assert!(lab.told("steps").is_empty());
    assert!(lab.host("a").open.is_none());
}

#[tokio::test]
async fn a_stale_plan_that_is_made_anew_is_no_outcome() {
    let kind = RefusalKind::Stale;
    let lab = three(vec![Fault::Refuse { at: "begin", kind }]);
    let mut run = lab.run(two_waves());
    run.pace.anew = true;
    let (events, receiver) = testing::events();
    let never = Cancelling::never();
    let end = conduct(run, &lab.fleet, Arc::new(Texts), &events, &never).await;
    assert!(end.anew);
    let events = testing::all(receiver);
    assert!(matches!(
        events.last(),
        Some(EventKind::PlannedAnew { run }) if run.0 == "the-run"
    ));
    let is_outcome = |it: &EventKind| matches!(it, EventKind::Outcome(_));
    assert!(!events.iter().any(is_outcome));
    for name in ["a", "b", "c"] {
        let host = lab.host(name);
        assert!(host.locked.is_none() && host.open.is_none(), "{name}");
    }
}

#[tokio::test]
async fn only_what_is_stale_is_planned_anew() {
    let kind = RefusalKind::Host;
    for fault in [
        Fault::Refuse { at: "begin", kind },
        Fault::Busy { times: 1 },
    ] {
        let lab = three(vec![fault]);
        let mut run = lab.run(two_waves());
        run.pace.anew = true;
        let (end, _) = conducted(&lab, run).await;
        assert!(!end.anew && end.outcome.outcome == OutcomeKind::Refused);
    }
}

#[tokio::test]
async fn a_host_that_isnt_ready_takes_all_back() {
    for after in [false, true] {
        let lab = three(vec![Fault::Lost { at: "ready", after }]);
        let (end, _) = conducted(&lab, lab.run(two_waves())).await;
        assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
        assert!(lab.told("commit").is_empty());
        assert_eq!(end.ends[&member("c")], MemberEnd::Back);
    }
}

#[tokio::test]
async fn after_one_host_has_committed_there_is_only_forward() {
    let lab = three(vec![Fault::Lost {
        at: "commit",
        after: false,
    }]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
    assert!(lab.told("go-back").is_empty());
    assert_eq!(end.ends[&member("a")], MemberEnd::Committed);
    assert_eq!(lab.host("c").ledger.current().unwrap().number, 2);
}

#[tokio::test]
async fn where_nobody_can_commit_everybody_goes_back() {
    let fault = || {
        vec![Fault::Refuse {
            at: "commit",
            kind: RefusalKind::Host,
        }]
    };
    let lab = Lab::new(&[("a", fault()), ("b", fault()), ("c", fault())]);
    let (end, _) = conducted(&lab, lab.run(two_waves())).await;
    assert_eq!(said(&end), (OutcomeKind::RolledBack, 7));
}

#[tokio::test]
async fn the_wave_that_failed_goes_back_where_that_is_declared() {
    let lab = three(vec![FAILS]);
    let mut run = lab.run(two_waves());
    run.pace.on_failure = OnFailure::RollbackWave;
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Degraded, 17));
    assert_eq!(end.ends[&member("a")], MemberEnd::Committed);
    assert_eq!(end.ends[&member("b")], MemberEnd::Back);
    assert_eq!(end.ends[&member("c")], MemberEnd::Back);
    assert_eq!(lab.host("a").ledger.holds.len(), 1);
    // It commits though the others are back.
    assert_eq!(lab.told("ready"), ["a ready alone"]);
}

#[tokio::test]
async fn who_goes_back_with_the_rest_is_ready_with_all() {
    for on_failure in [OnFailure::RollbackAll, OnFailure::RollbackWave] {
        let lab = three(vec![]);
        let mut run = lab.run(two_waves());
        run.pace.on_failure = on_failure;
        conducted(&lab, run).await;
        let with_all = on_failure == OnFailure::RollbackAll;
        let alone = lab.told("ready alone").len();
        assert_eq!(alone, if with_all { 0 } else { 3 });
    }
}

#[tokio::test]
async fn a_host_that_is_kept_and_lost_needs_nobody() {
    let lost = Fault::Lost {
        at: "ready",
        after: false,
    };
    let lab = Lab::new(&[("a", vec![lost]), ("b", vec![FAILS]), ("c", vec![])]);
    let mut run = lab.run(two_waves());
    run.pace.on_failure = OnFailure::RollbackWave;
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
    assert!(matches!(
        end.ends[&member("a")],
        MemberEnd::GoingBack { .. }
    ));
}

#[tokio::test]
async fn a_failure_that_is_allowed_leaves_the_others_new() {
    let lab = three(vec![FAILS]);
    let mut run = lab.run(two_waves());
    run.pace.max_failures = 1;
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Degraded, 17));
    assert_eq!(end.ends[&member("b")], MemberEnd::Back);
    assert_eq!(end.ends[&member("c")], MemberEnd::Committed);
    assert_eq!(end.outcome.hosts[&host("b")][0].generation, Some(1));
    // What was healthy elsewhere is held only where it wasn't.
    let held = |name: &str| lab.host(name).ledger.holds.len();
    assert_eq!(["a", "b", "c"].map(held), [0, 1, 0]);
    assert_eq!(
        lab.host("b").ledger.holds[0].declared,
        Digest::of(b"declared")
    );
}

#[tokio::test]
async fn a_failure_that_is_allowed_and_is_no_verdict_holds_nothing() {
    let lab = three(vec![Fault::Step {
        name: "current",
        verdict: false,
    }]);
    let mut run = lab.run(two_waves());
    run.pace.max_failures = 1;
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Degraded, 17));
    assert!(lab.host("b").ledger.holds.is_empty());
}

#[tokio::test]
async fn a_round_that_lasts_is_told_with_those_that_it_waits_for() {
    let lab = three(vec![Fault::Hang { at: "ready" }]);
    let (canceller, cancelling) = Canceller::new();
    let (events, mut heard) = testing::events();
    let run = lab.run(two_waves());
    let cancel = async {
        let mut told = Vec::new();
        while told.is_empty() {
            if let EventKind::Waiting { reason, .. } = heard.recv().await.unwrap().kind {
                told.push(reason);
            }
        }
        canceller.signal(15);
        told
    };
    let run = conduct(run, &lab.fleet, Arc::new(Texts), &events, &cancelling);
    let (end, told) = tokio::join!(run, cancel);
    assert_eq!(told, ["b to be ready"]);
    assert_eq!(said(&end), (OutcomeKind::Cancelled, 143));
}

#[tokio::test]
async fn a_gate_that_fails_while_a_wave_bakes_is_a_verdict() {
    let lab = Lab::new(&[("a", vec![Fault::Gate]), ("b", vec![]), ("c", vec![])]);
    let mut run = lab.run(two_waves());
    run.pace.bakes = BTreeMap::from([(Wave(1), Duration::from_millis(1))]);
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::RolledBack, 7));
    assert_eq!(
        end.failures[0].error,
        "app on a: http http://127.0.0.1:8000/ failed: status 500, expected 200"
    );
    assert_eq!(lab.told("steps current"), ["a steps current"]);
    assert_eq!(lab.host("c").ledger.holds.len(), 1);
}

#[tokio::test]
async fn nobody_is_forgotten_while_one_has_yet_to_commit() {
    let lost = Fault::Lost {
        at: "commit",
        after: false,
    };
    for (faults, forgotten) in [(vec![lost], 0), (vec![], 2)] {
        let lab = Lab::new(&[("a", vec![]), ("b", faults)]);
        let mut run = lab.run(plan(vec![
            step("a", "current", 1, &[]),
            step("b", "current", 1, &[]),
        ]));
        for part in run.parts.values_mut() {
            part.forget = Some(Forget { data: false });
        }
        let (end, _) = conducted(&lab, run).await;
        assert_eq!(end.ends[&member("a")], MemberEnd::Committed);
        assert_eq!(lab.told("forget").len(), forgotten);
    }
}

#[tokio::test]
async fn a_run_that_makes_no_progress_fails() {
    let lab = three(vec![Fault::Hang {
        at: "steps current",
    }]);
    let mut run = lab.run(two_waves());
    run.pace.progress = Duration::from_millis(100);
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::RolledBack, 7));
    assert!(end.failures[0].error.contains("nothing has begun or ended"));
}

#[tokio::test]
async fn content_that_a_host_lacks_is_brought_from_here_and_from_another_host() {
    let lab = three(vec![]);
    let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| Digest::of(bytes));
    lab.host("a").has = [one, two, three].into();
    lab.host("b").has = [one].into();
    lab.host("c").has = [one, two, three].into();
    let mut run = lab.run(two_waves());
    for part in run.parts.values_mut() {
        part.digests = [one, two].into();
    }
    let (end, events) = conducted(&lab, run.clone()).await;
    assert_eq!(said(&end), (OutcomeKind::Applied, 0));
    assert_eq!(lab.told("pack"), ["b pack"]);
    assert_eq!(lab.host("b").received, two.to_string().into_bytes());
    let transfers = events
        .iter()
        .filter(|it| matches!(it, EventKind::Transfer { done: true, .. }));
    assert_eq!(transfers.count(), 1);
}

#[tokio::test]
async fn content_that_another_host_had_and_has_no_more_ends_the_run() {
    let lab = three(vec![]);
    let digest = Digest::of(b"1");
    let mut run = lab.run(two_waves());
    let part = run.parts.get_mut(&member("b")).unwrap();
    part.digests = [digest].into();
    part.elsewhere = [(digest, host("a"))].into();
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::RolledBack, 7));
    assert_eq!(lab.told("supply"), ["a supply"]);
    assert!(
        end.failures[0].error.contains("and is no more"),
        "{:?}",
        end.failures
    );
}

#[tokio::test]
async fn an_app_that_goes_for_good_is_forgotten_after_its_steps() {
    let lab = three(vec![]);
    let mut run = lab.run(two_waves());
    for part in run.parts.values_mut() {
        part.forget = Some(Forget { data: false });
    }
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Applied, 0));
    assert_eq!(lab.told("forget").len(), 3);
    assert!(lab.told("prune").is_empty());
    assert_eq!(end.outcome.hosts[&host("a")][0].generation, None);
}

#[tokio::test]
async fn a_ledger_that_does_not_show_the_run_is_no_success() {
    let lab = three(vec![]);
    let mut run = lab.run(two_waves());
    let part = run.parts.get_mut(&member("b")).unwrap();
    part.generation = generation(9, Some(1));
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::Stuck, 8));
}

#[tokio::test]
async fn a_host_that_never_answers_its_commit_holds_no_other_up() {
    let lab = Lab::new(&[("a", vec![]), ("b", vec![Fault::Hang { at: "commit" }])]);
    let mut run = lab.run(plan(vec![
        step("a", "current", 1, &[]),
        step("b", "current", 1, &[]),
    ]));
    run.pace.guard = Duration::from_millis(50);
    run.pace.progress = Duration::from_millis(50);
    let (end, _) = conducted(&lab, run).await;
    assert_eq!(said(&end), (OutcomeKind::GoingBack, 18));
    assert_eq!(end.ends[&member("a")], MemberEnd::Committed);
    let MemberEnd::Unconfirmed { reason } = &end.ends[&member("b")] else {
        panic!("{:?}", end.ends);
    };
    assert!(reason.contains("not answered in time"), "{reason}");
    assert!(lab.host("a").locked.is_none());
}
