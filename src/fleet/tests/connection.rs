//! One connection: packs by credit, silence, and the end of the stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::fleet::pack::made_by;
use crate::fleet::testing::{Fault, Lab, PULSE, address, host, transport};
use crate::fleet::{AskError, Connection, Pulse};
use crate::helper::frame::{Frame, encode_message};
use crate::helper::protocol::{Message, PACK_CREDIT, RefusalKind, Reply};
use crate::helper::wire;
use crate::model::{Digest, EventKind, RunId};

#[tokio::test]
async fn a_helper_that_dies_never_counts_as_an_answer() {
    let lab = Lab::new(&[(
        "a",
        vec![Fault::Lost {
            at: "hello",
            after: false,
        }],
    )]);
    let error = lab.fleet[&host("a")]
        .hello("program".to_owned())
        .await
        .unwrap_err();
    assert!(error.is_lost());
    assert_eq!(
        error.to_string(),
        "the connection to a was lost: the helper ended, or the session with it\nit said this last"
    );
    // And so does everything that is asked after it.
    let again = lab.fleet[&host("a")]
        .hello("program".to_owned())
        .await
        .unwrap_err();
    assert!(again.is_lost());
}

#[tokio::test]
async fn every_request_under_way_fails_with_the_stream() {
    let faults = vec![
        Fault::Hang { at: "survey" },
        Fault::Lost {
            at: "hello",
            after: false,
        },
    ];
    let lab = Lab::new(&[("a", faults)]);
    let connection = lab.fleet[&host("a")].clone();
    let survey = connection.survey(vec![address("a")], BTreeMap::new());
    let end = async {
        tokio::task::yield_now().await;
        connection.hello("program".to_owned()).await
    };
    let (survey, hello) = tokio::join!(survey, end);
    assert!(survey.unwrap_err().is_lost());
    assert!(hello.unwrap_err().is_lost());
}

#[tokio::test]
async fn an_answer_that_comes_twice_is_not_taken_for_the_next_one() {
    let (here, mut there) = tokio::io::duplex(64 << 10);
    let connection = Connection::open(host("a"), transport(here), PULSE);
    let asked = async {
        let first = connection.unlock(RunId("1".to_owned())).await;
        (first, connection.unlock(RunId("2".to_owned())).await)
    };
    let answer = async {
        loop {
            let frame = wire::read_frame(&mut there).await.unwrap().unwrap();
            if let Frame::Message(message) = frame
                && let Message::Request { id, .. } = *message
            {
                let reply = Reply::Done;
                let reply = encode_message(&Message::Reply { id, reply }).unwrap();
                wire::write_frame(&mut there, &reply).await.unwrap();
                wire::write_frame(&mut there, &reply).await.unwrap();
                return;
            }
        }
    };
    let ((first, second), ()) = tokio::join!(asked, answer);
    first.unwrap();
    let error = second.unwrap_err();
    let told = error.to_string();
    assert!(
        error.is_lost() && told.contains("nobody waits for"),
        "{told}"
    );
}

#[tokio::test]
async fn an_event_of_no_request_loses_no_host() {
    let (here, mut there) = tokio::io::duplex(64 << 10);
    let connection = Connection::open(host("a"), transport(here), PULSE);
    let event = EventKind::Note {
        host: None,
        text: "late".to_owned(),
    };
    let late = encode_message(&Message::Event { id: 0, event }).unwrap();
    wire::write_frame(&mut there, &late).await.unwrap();
    let asked = connection.unlock(RunId("1".to_owned()));
    let answer = async {
        loop {
            let frame = wire::read_frame(&mut there).await.unwrap().unwrap();
            if let Frame::Message(message) = frame
                && let Message::Request { id, .. } = *message
            {
                let reply = Reply::Done;
                let reply = encode_message(&Message::Reply { id, reply }).unwrap();
                wire::write_frame(&mut there, &reply).await.unwrap();
                return;
            }
        }
    };
    let (asked, ()) = tokio::join!(asked, answer);
    asked.unwrap();
}

#[tokio::test]
async fn silence_is_a_lost_connection() {
    let lab = Lab::new(&[("a", vec![Fault::Silent { at: "hello" }])]);
    let error = lab.fleet[&host("a")]
        .hello("program".to_owned())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no sign of life"), "{error}");
    assert!(lab.host("a").heartbeats > 1);
}

#[tokio::test]
async fn a_host_may_be_silent_for_longer_while_nothing_depends_on_it() {
    let lab = Lab::new(&[("a", vec![Fault::Silent { at: "hello" }])]);
    let begin = std::time::Instant::now();
    let asked = lab.fleet[&host("a")].hello("program".to_owned()).await;
    assert!(asked.unwrap_err().is_lost());
    assert!(begin.elapsed() >= PULSE.unlocked_patience);
}

#[tokio::test]
async fn a_busy_helper_that_answers_heartbeats_is_not_lost() {
    let lab = Lab::new(&[("a", vec![Fault::Hang { at: "hello" }])]);
    let connection = lab.fleet[&host("a")].clone();
    let asked = tokio::spawn(async move { connection.hello("program".to_owned()).await });
    let enough = PULSE.patience.as_millis() / PULSE.every.as_millis() + 5;
    while u128::from(lab.host("a").heartbeats) < enough {
        assert!(!asked.is_finished());
        tokio::task::yield_now().await;
    }
    assert!(lab.fleet[&host("a")].lost().is_none());
    asked.abort();
}

#[tokio::test]
async fn a_pack_larger_than_the_credit_arrives_whole() {
    let lab = Lab::new(&[("a", vec![])]);
    let size = usize::try_from(PACK_CREDIT).unwrap() * 2 + 17;
    let parts = made_by(move |out| out.write_all(&vec![7; size]));
    let mut sent = 0;
    let connection = &lab.fleet[&host("a")];
    connection
        .send_pack(address("a"), parts, |bytes| sent = bytes)
        .await
        .unwrap();
    assert_eq!(sent, size as u64);
    assert_eq!(lab.host("a").received, vec![7; size]);
}

#[tokio::test]
async fn a_pack_that_is_refused_ends_at_once() {
    let kind = RefusalKind::Host;
    let lab = Lab::new(&[("a", vec![Fault::Refuse { at: "pack", kind }])]);
    let size = usize::try_from(PACK_CREDIT).unwrap() * 4;
    let parts = made_by(move |out| out.write_all(&vec![7; size]));
    let connection = &lab.fleet[&host("a")];
    let error = connection
        .send_pack(address("a"), parts, |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.refusal(), Some(kind));
}

#[tokio::test]
async fn a_pack_whose_source_fails_is_an_error_here_and_cut_short_there() {
    let lab = Lab::new(&[("a", vec![])]);
    let parts = made_by(|out| {
        out.write_all(b"half")?;
        Err(std::io::Error::other("app.py changed while it was read"))
    });
    let connection = &lab.fleet[&host("a")];
    let error = connection
        .send_pack(address("a"), parts, |_| {})
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the content for a: app.py changed while it was read"
    );
    // The connection is free for the next one.
    connection.hello("program".to_owned()).await.unwrap();
}

#[tokio::test]
async fn content_comes_from_a_host() {
    let lab = Lab::new(&[("a", vec![])]);
    let digest = Digest::of(b"x");
    lab.host("a").has.insert(digest);
    let wanted: BTreeSet<_> = [digest, Digest::of(b"y")].into();
    let (sender, mut parts) = mpsc::channel(4);
    let got = lab.fleet[&host("a")]
        .fetch_pack(address("a"), wanted, sender)
        .await
        .unwrap();
    assert_eq!(got, [digest].into());
    let part = parts.recv().await.unwrap().unwrap();
    assert_eq!(part, digest.to_string().into_bytes());
    assert!(parts.recv().await.is_none());
}

#[tokio::test]
async fn a_banner_instead_of_the_protocol_is_said_to_be_one() {
    let (here, mut there) = tokio::io::duplex(1024);
    let pulse = Pulse { ..PULSE };
    let connection = Connection::open(host("a"), transport(here), pulse);
    let asked = connection.hello("program".to_owned());
    let banner = async {
        use tokio::io::AsyncWriteExt;
        there
            .write_all(b"Welcome to Debian GNU/Linux 13\n")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        answer = asked => answer.unwrap_err(),
        () = banner => unreachable!(),
    };
    assert!(matches!(error, AskError::Lost(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("something else than rosey's helper"),
        "{error}"
    );
    drop(Arc::new(connection));
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_lets_the_helper_go_on() {
    let (here, mut there) = tokio::io::duplex(64 << 10);
    let connection = Connection::open(host("a"), transport(here), PULSE);
    let fetcher = connection.clone();
    let (into, _parts) = mpsc::channel(4);
    let fetch = tokio::spawn(async move {
        let digests = BTreeSet::from([Digest::of(b"1")]);
        fetcher.fetch_pack(address("a"), digests, into).await
    });
    let mut aborted = None;
    let taken = loop {
        let frame = wire::read_frame(&mut there).await.unwrap().unwrap();
        let Frame::Message(message) = frame else {
            continue;
        };
        match *message {
            Message::Request { id, .. } => {
                fetch.abort();
                aborted = Some(id);
            }
            Message::Credit { id, taken } => {
                assert_eq!(Some(id), aborted);
                break taken;
            }
            _ => {}
        }
    };
    assert!(taken > 1 << 40, "there is room for all of it: {taken}");
}

#[test]
fn a_host_is_given_up_before_it_gives_us_up_and_after_some_missed_signs() {
    for seconds in [2, 5, 60, 600] {
        let guard = Duration::from_secs(seconds);
        let pulse = Pulse::for_guard(guard);
        assert!(pulse.every * 2 < pulse.patience, "{pulse:?}");
        assert!(pulse.patience < guard, "{pulse:?}");
        assert!(
            pulse.unlocked_patience >= Duration::from_secs(10),
            "{pulse:?}"
        );
    }
}
