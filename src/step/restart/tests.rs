//! Services of a host in memory.

use crate::host::{Manager, MemoryHost, ReadHost, ServiceAct, Unit, WriteHost};
use crate::model::{Action, Moment, Resource, ResourceId, ResourceKind, Step, StepKind};
use crate::step::kind::{Change, Kind, StepError};
use crate::step::testing::{Bench, dying_everywhere, id, step};

use super::Service;

const UNIT_FILE: &str = "/etc/systemd/system/bot.service";
const GOOD: &str = "[Service]\nExecStart=/bin/bot\nExecReload=/bin/kill\n[Install]\n";
const BAD: &str = "[Service]\nExecStart=/bin/fail\n[Install]\n";

fn service() -> ResourceId {
    id(ResourceKind::SERVICE, "bot.service")
}

fn unit() -> Unit {
    Unit {
        manager: Manager::Systemd,
        name: "bot.service".to_owned(),
    }
}

fn wanted() -> Resource {
    state(true, true)
        .setting("manager", "systemd")
        .setting("turn", "bot")
        .setting("start_timeout", 30)
        .setting("stop_timeout", 30)
        .setting("uses", vec![UNIT_FILE, "/opt/bot/current"])
}

fn state(enabled: bool, active: bool) -> Resource {
    Resource::new()
        .with("enabled", enabled)
        .with("active", active)
        .with("fresh", active)
}

fn found(bench: &Bench, host: &MemoryHost, wanted: &Resource) -> Option<Resource> {
    bench.observe(host, &Service, &service(), wanted).resource
}

/// The steps from what is found to what is wanted, by the kind's own words.
fn steps(from: Option<&Resource>, to: Option<&Resource>, disturbed: bool) -> Vec<Step> {
    let id = service();
    let change = Change { id: &id, from, to };
    let reasons = Service.compare(change);
    let parts = Service.parts(change, &reasons, disturbed);
    let made = |part: crate::step::kind::Part| {
        let (from, to) = (part.from.as_ref(), part.to.as_ref());
        step(StepKind::RESTART, &id, part.action, from, to)
    };
    parts.into_iter().map(made).collect()
}

fn actions(from: Option<&Resource>, to: Option<&Resource>, disturbed: bool) -> Vec<Action> {
    let steps = steps(from, to, disturbed);
    steps.into_iter().map(|step| step.action).collect()
}

fn bring(bench: &Bench, host: &MemoryHost, to: Option<&Resource>) -> Result<(), StepError> {
    let from = found(bench, host, &wanted());
    for step in steps(from.as_ref(), to, false) {
        bench.apply(host, &Service, &step)?;
    }
    Ok(())
}

fn running() -> MemoryHost {
    let host = MemoryHost::new();
    host.put_file(UNIT_FILE, GOOD);
    bring(&Bench::new(), &host, Some(&wanted())).unwrap();
    host
}

#[test]
fn a_service_is_started_changed_and_removed() {
    let bench = Bench::new();
    let host = MemoryHost::new();
    assert_eq!(found(&bench, &host, &wanted()), None);
    host.put_file(UNIT_FILE, GOOD);
    assert_eq!(found(&bench, &host, &wanted()), None, "nobody enabled it");
    bring(&bench, &host, Some(&wanted())).unwrap();
    assert_eq!(found(&bench, &host, &wanted()), Some(wanted()));

    host.put_file(UNIT_FILE, format!("{GOOD}# new\n"));
    let stale = found(&bench, &host, &wanted()).unwrap();
    assert!(stale.is("active") && !stale.is("fresh"));
    bring(&bench, &host, Some(&wanted())).unwrap();
    assert_eq!(found(&bench, &host, &wanted()), Some(wanted()));
    let now = host.running(&unit()).unwrap();
    assert!(now.definition.ends_with("# new\n"));

    bring(&bench, &host, None).unwrap();
    assert_eq!(found(&bench, &host, &wanted()), None);
    assert_eq!(host.running(&unit()), None);
    assert!(!host.service(&unit()).unwrap().enabled);
}

#[test]
fn a_unit_that_cannot_be_enabled_is_absent_when_it_does_not_run() {
    let bench = Bench::new();
    let host = MemoryHost::new();
    host.put_file(UNIT_FILE, "[Service]\nExecStart=/bin/bot\n");
    assert!(
        host.fork()
            .manage(&unit(), &ServiceAct::Enable, std::time::Duration::ZERO)
            .is_ok()
    );
    assert_eq!(found(&bench, &host, &wanted()), None);
    bring(&bench, &host, Some(&wanted())).unwrap();
    assert_eq!(found(&bench, &host, &wanted()), Some(wanted()));
    bring(&bench, &host, None).unwrap();
    assert_eq!(found(&bench, &host, &wanted()), None);
}

#[test]
fn each_difference_has_its_act() {
    let reload = wanted().setting("restart", "reload");
    let never = wanted().setting("restart", "never");
    let stale = wanted().with("fresh", false);
    let off = wanted().with("enabled", false);
    let down = wanted().with("active", false).with("fresh", false);
    let all_off = down.clone().with("enabled", false);
    let up = wanted();
    type Case<'a> = (
        Option<&'a Resource>,
        Option<&'a Resource>,
        bool,
        &'a [Action],
    );
    let cases: [Case<'_>; 14] = [
        (None, Some(&up), false, &[Action::Start]),
        (Some(&down), Some(&up), false, &[Action::Start]),
        (Some(&stale), Some(&up), false, &[Action::Restart]),
        (Some(&stale), Some(&reload), false, &[Action::Reload]),
        (Some(&stale), Some(&never), false, &[]),
        (Some(&off), Some(&up), false, &[Action::Enable]),
        (Some(&up), Some(&off), false, &[Action::Disable]),
        (Some(&up), Some(&down), false, &[Action::Stop]),
        (Some(&up), Some(&all_off), false, &[Action::Stop]),
        (Some(&up), Some(&stale), false, &[]),
        (Some(&up), None, false, &[Action::Remove]),
        (Some(&up), Some(&up), true, &[Action::Stop, Action::Start]),
        (Some(&down), Some(&down), true, &[]),
        (Some(&down), Some(&up), true, &[Action::Start]),
    ];
    for (from, to, disturbed, expected) in cases {
        assert_eq!(actions(from, to, disturbed), expected, "{from:?} {to:?}");
    }
}

#[test]
fn somebody_elses_service_is_only_renewed() {
    let bench = Bench::new();
    let external = |resource: Resource| {
        resource
            .setting("external", true)
            .setting("restart", "reload")
    };
    let up = external(wanted());
    let stale = external(wanted().with("fresh", false));
    let down = external(state(false, false));
    assert_eq!(actions(Some(&down), Some(&up), false), []);
    assert_eq!(actions(Some(&up), None, false), []);
    assert_eq!(actions(Some(&stale), Some(&up), false), [Action::Reload]);
    assert_eq!(actions(Some(&up), Some(&up), true), []);
    // Unless a run has brought it down, and goes back.
    let before = Service.restored(&service(), &up);
    assert_eq!(actions(Some(&down), Some(&before), false), [Action::Start]);
    assert_eq!(
        actions(Some(&stale), Some(&before), false),
        [Action::Reload]
    );
    let was_down = Service.restored(&service(), &down);
    assert_eq!(actions(Some(&down), Some(&was_down), false), []);
    assert_eq!(actions(Some(&up), Some(&was_down), false), []);
    let host = MemoryHost::new();
    assert!(found(&bench, &host, &up).is_some(), "it is never absent");

    let host = running();
    let renew = &steps(Some(&stale), Some(&up), false)[0];
    bench.apply(&host, &Service, renew).unwrap();
    assert_eq!(host.running(&unit()).unwrap().reloads, 1);
}

#[test]
fn a_service_that_does_not_start_tells_its_log_and_starts_again_after_any_number_of_failures() {
    let bench = Bench::new();
    let host = MemoryHost::new();
    host.put_file(UNIT_FILE, BAD);
    host.log(&unit(), &["cannot open the database"]);
    for _ in 0..7 {
        let error = bring(&bench, &host, Some(&wanted())).unwrap_err();
        assert!(error.is_verdict());
        let text = error.to_string();
        assert!(
            text.starts_with("bot.service didn't start (failed (exit-code"),
            "{text}"
        );
        assert!(text.contains("\n  cannot open the database"), "{text}");
    }
    host.put_file(UNIT_FILE, GOOD);
    bring(&bench, &host, Some(&wanted())).unwrap();
    assert_eq!(found(&bench, &host, &wanted()), Some(wanted()));
}

#[test]
fn what_never_settles_is_not_active() {
    let bench = Bench::new();
    let host = running();
    host.set_activating(&unit(), true);
    let wanted = wanted().setting("start_timeout", 1);
    assert!(!found(&bench, &host, &wanted).unwrap().is("active"));
}

#[test]
fn a_restart_by_hand_and_a_reboot_are_no_difference() {
    let bench = Bench::new();
    let host = running();
    host.restart_service(&unit());
    assert_eq!(found(&bench, &host, &wanted()), Some(wanted()));
    host.reboot();
    assert_eq!(found(&bench, &host, &wanted()), Some(wanted()));
    host.kill_service(&unit(), "killed");
    assert!(!found(&bench, &host, &wanted()).unwrap().is("active"));
}

#[test]
fn stale_is_what_runs_on_something_changed_since_its_start() {
    let mut bench = Bench::new();
    let host = running();
    let built = id(ResourceKind::RELEASE, "/opt/bot/built/venv-1");
    bench.known = vec![(built.clone(), Resource::new().with("tree", "1"))];
    let uses = |path: &str| wanted().setting("uses", vec![path]);
    let is_fresh =
        |bench: &Bench, wanted: &Resource| found(bench, &host, wanted).unwrap().is("fresh");
    let inside = uses("/opt/bot/built/venv-1/venv/bin/python3");
    assert!(is_fresh(&bench, &inside));
    bench.changes.insert(built.clone(), host.moment());
    assert!(!is_fresh(&bench, &inside));
    assert!(is_fresh(&bench, &uses("/opt/bot/built/venv-10")));
    let reload = inside.clone().setting("restart", "reload");
    assert!(!is_fresh(&bench, &reload));
    bench.changes.insert(service(), host.moment());
    assert!(is_fresh(&bench, &reload), "it was reloaded since");
    assert!(!is_fresh(&bench, &inside));
    let other_boot = Moment {
        boot: "another".to_owned(),
        monotonic: u64::MAX,
    };
    bench.changes.insert(built, other_boot);
    assert!(is_fresh(&bench, &inside));
}

#[test]
fn a_definition_that_rosey_changed_is_in_force_once_it_has_started_the_service() {
    let mut bench = Bench::new();
    let host = running();
    let file = id(ResourceKind::FILE, UNIT_FILE);
    let drop_in = format!("{UNIT_FILE}.d/rosey.conf");
    let beside = id(ResourceKind::FILE, &drop_in);
    let environment = id(ResourceKind::FILE, "/var/lib/rosey/bot.env");
    for file in [&file, &beside, &environment] {
        bench.known.push((file.clone(), Resource::new()));
    }
    let uses = vec![UNIT_FILE, drop_in.as_str(), "/var/lib/rosey/bot.env"];
    let wanted = wanted().setting("uses", uses);
    let never = wanted.clone().setting("restart", "never");
    let is_fresh =
        |bench: &Bench, wanted: &Resource| found(bench, &host, wanted).unwrap().is("fresh");
    bench.changes.insert(environment, host.moment());
    host.restart_service(&unit());
    assert!(is_fresh(&bench, &wanted), "it is read at each start");
    bench.changes.insert(service(), host.moment());
    for file in [file, beside] {
        assert!(is_fresh(&bench, &wanted));
        bench.changes.insert(file, host.moment());
        // By itself, with the definition that systemd has loaded.
        host.let_services_die();
        assert!(!is_fresh(&bench, &wanted));
        assert!(is_fresh(&bench, &never), "others restart it");
        let step = &steps(
            Some(&wanted.clone().with("fresh", false)),
            Some(&wanted),
            false,
        )[0];
        bench.apply(&host, &Service, step).unwrap();
        bench.changes.insert(service(), host.moment());
        assert!(is_fresh(&bench, &wanted));
        host.restart_service(&unit());
        assert!(is_fresh(&bench, &wanted));
    }
    host.reboot();
    bench.changes.remove(&service());
    assert!(is_fresh(&bench, &wanted), "a boot reads everything");
}

#[test]
fn what_has_never_come_up_is_stale_by_any_change_of_this_boot() {
    let mut bench = Bench::new();
    let host = running();
    let unit_file = id(ResourceKind::FILE, UNIT_FILE);
    let site = id(ResourceKind::FILE, "/etc/bot.conf");
    for file in [&unit_file, &site] {
        bench.known.push((file.clone(), Resource::new()));
    }
    for file in [unit_file, site] {
        let wanted = wanted().setting("uses", vec![file.name.as_str()]);
        let is_fresh = |bench: &Bench| found(bench, &host, &wanted).unwrap().is("fresh");
        bench.changes.insert(file, host.moment());
        host.reboot();
        // Systemd starts it again and again, and would take what was changed meanwhile only by chance.
        host.fail_before_start(&unit());
        assert!(is_fresh(&bench), "that boot is over");
        for change in bench.changes.values_mut() {
            *change = host.moment();
        }
        assert!(!is_fresh(&bench));
    }
}

#[test]
fn what_was_renewed_before_a_boot_is_stale_by_a_change_after_it() {
    let mut bench = Bench::new();
    let host = running();
    let file = id(ResourceKind::FILE, UNIT_FILE);
    let site = id(ResourceKind::FILE, "/etc/nginx/bot.conf");
    for file in [&file, &site] {
        bench.known.push((file.clone(), Resource::new()));
    }
    bench.changes.insert(service(), host.moment());
    host.reboot();
    let reload = wanted()
        .setting("restart", "reload")
        .setting("uses", vec!["/etc/nginx/bot.conf"]);
    for (changed, wanted) in [(site, reload), (file, wanted())] {
        let is_fresh = |bench: &Bench| found(bench, &host, &wanted).unwrap().is("fresh");
        assert!(is_fresh(&bench));
        bench.changes.insert(changed, host.moment());
        assert!(!is_fresh(&bench));
    }
}

#[test]
fn what_died_of_its_reload_is_in_between() {
    let bench = Bench::new();
    let host = running();
    let wanted = wanted().setting("restart", "reload");
    let stale = wanted.clone().with("fresh", false);
    let reload = steps(Some(&stale), Some(&wanted), false).remove(0);
    assert_eq!(reload.action, Action::Reload);
    host.kill_service(&unit(), "exit-code");
    let died = found(&bench, &host, &wanted);
    assert!(Service.is_between(&reload, died.as_ref()));
}

#[test]
fn of_what_does_not_run_a_unit_that_was_put_back_is_read_again_in_the_end() {
    let bench = Bench::new();
    let host = running();
    let aside = std::path::Path::new("/etc/systemd/system/.old");
    let file = std::path::Path::new(UNIT_FILE);
    let act = |act| {
        host.manage(&unit(), &act, std::time::Duration::ZERO)
            .unwrap();
    };
    act(ServiceAct::Stop);
    host.rename(file, aside).unwrap();
    host.put_file(UNIT_FILE, BAD);
    act(ServiceAct::DaemonReload);
    host.remove_file(file).unwrap();
    host.rename(aside, file).unwrap();
    let down = wanted().with("active", false).with("fresh", false);
    let step = steps(Some(&wanted()), Some(&down), false).remove(0);
    let loaded = || host.service_snapshot()[&unit()].definition.clone();
    assert_eq!(loaded().as_deref(), Some(BAD));
    bench
        .acting(&host, |context| Service.sweep(context, &step))
        .unwrap();
    assert_eq!(loaded().as_deref(), Some(GOOD));
}

#[test]
fn what_a_link_showed_once_makes_nothing_stale() {
    let mut bench = Bench::new();
    let host = running();
    let current = id(ResourceKind::LINK, "/opt/bot/current");
    let (old, new) = ("/opt/bot/releases/1", "/opt/bot/releases/2");
    let release = |path| id(ResourceKind::RELEASE, path);
    let leads_to = |path: &str| Resource::new().with("target", path);
    bench.known = vec![
        (current.clone(), leads_to("releases/2")),
        (release(old), Resource::new().with("tree", "1")),
        (release(new), Resource::new().with("tree", "2")),
    ];
    host.put_directory("/opt/bot");
    host.put_link("/opt/bot/current", "releases/1");
    let wanted = wanted().setting("uses", vec!["/opt/bot/current"]);
    let is_fresh = |bench: &Bench| found(bench, &host, &wanted).unwrap().is("fresh");
    // As after the way back of a run to 2: it was removed after the service was restarted.
    bench.changes.insert(release(new), host.moment());
    assert!(is_fresh(&bench));
    bench.changes.insert(release(old), host.moment());
    assert!(!is_fresh(&bench));
}

#[test]
fn a_step_that_was_cut_off_anywhere_is_in_between_and_ends_the_same() {
    let bench = Bench::new();
    let absent = MemoryHost::new();
    absent.put_file(UNIT_FILE, GOOD);
    let up = running();
    let stale = running();
    stale.put_file(UNIT_FILE, format!("{GOOD}# new\n"));
    let cases = [
        (&absent, Some(wanted())),
        (&stale, Some(wanted())),
        (&up, None),
    ];
    for (prepared, to) in cases {
        let from = found(&bench, prepared, &wanted());
        let step = steps(from.as_ref(), to.as_ref(), false).remove(0);
        dying_everywhere(
            prepared,
            |host| drop(bench.apply(host, &Service, &step)),
            |host, told| {
                let now = found(&bench, host, &wanted());
                assert!(Service.is_between(&step, now.as_ref()), "{told}: {now:?}");
                bench.apply(host, &Service, &step).unwrap();
                assert_eq!(found(&bench, host, &wanted()), to, "{told}");
            },
        );
    }
}
