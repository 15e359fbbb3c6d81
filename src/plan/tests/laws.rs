//! Convergence, idempotence and reversal of plans, over generated states.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::model::{Plan, State, StepId};

use super::{difference, state};

const PATHS: [(&str, &str); 9] = [
    ("place", "/o"),
    ("place", "/o/d"),
    ("tree", "/o/d/1"),
    ("tree", "/o/d/2"),
    ("link", "/o/c"),
    ("link", "/o/l"),
    ("migration", "/m"),
    ("server", "/s1"),
    ("server", "/s2"),
];

/// Some of the resources on two hosts; each uses some of those that stand before it.
fn states() -> impl Strategy<Value = State> {
    let one = (any::<bool>(), 0..3u8, any::<[bool; 9]>());
    proptest::collection::vec(one, 2 * PATHS.len()).prop_map(|chosen| {
        let mut whole = State::default();
        for (position, (there, content, uses)) in chosen.into_iter().enumerate() {
            let host = if position < PATHS.len() { "a" } else { "b" };
            let index = position % PATHS.len();
            let (kind, path) = PATHS[index];
            // A kind's word lives as long as the program.
            let kind = ["place", "tree", "link", "migration", "server"]
                .into_iter()
                .find(|word| *word == kind)
                .expect("BUG: a word of the list");
            if !there {
                continue;
            }
            let used: Vec<_> = (0..index)
                .filter(|it| uses[*it])
                .map(|it| PATHS[it].1)
                .collect();
            let content = content.to_string();
            whole.extend(state(&[(host, kind, path, &content, &used)]));
        }
        whole
    })
}

/// Takes the steps of a plan, as far as `allowed` says, in its order.
fn taken(plan: &Plan, from: &State, allowed: impl Fn(&StepId) -> bool) -> State {
    let mut now = from.clone();
    let mut done = BTreeSet::new();
    for step in &plan.steps {
        if !allowed(&step.id) || !step.after.iter().all(|id| done.contains(id)) {
            continue;
        }
        done.insert(step.id.clone());
        match &step.to {
            Some(to) => now.resources.insert(step.resource.clone(), to.clone()),
            None => now.resources.remove(&step.resource),
        };
    }
    now
}

proptest! {
    #[test]
    fn applying_a_plan_gives_the_wanted_state(from in states(), to in states()) {
        let plan = difference(&from, &to, &[]);
        let reached = taken(&plan, &from, |_| true);
        prop_assert!(difference(&reached, &to, &[]).is_empty());
        prop_assert_eq!(
            reached.resources.keys().collect::<Vec<_>>(),
            to.resources.keys().collect::<Vec<_>>()
        );
    }

    #[test]
    fn equal_states_need_no_plan(state in states()) {
        prop_assert!(difference(&state, &state, &[]).is_empty());
    }

    #[test]
    fn from_any_allowed_set_of_steps_there_is_a_way_back(
        from in states(),
        to in states(),
        choice in any::<u64>(),
    ) {
        let plan = difference(&from, &to, &[]);
        let allowed = |id: &StepId| {
            let digest = crate::model::Digest::of(format!("{choice}{id}").as_bytes());
            !digest.bytes()[0].is_multiple_of(3)
        };
        let now = taken(&plan, &from, allowed);
        let back = difference(&now, &from, &[]);
        let reached = taken(&back, &now, |_| true);
        prop_assert!(difference(&reached, &from, &[]).is_empty());
    }

    #[test]
    fn no_wave_waits_for_a_later_one(from in states(), to in states()) {
        let plan = difference(&from, &to, &[]);
        for step in &plan.steps {
            for before in &step.after {
                let before = plan.step(before).expect("BUG: a step of the plan");
                prop_assert!(before.wave <= step.wave);
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_plan(from in states(), to in states()) {
        prop_assert_eq!(difference(&from, &to, &[]), difference(&from, &to, &[]));
    }
}
