//! The journal: torn anywhere, full, and written by somebody else.

use super::toy::{KINDS, Run, bell, difference, host_with, journal_path, note, owner, state};
use crate::apply::journal::{Journal, JournalError, read};
use crate::apply::record::{Cause, Record, Settled, Told};
use crate::host::{HostErrorKind, MemoryHost, ReadHost, Space, WriteHost};
use crate::model::{Plan, State};

fn example() -> (State, Plan) {
    let from = state([note("a", "1")]);
    let to = state([note("a", "2"), note("b", "1"), bell("c.bell", &["a"])]);
    let plan = difference(&from, &to);
    assert_eq!((plan.steps.len(), KINDS.len()), (3, 2));
    (from, plan)
}

fn records(host: &MemoryHost, plan: &Plan) -> Vec<Record> {
    let end = |index: usize, failed| Record::End {
        step: plan.steps[index].id.clone(),
        changed: true,
        moment: host.moment(),
        failed,
    };
    let begin = |index: usize| Record::Begin {
        step: plan.steps[index].id.clone(),
    };
    vec![
        begin(0),
        end(0, false),
        begin(1),
        end(1, true),
        Record::GoingBack(Box::new(Cause {
            reason: "a test".to_owned(),
            hold: None,
            ..Cause::default()
        })),
        Record::BeginBack {
            step: Box::new(plan.steps[0].clone()),
        },
        end(0, false),
        Record::Settled(Settled::WentBack {
            problems: vec!["b stays".to_owned()],
        }),
    ]
}

#[test]
fn what_was_written_is_told_again() {
    let (before, plan) = example();
    let host = host_with(&before);
    let opened = Run::new().opened(plan.clone(), before);
    let mut expected = Told::new(opened.clone());
    let journal = Journal::create(&host, &journal_path(), opened, &owner()).unwrap();
    assert!(read(&host, &journal_path()).unwrap().unwrap() == expected);
    for record in records(&host, &plan) {
        journal.append(&record).unwrap();
        expected.take_in(&record);
        assert_eq!(read(&host, &journal_path()).unwrap().unwrap(), expected);
        assert_eq!(journal.told(), expected);
    }
    assert_eq!(expected.changes.len(), 2);
    assert!(expected.open.is_empty() && expected.settled.is_some());
}

#[test]
fn an_end_torn_at_any_byte_is_the_record_before() {
    let (before, plan) = example();
    let host = host_with(&before);
    let journal = Journal::create(
        &host,
        &journal_path(),
        Run::new().opened(plan.clone(), before),
        &owner(),
    )
    .unwrap();
    let records = records(&host, &plan);
    for record in &records[..4] {
        journal.append(record).unwrap();
    }
    let told = journal.told();
    let whole = host.read(&journal_path()).unwrap();
    journal.append(&records[4]).unwrap();
    let longer = host.read(&journal_path()).unwrap();
    let start = (0..whole.len())
        .find(|at| whole[*at] != longer[*at])
        .unwrap();
    let end = (0..whole.len())
        .rfind(|at| whole[*at] != longer[*at])
        .unwrap();
    for cut in start..=end {
        let torn = [&longer[..cut], &whole[cut..]].concat();
        host.put_file(journal_path(), &torn);
        assert_eq!(read(&host, &journal_path()).unwrap().unwrap(), told);
        // What is written over the torn end is read, and nothing behind it.
        let journal = Journal::open(&host, &journal_path()).unwrap().unwrap();
        journal.append(&records[0]).unwrap();
        let mut expected = told.clone();
        expected.take_in(&records[0]);
        assert_eq!(read(&host, &journal_path()).unwrap().unwrap(), expected);
    }
}

#[test]
fn records_of_an_earlier_run_are_not_taken_for_this_one() {
    let (before, plan) = example();
    let host = host_with(&before);
    let open = || {
        let opened = Run::new().opened(plan.clone(), before.clone());
        Journal::create(&host, &journal_path(), opened, &owner()).unwrap()
    };
    let first = open();
    for record in records(&host, &plan) {
        first.append(&record).unwrap();
    }
    let second = open();
    assert!(second.told().begun.is_empty());
    assert!(
        read(&host, &journal_path())
            .unwrap()
            .unwrap()
            .begun
            .is_empty()
    );
}

#[test]
fn another_format_is_left_alone() {
    let (before, plan) = example();
    let host = host_with(&before);
    let mut opened = Run::new().opened(plan, before);
    opened.format = "rosey journal 2".to_owned();
    drop(Journal::create(&host, &journal_path(), opened, &owner()).unwrap());
    let error = Journal::open(&host, &journal_path()).err().unwrap();
    assert!(error.to_string().contains("rosey journal 2"), "{error}");
    for garbage in [&b""[..], b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"something else"] {
        host.put_file(journal_path(), garbage);
        let error = Journal::open(&host, &journal_path()).err().unwrap();
        assert!(
            matches!(error, JournalError::UnknownFormat { .. }),
            "{error}"
        );
        assert_eq!(host.read(&journal_path()).unwrap(), garbage);
    }
}

#[test]
fn a_whole_run_and_its_way_back_fit_without_new_space() {
    let (before, plan) = example();
    let host = host_with(&before);
    let journal = Journal::create(
        &host,
        &journal_path(),
        Run::new().opened(plan.clone(), before),
        &owner(),
    )
    .unwrap();
    host.set_free(Some(Space {
        bytes: 0,
        inodes: 0,
    }));
    assert_eq!(
        host.append("/opt/full".as_ref(), b"x").unwrap_err().kind,
        HostErrorKind::NoSpace
    );
    for record in records(&host, &plan) {
        journal.append(&record).unwrap();
    }
    for _ in 0..3 {
        for step in &plan.steps {
            let step = Box::new(step.clone());
            let id = step.id.clone();
            journal.append(&Record::BeginBack { step }).unwrap();
            let moment = host.moment();
            let end = Record::End {
                step: id,
                changed: true,
                moment,
                failed: false,
            };
            journal.append(&end).unwrap();
        }
    }
}

#[test]
fn without_room_for_the_way_back_no_run_is_opened() {
    let (before, plan) = example();
    let host = host_with(&before);
    host.set_free(Some(Space {
        bytes: 2000,
        inodes: 10,
    }));
    let opened = Run::new().opened(plan, before);
    assert!(Journal::create(&host, &journal_path(), opened, &owner()).is_err());
    assert!(read(&host, &journal_path()).unwrap().is_none());
}

#[test]
fn what_goes_back_is_not_ready_any_more() {
    let (before, plan) = example();
    let mut told = Told::new(Run::new().opened(plan, before));
    told.take_in(&Record::Ready);
    assert!(told.ready);
    told.take_in(&Record::GoingBack(Box::new(Cause {
        reason: "a test".to_owned(),
        hold: None,
        ..Cause::default()
    })));
    assert!(!told.ready);
}
