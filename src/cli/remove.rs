//! `rosey remove`: takes an app away, as a plan like any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fleet::compose::{Order, Toward, compose};
use crate::fleet::declared::DeclaredContent;
use crate::fleet::prospect::{Prospect, Sought, Survey, Wanted};
use crate::fleet::run::RunEnd;
use crate::fleet::{Locked, removed};
use crate::model::{Action, Finding, FindingClass, Member, Outcome, OutcomeKind, Plan, ResourceId};
use crate::report::PlanView;
use crate::report::display::Volume;

use super::anew::{Anew, heads};
use super::approval::{self, Consent, Given, Proposal, refuse_blocked};
use super::arguments;
use super::conducting::{Conducted, Talk};
use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::exit::Exit;
use super::freeze::refuse_frozen;
use super::marking::busy;
use super::notes::refuse_busy;
use super::project::Project;
use super::protection::{Insisted, insist};
use super::registered::{self, is_declared_on_chosen};
use super::say::say;
use super::settling::{self, Settling};
use super::steady::is_disturbed;
use super::surroundings::Surroundings;
use super::{Session, once};

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Remove,
) -> Result<Exit, CommandError> {
    let talk = Talk::begin(session, arguments.json);
    match plan_and_remove(session, &arguments, &talk).await {
        Ok(outcome) => Ok(talk.end(&outcome).await),
        Err(error) => Err(talk.refuse(error).await),
    }
}

/// Plans and removes, as often as another run comes first.
async fn plan_and_remove(
    session: &Session,
    arguments: &arguments::Remove,
    talk: &Talk,
) -> Result<Outcome, CommandError> {
    let mut anew = Anew::new(true);
    loop {
        let prepared = talk.unless_cancelled(prepare(session, arguments, talk, &mut anew));
        let removing = prepared.await?;
        let forgot = arguments.with_data && forget_left(session, &removing, talk).await?;
        if removing.prospect.members.is_empty() {
            let outcome = Outcome {
                run: None,
                outcome: match forgot {
                    true => OutcomeKind::Applied,
                    false => OutcomeKind::Unchanged,
                },
                exit_code: 0,
                hosts: talk.seen(),
            };
            talk.outcome(outcome.clone());
            return Ok(outcome);
        }
        let end = execute(session, arguments, talk, (removing, anew.may())).await;
        match end.outcome.run.clone() {
            Some(run) if end.anew => talk.pause(anew.refused(run)).await?,
            _ => return Ok(end.outcome),
        }
    }
}

/// Removes; with it, whether all is planned anew where the plan has become stale.
async fn execute(
    session: &Session,
    arguments: &arguments::Remove,
    talk: &Talk,
    (removing, anew): (Removing, bool),
) -> RunEnd {
    let Removing {
        deployment,
        survey,
        prospect,
    } = removing;
    let order = Order {
        id: Surroundings::new_run(),
        command: "remove".to_owned(),
        author: session.around.author(None, arguments.reason.clone()),
        wait: false,
        anew,
    };
    let data = arguments.with_data;
    let members = prospect.members.keys();
    let toward = members.map(|member| (member.clone(), Toward::Nothing { data }));
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
    talk.conduct(session, conducted).await
}

/// What goes, ready to be taken away.
struct Removing {
    deployment: Deployment,
    survey: Survey,
    prospect: Prospect,
}

async fn prepare(
    session: &Session,
    arguments: &arguments::Remove,
    talk: &Talk,
    anew: &mut Anew<Plan>,
) -> Result<Removing, CommandError> {
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    insist(&project, &Insisted::reason(arguments.reason.as_deref()))?;
    let deployment = reach(session, project, arguments).await?;
    let given = Given {
        yes: arguments.yes,
        saved_plan: None,
    };
    let mut settled = false;
    let (survey, mut prospect) = loop {
        let survey = deployment.survey(BTreeMap::new()).await?;
        talk.saw(&survey, None);
        refuse_busy(&survey, &deployment.project.environment.name)?;
        refuse_frozen(&survey, &deployment.project.environment.name)?;
        if !settled && settling::is_needed(&survey) {
            let settling = Settling {
                command: "remove",
                given,
            };
            settling::settle(session, &deployment, &survey, talk, settling).await?;
            settled = true;
            continue;
        }
        let prospect = once::prospect(session, &deployment, &survey, all_of(&survey)).await?;
        if !disturbed(&deployment, &survey, &prospect).await? {
            break (survey, prospect);
        }
    };
    talk.saw(&survey, Some(&prospect));
    anew.planned_on(heads(&survey))?;
    let removing = |deployment, survey, prospect| Removing {
        deployment,
        survey,
        prospect,
    };
    if !anew.is_again() {
        for others in deployment.others_roots(&survey) {
            let remedy = others.remedy.unwrap_or_default();
            let text = format!("{}, and stays: {remedy}", others.message);
            talk.events().note(Some(&others.host), text);
        }
    }
    let left = survey.members.values().any(|app| !app.left.is_empty());
    if prospect.members.is_empty() && !(left && arguments.with_data) {
        return Ok(removing(deployment, survey, prospect));
    }
    refuse_blocked(&prospect.findings)?;
    if anew.is_agreed(&prospect.plan) {
        return Ok(removing(deployment, survey, prospect));
    }
    if arguments.with_data && session.display.volume > Volume::Quiet {
        say!("data in shared/ and all backups go too");
    }
    let undone = undone(&prospect.plan);
    let data = match undone.is_empty() {
        _ if arguments.with_data => "Data and backups go too.",
        true => "Data stays.",
        false => "Data stays, but for what tasks have made and undo.",
    };
    if !arguments.with_data {
        prospect.findings.extend(undone);
    }
    if prospect.members.is_empty() {
        // Only what an earlier remove has left: there is no plan to show.
        let consent = Consent {
            environment: deployment.project.environment.name.as_str(),
            given,
            question: &format!("Remove this? {data}"),
            settled,
        };
        approval::ask(session, &consent).await?;
        return Ok(removing(deployment, survey, prospect));
    }
    let proposal = Proposal {
        view: PlanView {
            environment: deployment.project.environment.name.as_str(),
            versions: &BTreeMap::new(),
            plan: &prospect.plan,
            undo: &prospect.undo,
            findings: &prospect.findings,
            changes: &prospect.changes,
            variables: &[],
            restarts: &BTreeMap::new(),
            show_undo: false,
        },
        json: arguments.json,
        given,
        allow_irreversible: arguments.allow_irreversible,
        settled,
        question: &if anew.is_again() {
            format!("Something has changed meanwhile. Remove this instead? {data}")
        } else {
            format!("Remove this? {data}")
        },
    };
    approval::propose(session, proposal).await?;
    anew.agree(prospect.plan.clone());
    Ok(removing(deployment, survey, prospect))
}

/// Reaches what is to go: as it is declared, or else as the hosts know it.
async fn reach(
    session: &Session,
    project: Project,
    arguments: &arguments::Remove,
) -> Result<Deployment, CommandError> {
    let (choice, root) = (&arguments.choice, arguments.root.as_deref());
    let app = arguments.app.as_deref();
    if let Some(app) = app
        && !is_declared_on_chosen(&project, choice, app)?
    {
        let sought = registered::Undeclared { app, root };
        return Deployment::reach_registered(session, project, choice, sought).await;
    }
    let mut deployment = Deployment::reach(session, project, choice, app).await?;
    if let Some(root) = root {
        let survey = deployment.survey(BTreeMap::new()).await?;
        turn_to(&mut deployment, &survey, root)?;
    }
    Ok(deployment)
}

/// To take away all that a survey shows.
fn all_of(survey: &Survey) -> (BTreeMap<Member, Wanted>, Sought) {
    let known = survey.members.iter();
    let known = known.filter(|(_, app)| app.ledger.is_some());
    let gone = Wanted {
        for_good: true,
        ..Wanted::default()
    };
    let wanted = known.map(|(member, _)| (member.clone(), gone.clone()));
    (wanted.collect(), Sought::Nothing)
}

/// What of the app's data goes though data stays: a task's `undo` may take away what its `run` has made there.
fn undone(plan: &Plan) -> Vec<Finding> {
    let undone = plan.steps.iter().filter(|it| it.action == Action::Undo);
    let told = undone.filter_map(|step| {
        let settings = &step.from.as_ref()?.settings;
        let ResourceId {
            host, app, name, ..
        } = &step.resource;
        Some(Finding {
            class: FindingClass::Note,
            host: host.clone(),
            app: Some(app.clone()),
            message: format!(
                "the task {name} of {app} is undone by `{}`, with the data that this takes away",
                settings.get("undo")?.as_text()?
            ),
            remedy: None,
        })
    });
    told.collect()
}

/// Whether another run came while it was planned, so that all is to be looked at once more.
async fn disturbed(
    deployment: &Deployment,
    survey: &Survey,
    prospect: &Prospect,
) -> Result<bool, CommandError> {
    let again = async || deployment.survey(BTreeMap::new()).await;
    is_disturbed(prospect, survey, again).await
}

/// Takes away what an earlier remove has left, on hosts where the app is no more; whether there was something.
async fn forget_left(
    session: &Session,
    removing: &Removing,
    talk: &Talk,
) -> Result<bool, CommandError> {
    let Removing {
        deployment, survey, ..
    } = removing;
    let mut forgot = false;
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
            let environment = &deployment.project.environment.name;
            return Err(busy(environment, member.host.as_str(), &holder));
        }
        let forgotten = connection
            .forget(run.clone(), member.app.clone(), true)
            .await;
        let unlocked = connection.unlock(run.clone()).await;
        let left = forgotten.and_then(|left| unlocked.map(|()| left));
        let left = left.map_err(|error| asking(&[error]))?;
        let text = removed(&member.app, &left);
        talk.events().note(Some(&member.host), text);
        forgot = true;
    }
    Ok(forgot)
}

/// Turns to what the hosts' registries know at another root by the same names: it is another app to
/// them, and the declaration doesn't say any more where it is.
fn turn_to(deployment: &mut Deployment, survey: &Survey, root: &str) -> Result<(), CommandError> {
    let environment = &deployment.project.environment.name;
    deployment.addresses.retain(|member, address| {
        let entries = survey.registry.get(&member.host).into_iter().flatten();
        let known = entries
            .filter(|entry| entry.environment == *environment && entry.app == member.app)
            .any(|entry| entry.root == root);
        root.clone_into(&mut address.root);
        known
    });
    if deployment.addresses.is_empty() {
        let message = format!("no host knows an app of {environment} at {root}");
        return Err(CommandError::new(Exit::ERROR, message)
            .hint(format!("what there is: rosey status {environment}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{Fault, Lab};
    use crate::model::State;

    /// Plans to remove, until nobody came meanwhile; how often that was, and how many members have something to
    /// take away.
    async fn planned(lab: &Lab) -> (u32, usize) {
        let (_directory, deployment) = Deployment::of(lab);
        for times in 1.. {
            let survey = deployment.survey(BTreeMap::new()).await.ok().unwrap();
            let (wanted, sought) = all_of(&survey);
            let none = State::default();
            let prospect = deployment.prospect(&survey, wanted, (sought, &none)).await;
            let prospect = prospect.ok().unwrap();
            let disturbed = disturbed(&deployment, &survey, &prospect).await;
            if !disturbed.ok().unwrap() {
                return (times, prospect.members.len());
            }
        }
        unreachable!("it is planned for ever")
    }

    #[tokio::test]
    async fn that_nothing_is_there_to_take_away_is_believed_only_where_nobody_came_meanwhile() {
        assert_eq!(planned(&Lab::new(&[("a", vec![])])).await, (1, 1));
        let meanwhile = vec![Fault::Meanwhile { at: "observe" }];
        assert_eq!(planned(&Lab::new(&[("a", meanwhile)])).await, (2, 1));
    }
}
