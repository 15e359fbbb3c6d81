//! `rosey verify`: reads the gates now.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fleet::Events;
use crate::fleet::prospect::Survey;
use crate::helper::belonging::Belonging;
use crate::model::{GateResult, Gates, HostName, Member, Verdict};
use crate::report::table::table;

use super::arguments;
use super::conducting::print_data;
use super::deployment::Deployment;
use super::error::CommandError;
use super::exit::Exit;
use super::gate::Results;
use super::project::Project;
use super::surroundings::Surroundings;
use super::{Session, gate};

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Verify,
) -> Result<Exit, CommandError> {
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    let choice = &arguments.choice;
    let (deployment, survey, mut unread) =
        Deployment::read_some(session, project, choice, None).await?;
    let (results, refusal) = match to_read(&arguments, &deployment, &survey) {
        Ok(gates) => {
            let events = Events::new(Surroundings::now, Vec::new());
            let read = gate::read_some(&deployment, gates, arguments.post, &events);
            let (results, lost) = read.await;
            unread.add(&lost);
            (results, None)
        }
        Err(error) => (Results::new(), Some(error)),
    };
    let exit = gate::exit_of(results.values().flatten());
    let unreachable = unread.hosts.clone();
    let ended = refusal.map_or_else(|| unread.end(exit), Err);
    let exit = ended.as_ref().map_or_else(|error| error.exit, |exit| *exit);
    let said = say(&arguments, &results, exit, &unreachable);
    match ended {
        Ok(Exit::DONE) => said.map(|()| Exit::DONE),
        ended => ended,
    }
}

/// The members whose gates are to be read.
fn to_read(
    arguments: &arguments::Verify,
    deployment: &Deployment,
    survey: &Survey,
) -> Result<BTreeMap<Member, Option<Gates>>, CommandError> {
    let current = |member: &Member| {
        let surveyed = survey.members.get(member)?;
        let current = surveyed.ledger.as_ref()?.current();
        // Where a run or a rollback has led to what was there before the first apply, nothing is deployed.
        current.filter(|it| it.release.is_some())
    };
    let mut gates = BTreeMap::new();
    for (member, address) in &deployment.addresses {
        let Some(generation) = current(member) else {
            // No verdict on an app: nothing says yet how healthy it should be.
            let nothing = format!("nothing is deployed to read gates of: {member}");
            let (message, hint) = match survey.others_root(member, address).map(Belonging::of) {
                Some(belongs) => (
                    format!("{nothing}; {}", belongs.words(address)),
                    belongs.remedy(address),
                ),
                None => (
                    nothing,
                    format!("deploy it: rosey apply {}", arguments.environment),
                ),
            };
            return Err(CommandError::new(Exit::BLOCKED, message).hint(hint));
        };
        let version = arguments
            .version
            .as_deref()
            .map(|it| it.strip_prefix('v').unwrap_or(it));
        if let Some(wanted) = version
            && generation.version.as_deref() != Some(wanted)
        {
            let found = generation.version.as_deref().unwrap_or("none");
            let message = format!("{member} is version {found}, not {wanted}");
            return Err(CommandError::new(
                Exit::of_gate(crate::model::gate::GateClass::Health),
                message,
            ));
        }
        gates.insert(member.clone(), None);
    }
    Ok(gates)
}

/// Says what the gates have said, on stdout.
fn say(
    arguments: &arguments::Verify,
    results: &Results,
    exit: Exit,
    unreachable: &BTreeMap<HostName, String>,
) -> Result<(), CommandError> {
    if arguments.json {
        let rows =
            results.iter().flat_map(|(member, results)| {
                results.iter().map(move |result| {
                let GateResult { gate, verdict, class, detail, elapsed } = result;
                json!({ "host": member.host, "app": member.app, "gate": gate, "verdict": verdict,
                        "class": class, "detail": detail, "elapsed_ms": elapsed })
            })
            });
        let document = json!({
            "format_version": "1.0",
            "environment": arguments.environment,
            "healthy": exit == Exit::DONE,
            "exit_code": exit.0,
            "gates": rows.collect::<Vec<_>>(),
            "unreachable": unreachable,
        });
        return print_data(&document.to_string());
    }
    if !results.is_empty() {
        let rows = results.iter().flat_map(|(member, results)| {
            results.iter().map(move |result| {
                let detail = match result.verdict {
                    Verdict::Passed => format!("{} ms", result.elapsed),
                    _ => result.detail.clone(),
                };
                vec![
                    member.host.to_string(),
                    member.app.to_string(),
                    result.gate.clone(),
                    result.verdict.to_string(),
                    detail,
                ]
            })
        });
        let head = &["host", "app", "gate", "verdict", "detail"];
        print_data(table(head, rows.collect()).trim_end())?;
    }
    Ok(())
}
