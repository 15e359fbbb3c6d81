//! A job that CI cancels: INT, TERM 7.5 s later, and KILL 2.5 s after that, whatever the run is at then.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::chaos::signal;
use super::fleet::Fleet;
use super::guard::{in_the_middle, is_back, one, serves};

const TERM_AFTER: Duration = Duration::from_millis(7500);
const KILL_AFTER: Duration = Duration::from_millis(2500);

/// How it ended, if it did before so much time was over.
fn ends_within(run: &mut Child, time: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        let ended = run.try_wait().expect("it was started");
        if ended.is_some() || begun.elapsed() > time {
            return ended;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Cancels a run as CI does; how it ended, and after which signal.
fn cancel(run: &mut Child) -> (ExitStatus, &'static str) {
    signal(run.id(), Signal::INT);
    if let Some(ended) = ends_within(run, TERM_AFTER) {
        return (ended, "INT");
    }
    signal(run.id(), Signal::TERM);
    if let Some(ended) = ends_within(run, KILL_AFTER) {
        return (ended, "TERM");
    }
    signal(run.id(), Signal::KILL);
    (run.wait().expect("it was started"), "KILL")
}

/// Declares a task whose way back takes longer than CI waits.
fn takes_long_to_undo(fleet: &Fleet) {
    fleet.declare(
        "    verify {\n",
        "    task \"long\" { run \"true\"; undo \"sleep 13\"; timeout \"60s\"; }\n    verify {\n",
    );
}

#[test]
fn who_is_back_in_time_has_read_it() {
    let (fleet, before) = one();
    let rosey = fleet.rosey();
    let mut run = in_the_middle(&fleet, &rosey);
    let (ended, after) = cancel(&mut run);
    assert_eq!((ended.code(), after), (Some(130), "INT"));
    fleet.must_be(&before);
    assert_eq!(fleet.served(), ["1.0.0"]);
    is_back(&fleet, &before, "");
}

#[test]
fn who_is_still_going_back_when_term_comes_leaves_that_to_the_host() {
    let (fleet, before) = one();
    takes_long_to_undo(&fleet);
    let rosey = fleet.rosey();
    let mut run = in_the_middle(&fleet, &rosey);
    let (ended, after) = cancel(&mut run);
    assert_eq!((ended.code(), after), (Some(18), "TERM"));
    let locked = "flock --nonblock --conflict-exit-code 9 /var/lib/rosey/apps/*/lock true; echo $?";
    assert_eq!(fleet.lab.exec(1, locked), "9", "it is still at it");
    is_back(&fleet, &before, "");
    assert_eq!(fleet.lab.exec(1, locked), "0");
}

#[test]
fn who_hears_nothing_is_killed_and_the_host_goes_back_alone() {
    let (fleet, before) = one();
    let rosey = fleet.rosey();
    let mut run = in_the_middle(&fleet, &rosey);
    signal(run.id(), Signal::STOP);
    serves(&fleet, 1, "1.0.0");
    let (ended, after) = cancel(&mut run);
    assert_eq!((ended.code(), after), (None, "KILL"));
    is_back(&fleet, &before, "nothing was heard of it for 2.");
}
