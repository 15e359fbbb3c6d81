//! `rosey status`: what runs where, as the servers say it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fleet::mixed::mixed;
use crate::model::Finding;
use crate::report::table::{hosts_json, hosts_table};

use super::Session;
use super::arguments;
use super::conducting::{hosts_of, print_line};
use super::deployment::{Deployment, unreachable_hosts};
use super::drift::last_applied;
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Status,
) -> Result<Exit, CommandError> {
    let project = Project::open(&session.around, arguments.environment.as_deref())?;
    let choice = &arguments.choice;
    let (deployment, missing) = Deployment::reach_some(session, project, choice, None).await?;
    if deployment.fleet.is_empty() {
        return Err(unreachable_hosts(&missing));
    }
    let survey = deployment.survey(BTreeMap::new()).await?;
    let prospect = deployment
        .prospect(&survey, last_applied(&survey), false)
        .await?;
    let hosts = hosts_of(&survey, Some(&prospect));
    let mut notes = deployment.notes(&survey);
    notes.extend(deployment.holds(&survey));
    notes.extend(deployment.undeclared(&survey));
    if arguments.json {
        let unread: BTreeMap<_, _> = missing
            .iter()
            .map(|(host, error)| (host, error.to_string()))
            .collect();
        let document = json!({
            "format_version": "1.0",
            "environment": deployment.project.environment.name,
            "hosts": hosts_json(&hosts),
            "mixed": !mixed(&survey).is_empty(),
            "notes": notes,
            "unreachable": unread,
        });
        print_line(&document.to_string());
    } else {
        print_line(hosts_table(&hosts).trim_end());
        for Finding {
            host,
            message,
            remedy,
            ..
        } in &notes
        {
            print_line(&format!("{host}: {message}"));
            remedy
                .iter()
                .for_each(|remedy| print_line(&format!("  {remedy}")));
        }
    }
    if missing.is_empty() {
        Ok(Exit::DONE)
    } else {
        Err(unreachable_hosts(&missing))
    }
}
