//! `rosey rollback`: goes back to an earlier generation, by the same planner and executor.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::fleet::compose::{Order, Toward, compose};
use crate::fleet::prospect::{Prospect, Sought, Survey, Wanted};
use crate::fleet::run::RunEnd;
use crate::fleet::target::{Leaving, Milestone, Past};
use crate::model::{AppName, Gates, HostName, Ledger, Member, Outcome, OutcomeKind, Plan, RunId};
use crate::report::PlanView;
use crate::report::table::table;

use super::anew::{Anew, heads};
use super::approval::{self, Given, Proposal, refuse_blocked, told};
use super::arguments;
use super::conducting::{Conducted, Talk, print_data};
use super::deployment::Deployment;
use super::error::CommandError;
use super::exit::Exit;
use super::healing::Healing;
use super::project::Project;
use super::protection::{Insisted, insist};
use super::restarts::restarts;
use super::say::say;
use super::settling::{self, Settling};
use super::steady::is_disturbed;
use super::surroundings::Surroundings;
use super::{Session, once, restoring, waiting};

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Rollback,
) -> Result<Exit, CommandError> {
    if arguments.list {
        return list(session, &arguments).await;
    }
    let talk = Talk::begin(session, arguments.json);
    match plan_and_go(session, &arguments, &talk).await {
        Ok(outcome) => Ok(talk.end(&outcome).await),
        Err(error) => Err(talk.refuse(error).await),
    }
}

/// Plans and goes back. Who waits, or says where to, plans as often as another run comes first; for anybody
/// else that run may have changed what to go back from.
async fn plan_and_go(
    session: &Session,
    arguments: &arguments::Rollback,
    talk: &Talk,
) -> Result<Outcome, CommandError> {
    let mut anew = Anew::new(arguments.wait || arguments.to.is_some());
    loop {
        let prepared = talk.unless_cancelled(prepare(session, arguments, talk, &mut anew));
        let going = prepared.await?;
        if going.prospect.plan.is_empty() {
            let outcome = Outcome {
                run: None,
                outcome: OutcomeKind::Unchanged,
                exit_code: 0,
                hosts: talk.seen(),
            };
            talk.outcome(outcome.clone());
            return Ok(outcome);
        }
        let run = going.id.clone();
        let end = go(session, arguments, talk, (going, anew.may())).await;
        if !end.anew {
            return Ok(end.outcome);
        }
        talk.pause(anew.refused(run)).await?;
    }
}

/// Goes back; with it, whether all is planned anew where the plan has become stale.
async fn go(
    session: &Session,
    arguments: &arguments::Rollback,
    talk: &Talk,
    (going, anew): (Going, bool),
) -> RunEnd {
    let Going {
        deployment,
        survey,
        prospect,
        toward,
        healing,
        id,
    } = going;
    let order = Order {
        id,
        command: "rollback".to_owned(),
        author: session.around.author(None, arguments.reason.clone()),
        wait: arguments.wait,
        anew,
    };
    let environment = &deployment.project.environment;
    let addresses = &deployment.addresses;
    let mut run = compose(environment, order, &prospect, &survey, addresses, toward);
    let content = healing.supply(&mut run);
    let choice = &arguments.choice;
    let conducted = Conducted {
        deployment: &deployment,
        choice,
        run,
        content,
    };
    talk.conduct(session, conducted).await
}

/// What is agreed to: the plan, and the generation that each app goes to.
type Agreed = (Plan, BTreeMap<Member, u64>);

/// A rollback, ready to go.
struct Going {
    deployment: Deployment,
    survey: Survey,
    prospect: Prospect,
    toward: BTreeMap<Member, Toward>,
    healing: Healing,
    id: RunId,
}

async fn prepare(
    session: &Session,
    arguments: &arguments::Rollback,
    talk: &Talk,
    anew: &mut Anew<Agreed>,
) -> Result<Going, CommandError> {
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    insist(&project, &Insisted::reason(arguments.reason.as_deref()))?;
    let deployment = Deployment::reach(
        session,
        project,
        &arguments.choice,
        arguments.app.as_deref(),
    )
    .await?;
    let id = Surroundings::new_run();
    let way = steadily(session, arguments, talk, (&deployment, &id)).await?;
    let Way {
        survey,
        toward,
        prospect,
        settled,
    } = way;
    talk.saw(&survey, Some(&prospect));
    anew.planned_on(heads(&survey))?;
    let healing = Healing::find(session, &deployment, &prospect).await?;
    let agreed = (prospect.plan.clone(), targets(&toward));
    if !prospect.plan.is_empty() {
        refuse_blocked(&prospect.findings)?;
    }
    if !prospect.plan.is_empty() && !anew.is_agreed(&agreed) {
        if arguments.to.is_none() && !approval::asks(session, given(arguments)) {
            refuse_elsewhere(anew.agreed(), &agreed.1, &arguments.environment)?;
        }
        let versions = versions(&toward);
        let proposal = Proposal {
            view: PlanView {
                environment: deployment.project.environment.name.as_str(),
                versions: &versions,
                plan: &prospect.plan,
                undo: &prospect.undo,
                findings: &prospect.findings,
                changes: &prospect.changes,
                variables: &[],
                restarts: &restarts(session, &deployment.project, &prospect.plan),
                show_undo: false,
            },
            json: arguments.json,
            given: given(arguments),
            allow_irreversible: arguments.allow_irreversible,
            settled,
            question: if anew.is_again() {
                "Something has changed meanwhile. Go back to this instead?"
            } else {
                "Go back to this?"
            },
        };
        approval::propose(session, proposal).await?;
        anew.agree(agreed);
    }
    Ok(Going {
        deployment,
        survey,
        prospect,
        toward,
        healing,
        id,
    })
}

/// A way back.
struct Way {
    survey: Survey,
    toward: BTreeMap<Member, Toward>,
    prospect: Prospect,
    settled: bool,
}

/// Plans while no run is under way, as far as that can be known without a lock.
async fn steadily(
    session: &Session,
    arguments: &arguments::Rollback,
    talk: &Talk,
    (deployment, id): (&Deployment, &RunId),
) -> Result<Way, CommandError> {
    let mut settled = false;
    loop {
        let survey = deployment.survey(BTreeMap::new()).await?;
        talk.saw(&survey, None);
        if waiting::until_free(deployment, &survey, arguments.wait, talk).await? {
            continue;
        }
        let toward = toward(&survey, arguments, id).map_err(|error| {
            let others = deployment.others_roots(&survey);
            others
                .iter()
                .fold(error, |error, others| error.hint(told(others)))
        })?;
        if !settled && settling::is_needed(&survey) {
            let settling = Settling {
                command: "rollback",
                given: given(arguments),
            };
            settling::settle(session, deployment, &survey, talk, settling).await?;
            settled = true;
            continue;
        }
        let wanted = wanted(&survey, &toward, arguments)?;
        let sought = Sought::PuttingBack;
        let prospect = once::prospect(session, deployment, &survey, (wanted, sought)).await?;
        let again = async || deployment.survey(BTreeMap::new()).await;
        if !is_disturbed(&prospect, &survey, again).await? {
            return Ok(Way {
                survey,
                toward,
                prospect,
                settled,
            });
        }
    }
}

/// What is wanted of every member that goes to an earlier generation.
fn wanted(
    survey: &Survey,
    toward: &BTreeMap<Member, Toward>,
    arguments: &arguments::Rollback,
) -> Result<BTreeMap<Member, Wanted>, CommandError> {
    let mut wanted = BTreeMap::new();
    for (member, way) in toward {
        let Toward::Earlier { target, .. } = way else {
            continue;
        };
        let attendants = if arguments.with_data {
            restoring::attendants(survey, member, target)?
        } else {
            Vec::new()
        };
        // Without gates nothing judges the way; the switch is as safe as ever.
        let gates = if arguments.force {
            Gates::default()
        } else {
            target.gates.clone()
        };
        let state = target.state.clone();
        wanted.insert(
            member.clone(),
            Wanted {
                state,
                gates,
                attendants,
                // Before the first apply nothing of rosey's was there, releases included.
                for_good: target.release.is_none(),
                ..Wanted::default()
            },
        );
    }
    Ok(wanted)
}

/// Where every member goes.
fn toward(
    survey: &Survey,
    arguments: &arguments::Rollback,
    run: &RunId,
) -> Result<BTreeMap<Member, Toward>, CommandError> {
    let wrong = |error: &dyn std::fmt::Display| {
        CommandError::new(Exit::ERROR, error).hint(format!(
            "see what there is: rosey rollback {} --list",
            arguments.environment
        ))
    };
    let why = arguments
        .reason
        .clone()
        .unwrap_or_else(|| "rolled back".to_owned());
    let leaving = Leaving {
        run,
        at: &Surroundings::now(),
        why: &why,
    };
    let pasts = pasts(survey);
    // What is undone is the last run, and of each app what that has brought. An app that it didn't change stands.
    let brought: Vec<_> = pasts.iter().map(|(_, past)| past.brought_by()).collect();
    let last = brought
        .iter()
        .flatten()
        .max_by_key(|it| it.at.parse::<Timestamp>().ok())
        .and_then(|it| it.run.clone());
    let mut toward = BTreeMap::new();
    for ((app, past), brought) in pasts.into_iter().zip(brought) {
        let by_last = brought.is_some_and(|it| it.run == last);
        if arguments.to.is_none() && !by_last {
            continue;
        }
        let number = match &arguments.to {
            Some(text) => past.find(text, &TimeZone::system()),
            None => past.default_target(),
        };
        let number = number.map_err(|error| wrong(&error))?;
        let ways = past
            .toward(number, &leaving)
            .map_err(|error| wrong(&error))?;
        toward.extend(
            ways.into_iter()
                .map(|(host, way)| (Member::new(&host, &app), way)),
        );
    }
    if toward.is_empty() {
        let what = match &arguments.app {
            Some(app) => format!("{app} in {}", arguments.environment),
            None => arguments.environment.clone(),
        };
        return Err(wrong(&format!("nothing was ever applied of {what}")));
    }
    Ok(toward)
}

/// The past of each app that was asked for.
fn pasts(survey: &Survey) -> Vec<(AppName, Past<'_>)> {
    let mut apps: BTreeMap<AppName, BTreeMap<HostName, &Ledger>> = BTreeMap::new();
    for (member, surveyed) in &survey.members {
        if let Some(ledger) = &surveyed.ledger {
            apps.entry(member.app.clone())
                .or_default()
                .insert(member.host.clone(), ledger);
        }
    }
    let past = |(app, ledgers): (AppName, _)| {
        let past = Past::new(&app, ledgers);
        (app, past)
    };
    apps.into_iter().map(past).collect()
}

fn given(arguments: &arguments::Rollback) -> Given {
    Given {
        yes: arguments.yes,
        saved_plan: None,
    }
}

/// The generation that each member goes to.
fn targets(toward: &BTreeMap<Member, Toward>) -> BTreeMap<Member, u64> {
    let targets = toward.iter().filter_map(|(member, way)| match way {
        Toward::Earlier { target, .. } => Some((member.clone(), target.number)),
        _ => None,
    });
    targets.collect()
}

/// Refuses to go anywhere else than was agreed to, where nobody is asked once more: of `--yes` nobody knows
/// that it was meant for another run's generation too.
fn refuse_elsewhere(
    agreed: Option<&Agreed>,
    targets: &BTreeMap<Member, u64>,
    environment: &str,
) -> Result<(), CommandError> {
    let Some((_, before)) = agreed.filter(|(_, before)| before != targets) else {
        return Ok(());
    };
    let named = |targets: &BTreeMap<Member, u64>| {
        let named = targets.iter().map(|(member, it)| format!("{member}: {it}"));
        named.collect::<Vec<_>>().join(", ")
    };
    let message = format!(
        "another run came first: the generation to go back to would be another one by now ({}; it was {})",
        named(targets),
        named(before)
    );
    Err(CommandError::new(Exit::STALE, message).hint(format!(
        "see what there is, and say which: rosey rollback {environment} --list, then --to G"
    )))
}

/// The version that each app goes to.
fn versions(toward: &BTreeMap<Member, Toward>) -> BTreeMap<String, String> {
    let versions = toward.iter().filter_map(|(member, way)| match way {
        Toward::Earlier { target, .. } => {
            let version = target
                .version
                .clone()
                .unwrap_or_else(|| "as before the first apply".to_owned());
            Some((member.app.to_string(), version))
        }
        _ => None,
    });
    versions.collect()
}

/// `rosey rollback --list`
async fn list(session: &Session, arguments: &arguments::Rollback) -> Result<Exit, CommandError> {
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    let app = arguments.app.as_deref();
    let read = Deployment::read_some(session, project, &arguments.choice, app).await?;
    let (deployment, survey, unread) = read;
    for others in deployment.others_roots(&survey) {
        say!("{}", told(&others));
    }
    let pasts: Vec<(AppName, Vec<Milestone>)> = pasts(&survey)
        .into_iter()
        .map(|(app, past)| (app, past.milestones()))
        .collect();
    if arguments.json {
        let generations = pasts.iter().flat_map(|(app, milestones)| {
            milestones.iter().map(move |it| {
                json!({ "app": app, "generation": it.number, "parent": it.parent, "run": it.run,
                        "release": it.release, "version": it.version, "at": it.at,
                        "verified": it.verified, "left": it.left,
                        "current": it.current, "hosts": it.hosts })
            })
        });
        let generations: Vec<_> = generations.collect();
        let environment = &arguments.environment;
        let document = json!({
            "format_version": "1.0",
            "environment": environment,
            "generations": generations,
            "unreachable": unread.hosts,
        });
        print_data(&document.to_string())?;
        return unread.end(Exit::DONE);
    }
    let rows = pasts.iter().flat_map(|(app, milestones)| {
        milestones.iter().rev().map(move |it| {
            let flags = [
                (it.current, "current"),
                (it.verified, "verified"),
                (it.left, "left"),
            ];
            let flags: Vec<_> = flags.into_iter().filter(|it| it.0).map(|it| it.1).collect();
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            vec![
                app.to_string(),
                it.number.to_string(),
                or_dash(&it.version),
                or_dash(&it.release),
                it.at.clone(),
                flags.join(" "),
            ]
        })
    });
    let head = ["app", "generation", "version", "release", "when", ""];
    print_data(table(&head, rows.collect()).trim_end())?;
    unread.end(Exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::member;

    #[test]
    fn where_nobody_is_asked_again_it_goes_nowhere_else_than_was_agreed_to() {
        let to = |number| BTreeMap::from([(member("a"), number)]);
        let agreed = (Plan::default(), to(1));
        let refused = |agreed, number| {
            let refused = refuse_elsewhere(agreed, &to(number), "prod");
            refused.err().map(|error| error.exit)
        };
        assert_eq!(refused(None, 1), None, "the first plan");
        assert_eq!(refused(Some(&agreed), 1), None, "the same target");
        assert_eq!(refused(Some(&agreed), 2), Some(Exit::STALE));
    }
}
