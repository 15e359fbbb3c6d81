//! What of a declaration changed without a step: gates, what backups cover, and what a hold holds.
//!
//! Nothing on a host is another for it, so no generation is made. The one that stands is known by it
//! from then on: `verify`, the next baseline, and a hold go by what is in the ledger.

use std::collections::BTreeMap;

use crate::fleet::Events;
use crate::helper::protocol::{Marks, Restated};
use crate::model::{Finding, FindingClass, Generation, Member};

use super::Session;
use super::deployment::{Declaration, Deployment};
use super::error::CommandError;
use super::freeze::refuse_frozen;
use super::marking;

/// What changed of members' standing generations by their declaration alone.
pub(super) struct Restatement(BTreeMap<Member, Change>);

struct Change {
    restated: Restated,
    number: u64,
    /// What a person would want to know of; a digest isn't.
    words: Option<&'static str>,
}

impl Restatement {
    /// Compares what is declared with what the ledgers have; meant for a plan without steps.
    pub fn of(declaration: &Declaration) -> Self {
        let declared = declaration.declared.iter();
        let changes = declared.filter_map(|(member, declared)| {
            let surveyed = declaration.survey.members.get(member)?;
            let ledger = surveyed.ledger.as_ref()?;
            let current = ledger.current()?;
            let restated = Restated {
                run: current.run.clone(),
                gates: declared.wanted.gates.clone(),
                backup: declared.backup.clone(),
                declared: Some(declared.declared),
                variables: Some(declared.variables.clone()),
            };
            let change = Change {
                number: current.number,
                words: words(current, &restated),
                restated,
            };
            // Nor is it news that it is healthy again; but the ledger is to say so.
            let is_another = current.declared != change.restated.declared;
            (change.words.is_some() || is_another || ledger.judged == Some(false))
                .then(|| (member.clone(), change))
        });
        Self(changes.collect())
    }

    /// What `plan` says of it.
    pub fn notes(&self, environment: &str) -> Vec<Finding> {
        let noted = self.0.iter().filter_map(|(member, change)| {
            Some(Finding {
                class: FindingClass::Note,
                host: member.host.clone(),
                app: Some(member.app.clone()),
                message: format!("{} since generation {}", change.words?, change.number),
                remedy: Some(format!(
                    "read the gates and record it: rosey apply {environment}"
                )),
            })
        });
        noted.collect()
    }

    /// Writes it into the ledgers.
    ///
    /// # Errors
    /// Exit code 5 when a host is frozen or locked, 6 when another generation stands by now, 4 when
    /// a host is lost.
    pub async fn record(
        self,
        session: &Session,
        deployment: &Deployment,
        declaration: &Declaration,
        events: &Events,
    ) -> Result<(), CommandError> {
        if self.0.values().any(|change| change.words.is_some()) {
            let environment = &deployment.project.environment.name;
            refuse_frozen(&declaration.survey, environment)?;
        }
        for (member, change) in self.0 {
            let marks = Marks {
                restate: Some(Box::new(change.restated)),
                ..Marks::default()
            };
            let members = std::slice::from_ref(&member);
            marking::mark(session, deployment, members, marks, "apply").await?;
            if let Some(words) = change.words {
                let text = format!(
                    "{}: {words}; recorded for generation {}",
                    member.app, change.number
                );
                events.note(Some(&member.host), text);
            }
        }
        Ok(())
    }
}

fn words(current: &Generation, restated: &Restated) -> Option<&'static str> {
    let (gates, backup) = (
        current.gates != restated.gates,
        current.backup != restated.backup,
    );
    match (gates, backup) {
        (true, true) => Some("its gates and what its backups cover have changed"),
        (true, false) => Some("its gates have changed"),
        (false, true) => Some("what its backups cover has changed"),
        (false, false) => None,
    }
}
