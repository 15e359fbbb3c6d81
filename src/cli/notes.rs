//! What a survey shows that people should know, whatever the command.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fleet::mixed::mixed;
use crate::fleet::prospect::Survey;
use crate::helper::belonging::Belonging;
use crate::helper::protocol::{GoingBack, RegistryEntry, SurveyedApp};
use crate::model::shell::quote;
use crate::model::{EnvironmentName, Finding, FindingClass, Hold, HostFacts, HostName, Member};

use super::deployment::Deployment;
use super::error::CommandError;
use super::freeze::describe;
use super::marking::busy;
use super::registered::{entries, is_declared};

/// By how many seconds clocks may differ without a word.
const SKEW: i64 = 30;

impl Deployment {
    /// Notes of a survey: runs under way or cut off, freezes, notices of ledgers, mixed fleets, clocks
    /// that differ.
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
            if let Some(back) = &app.going_back {
                note(on_its_way_back(back), None);
            } else if let Some(holder) = &app.holder {
                note(
                    busy(&environment.name, member.host.as_str(), holder).words(),
                    None,
                );
            }
            if let Some(cut) = &app.interrupted {
                let stands = if cut.ready {
                    "it stands unconfirmed"
                } else {
                    "it is not finished"
                };
                let message = format!(
                    "the run {} ({} by {}) was cut off here {}: {stands}",
                    cut.run,
                    cut.command,
                    cut.author.user,
                    crate::report::after(&cut.begun)
                );
                note(
                    message,
                    Some(format!("settle it: rosey apply {}", environment.name)),
                );
            }
            let ledger = app.ledger.as_ref();
            let now = jiff::Timestamp::now().as_second();
            if let Some(freeze) = ledger.and_then(|ledger| ledger.frozen(now)) {
                note(
                    format!("{} is {}", member.app, describe(freeze)),
                    Some(format!("lift it: rosey unfreeze {}", environment.name)),
                );
            }
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
        notes.extend(skewed(&self.facts, jiff::Timestamp::now().as_second()));
        notes
    }

    /// Roots that belong to another app or environment: what stands there is not what was asked for.
    pub fn others_roots(&self, survey: &Survey) -> Vec<Finding> {
        let of_others = self.addresses.iter().filter_map(|(member, address)| {
            let belongs = Belonging::of(survey.others_root(member, address)?);
            Some(Finding {
                class: FindingClass::Note,
                host: member.host.clone(),
                app: Some(member.app.clone()),
                message: belongs.words(address),
                remedy: Some(belongs.remedy(address)),
            })
        });
        of_others.collect()
    }

    /// What a verdict or a rollback holds: neither an apply nor a heal takes it up. Each release once, and none that stands by
    /// now as it is declared otherwise, with other gates say.
    pub fn holds(&self, survey: &Survey) -> Vec<Finding> {
        let environment = &self.project.environment.name;
        let held = survey.members.iter().flat_map(|(member, app)| {
            let ledger = app.ledger.as_ref();
            let stands = ledger.and_then(|it| it.current());
            let is_past = |hold: &&Hold| {
                stands.is_some_and(|it| {
                    it.release.as_ref() == Some(&hold.release) && it.declared != Some(hold.declared)
                })
            };
            let holds = ledger.into_iter().flat_map(|it| &it.holds);
            let holds = holds.filter(|hold| !is_past(hold));
            let last: BTreeMap<_, _> = holds.map(|hold| (&hold.release, hold)).collect();
            last.into_values().map(move |hold| Finding {
                class: FindingClass::Note,
                host: member.host.clone(),
                app: Some(member.app.clone()),
                message: format!(
                    "{} of {} is held since {}: {}",
                    hold.release, member.app, hold.at, hold.why
                ),
                remedy: Some(format!(
                    "agree to try it again: rosey release-hold {environment}"
                )),
            })
        });
        held.collect()
    }

    /// Apps of this environment that are on a host and declared for it no more, or at another root.
    pub fn undeclared(&self, survey: &Survey) -> Vec<Finding> {
        let environment = &self.project.environment;
        let mut notes = Vec::new();
        for host in survey.registry.keys() {
            for entry in entries(environment, survey, host, false) {
                let member = Member::new(host, &entry.app);
                let declared = is_declared(environment, &member);
                // What wasn't chosen isn't known here.
                let moved = survey
                    .members
                    .get(&member)
                    .filter(|it| it.root != entry.root);
                if let Some(moved) = moved.filter(|_| declared) {
                    notes.push(Finding {
                        class: FindingClass::Note,
                        host: host.clone(),
                        app: Some(entry.app.clone()),
                        message: format!(
                            "{} is in {} too, and declared to be in {}: it is another app there, and left alone",
                            entry.app, entry.root, moved.root
                        ),
                        remedy: Some(format!(
                            "take it away: rosey remove {} {} --root {} --only {host}",
                            environment.name, entry.app, entry.root
                        )),
                    });
                }
                // Who has declared another app for its root is told that.
                let mut others = self.addresses.iter();
                let is_told = others.any(|(member, address)| {
                    let there = survey.others_root(member, address);
                    member.host == *host && there.is_some_and(|it| it.root == entry.root)
                });
                if !declared && !is_told {
                    notes.push(Finding {
                        class: FindingClass::Note,
                        host: host.clone(),
                        app: Some(entry.app.clone()),
                        message: format!(
                            "{} is in {} but isn't declared for this host (any more); it is left alone",
                            entry.app, entry.root
                        ),
                        remedy: Some(self.taking_away(survey, host, entry)),
                    });
                }
            }
        }
        notes
    }

    /// The line that takes away what is declared no more on a host.
    fn taking_away(&self, survey: &Survey, host: &HostName, entry: &RegistryEntry) -> String {
        let environment = &self.project.environment;
        let mut line = format!(
            "take it away, unless it is another project's: rosey remove {} {}",
            environment.name, entry.app
        );
        let there = entries(environment, survey, host, false);
        if there.filter(|it| it.app == entry.app).count() > 1 {
            line += &format!(" --root {}", quote(&entry.root));
        }
        // Elsewhere it is declared, and stays.
        if environment.app(&entry.app).is_some() {
            line += &format!(" --only {host}");
        }
        line
    }
}

/// The runs that were cut off, as documents have them.
pub(super) fn cut_off(survey: &Survey) -> Value {
    let cut = |(member, app): (&Member, &SurveyedApp)| {
        let cut = app.interrupted.as_ref()?;
        Some(json!({
            "host": member.host,
            "app": member.app,
            "run": cut.run,
            "command": cut.command,
            "user": cut.author.user,
            "at": cut.at,
            "ready": cut.ready,
            "steps": cut.begun,
        }))
    };
    survey.members.iter().filter_map(cut).collect()
}

/// Hosts whose clock, in seconds since 1970, isn't ours.
fn skewed(facts: &BTreeMap<HostName, HostFacts>, now: i64) -> Vec<Finding> {
    let skewed = facts
        .iter()
        .filter(|(_, facts)| (facts.clock - now).abs() > SKEW);
    let note = |(host, facts): (&HostName, &HostFacts)| Finding {
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

/// A run that is being taken back, whoever asked for that.
fn on_its_way_back(back: &GoingBack) -> String {
    // An older helper has not written that down.
    let since = match back.since.as_str() {
        "" => String::new(),
        since => format!(" since {since}"),
    };
    format!(
        "the run {} ({} by {}) is on its way back{since}: {}",
        back.run, back.command, back.author.user, back.reason
    )
}

/// Refuses while a run is under way.
///
/// # Errors
/// Exit code 5, with who holds what.
pub(super) fn refuse_busy(
    survey: &Survey,
    environment: &EnvironmentName,
) -> Result<(), CommandError> {
    for (member, app) in &survey.members {
        if let Some(holder) = &app.holder {
            return Err(busy(environment, member.host.as_str(), holder));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Author, RunId};

    #[test]
    fn a_way_back_that_an_older_helper_began_says_not_since_when() {
        let told = |since: &str| {
            on_its_way_back(&GoingBack {
                run: RunId("1".to_owned()),
                command: "apply".to_owned(),
                author: Author {
                    user: "ada".to_owned(),
                    ..Author::default()
                },
                reason: "a gate failed".to_owned(),
                since: since.to_owned(),
            })
        };
        assert_eq!(
            told("2026-01-01T00:00:00Z"),
            "the run 1 (apply by ada) is on its way back since 2026-01-01T00:00:00Z: a gate failed"
        );
        assert_eq!(
            told(""),
            "the run 1 (apply by ada) is on its way back: a gate failed"
        );
    }

    #[test]
    fn a_clock_that_is_far_away_is_told_with_what_to_type() {
        let host = |name: &str, clock| {
            let facts = HostFacts {
                platform: "linux-x86_64".to_owned(),
                system: String::new(),
                user: "root".to_owned(),
                root: true,
                systemd: true,
                clock,
            };
            (HostName::new(name).unwrap(), facts)
        };
        let hosts = [
            host("ahead", 1031),
            host("behind", 969),
            host("early", 1030),
            host("late", 970),
            host("right", 1000),
        ];
        let told: Vec<String> = skewed(&hosts.into(), 1000)
            .into_iter()
            .map(|it| format!("{}: {} ({})", it.host, it.message, it.remedy.unwrap()))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        ahead: its clock is 31 s away from the one here (on the host: timedatectl set-ntp true)
        behind: its clock is -31 s away from the one here (on the host: timedatectl set-ntp true)
        ");
    }
}
