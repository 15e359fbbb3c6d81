//! `rosey status`: what runs where, as the servers say it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fleet::mixed::mixed;
use crate::fleet::prospect::Sought;
use crate::fleet::reach::ReachError;
use crate::model::{Finding, FindingClass, HostName, HostOutcome};
use crate::report::table::{hosts_json, hosts_table};

use super::Session;
use super::arguments;
use super::conducting::{hosts_of, print_line};
use super::deployment::{Deployment, unreachable_hosts};
use super::drift::{drifted, last_applied};
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;
use super::say::say;

/// What one environment shows.
struct Shown {
    environment: String,
    hosts: BTreeMap<HostName, Vec<HostOutcome>>,
    mixed: bool,
    notes: Vec<Finding>,
    unreachable: Vec<(HostName, ReachError)>,
}

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Status,
) -> Result<Exit, CommandError> {
    let around = &session.around;
    let named = arguments.environment.as_deref();
    let projects = if named.is_some() || around.environment.is_some() {
        vec![Project::open(around, named)]
    } else {
        // Nothing named: an operator wants to see everything.
        Project::all(around)?
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
        show(&arguments, &all, several);
    }
    let unreachable = all.iter().filter(|shown| !shown.unreachable.is_empty());
    errors.extend(unreachable.map(|shown| unreachable_hosts(&shown.unreachable)));
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
    let (deployment, unreachable) = Deployment::reach_some(session, project, choice, None).await?;
    if deployment.fleet.is_empty() {
        return Err(unreachable_hosts(&unreachable));
    }
    let survey = deployment.survey(BTreeMap::new()).await?;
    let prospect = deployment
        .prospect(&survey, last_applied(&survey), Sought::Nothing)
        .await?;
    let hosts = hosts_of(&survey, Some(&prospect));
    let mut notes = deployment.notes(&survey);
    notes.extend(deployment.holds(&survey));
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
        notes,
        unreachable,
    })
}

fn show(arguments: &arguments::Status, all: &[Shown], several: bool) {
    if arguments.json {
        let documents: Vec<_> = all.iter().map(document).collect();
        let document = match documents.as_slice() {
            [document] if !several => document.clone(),
            _ => json!({ "format_version": "1.0", "environments": documents }),
        };
        print_line(&document.to_string());
        return;
    }
    for (index, shown) in all.iter().enumerate() {
        if several {
            let gap = if index == 0 { "" } else { "\n" };
            print_line(&format!("{gap}{}", shown.environment));
        }
        print_line(hosts_table(&shown.hosts).trim_end());
        for note in &shown.notes {
            print_line(&format!("{}: {}", note.host, note.message));
            let remedy = note.remedy.iter();
            remedy.for_each(|remedy| print_line(&format!("  {remedy}")));
        }
    }
}

fn document(shown: &Shown) -> Value {
    let unreachable: BTreeMap<_, _> = shown
        .unreachable
        .iter()
        .map(|(host, error)| (host, error.to_string()))
        .collect();
    json!({
        "format_version": "1.0",
        "environment": shown.environment,
        "hosts": hosts_json(&shown.hosts),
        "mixed": shown.mixed,
        "notes": shown.notes,
        "unreachable": unreachable,
    })
}
