//! `rosey remove`: takes an app away, as a plan like any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fleet::compose::{Order, Toward, compose};
use crate::fleet::declared::DeclaredContent;
use crate::fleet::prospect::{Prospect, Survey, Wanted};
use crate::fleet::{Locked, removed};
use crate::model::{Outcome, OutcomeKind};
use crate::report::{PlanView, plan_text};

use super::approval::{self, Given};
use super::arguments;
use super::conducting::{Conducted, Talk};
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::exit::Exit;
use super::freeze::refuse_frozen;
use super::marking::busy;
use super::notes::refuse_busy;
use super::project::Project;
use super::surroundings::Surroundings;
use super::{Session, settling};

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Remove,
) -> Result<Exit, CommandError> {
    let talk = Talk::begin(session, arguments.json);
    let (deployment, survey, prospect) = match talk
        .unless_cancelled(prepare(session, &arguments, &talk))
        .await
    {
        Ok(prepared) => prepared,
        Err(error) => return Err(talk.refuse(error).await),
    };
    if arguments.with_data
        && let Err(error) = forget_left(session, &deployment, &survey, &talk).await
    {
        return Err(talk.refuse(error).await);
    }
    if prospect.members.is_empty() {
        let outcome = Outcome {
            run: None,
            outcome: OutcomeKind::Unchanged,
            exit_code: 0,
            hosts: BTreeMap::new(),
        };
        talk.outcome(outcome.clone());
        return Ok(talk.end(&outcome).await);
    }
    let order = Order {
        id: Surroundings::new_run(),
        command: "remove".to_owned(),
        author: session.around.author(None, arguments.reason.clone()),
        wait: false,
    };
    let members = prospect.members.keys();
    let toward = members.map(|member| {
        (
            member.clone(),
            Toward::Nothing {
                data: arguments.with_data,
            },
        )
    });
    let environment = &deployment.project.environment;
    let addresses = &deployment.addresses;
    let run = compose(
        environment,
        order,
        &prospect,
        &survey,
        addresses,
        toward.collect(),
    );
    let content = Arc::new(DeclaredContent {
        contents: BTreeMap::new(),
        made: BTreeMap::new(),
    });
    let choice = &arguments.choice;
    let conducted = Conducted {
        deployment: &deployment,
        choice,
        run,
        content,
    };
    let outcome = talk.conduct(session, conducted).await;
    Ok(talk.end(&outcome).await)
}

async fn prepare(
    session: &Session,
    arguments: &arguments::Remove,
    talk: &Talk,
) -> Result<(Deployment, Survey, Prospect), CommandError> {
    let project = Project::open(&session.around, Some(&arguments.environment))?;
    let app = arguments.app.as_deref();
    let deployment = Deployment::reach(session, project, &arguments.choice, app).await?;
    let mut survey = deployment.survey(BTreeMap::new()).await?;
    refuse_busy(&survey)?;
    if settling::settle(session, &deployment, &survey, talk, "remove").await? {
        survey = deployment.survey(BTreeMap::new()).await?;
    }
    refuse_frozen(&survey, &deployment.project.environment.name)?;
    let known = survey
        .members
        .iter()
        .filter(|(_, app)| app.ledger.is_some());
    let wanted = known.map(|(member, _)| {
        (
            member.clone(),
            Wanted {
                for_good: true,
                ..Wanted::default()
            },
        )
    });
    let prospect = deployment
        .prospect(&survey, wanted.collect(), false)
        .await?;
    let left = survey.members.values().any(|app| !app.left.is_empty());
    if prospect.members.is_empty() && !(left && arguments.with_data) {
        return Ok((deployment, survey, prospect));
    }
    if !arguments.json && !prospect.members.is_empty() {
        let view = PlanView {
            environment: deployment.project.environment.name.as_str(),
            versions: &BTreeMap::new(),
            plan: &prospect.plan,
            undo: &prospect.undo,
            findings: &prospect.findings,
            changes: &BTreeMap::new(),
            show_undo: false,
        };
        anstream::eprintln!("{}", plan_text(&view).trim_end());
    }
    if arguments.with_data {
        anstream::eprintln!("data in shared/ and all backups go too");
    }
    let data = if arguments.with_data {
        "Data and backups go too."
    } else {
        "Data stays."
    };
    let question = format!("Remove this? {data}");
    approval::ask(
        session,
        Given {
            yes: arguments.yes,
            saved_plan: false,
        },
        &question,
    )?;
    Ok((deployment, survey, prospect))
}

/// Takes away what an earlier remove has left, on hosts where the app is no more.
async fn forget_left(
    session: &Session,
    deployment: &Deployment,
    survey: &Survey,
    talk: &Talk,
) -> Result<(), CommandError> {
    let run = Surroundings::new_run();
    let author = session.around.author(None, None);
    for (member, app) in &survey.members {
        let (Some(connection), Some(address)) = (
            deployment.fleet.get(&member.host),
            deployment.addresses.get(member),
        ) else {
            continue;
        };
        if app.left.is_empty() {
            continue;
        }
        let apps = vec![address.clone()];
        let locked = connection.lock(run.clone(), apps, author.clone(), "remove".to_owned());
        if let Locked::Busy(holder) = locked.await.map_err(|error| asking(&[error]))? {
            return Err(busy(member.host.as_str(), &holder));
        }
        let forgotten = connection
            .forget(run.clone(), member.app.clone(), true)
            .await;
        let unlocked = connection.unlock(run.clone()).await;
        let left = forgotten.and_then(|left| unlocked.map(|()| left));
        let left = left.map_err(|error| asking(&[error]))?;
        let text = removed(&member.app, &left);
        talk.events().note(Some(&member.host), text);
    }
    Ok(())
}
