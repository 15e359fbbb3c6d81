//! Which variables of a declaration have other values than the generations that stand had.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{HostName, Member, Plan};
use crate::report::VariableChange;

use super::deployment::Declaration;

/// The variables of members that a plan changes. Of a generation that doesn't know its own, nothing is said.
pub(super) fn changed(declaration: &Declaration, plan: &Plan) -> Vec<VariableChange> {
    let mut hosts: BTreeMap<_, Vec<HostName>> = BTreeMap::new();
    for (member, declared) in &declaration.declared {
        let Some(old) = standing(declaration, member) else {
            continue;
        };
        if plan.on(&member.host).of(&member.app).is_empty() {
            continue;
        }
        let new = &declared.variables;
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (old, new) = (old.get(name), new.get(name));
            if old != new {
                let key = (&member.app, name, old, new);
                hosts.entry(key).or_default().push(member.host.clone());
            }
        }
    }
    hosts
        .into_iter()
        .map(|((app, name, old, new), hosts)| VariableChange {
            app: app.clone(),
            name: name.clone(),
            old: old.cloned(),
            new: new.cloned(),
            hosts,
        })
        .collect()
}

fn standing<'a>(
    declaration: &'a Declaration,
    member: &Member,
) -> Option<&'a BTreeMap<String, String>> {
    let surveyed = declaration.survey.members.get(member)?;
    surveyed.ledger.as_ref()?.current()?.variables.as_ref()
}
