//! `rosey status`: what runs where, as the servers say it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fleet::mixed::mixed;
use crate::fleet::readback::host_outcome;
use crate::model::{Finding, HostName, HostOutcome};
use crate::report::table::{hosts_json, hosts_table};

use super::Session;
use super::arguments;
use super::conducting::print_line;
use super::deployment::Deployment;
use super::drift::last_applied;
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Status,
) -> Result<Exit, CommandError> {
    let project = Project::open(&session.around, arguments.environment.as_deref())?;
    let deployment = Deployment::reach(session, project, &arguments.choice, None).await?;
    let survey = deployment.survey(BTreeMap::new()).await?;
    let prospect = deployment
        .prospect(&survey, last_applied(&survey), false)
        .await?;
    let mut hosts: BTreeMap<HostName, Vec<HostOutcome>> = BTreeMap::new();
    for (member, app) in &survey.members {
        let current = app.ledger.as_ref().and_then(|ledger| ledger.current());
        let actual = prospect.members.get(member).map(|seen| &seen.actual);
        let outcome = host_outcome(member.app.to_string(), current, actual);
        hosts.entry(member.host.clone()).or_default().push(outcome);
    }
    let mut notes = deployment.notes(&survey);
    notes.extend(deployment.undeclared(&survey));
    if arguments.json {
        let document = json!({
            "format_version": "1.0",
            "environment": deployment.project.environment.name,
            "hosts": hosts_json(&hosts),
            "mixed": !mixed(&survey).is_empty(),
            "notes": notes,
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
    Ok(Exit::DONE)
}
