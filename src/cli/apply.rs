//! `rosey apply`: makes the servers as declared, or leaves them as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::discover::find_project;
use crate::fleet::compose::{Order, Toward, compose};
use crate::fleet::prospect::Survey;
use crate::fleet::run::RunEnd;
use crate::model::{HostName, Member, Outcome, OutcomeKind, Plan};
use crate::plan::saved::SavedPlan;
use crate::report::display::Volume;

use super::anew::{Anew, heads};
use super::approval::{self, Given, Proposal, refuse_blocked};
use super::arguments::{self, Choice};
use super::conducting::{Conducted, Talk};
use super::deployment::choose;
use super::error::{CommandError, NEXT};
use super::exit::Exit;
use super::freeze::refuse_frozen;
use super::plan::{Planned, body, holds, plan, versions, view, way_out};
use super::project::Project;
use super::protection::{Insisted, insist};
use super::restating::Restatement;
use super::say::say;
use super::settling::{self, Settling};
use super::steady::{is_disturbed, is_same};
use super::surroundings::Surroundings;
use super::{Session, gate, waiting};

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Apply,
) -> Result<Exit, CommandError> {
    let talk = Talk::begin(session, arguments.json).detailed(arguments.detailed_exitcode);
    let applied = match plan_and_apply(session, &arguments, &talk).await {
        Ok(applied) => applied,
        Err(error) => return Err(talk.refuse(error).await),
    };
    let Applied { outcome, first } = applied;
    let exit = talk.end(&outcome).await;
    let silent = arguments.json || session.display.volume == Volume::Quiet;
    if let (OutcomeKind::Applied, Some(environment), false) = (outcome.outcome, first, silent) {
        say!("{}", next_steps(&environment));
    }
    Ok(exit)
}

/// How an apply ended.
struct Applied {
    outcome: Outcome,
    /// The environment, where nothing was ever applied of it before.
    first: Option<String>,
}

/// Plans and applies, as often as another run comes first.
async fn plan_and_apply(
    session: &Session,
    arguments: &arguments::Apply,
    talk: &Talk,
) -> Result<Applied, CommandError> {
    let mut anew = Anew::new(true);
    loop {
        let prepared = talk.unless_cancelled(prepare(session, arguments, talk, &mut anew));
        let planned = prepared.await?;
        let changes = !planned.prospect.plan.is_empty();
        let first = first_of(&planned);
        let outcome = if changes {
            let end = execute(session, arguments, talk, (planned, anew.may())).await;
            if let (true, Some(run)) = (end.anew, end.outcome.run.clone()) {
                talk.pause(anew.refused(run)).await?;
                continue;
            }
            end.outcome
        } else {
            let read = talk.unless_cancelled(read_gates(session, &planned, talk));
            let Some(outcome) = read.await? else {
                continue;
            };
            talk.outcome(outcome.clone());
            outcome
        };
        return Ok(Applied { outcome, first });
    }
}

/// The environment, where nothing was ever applied of it yet.
fn first_of(planned: &Planned) -> Option<String> {
    let mut members = planned.declaration.survey.members.values();
    let never =
        |ledger: &crate::model::Ledger| ledger.generations.iter().all(|it| it.release.is_none());
    let first = members.all(|app| app.ledger.as_ref().is_none_or(never));
    first.then(|| planned.deployment.project.environment.name.to_string())
}

/// What to try after a first apply.
fn next_steps(environment: &str) -> String {
    format!(
        "\nWhat to try next:\n  \
         change a file of the source, then    rosey apply {environment}\n  \
         break it, and see it go back         (a gate that fails, a service that exits)\n  \
         change a file on the server, then    rosey drift {environment}, and with --heal\n  \
         go back                              rosey rollback {environment}\n  \
         take it all away                     rosey remove {environment}"
    )
}

/// Plans, and finds out whether the plan may be applied.
async fn prepare(
    session: &Session,
    arguments: &arguments::Apply,
    talk: &Talk,
    anew: &mut Anew<Plan>,
) -> Result<Planned, CommandError> {
    let around = &session.around;
    let file = arguments
        .target
        .as_deref()
        .filter(|target| is_file(around, target));
    let saved = file.map(|file| read_saved(around, file)).transpose()?;
    if saved.is_some() {
        anew.never();
    }
    let environment = match &saved {
        Some(saved) => Some(saved.body.environment.as_str()),
        None => arguments.target.as_deref(),
    };
    let project = Project::open(around, environment)?;
    let insisted = Insisted {
        reason: arguments.reason.as_deref(),
        version: arguments.version.is_some(),
        saved_plan: saved.is_some(),
    };
    insist(&project, &insisted)?;
    let mut choice = arguments.choice.clone();
    if let Some(saved) = &saved {
        choice.only.clone_from(&saved.body.only);
        choice.except.clone_from(&saved.body.except);
        refuse_other_choice(&project, &choice, &arguments.choice)?;
    }
    let version = arguments.version.as_deref();
    let planning = Planning {
        choice: &choice,
        version,
        wait: arguments.wait,
    };
    let mut planned = plan_steadily(session, project, &planning, talk).await?;
    let given = Given {
        yes: arguments.yes,
        saved_plan: Some(saved.is_some()),
    };
    let hold_to_saved = |planned: &Planned| match (&saved, file) {
        (Some(saved), Some(file)) => saved
            .hold_to(file, &body(planned, &choice))
            .map_err(|error| CommandError::new(Exit::STALE, error).hint("plan again")),
        _ => Ok(()),
    };
    let settled = settling::is_needed(&planned.declaration.survey);
    if settled {
        // What would be refused anyway is refused before anything is changed.
        hold_to_saved(&planned)?;
        let environment = &planned.deployment.project.environment.name;
        refuse_frozen(&planned.declaration.survey, environment)?;
        refuse_held(&planned)?;
        let settling = Settling {
            command: "apply",
            given,
        };
        let survey = &planned.declaration.survey;
        settling::settle(session, &planned.deployment, survey, talk, settling).await?;
        planned = plan_steadily(session, planned.deployment.project, &planning, talk).await?;
    }
    let is_shown = !arguments.json && !given.is_reviewed() && !planned.prospect.plan.is_empty();
    if !is_shown && !anew.is_again() {
        tell_notices(&planned.declaration.survey, talk);
    }
    anew.planned_on(heads(&planned.declaration.survey))?;
    hold_to_saved(&planned)?;
    let environment = &planned.deployment.project.environment.name;
    if !planned.prospect.plan.is_empty() {
        refuse_frozen(&planned.declaration.survey, environment)?;
    }
    refuse_held(&planned)?;
    refuse_blocked(&planned.prospect.findings)?;
    if planned.prospect.plan.is_empty() {
        return Ok(planned);
    }
    if anew.is_agreed(&planned.prospect.plan) {
        return Ok(planned);
    }
    let versions = versions(&planned.declaration);
    let proposal = Proposal {
        view: view(&planned, &versions, false),
        json: arguments.json,
        given,
        allow_irreversible: arguments.allow_irreversible,
        settled,
        question: if anew.is_again() {
            "Something has changed meanwhile. Apply this instead?"
        } else {
            "Apply this?"
        },
    };
    approval::propose(session, proposal).await?;
    anew.agree(planned.prospect.plan.clone());
    Ok(planned)
}

/// Says what became of the run before this one, where no plan is shown that says so.
fn tell_notices(survey: &Survey, talk: &Talk) {
    for (member, app) in &survey.members {
        let notice = app.ledger.as_ref().and_then(|it| it.notice.clone());
        if let Some(notice) = notice {
            talk.events().note(Some(&member.host), notice);
        }
    }
}

/// What is planned.
struct Planning<'a> {
    choice: &'a Choice,
    version: Option<&'a str>,
    wait: bool,
}

/// Plans while no run is under way, as far as that can be known without a lock.
async fn plan_steadily(
    session: &Session,
    mut project: Project,
    planning: &Planning<'_>,
    talk: &Talk,
) -> Result<Planned, CommandError> {
    loop {
        let planned = plan(session, project, planning.choice, planning.version).await?;
        let (deployment, survey) = (&planned.deployment, &planned.declaration.survey);
        talk.saw(survey, Some(&planned.prospect));
        let again = async || deployment.survey(BTreeMap::new()).await;
        let is_old = waiting::until_free(deployment, survey, planning.wait, talk).await?
            || is_disturbed(&planned.prospect, survey, again).await?;
        if !is_old {
            return Ok(planned);
        }
        project = planned.deployment.project;
    }
}

/// Whether a target is a saved plan rather than an environment: a file may happen to have the name of one.
fn is_file(around: &Surroundings, target: &str) -> bool {
    let looks_so = target.contains('/') || target.ends_with(".yaml") || target.ends_with(".yml");
    let is_environment = || {
        let project = find_project(&around.directory);
        project.is_ok_and(|project| project.environment(target).is_ok())
    };
    looks_so || (!is_environment() && around.directory.join(target).is_file())
}

/// Says what was meant where a declaration is named as if it were a saved plan.
fn refuse_declaration(file: &str, environment: &str) -> Result<(), CommandError> {
    if Path::new(file).extension().is_none_or(|it| it != "kdl") {
        return Ok(());
    }
    let message = format!("{file} is a declaration and no saved plan");
    Err(CommandError::new(Exit::ERROR, message)
        .hint(format!("apply it: rosey apply {environment}")))
}

fn read_saved(around: &Surroundings, file: &str) -> Result<SavedPlan, CommandError> {
    let environment = named_after(around, file);
    refuse_declaration(file, &environment)?;
    let stale = |error: &dyn std::fmt::Display| CommandError::new(Exit::STALE, error);
    let text = std::fs::read_to_string(file).map_err(|error| {
        let message = format!("the saved plan {file} can't be read: {error}");
        match error.kind() {
            // Nothing has become old: it was never made, or is elsewhere.
            std::io::ErrorKind::NotFound => CommandError::new(Exit::ERROR, message),
            _ => stale(&message),
        }
        .hint(format!("make one: rosey plan {environment} --out"))
    })?;
    SavedPlan::from_yaml(file, &text, &Surroundings::now()).map_err(|error| {
        stale(&error).hint(format!("make a new one: rosey plan {environment} --out"))
    })
}

/// The environment that a plan was made of, by the name that its file usually has.
fn named_after(around: &Surroundings, file: &str) -> String {
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str());
    let project = find_project(&around.directory);
    let known = stem.filter(|stem| {
        let project = project.as_ref();
        project.is_ok_and(|project| project.environment(stem).is_ok())
    });
    known.unwrap_or("ENV").to_owned()
}

/// Refuses to choose other hosts than those a saved plan is for: what was reviewed is applied as a whole, or
/// not at all.
fn refuse_other_choice(
    project: &Project,
    saved: &Choice,
    given: &Choice,
) -> Result<(), CommandError> {
    if given.only.is_empty() && given.except.is_empty() {
        return Ok(());
    }
    let hosts = |choice| {
        let chosen = choose(project, choice, None)?.hosts.into_iter();
        Ok::<BTreeSet<_>, CommandError>(chosen.map(|host| host.name).collect())
    };
    let (given, saved) = (hosts(given)?, hosts(saved)?);
    if given == saved {
        return Ok(());
    }
    let named = |hosts: BTreeSet<HostName>| {
        let names: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let message = format!(
        "the saved plan is for {}, and what was chosen now is {}: a saved plan is applied on all of its hosts",
        named(saved),
        named(given)
    );
    let environment = &project.environment.name;
    let hint =
        format!("plan what was chosen: rosey plan {environment} --out, with the same choice");
    Err(CommandError::new(Exit::ERROR, message).hint(hint))
}

/// Refuses what a verdict or a rollback holds, unless nothing would change anyway.
fn refuse_held(planned: &Planned) -> Result<(), CommandError> {
    let holds = holds(planned);
    if holds.is_empty() {
        return Ok(());
    }
    let held = holds.iter().map(|(member, hold)| {
        format!(
            "{member}: {} is held since {}: {}",
            hold.release, hold.at, hold.why
        )
    });
    let held: Vec<_> = held.collect();
    let hosts = holds.iter().map(|(member, _)| &member.host).collect();
    let environment = &planned.deployment.project.environment.name;
    let error = CommandError::new(Exit::LOCKED, held.join(NEXT)).hint(way_out(environment));
    let without = without_held(&planned.prospect.plan, &hosts);
    Err(without.into_iter().fold(error, CommandError::hint))
}

/// How to go on where nothing is held, if there is something to do.
fn without_held(plan: &Plan, held: &BTreeSet<&HostName>) -> Option<String> {
    let mut steps = plan.steps.iter();
    steps.find(|step| !held.contains(&step.resource.host))?;
    let except: Vec<_> = held.iter().map(|host| format!("--except {host}")).collect();
    Some(format!(
        "nothing is held on the other hosts: {}",
        except.join(" ")
    ))
}

/// Applies the plan; with it, whether all is planned anew where it has become stale.
async fn execute(
    session: &Session,
    arguments: &arguments::Apply,
    talk: &Talk,
    (planned, anew): (Planned, bool),
) -> RunEnd {
    let Planned {
        deployment,
        declaration,
        prospect,
        choice,
        ..
    } = planned;
    let order = Order {
        id: Surroundings::new_run(),
        command: "apply".to_owned(),
        author: session
            .around
            .author(declaration.commit.clone(), arguments.reason.clone()),
        wait: arguments.wait,
        anew,
    };
    let toward = declaration.declared.into_iter();
    let toward = toward
        .map(|(member, it)| (member, Toward::Declared(Box::new(it))))
        .collect();
    let environment = &deployment.project.environment;
    let (survey, addresses) = (&declaration.survey, &deployment.addresses);
    let run = compose(environment, order, &prospect, survey, addresses, toward);
    let content = declaration.content;
    let conducted = Conducted {
        deployment: &deployment,
        choice: &choice,
        run,
        content,
    };
    talk.conduct(session, conducted).await
}

/// With nothing to change, the gates say once whether all is well; nothing where another run came
/// meanwhile, since what they said is of what it has done.
async fn read_gates(
    session: &Session,
    planned: &Planned,
    talk: &Talk,
) -> Result<Option<Outcome>, CommandError> {
    let (deployment, declaration) = (&planned.deployment, &planned.declaration);
    let gates = declaration.declared.iter();
    let gates = gates
        .map(|(member, it)| (member.clone(), Some(it.wanted.gates.clone())))
        .collect();
    let results = gate::read(deployment, gates, false, talk.events()).await?;
    let after = deployment.survey(BTreeMap::new()).await?;
    if !is_same(&declaration.survey, &after) {
        return Ok(None);
    }
    let exit = gate::exit_of(results.values().flatten());
    if exit == Exit::DONE {
        let restatement = Restatement::of(declaration);
        let recording = restatement.record(session, deployment, declaration, talk.events());
        match talk.acting(recording).await {
            Err(error) if error.exit == Exit::STALE => return Ok(None),
            recorded => recorded?,
        }
    }
    let mut hosts = talk.seen();
    for (host, outcomes) in &mut hosts {
        for outcome in outcomes {
            let of_app = |it: &&Member| it.host == *host && it.app.as_str() == outcome.app;
            let read = results.iter().find(|(member, _)| of_app(member));
            let healthy = read.is_none_or(|(_, it)| gate::exit_of(it) == Exit::DONE);
            outcome.healthy = Some(healthy);
        }
    }
    let outcome = if exit == Exit::DONE {
        OutcomeKind::Unchanged
    } else {
        OutcomeKind::Unhealthy
    };
    Ok(Some(Outcome {
        run: None,
        outcome,
        exit_code: exit.0,
        hosts,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{host, plan, step};

    #[test]
    fn where_nothing_is_held_one_can_go_on() {
        let steps = plan(vec![step("a", "file", 1, &[]), step("b", "file", 1, &[])]);
        let (a, b, c) = (host("a"), host("b"), host("c"));
        let told = without_held(&steps, &[&b, &c].into());
        assert_eq!(
            told.as_deref(),
            Some("nothing is held on the other hosts: --except b --except c")
        );
        assert_eq!(without_held(&steps, &[&a, &b].into()), None);
    }
}
