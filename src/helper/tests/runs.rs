//! Runs from their first word to their last, and runs that are cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{Client, Place, begin};
use crate::apply::tests::toy::{KINDS, difference};
use crate::content::{Manifest, PackWriter, Store, make_own};
use crate::helper::protocol::{Message, PACK_CREDIT, PACK_FRAME, RefusalKind, Reply, Request};
use crate::helper::recover::recover;
use crate::helper::registry::Registry;
use crate::host::memory::{Fault, Primitive};
use crate::host::{HostErrorKind, LocalHost, MemoryHost, Space};
use crate::model::{AppName, Digest, Plan, RunId};

fn go_back(run: &str) -> Request {
    Request::GoBack {
        run: RunId(run.to_owned()),
        app: AppName::new("toy").unwrap(),
        reason: "a gate failed".to_owned(),
        hold: None,
        once: crate::model::Once::Undone,
    }
}

fn refused(reply: Reply) -> RefusalKind {
    match reply {
        Reply::Refused(refusal) => refusal.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_that_goes_well_is_a_generation() {
    let place = Place::new();
    let before = place.seen();
    let wanted = place.wanted(&[("a", "1"), ("b", "2")]);
    let mut client = place.client();
    let first = client.survey(&place);
    assert!(first.ledger.is_none() && first.holder.is_none() && first.interrupted.is_none());
    assert!(
        !client
            .actual(&place, &wanted)
            .resources
            .contains_key(&place.id("note", "a"))
    );
    assert!(!place.state().exists(), "reading writes nothing");
    client.apply(&place, "1", 1, &wanted);
    let ledger = client.survey(&place).ledger.unwrap();
    assert_eq!(ledger.head, Some(RunId("1".to_owned())));
    assert_eq!(ledger.generations.len(), 2);
    assert!(ledger.generations[0].state.resources.is_empty());
    assert_eq!(ledger.generations[1].state, wanted);
    assert_eq!(ledger.changes.len(), 3);
    let actual = client.actual(&place, &wanted);
    assert!(crate::apply::tests::toy::difference(&actual, &wanted).is_empty());
    assert_eq!(place.seen().len(), before.len() + 3);
    assert_eq!(client.lose(), 0);
}

#[test]
fn a_controller_that_is_lost_leaves_everything_as_it_was() {
    let place = Place::new();
    let mut client = place.client();
    client.apply(&place, "1", 1, &place.wanted(&[("a", "1"), ("b", "2")]));
    let before = place.seen();
    let wanted = place.wanted(&[("b", "3"), ("c", "4")]);
    client.take(&place, "2", &wanted);
    assert_ne!(place.seen(), before);
    assert_eq!(client.lose(), 0);
    assert_eq!(place.seen(), before);
    let mut next = place.client();
    let survey = next.survey(&place);
    assert!(survey.holder.is_none() && survey.interrupted.is_none());
    let ledger = survey.ledger.unwrap();
    assert_eq!(ledger.current().unwrap().number, 1);
    assert_eq!(
        ledger.head,
        Some(RunId("2".to_owned())),
        "a plan applies at most once"
    );
    assert!(ledger.notice.unwrap().contains("went back"));
    next.apply(&place, "3", 2, &wanted);
}

#[test]
fn what_was_there_already_is_part_of_generation_0() {
    let place = Place::new();
    std::fs::write(place.root().join("a"), "1").unwrap();
    let mut client = place.client();
    client.apply(&place, "1", 1, &place.wanted(&[("a", "1"), ("b", "2")]));
    let ledger = client.survey(&place).ledger.unwrap();
    let first = &ledger.generations[0].state;
    assert_eq!(
        first.get(&place.id("note", "a")).unwrap().text("content"),
        Some("1")
    );
    assert_eq!(first.resources.len(), 1);
}

#[test]
fn going_back_on_request_and_again() {
    let place = Place::new();
    let mut client = place.client();
    let before = place.seen();
    let wanted = place.wanted(&[("a", "1")]);
    let plan = client.begin(&place, "1", &wanted);
    let half = Plan {
        steps: plan.steps[..1].to_vec(),
    };
    assert!(matches!(
        client.steps("1", &half),
        Reply::Steps { failed: None }
    ));
    let go_back = || Request::GoBack {
        run: RunId("1".to_owned()),
        app: AppName::new("toy").unwrap(),
        reason: "a gate failed".to_owned(),
        hold: None,
        once: crate::model::Once::Undone,
    };
    match client.ask(go_back()) {
        Reply::WentBack(went) => assert_eq!((went.steps, went.problems.len()), (1, 0)),
        other => panic!("{other:?}"),
    }
    assert_eq!(place.seen(), before);
    assert_eq!(refused(client.ask(go_back())), RefusalKind::NoSuchRun);
    assert_eq!(refused(client.steps("1", &plan)), RefusalKind::NoSuchRun);
    assert_eq!(refused(client.ready("1")), RefusalKind::NoSuchRun);
}

#[test]
fn what_is_ready_is_kept_and_settled_by_the_next() {
    let place = Place::new();
    let mut client = place.client();
    let before = place.seen();
    let wanted = place.wanted(&[("a", "1")]);
    let plan = client.take(&place, "1", &wanted);
    assert!(matches!(client.ready("1"), Reply::Done));
    let after = place.seen();
    assert_eq!(client.lose(), 0);
    assert_eq!(place.seen(), after);
    let mut next = place.client();
    let interrupted = next.survey(&place).interrupted.unwrap();
    assert!(interrupted.ready && interrupted.begun.len() == plan.steps.len());
    assert!(matches!(next.lock(&place, "2"), Reply::Done));
    let head = Some(RunId("1".to_owned()));
    let early = next.ask(begin(&place, "2", Plan::default(), head));
    assert_eq!(refused(early), RefusalKind::Stale);
    let app = place.address();
    match next.ask(Request::Settle {
        app,
        once: crate::model::Once::Undone,
    }) {
        Reply::WentBack(went) => assert_eq!(went.run, Some(RunId("1".to_owned()))),
        other => panic!("{other:?}"),
    }
    assert_eq!(place.seen(), before);
}

#[test]
fn what_is_ready_may_be_committed_by_the_next() {
    let place = Place::new();
    let mut client = place.client();
    let wanted = place.wanted(&[("a", "1")]);
    client.take(&place, "1", &wanted);
    assert!(matches!(client.ready("1"), Reply::Done));
    assert_eq!(client.lose(), 0);
    let mut next = place.client();
    assert!(matches!(next.lock(&place, "2"), Reply::Done));
    for _ in 0..2 {
        match next.commit("1") {
            Reply::Committed(ledger) => assert_eq!(ledger.generations.len(), 2),
            other => panic!("{other:?}"),
        }
    }
    assert!(next.survey(&place).interrupted.is_none());
}

#[test]
fn a_commit_waits_for_room() {
    let place = Place::new();
    let host = in_memory(&place);
    let mut client = Client::on(host.clone(), place.options(&KINDS));
    let wanted = place.wanted(&[("a", "1")]);
    client.take(&place, "1", &wanted);
    assert!(matches!(client.ready("1"), Reply::Done));
    host.set_read_only(true);
    let id = client.send_commit("1");
    // The other hosts have committed by now: this one says what it waits for, and goes on by itself.
    let waits = client.receive();
    assert!(
        format!("{waits:?}").contains("toy to be committed"),
        "{waits:?}"
    );
    host.set_read_only(false);
    assert!(matches!(client.answer(id), Reply::Committed(_)));
    assert!(client.survey(&place).interrupted.is_none());
}

/// A host in memory with the root of a place, whose lock is on this machine.
pub(super) fn in_memory(place: &Place) -> Arc<MemoryHost> {
    let host = Arc::new(MemoryHost::new());
    host.put_directory(place.root());
    let registry = registry_on(&host, place);
    // A lock is this machine's, whatever the host is.
    std::fs::create_dir_all(registry.places(&place.root()).state).unwrap();
    host
}

/// The registry that such a host has.
pub(super) fn registry_on(host: &MemoryHost, place: &Place) -> Registry {
    let at = crate::helper::registry::Place {
        directory: Some(&place.state()),
        home: None,
    };
    Registry::open(host, at, [3; 32]).unwrap()
}

#[test]
fn a_way_back_is_recorded_on_a_full_disk() {
    let place = Place::new();
    let host = in_memory(&place);
    let options = crate::helper::Options {
        log: |words| assert!(!words.contains("waiting"), "{words}"),
        ..place.options(&KINDS)
    };
    let mut client = Client::on(host.clone(), options);
    client.take(&place, "1", &place.wanted(&[("a", "1")]));
    host.set_free(Some(Space {
        bytes: 0,
        inodes: 0,
    }));
    // What was made is only removed: nothing but the record of it needs room.
    assert_eq!(client.lose(), 0);
    let mut next = Client::on(host.clone(), place.options(&KINDS));
    let survey = next.survey(&place);
    assert!(survey.interrupted.is_none());
    let ledger = survey.ledger.unwrap();
    assert_eq!(ledger.head, Some(RunId("1".to_owned())));
    assert!(ledger.notice.unwrap().contains("went back"));
    let left = host.listing(|path| path.ends_with("ledger.reserve"));
    assert!(left.is_empty());
}

#[test]
fn a_way_back_that_is_cut_off_once_it_is_recorded_needs_no_room_a_second_time() {
    let no_room = Some(Space {
        bytes: 0,
        inodes: 0,
    });
    let is_record = |it: &Primitive| {
        let ledger = it.to.as_ref().is_some_and(|to| to.ends_with("ledger.json"));
        it.path.ends_with("ledger.reserve") && ledger
    };
    for by_controller in [false, true] {
        let place = Place::new();
        let begun = || {
            let host = in_memory(&place);
            let mut client = Client::on(host.clone(), place.options(&KINDS));
            let plan = client.begin(&place, "1", &place.wanted(&[("a", "1")]));
            let steps = client.steps("1", &plan);
            assert!(matches!(steps, Reply::Steps { failed: None }), "{steps:?}");
            host.set_free(no_room);
            drop(host.take_trace());
            (host, client)
        };
        let (whole, client) = begun();
        client.lose();
        let trace = whole.take_trace();
        let recorded = trace.iter().position(is_record).unwrap() as u64 + 1;
        let (host, client) = begun();
        // After the directory is synced, before the journal's end.
        host.fault_at(recorded + 2, Fault::CrashBefore);
        client.lose();
        assert!(host.is_crashed());
        host.revive();
        host.set_free(no_room);
        let options = crate::helper::Options {
            log: |words| assert!(!words.contains("waiting"), "{words}"),
            ..place.options(&KINDS)
        };
        if by_controller {
            let mut next = Client::on(host.clone(), options);
            assert!(matches!(next.lock(&place, "2"), Reply::Done));
            let app = place.address();
            let settled = next.ask(Request::Settle {
                app,
                once: crate::model::Once::Undone,
            });
            assert!(matches!(settled, Reply::WentBack(_)), "{settled:?}");
        } else {
            recover(&*host, &options);
        }
        let survey = Client::on(host, place.options(&KINDS)).survey(&place);
        assert!(survey.interrupted.is_none());
        let notice = survey.ledger.unwrap().notice.unwrap();
        assert!(notice.contains("had begun note "), "{notice}");
        assert!(
            notice.contains("went back: the controller was lost"),
            "{notice}"
        );
    }
}

#[test]
fn a_lock_is_given_back_on_a_full_disk() {
    let place = Place::new();
    let host = in_memory(&place);
    let mut client = Client::on(host.clone(), place.options(&KINDS));
    client.take(&place, "1", &place.wanted(&[("a", "1")]));
    host.set_free(Some(Space {
        bytes: 0,
        inodes: 0,
    }));
    assert!(matches!(client.ask(go_back("1")), Reply::WentBack(_)));
    // That it was heard can't be written down.
    let run = RunId("1".to_owned());
    let given_back = client.ask(Request::Unlock { run });
    assert!(matches!(given_back, Reply::Done), "{given_back:?}");
    let mut next = Client::on(host, place.options(&KINDS));
    assert!(next.survey(&place).ledger.unwrap().notice.is_some());
    assert!(matches!(next.lock(&place, "2"), Reply::Done));
}

#[test]
fn one_run_at_a_time() {
    let place = Place::new();
    let mut one = place.client();
    let mut other = place.client();
    assert!(matches!(one.lock(&place, "1"), Reply::Done));
    match other.lock(&place, "2") {
        Reply::Busy(holder) => assert_eq!(holder.run, RunId("1".to_owned())),
        reply => panic!("{reply:?}"),
    }
    assert_eq!(
        other.survey(&place).holder.unwrap().run,
        RunId("1".to_owned())
    );
    let unheld = other.ask(begin(&place, "2", Plan::default(), None));
    assert_eq!(refused(unheld), RefusalKind::NotLocked);
    assert_eq!(one.lose(), 0);
    assert!(matches!(other.lock(&place, "2"), Reply::Done));
}

#[test]
fn a_plan_that_is_stale_begins_nothing() {
    let place = Place::new();
    let mut client = place.client();
    let wanted = place.wanted(&[("a", "1")]);
    let actual = client.actual(&place, &wanted);
    let plan = crate::apply::tests::toy::difference(&actual, &wanted);
    assert!(matches!(client.lock(&place, "1"), Reply::Done));
    let head = Some(RunId("0".to_owned()));
    let stale = client.ask(begin(&place, "1", plan.clone(), head));
    assert_eq!(refused(stale), RefusalKind::Stale);
    std::fs::write(place.root().join("a"), "by hand").unwrap();
    let stale = client.ask(begin(&place, "1", plan, None));
    assert_eq!(refused(stale), RefusalKind::Stale);
    assert_eq!(std::fs::read(place.root().join("a")).unwrap(), b"by hand");
}

#[test]
fn content_comes_by_credit_and_goes_out_again() {
    let place = Place::new();
    let mut client = place.client();
    client.begin(&place, "1", &place.wanted(&[("a", "1")]));
    // More than the credit, and nothing that compresses.
    let mut content = vec![0; 3 * PACK_CREDIT as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    let digest = Digest::of(&content);
    let lacking = || Request::Lacking {
        app: place.address(),
        manifests: BTreeMap::new(),
        digests: BTreeSet::from([digest]),
    };
    assert!(matches!(client.ask(lacking()), Reply::Lacking(all) if all.len() == 1));
    let mut pack = PackWriter::new(Vec::new()).unwrap();
    pack.add(&digest, content.len() as u64, &mut &content[..])
        .unwrap();
    let pack = pack.finish().unwrap();
    let app = place.address();
    let id = client.send(Request::Pack { app });
    let mut sent = 0;
    for frame in pack.chunks(PACK_FRAME) {
        while sent + frame.len() as u64 > client.credits + PACK_CREDIT {
            match client.receive() {
                Some(crate::helper::frame::Frame::Message(message)) => match *message {
                    Message::Credit { taken, .. } => client.credits = taken,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
        client.bytes(frame);
        sent += frame.len() as u64;
    }
    client.message(&Message::PackEnd { id, bytes: sent });
    let received = client.answer(id);
    assert!(matches!(received, Reply::Done), "{received:?}");
    assert!(matches!(client.ask(lacking()), Reply::Lacking(all) if all.is_empty()));
    let supply = Request::Supply {
        app: place.address(),
        digests: BTreeSet::from([digest, Digest::of(b"elsewhere")]),
    };
    let id = client.send(supply);
    let mut arrived = 0;
    loop {
        match client.receive().unwrap() {
            crate::helper::frame::Frame::Bytes(bytes) => {
                arrived += bytes.len() as u64;
                let taken = arrived;
                client.message(&Message::Credit { id, taken });
            }
            crate::helper::frame::Frame::Message(message) => {
                assert!(matches!(*message, Message::PackEnd { bytes, .. } if bytes == arrived));
                break;
            }
        }
    }
    assert!(matches!(client.answer(id), Reply::Supplied(all) if all == BTreeSet::from([digest])));
}

#[test]
fn a_damaged_pack_is_refused_and_the_session_goes_on() {
    let place = Place::new();
    let mut client = place.client();
    client.begin(&place, "1", &place.wanted(&[("a", "1")]));
    let app = place.address();
    let id = client.send(Request::Pack { app });
    client.bytes(b"no pack at all");
    client.message(&Message::PackEnd { id, bytes: 14 });
    assert_eq!(refused(client.answer(id)), RefusalKind::Host);
    assert!(client.survey(&place).holder.is_some());
}

#[test]
fn content_that_comes_after_the_way_back_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let mut client = place.client();
    std::fs::remove_dir_all(place.root()).unwrap();
    client.begin(&place, "1", &place.wanted(&[("a", "1")]));
    let back = client.ask(go_back("1"));
    assert!(matches!(back, Reply::WentBack(_)), "{back:?}");
    assert!(!place.root().exists());
    let manifest = Manifest::default();
    let lacking = client.ask(Request::Lacking {
        app: place.address(),
        manifests: BTreeMap::from([(manifest.digest().to_string(), manifest)]),
        digests: BTreeSet::new(),
    });
    assert!(matches!(lacking, Reply::Lacking(_)), "{lacking:?}");
    let content = b"late".to_vec();
    let mut pack = PackWriter::new(Vec::new()).unwrap();
    let size = content.len() as u64;
    pack.add(&Digest::of(&content), size, &mut &content[..])
        .unwrap();
    let pack = pack.finish().unwrap();
    let app = place.address();
    let id = client.send(Request::Pack { app });
    client.bytes(&pack);
    let bytes = pack.len() as u64;
    client.message(&Message::PackEnd { id, bytes });
    assert_eq!(refused(client.answer(id)), RefusalKind::NoSuchRun);
    assert!(!place.root().exists());
}

#[test]
fn heartbeats_are_answered_at_once() {
    let place = Place::new();
    let mut client = place.client();
    client.message(&Message::Heartbeat);
    match client.receive().unwrap() {
        crate::helper::frame::Frame::Message(message) => {
            assert!(matches!(*message, Message::Alive));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_whose_journal_cannot_be_made_keeps_no_room() {
    let place = Place::new();
    let locks = tempfile::tempdir().unwrap();
    let options = || crate::helper::Options {
        locks: Some(locks.path().to_owned()),
        ..place.options(&KINDS)
    };
    let wanted = place.wanted(&[("a", "1")]);
    // Locked, and about to begin.
    let ready = || {
        let host = Arc::new(MemoryHost::new());
        let mut client = Client::on(host.clone(), options());
        let plan = difference(&client.actual(&place, &wanted), &wanted);
        let state = std::path::PathBuf::from(client.survey(&place).state);
        let lock = locks.path().join(state.file_name().unwrap());
        std::fs::create_dir_all(lock).unwrap();
        let locked = client.lock(&place, "1");
        assert!(matches!(locked, Reply::Done), "{locked:?}");
        drop(host.take_trace());
        (host, client, begin(&place, "1", plan, None))
    };
    let is_reserve = |path: &std::path::Path| path.ends_with("ledger.reserve");
    let (whole, mut client, request) = ready();
    let begun = client.ask(request);
    assert!(matches!(begun, Reply::Begun { .. }), "{begun:?}");
    assert!(whole.listing(|_| true).paths().any(is_reserve));
    let trace = whole.take_trace();
    let is_journal = |it: &Primitive| it.path.to_string_lossy().contains("journal");
    let journal = trace.iter().position(is_journal).unwrap() as u64 + 1;
    client.lose();
    let (host, mut client, request) = ready();
    let broken = HostErrorKind::Other("broken".to_owned());
    host.fault_at(journal, Fault::Error(broken));
    let begun = client.ask(request);
    assert!(matches!(begun, Reply::Refused(_)), "{begun:?}");
    assert!(!host.listing(|_| true).paths().any(is_reserve));
    client.lose();
}

#[test]
fn a_controller_that_falls_silent_is_lost_after_the_guard_time() {
    let place = Place::new();
    let mut client = place.client();
    client.apply(&place, "1", 1, &place.wanted(&[("a", "1"), ("b", "2")]));
    let before = place.seen();
    client.guard = 500;
    let plan = client.begin(&place, "2", &place.wanted(&[("b", "3"), ("c", "4")]));
    // Heartbeats are enough, for longer than the guard time.
    let begun = Instant::now();
    while begun.elapsed().as_millis() < 1000 {
        client.message(&Message::Heartbeat);
        assert!(client.receive().is_some());
    }
    assert!(matches!(
        client.steps("2", &plan),
        Reply::Steps { failed: None }
    ));
    assert_ne!(place.seen(), before);
    // The stream stays open: only the silence tells.
    while client.receive().is_some() {}
    assert_eq!(client.ended(), 0);
    assert_eq!(place.seen(), before);
    let survey = place.client().survey(&place);
    let notice = survey.ledger.unwrap().notice.unwrap();
    assert!(notice.contains("nothing was heard of it for"), "{notice}");
}

#[test]
fn a_lock_is_not_held_for_a_controller_that_fell_silent_before_it_began() {
    let place = Place::new();
    let mut client = place.client();
    client.guard = 100;
    assert!(matches!(client.lock(&place, "1"), Reply::Done));
    while client.receive().is_some() {}
    assert_eq!(client.ended(), 0);
    assert!(matches!(place.client().lock(&place, "2"), Reply::Done));
}

#[test]
fn who_holds_no_lock_may_be_silent() {
    let place = Place::new();
    let mut client = place.client();
    client.guard = 50;
    assert!(matches!(client.lock(&place, "1"), Reply::Done));
    let run = RunId("1".to_owned());
    assert!(matches!(client.ask(Request::Unlock { run }), Reply::Done));
    assert!(client.says_nothing_for(Duration::from_millis(150)));
    assert!(client.survey(&place).holder.is_none());
}

#[test]
fn a_pack_that_waits_for_credit_gives_way_to_going_back() {
    let place = Place::new();
    let mut client = place.client();
    let before = place.seen();
    client.take(&place, "1", &place.wanted(&[("a", "1")]));
    // More than the credit, and nothing that compresses.
    let mut content = vec![0; 2 * PACK_CREDIT as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    let digest = Digest::of(&content);
    let host = LocalHost::new();
    let at = crate::helper::registry::Place {
        directory: Some(&place.state()),
        home: None,
    };
    let registry = Registry::open(&host, at, [3; 32]).unwrap();
    let places = registry.places(&place.root());
    let store = Store::new(&host, &places, registry.seal());
    make_own(&host, &places, &places.objects()).unwrap();
    store.keep(&BTreeMap::from([(digest, content)])).unwrap();
    let supply = client.send(Request::Supply {
        app: place.address(),
        digests: BTreeSet::from([digest]),
    });
    let back = client.send(go_back("1"));
    assert_eq!(refused(client.answer(supply)), RefusalKind::Host);
    assert!(matches!(client.answer(back), Reply::WentBack(_)));
    assert_eq!(place.seen(), before);
}

#[test]
fn a_way_back_is_told_to_the_next_unless_it_was_heard() {
    for heard in [false, true] {
        let place = Place::new();
        let mut client = place.client();
        client.take(&place, "1", &place.wanted(&[("a", "1")]));
        let back = client.ask(go_back("1"));
        assert!(matches!(back, Reply::WentBack(_)), "{back:?}");
        if heard {
            let run = RunId("1".to_owned());
            assert!(matches!(client.ask(Request::Unlock { run }), Reply::Done));
        }
        assert_eq!(client.lose(), 0);
        let ledger = place.client().survey(&place).ledger.unwrap();
        assert_eq!(ledger.notice.is_none(), heard, "{:?}", ledger.notice);
    }
}

#[test]
fn who_ends_a_helper_leaves_what_is_ready_to_the_fleet() {
    let place = Place::new();
    let mut client = place.client();
    let wanted = place.wanted(&[("a", "1")]);
    client.take(&place, "1", &wanted);
    assert!(matches!(client.ready("1"), Reply::Done));
    let after = place.seen();
    assert_eq!(client.lose(), 0);
    let mut next = place.client();
    let broken = next.ask(Request::Break {
        app: place.address(),
        run: RunId("1".to_owned()),
    });
    assert!(matches!(broken, Reply::WentBack(_)), "{broken:?}");
    assert_eq!(place.seen(), after);
    assert!(next.survey(&place).interrupted.unwrap().ready);
}

#[test]
fn who_holds_the_lock_is_told_of_its_own_open_journal() {
    let place = Place::new();
    let mut client = place.client();
    client.begin(&place, "1", &place.wanted(&[("a", "1")]));
    assert!(client.survey(&place).interrupted.is_some());
    assert!(place.client().survey(&place).interrupted.is_none());
}
