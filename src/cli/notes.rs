//! What a survey shows that people should know, whatever the command.

use crate::fleet::mixed::mixed;
use crate::fleet::prospect::Survey;
use crate::model::{Finding, FindingClass};

use super::deployment::Deployment;
use super::error::CommandError;
use super::marking::busy;

/// By how many seconds clocks may differ without a word.
const SKEW: i64 = 30;

impl Deployment {
    /// Notes of a survey: runs under way or cut off, notices of ledgers, mixed fleets, apps that are
    /// no longer declared, clocks that differ.
    pub fn notes(&self, survey: &Survey) -> Vec<Finding> {
        let mut notes = Vec::new();
        let environment = &self.project.environment;
        for (member, app) in &survey.members {
            let mut note = |message: String, remedy: Option<String>| {
                notes.push(Finding {
                    class: FindingClass::Note,
                    host: member.host.clone(),
                    app: Some(member.app.clone()),
                    message,
                    remedy,
                });
            };
            if let Some(holder) = &app.holder {
                note(busy(member.host.as_str(), holder).words(), None);
            }
            if let Some(cut) = &app.interrupted {
                let stands = if cut.ready {
                    "it stands unconfirmed"
                } else {
                    "it is not finished"
                };
                let steps = crate::report::steps(cut.begun.len());
                let message = format!(
                    "the run {} ({} by {}) was cut off after {steps} here: {stands}",
                    cut.run, cut.command, cut.author.user
                );
                note(
                    message,
                    Some(format!("settle it: rosey apply {}", environment.name)),
                );
            }
            let ledger = app.ledger.as_ref();
            if let Some(notice) = ledger.and_then(|ledger| ledger.notice.clone()) {
                note(notice, None);
            }
            if let Some(standing) = ledger.and_then(|ledger| ledger.standing.clone()) {
                let remedy = format!("go on from there: rosey apply {}", environment.name);
                note(standing, Some(remedy));
            }
        }
        for mixed in mixed(survey) {
            let host = mixed.releases.values().flatten().min().cloned();
            notes.extend(host.map(|host| Finding {
                class: FindingClass::Note,
                host,
                app: Some(mixed.app.clone()),
                message: mixed.to_string(),
                remedy: Some(format!("rosey apply {}", environment.name)),
            }));
        }
        notes.extend(self.skewed());
        notes
    }

    /// Apps of this environment that are on a host and declared for it no more.
    pub fn undeclared(&self, survey: &Survey) -> Vec<Finding> {
        let environment = &self.project.environment;
        let mut notes = Vec::new();
        for (host, entries) in &survey.registry {
            for entry in entries
                .iter()
                .filter(|entry| entry.environment == environment.name)
            {
                let declared = environment
                    .app(&entry.app)
                    .is_some_and(|it| it.hosts.contains(host));
                if !declared {
                    notes.push(Finding {
                        class: FindingClass::Note,
                        host: host.clone(),
                        app: Some(entry.app.clone()),
                        message: format!(
                            "{} is in {} but is no longer declared for this host; it is left alone",
                            entry.app, entry.root
                        ),
                        remedy: Some(format!(
                            "declare it again, then: rosey remove {} {} --only {host}",
                            environment.name, entry.app
                        )),
                    });
                }
            }
        }
        notes
    }

    fn skewed(&self) -> Vec<Finding> {
        let now = jiff::Timestamp::now().as_second();
        let skewed = self
            .facts
            .iter()
            .filter(|(_, facts)| (facts.clock - now).abs() > SKEW);
        let note = |(host, facts): (&crate::model::HostName, &crate::model::HostFacts)| Finding {
            class: FindingClass::Note,
            host: host.clone(),
            app: None,
            message: format!(
                "its clock is {} s away from the one here",
                facts.clock - now
            ),
            remedy: Some("on the host: timedatectl set-ntp true".to_owned()),
        };
        skewed.map(note).collect()
    }
}

/// Refuses while a run is under way.
///
/// # Errors
/// Exit code 5, with who holds what.
pub(super) fn refuse_busy(survey: &Survey) -> Result<(), CommandError> {
    for (member, app) in &survey.members {
        if let Some(holder) = &app.holder {
            return Err(busy(member.host.as_str(), holder));
        }
    }
    Ok(())
}
