//! `rosey status`: what runs where, as the servers say it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::Rigour;
use crate::fleet::mixed::mixed;
use crate::fleet::prospect::Sought;
use crate::model::{Finding, FindingClass, HostName, HostOutcome};
use crate::report::table::{hosts_json, hosts_table};

use super::Session;
use super::arguments;
use super::conducting::{hosts_of, print_data};
use super::deployment::Deployment;
use super::drift::{drifted, last_applied};
use super::error::CommandError;
use super::exit::Exit;
use super::notes::cut_off;
use super::project::Project;
use super::say::say;
use super::unread::Unread;

/// What one environment shows.
struct Shown {
    environment: String,
    hosts: BTreeMap<HostName, Vec<HostOutcome>>,
    mixed: bool,
    /// Runs that were cut off.
    cut_off: Value,
    notes: Vec<Finding>,
    /// Hosts that couldn't be read.
    unread: Unread,
}

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Status,
) -> Result<Exit, CommandError> {
    let around = &session.around;
    let named = arguments.environment.as_deref();
    let projects = if named.is_some() || around.environment.is_some() {
        vec![Project::open_standing(around, named)]
    } else {
        // Nothing named: an operator wants to see everything.
        Project::all(around, Rigour::Written)?
    };
    let several = projects.len() > 1;
    let mut all = Vec::new();
    let mut errors = Vec::new();
    for project in projects {
        let shown = match project {
            Ok(project) => look(session, &arguments, project).await,
            Err(error) => Err(error),
        };
        match shown {
            Ok(shown) => all.push(shown),
            Err(error) => errors.push(error),
        }
    }
    // What can't be asked hides nothing else.
    if !all.is_empty() || several {
        show(&arguments, &all, several)?;
    }
    errors.extend(all.into_iter().flat_map(|shown| shown.unread.errors));
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else {
        return Ok(Exit::DONE);
    };
    for text in errors.filter_map(|error| error.text()) {
        say!("{text}");
    }
    Err(first)
}

async fn look(
    session: &Session,
    arguments: &arguments::Status,
    project: Project,
) -> Result<Shown, CommandError> {
    let choice = &arguments.choice;
    let (deployment, missing) = Deployment::reach_some(session, project, choice, None).await?;
    let emptied = deployment.emptied(session, choice).await?;
    let mut shown = shown(deployment, Unread::missing(&missing)).await?;
    shown.notes.extend(emptied);
    Ok(shown)
}

/// What the hosts of a deployment show that can be read, beside those that aren't there.
async fn shown(mut deployment: Deployment, mut unread: Unread) -> Result<Shown, CommandError> {
    let (survey, prospect, lost) = deployment
        .prospect_some(last_applied, Sought::Nothing)
        .await?;
    unread.add(&lost);
    let hosts = hosts_of(&survey, Some(&prospect));
    let mut notes = deployment.notes(&survey);
    notes.extend(deployment.holds(&survey));
    notes.extend(deployment.others_roots(&survey));
    notes.extend(deployment.undeclared(&survey));
    let environment = deployment.project.environment.name.to_string();
    notes.extend(drifted(&prospect).into_iter().map(|(member, number)| {
        let (things, are) = match number {
            1 => ("1 thing".to_owned(), "is"),
            number => (format!("{number} things"), "are"),
        };
        Finding {
            class: FindingClass::Note,
            message: format!("{things} of {} {are} not as applied", member.app),
            remedy: Some(format!("rosey drift {environment}")),
            host: member.host,
            app: Some(member.app),
        }
    }));
    Ok(Shown {
        environment,
        hosts,
        mixed: !mixed(&survey).is_empty(),
        cut_off: cut_off(&survey),
        notes,
        unread,
    })
}

fn show(arguments: &arguments::Status, all: &[Shown], several: bool) -> Result<(), CommandError> {
    if arguments.json {
        let documents: Vec<_> = all.iter().map(document).collect();
        let document = match documents.as_slice() {
            [document] if !several => document.clone(),
            _ => json!({ "format_version": "1.0", "environments": documents }),
        };
        return print_data(&document.to_string());
    }
    for (index, shown) in all.iter().enumerate() {
        if several {
            let gap = if index == 0 { "" } else { "\n" };
            print_data(&format!("{gap}{}", shown.environment))?;
        }
        if !shown.hosts.is_empty() {
            print_data(hosts_table(&shown.hosts).trim_end())?;
        }
        for note in &shown.notes {
            print_data(&format!("{}: {}", note.host, note.message))?;
            if let Some(remedy) = &note.remedy {
                print_data(&format!("  {remedy}"))?;
            }
        }
    }
    Ok(())
}

fn document(shown: &Shown) -> Value {
    json!({
        "format_version": "1.0",
        "environment": shown.environment,
        "hosts": hosts_json(&shown.hosts),
        "mixed": shown.mixed,
        "cut_off": shown.cut_off,
        "notes": shown.notes,
        "unreachable": shown.unread.hosts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{Fault, Lab, host};

    #[tokio::test]
    async fn a_host_that_is_lost_while_it_is_read_hides_no_other() {
        for at in ["survey", "observe"] {
            let lost = vec![Fault::Lost { at, after: false }];
            let lab = Lab::new(&[("a", vec![]), ("b", lost)]);
            let (_directory, deployment) = Deployment::of(&lab);
            let shown = shown(deployment, Unread::default()).await.ok().unwrap();
            let known = &shown.hosts[&host("a")][0];
            assert_eq!(known.version.as_deref(), Some("1.1"), "{at}");
            assert_eq!(known.healthy, Some(true), "{at}");
            assert!(!shown.hosts.contains_key(&host("b")), "{at}");
            assert!(shown.unread.hosts.contains_key(&host("b")), "{at}");
            assert_eq!(shown.unread.errors[0].exit, Exit::UNREACHABLE, "{at}");
        }
    }

    #[tokio::test]
    async fn where_no_host_can_be_read_that_is_what_is_shown() {
        let lost = vec![Fault::Lost {
            at: "survey",
            after: false,
        }];
        let (_directory, deployment) = Deployment::of(&Lab::new(&[("a", lost)]));
        let shown = shown(deployment, Unread::default()).await.ok().unwrap();
        assert!(shown.hosts.is_empty());
        assert_eq!(
            document(&shown)["unreachable"].as_object().unwrap().len(),
            1
        );
        assert_eq!(shown.unread.errors[0].exit, Exit::UNREACHABLE);
    }
}
