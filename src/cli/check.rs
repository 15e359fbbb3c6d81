//! `rosey check`: the declarations and all that they name, rendered as an apply would; no server is
//! contacted and no secret is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{Rigour, Secrets};
use crate::fleet::declared::{AppContent, Declaring};
use crate::model::AppName;
use crate::report::count;
use crate::step::registry::registry;

use super::Session;
use super::arguments::{self, Check, Choice};
use super::conducting::print_line;
use super::deployment::choose;
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;
use super::say::say;

pub(super) fn run(session: &Session, arguments: &arguments::Check) -> Result<Exit, CommandError> {
    let projects = match arguments {
        Check {
            environment: Some(name),
        } => vec![Project::open(&session.around, Some(name))],
        Check { environment: None } => Project::all(&session.around, Rigour::Whole)?,
    };
    if projects.is_empty() {
        let error = CommandError::new(Exit::DECLARATION, "there is no environment yet");
        return Err(error.hint("make a first one: rosey init"));
    }
    let mut wrong = false;
    for project in projects {
        let checked = project
            .map_err(|error| vec![error])
            .and_then(|it| check(session, &it));
        match checked {
            Ok(summary) => print_line(&summary),
            Err(errors) => {
                wrong = true;
                let texts = errors.into_iter().filter_map(|it| it.text());
                texts.for_each(|text| say!("{text}"));
            }
        }
    }
    if wrong {
        Err(CommandError::said(Exit::DECLARATION))
    } else {
        Ok(Exit::DONE)
    }
}

/// Checks one environment: its summary, or all that is wrong with it.
fn check(session: &Session, project: &Project) -> Result<String, Vec<CommandError>> {
    let environment = &project.environment;
    let chosen = choose(project, &Choice::default(), None).map_err(|error| vec![error])?;
    let mut contents: BTreeMap<AppName, AppContent> = BTreeMap::new();
    let mut errors = Vec::new();
    let masks = project.known_secrets(&session.around).masks();
    for app in &environment.apps {
        let name = std::slice::from_ref(&app.name);
        match project.sources(&session.around, name, None, &masks) {
            Ok(sources) => contents.extend(sources.into_iter().map(|(app, source)| {
                let tree = Arc::new(source.tree.clone());
                (
                    app,
                    AppContent {
                        tree,
                        version: source.version.clone(),
                    },
                )
            })),
            Err(error) => errors.push(error),
        }
    }
    // The values of secrets may be nowhere near the person who checks.
    let secrets = Arc::new(Secrets::placeholders(&environment.secrets));
    let declaring = Declaring {
        environment,
        contents: &contents,
        secrets: &secrets,
        kinds: registry(),
    };
    if let Err(wrong) = declaring.secret_bytes(&chosen.addresses) {
        errors.push(CommandError::all_places(Exit::DECLARATION, wrong));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let hosts: BTreeSet<_> = chosen.addresses.keys().map(|member| &member.host).collect();
    let apps: Vec<_> = contents
        .iter()
        .map(|(app, it)| format!("{app} {}", it.version))
        .collect();
    let hosts = count(hosts.len() as u64, "host");
    Ok(format!(
        "{}: {} on {hosts}: all right",
        environment.name,
        apps.join(", ")
    ))
}
