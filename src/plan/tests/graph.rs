//! Small graphs, printed whole.

use insta::assert_snapshot;

use crate::model::{Action, Label, Resource, State, StepKind, Thing};
use crate::plan::{Attendant, PlanError, PlanInput, Turn, plan};

use super::{difference, id, kinds, state, text};

fn version(number: &str) -> State {
    let tree = format!("/opt/releases/{number}");
    state(&[
        ("a", "place", "/opt", "", &[]),
        ("a", "tree", &tree, number, &[]),
        ("a", "link", "/opt/current", &tree, &[&tree]),
        ("a", "server", "/unit", "unit", &["/opt/current"]),
    ])
}

fn attendant(kind: &'static str, action: Action, turn: Turn) -> Attendant {
    let disturbs = if turn == Turn::Quiet {
        vec![Thing::Turn("app".to_owned())]
    } else {
        Vec::new()
    };
    Attendant {
        resource: id("a", kind, "app"),
        kind: StepKind::new(kind),
        action,
        with: Resource::new(),
        label: Label::Reversible,
        turn,
        disturbs,
        lone: false,
    }
}

#[test]
fn a_first_deploy_makes_before_it_uses() {
    assert_snapshot!(text(&difference(&State::default(), &version("1"), &[])), @"
    0 create a/app/place:/opt
    0 create a/app/tree:/opt/releases/1 <- a/app/place:/opt
    1 create a/app/link:/opt/current <- a/app/tree:/opt/releases/1
    1 create a/app/server:/unit <- a/app/link:/opt/current
    ");
}

#[test]
fn a_new_version_shows_the_tree_then_restarts_then_removes() {
    assert_snapshot!(text(&difference(&version("1"), &version("2"), &[])), @"
    0 create a/app/tree:/opt/releases/2
    1 update a/app/link:/opt/current <- a/app/tree:/opt/releases/2
    1 update a/app/server:/unit <- a/app/link:/opt/current
    1 remove a/app/tree:/opt/releases/1 <- a/app/server:/unit
    ");
}

#[test]
fn what_was_stale_before_is_renewed_on_the_way_back_too() {
    let server = id("a", "server", "/unit");
    let mut found = version("2");
    let mut before = version("1");
    let of = |state: &mut State| state.resources.remove(&server).expect("BUG: it has one");
    let stale = of(&mut found).with("fresh", false);
    found.resources.insert(server.clone(), stale);
    let mut anything = of(&mut before);
    anything.attributes.remove("fresh");
    before.resources.insert(server.clone(), anything.clone());
    let plan = difference(&found, &before, &[]);
    assert_snapshot!(text(&plan), @"
    0 create a/app/tree:/opt/releases/1
    1 update a/app/link:/opt/current <- a/app/tree:/opt/releases/1
    1 update a/app/server:/unit <- a/app/link:/opt/current
    1 remove a/app/tree:/opt/releases/2 <- a/app/server:/unit
    ");
    let step = plan.steps.iter().find(|step| step.resource == server);
    assert!(
        step.and_then(|step| step.to.as_ref())
            .is_some_and(|to| to.is("fresh"))
    );
    // What was read of it says so itself, as of a service that is given back.
    let stale = anything.clone().with("fresh", false);
    let mut read = before.clone();
    read.resources.insert(server.clone(), stale);
    assert_eq!(difference(&found, &read, &[]), plan);

    // What nothing happens to is left stale.
    let mut there = version("1");
    let stale = of(&mut there).with("fresh", false);
    there.resources.insert(server, stale);
    assert!(difference(&there, &before, &[]).is_empty());
}

#[test]
fn attendants_stand_around_what_the_system_can_see() {
    let attendants = [
        attendant("gates", Action::Check, Turn::Last),
        attendant("backup", Action::Take, Turn::First),
    ];
    assert_snapshot!(text(&difference(&version("1"), &version("2"), &attendants)), @"
    0 create a/app/tree:/opt/releases/2
    1 take a/app/backup:app#take
    1 update a/app/link:/opt/current <- a/app/backup:app#take, a/app/tree:/opt/releases/2
    1 update a/app/server:/unit <- a/app/link:/opt/current
    1 remove a/app/tree:/opt/releases/1 <- a/app/server:/unit
    1 check a/app/gates:app#check <- a/app/tree:/opt/releases/1
    ");
}

#[test]
fn a_restore_stops_the_service_first_and_starts_it_after() {
    let restore = [attendant("backup", Action::Restore, Turn::Quiet)];
    assert_snapshot!(text(&difference(&version("2"), &version("1"), &restore)), @"
    0 create a/app/tree:/opt/releases/1
    1 update a/app/link:/opt/current <- a/app/tree:/opt/releases/1
    1 stop a/app/server:/unit#stop <- a/app/link:/opt/current
    1 restore a/app/backup:app#restore <- a/app/server:/unit#stop
    1 start a/app/server:/unit#start <- a/app/backup:app#restore
    1 remove a/app/tree:/opt/releases/2 <- a/app/server:/unit#start
    ");
}

#[test]
fn attendants_alone_make_no_plan() {
    let restore = [attendant("backup", Action::Take, Turn::First)];
    assert!(difference(&version("1"), &version("1"), &restore).is_empty());
}

#[test]
fn a_renamed_server_stops_before_the_new_one_takes_its_turn() {
    let old = state(&[
        ("a", "tree", "/old", "", &[]),
        ("a", "server", "/unit-old", "", &["/old"]),
    ]);
    let new = state(&[
        ("a", "tree", "/new", "", &[]),
        ("a", "server", "/unit-new", "", &["/new"]),
    ]);
    assert_snapshot!(text(&difference(&old, &new, &[])), @"
    0 create a/app/tree:/new
    1 remove a/app/server:/unit-old
    1 create a/app/server:/unit-new <- a/app/server:/unit-old, a/app/tree:/new
    1 remove a/app/tree:/old <- a/app/server:/unit-old
    ");
}

#[test]
fn what_happens_once_happens_on_the_first_host_and_the_others_wait() {
    let of = |content| {
        let lines: Vec<_> = ["b", "a"]
            .into_iter()
            .flat_map(|host| {
                [
                    (host, "migration", "/schema", content, &[] as &[&str]),
                    (host, "server", "/unit", "", &["/schema"] as &[&str]),
                ]
            })
            .collect();
        state(&lines)
    };
    assert_snapshot!(text(&difference(&of("1"), &of("2"), &[])), @"
    1 update a/app/migration:/schema
    1 update a/app/server:/unit <- a/app/migration:/schema
    2 note b/app/migration:/schema <- a/app/migration:/schema
    2 update b/app/server:/unit <- b/app/migration:/schema
    ");
}

#[test]
fn what_happened_once_is_noted_by_a_host_that_joins_later() {
    let of = |hosts: &[&'static str], content| {
        let lines: Vec<_> = hosts
            .iter()
            .map(|host| (*host, "migration", "/schema", content, &[] as &[&str]))
            .collect();
        state(&lines)
    };
    // The one that joins has the first name, and would be chosen.
    let plan = difference(&of(&["b", "c"], "1"), &of(&["a", "b", "c"], "1"), &[]);
    assert_snapshot!(text(&plan), @"1 note a/app/migration:/schema");
    assert_eq!(plan.steps[0].label, Label::Reversible);
    // What the others have is another one: then it happens, for all.
    let plan = difference(&of(&["b"], "1"), &of(&["a", "b"], "2"), &[]);
    assert_snapshot!(text(&plan), @"
    1 create a/app/migration:/schema
    2 note b/app/migration:/schema <- a/app/migration:/schema
    ");
}

/// A task that runs once for all, on a host that went over the stamps before this one.
fn migrated(host: &str, stamp: &str, earlier: Vec<&str>, noted: bool) -> State {
    let mut resource = Resource::new()
        .with("stamp", stamp)
        .setting("run", "up")
        .setting("undo", "down")
        .setting("once", true)
        .setting("release", "/opt/app/releases/1")
        .setting("timeout", 1500)
        .setting("earlier", earlier);
    if noted {
        resource = resource.setting("noted", true);
    }
    State {
        resources: [(id(host, "task", "migrate"), resource)].into(),
    }
}

/// What two hosts have, together.
fn both(mut one: State, other: State) -> State {
    one.resources.extend(other.resources);
    one
}

#[test]
fn what_happened_once_is_undone_where_it_happened() {
    let kinds = crate::step::registry::registry();
    let planned = |from: &State, to: &State| {
        let plan = plan(&PlanInput {
            from,
            to,
            kinds,
            attendants: &[],
            waves: &std::collections::BTreeMap::new(),
        });
        text(&plan.expect("BUG: a state without contradictions"))
    };
    // It ran on the second host, which was there first.
    let from = both(
        migrated("a", "2", vec!["1"], true),
        migrated("b", "2", vec!["1"], false),
    );
    let to = both(
        migrated("a", "1", vec![], true),
        migrated("b", "1", vec![], false),
    );
    assert_snapshot!(planned(&from, &to), @"
    1 note a/app/task:migrate
    1 undo b/app/task:migrate
    ");
    assert_snapshot!(planned(&from, &State::default()), @"
    1 note a/app/task:migrate
    1 undo b/app/task:migrate
    ");
}

#[test]
fn a_circle_is_named() {
    let to = state(&[
        ("a", "link", "/one", "", &["/two"]),
        ("a", "link", "/two", "", &["/one"]),
    ]);
    let kinds = kinds();
    let input = PlanInput {
        from: &State::default(),
        to: &to,
        kinds: &kinds,
        attendants: &[],
        waves: &std::collections::BTreeMap::new(),
    };
    assert_snapshot!(plan(&input).unwrap_err(), @"these steps wait for each other: a/app/link:/one, a/app/link:/two");
}

#[test]
fn two_claims_are_named() {
    let to = state(&[
        ("a", "link", "/one", "", &[]),
        ("a", "tree", "/one", "", &[]),
    ]);
    let kinds = kinds();
    let input = PlanInput {
        from: &State::default(),
        to: &to,
        kinds: &kinds,
        attendants: &[],
        waves: &std::collections::BTreeMap::new(),
    };
    assert!(matches!(plan(&input), Err(PlanError::TwoClaims { .. })));
}
