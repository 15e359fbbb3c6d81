use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::pace::Pace;
use super::{GatesKind, Settling, read, settle};
use crate::host::memory::View;
use crate::host::{
    Command, CommandOutput, HttpAnswer, Manager, MemoryHost, ProbeError, ServiceAct, Unit,
    WriteHost,
};
use crate::model::gate::{ErrorRate, GateClass, HttpGate};
use crate::model::{Action, Gate, GateKind, GateResult, Gates, Resource, Step, StepKind, Verdict};
use crate::step::attendant::Attending;
use crate::step::kind::StepError;
use crate::step::testing::{Bench, id, step};

const URL: &str = "http://127.0.0.1:8000/api/health";

/// Something that happens when so many milliseconds have passed.
type Event<'a> = (u64, Box<dyn Fn() + 'a>);

/// A clock that runs only while somebody waits, and lets things happen on its way.
struct Script<'a> {
    now: Cell<Duration>,
    events: RefCell<Vec<Event<'a>>>,
    waits: RefCell<Vec<u64>>,
}

impl<'a> Script<'a> {
    fn new() -> Self {
        Self {
            now: Cell::new(Duration::ZERO),
            events: RefCell::new(Vec::new()),
            waits: RefCell::new(Vec::new()),
        }
    }

    /// Lets something happen when so many milliseconds have passed.
    fn at(self, milliseconds: u64, event: impl Fn() + 'a) -> Self {
        self.events
            .borrow_mut()
            .push((milliseconds, Box::new(event)));
        self
    }

    fn elapsed(&self) -> u64 {
        self.now.get().as_millis() as u64
    }
}

impl Pace for Script<'_> {
    fn now(&self) -> Duration {
        self.now.get()
    }

    fn wait(&self, time: Duration) {
        assert!(!time.is_zero(), "waiting for nothing never ends");
        self.waits.borrow_mut().push(time.as_millis() as u64);
        self.now.set(self.now.get() + time);
        let due = |(at, _): &mut Event<'_>| *at <= self.elapsed();
        let due: Vec<_> = self.events.borrow_mut().extract_if(.., due).collect();
        due.iter().for_each(|(_, event)| event());
    }
}

fn unit() -> Unit {
    Unit {
        manager: Manager::Systemd,
        name: "bot.service".to_owned(),
    }
}

fn gate(name: &str, kind: GateKind) -> Gate {
    Gate {
        name: name.to_owned(),
        kind,
    }
}

fn process() -> Gate {
    let kind = GateKind::Process {
        unit: unit().name,
        process_directory: None,
    };
    gate("process bot", kind)
}

fn plain() -> HttpGate {
    HttpGate {
        url: URL.to_owned(),
        status: 200,
        json: BTreeMap::new(),
        timeout: 5000,
        p95: None,
        error_rate: None,
    }
}

fn http(http: HttpGate) -> Gate {
    gate("http health", GateKind::Http(http))
}

fn command() -> Gate {
    let kind = GateKind::Command {
        run: "bin/smoke".to_owned(),
        directory: "/opt/bot".to_owned(),
        user: Some("rosey".to_owned()),
        env: [("ROSEY_VERSION".to_owned(), "1".to_owned())].into(),
        timeout: 10_000,
    };
    gate("command smoke", kind)
}

fn gates(gates: impl Into<Vec<Gate>>) -> Gates {
    Gates {
        within: 60_000,
        stable: 3_000,
        gates: gates.into(),
    }
}

/// A host on which the service runs.
fn host() -> MemoryHost {
    let host = MemoryHost::new();
    let definition = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    host.put_file("/etc/systemd/system/bot.service", definition);
    host.put_directory("/opt/bot");
    for act in [ServiceAct::DaemonReload, ServiceAct::Start] {
        host.manage(&unit(), &act, Duration::from_secs(1)).unwrap();
    }
    host
}

fn answering(host: &MemoryHost, status: u16, body: Value) {
    slow(host, status, body, &[1]);
}

/// Answers, each time after the next of these milliseconds.
fn slow(host: &MemoryHost, status: u16, body: Value, times: &[u64]) {
    let times = times.to_vec();
    let count = std::sync::atomic::AtomicUsize::new(0);
    host.on_http(move |request, _| {
        assert_eq!(request.url, URL);
        let turn = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(HttpAnswer {
            status,
            body: body.to_string().into_bytes(),
            elapsed: Duration::from_millis(times[turn % times.len()]),
        })
    });
}

fn settled(host: &MemoryHost, pace: &dyn Pace, gates: &Gates) -> Vec<GateResult> {
    let settling = Settling {
        host,
        pace,
        cancelled: &|| false,
        told: &|_| {},
    };
    settle(&settling, gates)
}

fn once(host: &MemoryHost, gate: Gate) -> (Verdict, GateClass, String) {
    let mut results = read(host, &gates([gate]), &|| false);
    let result = results.remove(0);
    (result.verdict, result.class, result.detail)
}

fn verdicts(results: &[GateResult]) -> Vec<Verdict> {
    results.iter().map(|result| result.verdict).collect()
}

#[test]
fn an_app_is_healthy_when_all_passed_for_long_enough() {
    let host = host();
    answering(&host, 200, json!({}));
    let script = Script::new();
    let results = settled(&host, &script, &gates([process(), http(plain())]));
    assert_eq!(verdicts(&results), [Verdict::Passed; 2]);
    assert_eq!(results[0].detail, "active (running), process 1000");
    assert_eq!(script.elapsed(), 3_000);
}

#[test]
fn pauses_grow() {
    let host = host();
    let script = Script::new();
    let results = settled(&host, &script, &gates([http(plain())]));
    assert_eq!(verdicts(&results), [Verdict::Failed]);
    let waits = script.waits.borrow();
    // Longer ones are cut so that a cancel is heard.
    assert_eq!(waits[..6], [50, 100, 100, 100, 100, 100]);
    assert!(waits.iter().all(|wait| *wait <= 100));
}

#[test]
fn it_is_decided_as_soon_as_there_is_no_time_left_for_being_stable() {
    let host = host();
    let script = Script::new();
    let results = settled(&host, &script, &gates([http(plain())]));
    assert_eq!(results[0].class, GateClass::Connection);
    assert_eq!(script.elapsed(), 57_000);
}

#[test]
fn an_app_that_becomes_healthy_late_is_still_healthy_for_long_enough() {
    let host = host();
    let script = Script::new().at(56_990, || answering(&host, 200, json!({})));
    let results = settled(&host, &script, &gates([http(plain())]));
    assert_eq!(verdicts(&results), [Verdict::Passed]);
    assert_eq!(script.elapsed(), 60_000);
}

#[test]
fn a_break_begins_the_time_anew() {
    let host = host();
    answering(&host, 200, json!({}));
    let script = Script::new()
        .at(2_000, || answering(&host, 503, json!({})))
        .at(10_000, || answering(&host, 200, json!({})));
    let results = settled(&host, &script, &gates([http(plain())]));
    assert_eq!(verdicts(&results), [Verdict::Passed]);
    assert!(script.elapsed() >= 13_000, "{}", script.elapsed());
}

#[test]
fn a_restart_is_a_break_even_if_nobody_saw_it_down() {
    let host = host();
    let told = RefCell::new(Vec::new());
    let script = Script::new().at(2_000, || host.restart_service(&unit()));
    let settling = Settling {
        host: &host,
        pace: &script,
        cancelled: &|| false,
        told: &|news| {
            let details = news.iter().map(|result| result.detail.clone());
            told.borrow_mut().extend(details);
        },
    };
    let results = settle(&settling, &gates([process()]));
    assert_eq!(verdicts(&results), [Verdict::Passed]);
    assert!(script.elapsed() >= 5_000, "{}", script.elapsed());
    assert_eq!(
        *told.borrow(),
        [
            "active (running), process 1000",
            "its main process changed from 1000 to 1001, restarted once",
            "active (running), process 1001",
        ]
    );
}

#[test]
fn a_service_that_gave_up_ends_the_waiting() {
    let host = host();
    answering(&host, 200, json!({}));
    let all = gates([http(plain()), process(), command()]);
    let script = Script::new().at(1_000, || host.kill_service(&unit(), "exit-code 1"));
    let results = settled(&host, &script, &all);
    let [passed, failed] = [Verdict::Passed, Verdict::Failed];
    assert_eq!(verdicts(&results), [passed, failed, passed]);
    assert_eq!(results[1].detail, "failed (exit-code 1)");
    assert!(script.elapsed() < 2_500, "{}", script.elapsed());

    let results = settled(&host, &Script::new(), &all);
    assert_eq!(verdicts(&results), [passed, failed, Verdict::Inconclusive]);
    assert_eq!(
        results[2].detail,
        "it wasn't read, because others don't pass"
    );
}

#[test]
fn a_service_that_is_on_its_way_up_is_waited_for() {
    let host = host();
    host.set_activating(&unit(), true);
    let script = Script::new().at(5_000, || host.set_activating(&unit(), false));
    let results = settled(&host, &script, &gates([process()]));
    assert_eq!(verdicts(&results), [Verdict::Passed]);
}

#[test]
fn what_costs_something_is_read_first_and_last() {
    let host = host();
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = std::sync::Arc::clone(&runs);
    host.on_command(move |command: &Command, _: &mut View<'_>| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(command.shell, "bin/smoke");
        assert_eq!(command.user.as_deref(), Some("rosey"));
        assert_eq!(command.env["ROSEY_VERSION"], "1");
        said(Some(0), "")
    });
    let script = Script::new().at(5_000, || answering(&host, 200, json!({})));
    let results = settled(&host, &script, &gates([command(), http(plain())]));
    assert_eq!(verdicts(&results), [Verdict::Passed; 2]);
    assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[test]
fn who_is_cancelled_waits_no_more_and_knows_nothing() {
    let host = host();
    answering(&host, 200, json!({}));
    let cancelled = Cell::new(false);
    let script = Script::new().at(1_000, || cancelled.set(true));
    let settling = Settling {
        host: &host,
        pace: &script,
        cancelled: &|| cancelled.get(),
        told: &|_| {},
    };
    let results = settle(&settling, &gates([http(plain()), process()]));
    assert_eq!(verdicts(&results), [Verdict::Inconclusive; 2]);
    assert!(script.elapsed() < 1_200, "{}", script.elapsed());
    let results = read(&host, &gates([process()]), &|| true);
    assert_eq!(verdicts(&results), [Verdict::Inconclusive]);
}

#[test]
fn no_gates_are_passed_at_once_and_no_time_for_stability_means_one_look() {
    let host = host();
    let script = Script::new();
    assert!(settled(&host, &script, &Gates::default()).is_empty());
    let mut gates = gates([process()]);
    gates.stable = 0;
    assert_eq!(
        verdicts(&settled(&host, &script, &gates)),
        [Verdict::Passed]
    );
    assert_eq!(script.elapsed(), 0);
}

#[test]
fn fields_of_an_answer_are_compared() {
    let host = host();
    let body = json!({"status": "degraded", "bot": {"connected": true}, "shards": 1.0});
    answering(&host, 200, body);
    let mut gate = plain();
    gate.json.insert("bot.connected".to_owned(), json!(true));
    gate.json.insert("shards".to_owned(), json!(1));
    assert_eq!(once(&host, http(gate.clone())).0, Verdict::Passed);
    gate.json.insert("status".to_owned(), json!("running"));
    gate.json.insert("version".to_owned(), json!("1.4.2"));
    assert_eq!(
        once(&host, http(gate)),
        (
            Verdict::Failed,
            GateClass::Health,
            "status is \"degraded\", expected \"running\"; version is absent, expected \"1.4.2\""
                .to_owned()
        )
    );
}

#[test]
fn a_status_is_judged_with_and_without_a_body() {
    let host = host();
    host.on_http(|_, _| {
        Ok(HttpAnswer {
            status: 502,
            body: b"<html>".to_vec(),
            elapsed: Duration::ZERO,
        })
    });
    let mut gate = plain();
    let (verdict, class, detail) = once(&host, http(gate.clone()));
    assert_eq!((verdict, class), (Verdict::Failed, GateClass::Health));
    assert_eq!(detail, "the status is 502, expected 200");
    gate.status = 502;
    assert_eq!(once(&host, http(gate.clone())).0, Verdict::Passed);
    gate.json.insert("status".to_owned(), json!("running"));
    let (_, _, detail) = once(&host, http(gate));
    assert!(detail.starts_with("the answer is no JSON: "), "{detail}");
    assert!(!detail.contains("html"), "{detail}");
}

#[test]
fn what_can_not_be_asked_is_neither_healthy_nor_ill() {
    let host = host();
    host.on_http(|_, _| Err(ProbeError::Unable("no getent".to_owned())));
    let (verdict, _, detail) = once(&host, http(plain()));
    assert_eq!(
        (verdict, detail.as_str()),
        (Verdict::Inconclusive, "no getent")
    );
    host.on_http(|_, _| Err(ProbeError::Answer("it is silent".to_owned())));
    let (verdict, class, _) = once(&host, http(plain()));
    assert_eq!((verdict, class), (Verdict::Failed, GateClass::Health));
}

#[test]
fn response_times_are_sampled() {
    let host = host();
    let mut gate = plain();
    gate.p95 = Some((500, 10));
    // The first answer is the one that is judged by its content.
    let mut times = vec![9_000];
    times.extend([20; 9]);
    times.push(500);
    slow(&host, 200, json!({}), &times);
    let (verdict, _, detail) = once(&host, http(gate.clone()));
    assert_eq!(verdict, Verdict::Passed);
    assert_eq!(detail, "the status is 200, p95 is 500 ms over 10 requests");
    times[10] = 501;
    slow(&host, 200, json!({}), &times);
    assert_eq!(
        once(&host, http(gate.clone())),
        (
            Verdict::Failed,
            GateClass::Performance,
            "p95 is 501 ms over 10 requests, expected at most 500 ms".to_owned()
        )
    );
    gate.p95 = Some((500, 0));
    assert_eq!(once(&host, http(gate)).0, Verdict::Inconclusive);
}

#[test]
fn errors_are_counted_against_all() {
    let host = host();
    let mut gate = plain();
    gate.error_rate = Some(ErrorRate {
        per_million: 10_000,
        errors: "counts.errors".to_owned(),
        of: "counts.requests".to_owned(),
    });
    let counts = |errors: Value, requests: Value| {
        let body = json!({"counts": {"errors": errors, "requests": requests}});
        answering(&host, 200, body);
        once(&host, http(gate.clone()))
    };
    let (verdict, _, detail) = counts(json!(2), json!(200));
    assert_eq!(verdict, Verdict::Passed);
    assert_eq!(detail, "the error rate is 1 % (2 of 200)");
    let (verdict, class, detail) = counts(json!(5), json!(200));
    assert_eq!((verdict, class), (Verdict::Failed, GateClass::Performance));
    assert_eq!(
        detail,
        "the error rate is 2.5 % (5 of 200), expected at most 1 %"
    );
    let (verdict, class, detail) = counts(json!(0), json!(0));
    assert_eq!(
        (verdict, class),
        (Verdict::Inconclusive, GateClass::Performance)
    );
    assert_eq!(
        detail,
        "counts.requests is 0, so there is no error rate yet"
    );
    let (verdict, _, detail) = counts(json!("none"), json!(1));
    assert_eq!(verdict, Verdict::Failed);
    assert_eq!(detail, "counts.errors is \"none\", expected a number");
}

#[test]
fn connections_are_taken_or_not() {
    let host = host();
    let tcp = || {
        let kind = GateKind::Tcp {
            address: "127.0.0.1:4222".to_owned(),
            timeout: 1000,
        };
        gate("tcp 127.0.0.1:4222", kind)
    };
    let (verdict, class, _) = once(&host, tcp());
    assert_eq!((verdict, class), (Verdict::Failed, GateClass::Connection));
    host.on_tcp(|address, served| match served.running(&unit()) {
        Some(_) if address == "127.0.0.1:4222" => Ok(()),
        _ => Err(ProbeError::Connection("nothing listens there".to_owned())),
    });
    assert_eq!(once(&host, tcp()).0, Verdict::Passed);
    host.kill_service(&unit(), "killed");
    assert_eq!(once(&host, tcp()).0, Verdict::Failed);
}

#[test]
fn a_database_is_whole_damaged_or_not_there_yet() {
    let host = host();
    let sqlite = || {
        let kind = GateKind::Sqlite {
            path: "/opt/bot/shared/data/rosey.db".to_owned(),
        };
        gate("sqlite data/rosey.db", kind)
    };
    let (verdict, _, detail) = once(&host, sqlite());
    assert_eq!(
        (verdict, detail.as_str()),
        (Verdict::Passed, "not there yet")
    );
    host.put_file("/opt/bot/shared/data/rosey.db", "whole");
    assert_eq!(once(&host, sqlite()).0, Verdict::Passed);
    host.put_file("/opt/bot/shared/data/rosey.db", "damaged");
    let (verdict, class, detail) = once(&host, sqlite());
    assert_eq!((verdict, class), (Verdict::Failed, GateClass::Database));
    assert_eq!(detail, "it is damaged: database disk image is malformed");
}

fn said(status: Option<i32>, output: &str) -> CommandOutput {
    CommandOutput {
        status,
        output: output.to_owned(),
        timed_out: status.is_none(),
    }
}

#[test]
fn a_command_says_how_it_ended() {
    let host = host();
    let ends = |status: Option<i32>| {
        host.on_command(move |_, _| said(status, "checking\nno quotes\n"));
        once(&host, command())
    };
    assert_eq!(ends(Some(0)).0, Verdict::Passed);
    let failed = |detail: &str| (Verdict::Failed, GateClass::Command, detail.to_owned());
    assert_eq!(
        ends(Some(1)),
        failed("it exited with 1\n  checking\n  no quotes")
    );
    assert_eq!(
        ends(None),
        failed("it took longer than 10 s\n  checking\n  no quotes")
    );
    assert_eq!(ends(Some(127)).0, Verdict::Inconclusive);
    // Somebody or the kernel has ended it: that says nothing of the app.
    assert_eq!(ends(Some(137)).0, Verdict::Inconclusive);
    host.on_command(|_, _| CommandOutput {
        timed_out: false,
        ..said(None, "")
    });
    assert_eq!(once(&host, command()).0, Verdict::Inconclusive);
    host.take_away("/opt/bot");
    assert_eq!(once(&host, command()).0, Verdict::Inconclusive);
}

#[test]
fn a_unit_that_is_not_there_fails_at_once() {
    let host = MemoryHost::new();
    let script = Script::new();
    let results = settled(&host, &script, &gates([process()]));
    assert_eq!(results[0].detail, "there is no unit bot.service");
    assert_eq!(script.elapsed(), 0);
}

fn check(gates: &Gates) -> Step {
    let id = id(super::desire::GATES, "bot");
    let with = super::desire::attendant(id.clone(), gates).with;
    step(StepKind::VERIFY, &id, Action::Check, None, Some(&with))
}

#[test]
fn the_step_waits_for_the_gates() {
    let host = host();
    let mut gates = gates([process()]);
    gates.stable = 0;
    Bench::new()
        .apply(&host, &Attending(GatesKind), &check(&gates))
        .unwrap();
}

#[test]
fn the_step_says_what_it_waits_for() {
    let host = host();
    let runs = AtomicUsize::new(0);
    host.on_command(move |_, _| match runs.fetch_add(1, Ordering::Relaxed) {
        0 => said(Some(1), "not yet\n"),
        _ => said(Some(0), ""),
    });
    let mut gates = gates([process(), command()]);
    gates.stable = 1;
    let bench = Bench::new();
    bench
        .apply(&host, &Attending(GatesKind), &check(&gates))
        .unwrap();
    assert_eq!(
        *bench.waited_for.lock().unwrap(),
        [
            "command smoke: it exited with 1",
            "the gates to go on passing for 0.001 s",
        ]
    );
}

#[test]
fn a_step_tells_what_each_of_its_gates_said() {
    let host = host();
    host.on_command(|_, _| said(Some(1), "no\n"));
    let mut gates = gates([process(), command()]);
    (gates.within, gates.stable) = (0, 0);
    let bench = Bench::new();
    let taken = bench.apply(&host, &Attending(GatesKind), &check(&gates));
    assert!(taken.unwrap_err().is_verdict());
    let told = bench.gates.lock().unwrap();
    let told: Vec<_> = told.iter().map(|it| (&*it.gate, it.verdict)).collect();
    assert_eq!(
        told,
        [
            ("process bot", Verdict::Passed),
            ("command smoke", Verdict::Failed)
        ]
    );
}

#[test]
fn a_step_whose_gates_fail_tells_why_with_the_end_of_the_log() {
    let host = host();
    host.log(&unit(), &["starting", "no token: set TOKEN"]);
    host.kill_service(&unit(), "exit-code 1");
    let error = Bench::new()
        .apply(
            &host,
            &Attending(GatesKind),
            &check(&gates([process(), command()])),
        )
        .unwrap_err();
    assert!(error.is_verdict());
    insta::assert_snapshot!(error, @r"
    process bot: failed (exit-code 1)
    the log of bot.service ends:
      starting
      no token: set TOKEN
    ");
}

#[test]
fn what_asking_for_health_leaves_in_a_log_is_no_news() {
    let host = host();
    let looks = [
        "GET /api/health HTTP/1.1 200",
        "127.0.0.1 GET /api/health 200",
    ];
    host.log(
        &unit(),
        &[
            looks[0],
            "no token: set TOKEN",
            looks[1],
            "GET /api/healthy 404",
        ],
    );
    host.kill_service(&unit(), "exit-code 1");
    let gates = gates([process(), http(plain())]);
    let error = Bench::new()
        .apply(&host, &Attending(GatesKind), &check(&gates))
        .unwrap_err();
    let text = error.to_string();
    let (_, log) = text.split_once("ends:").expect("it has a log");
    assert_eq!(log, "\n  no token: set TOKEN\n  GET /api/healthy 404");
}

#[test]
fn a_step_whose_gates_say_nothing_is_no_verdict() {
    let host = host();
    host.on_command(|_, _| said(Some(127), "bin/smoke: not found\n"));
    let mut gates = gates([command()]);
    (gates.within, gates.stable) = (0, 0);
    let error = Bench::new()
        .apply(&host, &Attending(GatesKind), &check(&gates))
        .unwrap_err();
    assert!(matches!(error, StepError::Inconclusive(_)));
    assert!(!error.is_verdict());
    insta::assert_snapshot!(error, @r"
    command smoke: it exited with 127
      bin/smoke: not found
    ");
}

#[test]
fn a_step_without_gates_to_read_is_no_success() {
    let id = id(super::desire::GATES, "bot");
    let step = step(
        StepKind::VERIFY,
        &id,
        Action::Check,
        None,
        Some(&Resource::new()),
    );
    let error = Bench::new()
        .apply(&host(), &Attending(GatesKind), &step)
        .unwrap_err();
    assert!(matches!(error, StepError::Host(_)), "{error}");
}
