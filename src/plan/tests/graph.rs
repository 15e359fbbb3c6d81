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
    }
}

#[test]
fn a_first_deploy_makes_before_it_uses() {
    assert_snapshot!(text(&difference(&State::default(), &version("1"), &[])), @"");
}

#[test]
fn a_new_version_shows_the_tree_then_restarts_then_removes() {
    assert_snapshot!(text(&difference(&version("1"), &version("2"), &[])), @"");
}

#[test]
fn attendants_stand_around_what_the_system_can_see() {
    let attendants = [
        attendant("gates", Action::Check, Turn::Last),
        attendant("backup", Action::Take, Turn::First),
    ];
    assert_snapshot!(text(&difference(&version("1"), &version("2"), &attendants)), @"");
}

#[test]
fn a_restore_stops_the_service_first_and_starts_it_after() {
    let restore = [attendant("backup", Action::Restore, Turn::Quiet)];
    assert_snapshot!(text(&difference(&version("2"), &version("1"), &restore)), @"");
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
    assert_snapshot!(text(&difference(&old, &new, &[])), @"");
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
    assert_snapshot!(text(&difference(&of("1"), &of("2"), &[])), @"");
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
    assert_snapshot!(plan(&input).unwrap_err(), @"");
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
