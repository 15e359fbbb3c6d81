//! `rosey drift`: has anybody changed the servers since? With `--heal`: put right.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::content::{PathChange, PathChangeKind};
use crate::fleet::compose::{Order, Toward, compose};
use crate::fleet::mixed::mixed;
use crate::fleet::prospect::{Prospect, Sought, Survey, Wanted};
use crate::fleet::run::RunEnd;
use crate::helper::protocol::Marks;
use crate::model::{
    EnvironmentName, Member, Outcome, OutcomeKind, Plan, ResourceId, ResourceKind, State, Step,
};
use crate::report::PlanView;

use super::Session;
use super::anew::{Anew, heads};
use super::approval::{self, Given, Proposal, refuse_blocked};
use super::arguments;
use super::conducting::{Conducted, Talk, print_data};
use super::deployment::Deployment;
use super::error::CommandError;
use super::exit::Exit;
use super::freeze::refuse_frozen;
use super::healing::Healing;
use super::notes::{cut_off, refuse_busy};
use super::once;
use super::project::Project;
use super::protection::{Insisted, insist};
use super::restarts::restarts;
use super::say::say;
use super::settling::{self, Settling};
use super::steady::steady;
use super::surroundings::Surroundings;
use super::unread::Unread;

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Drift,
) -> Result<Exit, CommandError> {
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    let choice = &arguments.choice;
    let read = Deployment::read_some(session, project, choice, None).await?;
    let (mut deployment, survey, mut unread) = read;
    if !arguments.heal || !unread.is_empty() {
        let look = look_at_rest(session, &arguments, &mut deployment, survey, &mut unread);
        let (survey, found) = look.await?;
        let read = (&survey, &unread);
        say(session, &arguments, &deployment, read, &found).await?;
        return unread.end(if found.plan.is_empty() {
            Exit::DONE
        } else {
            Exit::DIFFERENCES
        });
    }
    // The document is on stdout: what happens goes to a person's stderr.
    let talk = Talk::begin(session, false);
    match find_and_heal(session, &arguments, (&deployment, survey), &talk).await {
        Ok(Some(outcome)) => {
            let exit = talk.end(&outcome).await;
            Ok(match outcome.outcome {
                OutcomeKind::Applied => Exit::DONE,
                _ => exit,
            })
        }
        Ok(None) => {
            talk.close().await;
            Ok(Exit::DONE)
        }
        Err(error) => Err(talk.refuse(error).await),
    }
}

/// Finds what was changed since and puts it right, as often as another run comes first. None where nothing
/// is to be put right.
async fn find_and_heal(
    session: &Session,
    arguments: &arguments::Drift,
    (deployment, mut survey): (&Deployment, Survey),
    talk: &Talk,
) -> Result<Option<Outcome>, CommandError> {
    let mut anew = Anew::new(true);
    loop {
        let look = (deployment, survey);
        let prepared = talk.unless_cancelled(prepare(session, arguments, look, talk, &mut anew));
        let Some(healing) = prepared.await? else {
            return Ok(None);
        };
        let end = heal(session, arguments, deployment, (healing, anew.may()), talk).await;
        match end.outcome.run.clone() {
            Some(run) if end.anew => talk.pause(anew.refused(run)).await?,
            _ => return Ok(Some(end.outcome)),
        }
        survey = deployment.survey(BTreeMap::new()).await?;
    }
}

/// Reads what was changed since, while no run is under way. Gives what it was read on too.
async fn look(
    session: &Session,
    arguments: &arguments::Drift,
    deployment: &Deployment,
    survey: Survey,
) -> Result<(Survey, Prospect), CommandError> {
    let environment = &deployment.project.environment.name;
    let again = async || deployment.survey(BTreeMap::new()).await;
    let read = async |survey: &Survey| {
        let wanted = last_applied(survey);
        if arguments.heal {
            let wanted = (wanted, Sought::PuttingBack);
            once::prospect(session, deployment, survey, wanted).await
        } else {
            let sought = (Sought::Nothing, &State::default());
            deployment.prospect(survey, wanted, sought).await
        }
    };
    steady(environment, survey, again, read).await
}

/// The same of the hosts that can still be read: one that is lost meanwhile hides no other.
async fn look_at_rest(
    session: &Session,
    arguments: &arguments::Drift,
    deployment: &mut Deployment,
    mut survey: Survey,
    unread: &mut Unread,
) -> Result<(Survey, Prospect), CommandError> {
    loop {
        let error = match look(session, arguments, deployment, survey).await {
            Err(error) if error.exit == Exit::UNREACHABLE => error,
            looked => return looked,
        };
        let before = unread.hosts.len();
        survey = deployment.survey_rest(unread).await;
        if unread.hosts.len() == before {
            return Err(error);
        }
    }
}

/// Says what was changed since, on stdout.
async fn say(
    session: &Session,
    arguments: &arguments::Drift,
    deployment: &Deployment,
    (survey, unread): (&Survey, &Unread),
    prospect: &Prospect,
) -> Result<(), CommandError> {
    let findings = findings(prospect);
    let mut notes = deployment.notes(survey);
    notes.extend(deployment.others_roots(survey));
    notes.extend(deployment.undeclared(survey));
    notes.extend(deployment.emptied(session, &arguments.choice).await?);
    if arguments.json {
        let environment = &deployment.project.environment.name;
        let drifted = !prospect.plan.is_empty();
        let findings: Vec<_> = findings.iter().map(Finding::json).collect();
        let document = json!({
            "format_version": "1.0",
            "environment": environment,
            "drifted": drifted,
            "findings": findings,
            "mixed": !mixed(survey).is_empty(),
            "cut_off": cut_off(survey),
            "notes": notes,
            "unreachable": unread.hosts,
        });
        print_data(&document.to_string())?;
    } else {
        for note in notes {
            say!("{}: {}", note.host, note.message);
            if let Some(remedy) = &note.remedy {
                say!("  {remedy}");
            }
        }
        for finding in &findings {
            print_data(&finding.line())?;
        }
    }
    if prospect.plan.is_empty() && !arguments.json && !deployment.fleet.is_empty() {
        let environment = &deployment.project.environment.name;
        let hosts = if unread.is_empty() {
            ""
        } else {
            " on the hosts that could be read"
        };
        print_data(&format!("{environment}: no drift{hosts}"))?;
    }
    Ok(())
}

/// What was last applied, for each member that has a generation; of one that stands unconfirmed, what it
/// has promised.
pub(super) fn last_applied(survey: &Survey) -> BTreeMap<Member, Wanted> {
    let members = survey.members.iter();
    members
        .filter_map(|(member, app)| {
            let current = app.standing()?;
            let wanted = Wanted {
                state: current.state.clone(),
                gates: current.gates.clone(),
                ..Wanted::default()
            };
            Some((member.clone(), wanted))
        })
        .collect()
}

/// What is to be put right, and from where.
struct ToHeal {
    survey: Survey,
    prospect: Prospect,
    supply: Healing,
}

/// Finds what is to be put right, and has it agreed to; nothing where nothing is wrong.
async fn prepare(
    session: &Session,
    arguments: &arguments::Drift,
    (deployment, mut survey): (&Deployment, Survey),
    talk: &Talk,
    anew: &mut Anew<Plan>,
) -> Result<Option<ToHeal>, CommandError> {
    let environment = &deployment.project.environment;
    let given = Given {
        yes: arguments.yes,
        saved_plan: None,
    };
    let is_explained = || {
        let given = Insisted::reason(arguments.reason.as_deref());
        insist(&deployment.project, &given)
    };
    refuse_busy(&survey, &environment.name)?;
    let settled = settling::is_needed(&survey);
    if settled {
        is_explained()?;
        refuse_frozen(&survey, &environment.name)?;
        refuse_held(&survey, &environment.name)?;
        let command = "heal";
        let settling = Settling { command, given };
        settling::settle(session, deployment, &survey, talk, settling).await?;
        survey = deployment.survey(BTreeMap::new()).await?;
    }
    let (survey, prospect) = look(session, arguments, deployment, survey).await?;
    if !anew.is_again() {
        // There is one document.
        let read = (&survey, &Unread::default());
        say(session, arguments, deployment, read, &prospect).await?;
    }
    if prospect.plan.is_empty() {
        return Ok(None);
    }
    is_explained()?;
    talk.saw(&survey, Some(&prospect));
    anew.planned_on(heads(&survey))?;
    refuse_frozen(&survey, &environment.name)?;
    refuse_held(&survey, &environment.name)?;
    refuse_between(&survey, &environment.name)?;
    refuse_blocked(&prospect.findings)?;
    let supply = Healing::find(session, deployment, &prospect).await?;
    let proposal = Proposal {
        view: PlanView {
            environment: environment.name.as_str(),
            versions: &BTreeMap::new(),
            plan: &prospect.plan,
            undo: &prospect.undo,
            findings: &prospect.findings,
            changes: &prospect.changes,
            variables: &[],
            restarts: &restarts(session, &deployment.project, &prospect.plan),
            show_undo: false,
        },
        json: arguments.json,
        given,
        allow_irreversible: arguments.allow_irreversible,
        settled,
        question: if anew.is_again() {
            "Something has changed meanwhile. Put this right instead?"
        } else {
            "Put this right?"
        },
    };
    if !anew.is_agreed(&prospect.plan) {
        approval::propose(session, proposal).await?;
    }
    anew.agree(prospect.plan.clone());
    Ok(Some(ToHeal {
        survey,
        prospect,
        supply,
    }))
}

/// Refuses to lead back to what can't live with what a run did past its point of no return.
fn refuse_between(survey: &Survey, environment: &EnvironmentName) -> Result<(), CommandError> {
    let ledgers = survey.members.values().filter_map(|it| it.ledger.as_ref());
    match ledgers.filter_map(|ledger| ledger.standing.clone()).next() {
        None => Ok(()),
        Some(standing) => Err(CommandError::new(Exit::BLOCKED, standing)
            .hint(format!("go on from there: rosey apply {environment}"))),
    }
}

/// Refuses to put right what a verdict holds: it was tried, and was not healthy.
fn refuse_held(survey: &Survey, environment: &EnvironmentName) -> Result<(), CommandError> {
    for (member, app) in &survey.members {
        let Some(ledger) = &app.ledger else { continue };
        let declared = ledger.current().and_then(|current| current.declared);
        let hold = ledger
            .holds
            .iter()
            .find(|hold| Some(hold.declared) == declared);
        if let Some(hold) = hold {
            let message = format!(
                "{member}: {} is held since {}: {}",
                hold.release, hold.at, hold.why
            );
            let hint = format!(
                "apply something else, go back with rosey rollback {environment}, or agree to try again: rosey release-hold {environment}"
            );
            return Err(CommandError::new(Exit::LOCKED, message).hint(hint));
        }
    }
    Ok(())
}

/// Puts right what was found; with it, whether all is found anew where that has become old.
async fn heal(
    session: &Session,
    arguments: &arguments::Drift,
    deployment: &Deployment,
    (healing, anew): (ToHeal, bool),
    talk: &Talk,
) -> RunEnd {
    let environment = &deployment.project.environment;
    let ToHeal {
        survey,
        prospect,
        supply,
    } = healing;
    let order = Order {
        id: Surroundings::new_run(),
        command: "heal".to_owned(),
        author: session.around.author(None, arguments.reason.clone()),
        wait: false,
        anew,
    };
    let toward = prospect.members.keys().filter_map(|member| {
        let current = survey
            .members
            .get(member)?
            .ledger
            .as_ref()?
            .current()?
            .clone();
        // What is healed is the generation that stands: going back goes further back than that.
        let parent = current.parent;
        let toward = Toward::Earlier {
            target: Box::new(current),
            parent,
            marks: Marks::default(),
        };
        Some((member.clone(), toward))
    });
    let addresses = &deployment.addresses;
    let mut run = compose(
        environment,
        order,
        &prospect,
        &survey,
        addresses,
        toward.collect(),
    );
    let content = supply.supply(&mut run);
    let choice = &arguments.choice;
    let conducted = Conducted {
        deployment,
        choice,
        run,
        content,
    };
    talk.conduct(session, conducted).await
}

/// One thing that was changed since.
struct Finding<'a> {
    resource: &'a ResourceId,
    path: Option<String>,
    change: &'static str,
    detail: String,
    owner: Option<String>,
    modified_at: Option<String>,
}

/// How many things of each member are not as they were applied.
pub(super) fn drifted(prospect: &Prospect) -> BTreeMap<Member, usize> {
    let mut drifted = BTreeMap::new();
    for finding in findings(prospect) {
        let ResourceId { host, app, .. } = finding.resource;
        *drifted.entry(Member::new(host, app)).or_default() += 1;
    }
    drifted
}

/// What differs: paths where a resource has paths, else the resource itself.
fn findings(prospect: &Prospect) -> Vec<Finding<'_>> {
    let mut findings = Vec::new();
    for step in prospect
        .plan
        .steps
        .iter()
        .filter(|step| !step.reasons.is_empty())
    {
        match prospect
            .changes
            .get(&step.resource)
            .filter(|paths| !paths.is_empty())
        {
            Some(paths) => findings.extend(paths.iter().map(|path| of_path(step, path))),
            // It goes with what somebody has put into it, which is found anyway.
            None if is_directory_that_goes(step) => {}
            // A restart because of something else that is found anyway is no finding of its own.
            None if step.reasons.iter().all(|reason| reason.because.is_some()) => {}
            None => findings.push(of_step(step)),
        }
    }
    findings
}

fn is_directory_that_goes(step: &Step) -> bool {
    step.resource.kind == ResourceKind::DIRECTORY && step.to.is_none()
}

fn of_path<'a>(step: &'a Step, path: &PathChange) -> Finding<'a> {
    Finding {
        resource: &step.resource,
        path: Some(path.path.clone()),
        change: match path.change {
            PathChangeKind::Modified => "modified",
            PathChangeKind::Missing => "missing",
            PathChangeKind::Extra => "extra",
        },
        detail: path.detail.clone(),
        owner: path.owner.clone(),
        modified_at: path.modified_at.clone(),
    }
}

fn of_step(step: &Step) -> Finding<'_> {
    let is_path = step.resource.name.starts_with('/');
    let change = match (&step.from, &step.to) {
        (None, _) => "missing",
        (_, None) => "extra",
        _ if is_path => "modified",
        _ => "state",
    };
    // Drift reads the other way: what is there now, and what was applied.
    let details = step.reasons.iter().map(|reason| {
        let text = |value: &Option<crate::model::Value>| {
            value
                .as_ref()
                .map_or("absent".to_owned(), ToString::to_string)
        };
        format!(
            "{} is {}, was applied as {}",
            reason.attribute,
            text(&reason.old),
            text(&reason.new)
        )
    });
    let details: Vec<_> = match &step.from {
        None => vec![was_applied_as(step)],
        Some(_) => details.collect(),
    };
    let is_service = step.resource.kind == ResourceKind::SERVICE;
    Finding {
        resource: &step.resource,
        path: is_path.then(|| step.resource.name.clone()),
        change: if is_service { "state" } else { change },
        detail: details.join(", "),
        owner: None,
        modified_at: None,
    }
}

/// What stood where nothing is now.
fn was_applied_as(step: &Step) -> String {
    let target = step.to.as_ref().and_then(|to| to.text("target"));
    match target {
        Some(target) => format!("was applied as a {} to {target}", step.resource.kind),
        None => format!("was applied as a {}", step.resource.kind),
    }
}

impl Finding<'_> {
    fn json(&self) -> Value {
        json!({
            "host": self.resource.host,
            "app": self.resource.app,
            "resource": format!("{} {}", self.resource.kind, self.resource.name),
            "path": self.path,
            "change": self.change,
            "detail": self.detail,
            "owner": self.owner,
            "modified_at": self.modified_at,
        })
    }

    fn line(&self) -> String {
        let what = self
            .path
            .clone()
            .unwrap_or_else(|| self.resource.name.clone());
        let mut line = format!(
            "{}: {} {} {what}",
            self.resource.host, self.resource.kind, self.change
        );
        if !self.detail.is_empty() {
            line += &format!(": {}", self.detail);
        }
        if let (Some(owner), Some(at)) = (&self.owner, &self.modified_at) {
            line += &format!(" (by {owner}, {at})");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{Lab, address, generation, member};
    use crate::model::{HostName, Resource, RunId};

    #[tokio::test]
    async fn a_host_that_stands_unconfirmed_is_compared_with_what_it_promised() {
        let lab = Lab::new(&[("a", vec![])]);
        let id = ResourceId {
            host: HostName::new("a").unwrap(),
            app: crate::fleet::testing::app(),
            kind: ResourceKind::LINK,
            name: "/opt/app/current".to_owned(),
        };
        let mut new = generation(2, Some(1));
        new.state = State {
            resources: [(
                id.clone(),
                Resource::new().with("target", "releases/1.2-abc"),
            )]
            .into(),
        };
        new.gates.stable = 7;
        {
            let mut host = lab.host("a");
            host.open = Some(RunId("run-2".to_owned()));
            host.promise = Some((new.clone(), Marks::default()));
        }
        let addresses = [(member("a"), address("a"))].into();
        let read = || crate::fleet::prospect::survey(&lab.fleet, &addresses, BTreeMap::new());
        // Who was cut off before goes back to what its ledger has.
        let old = last_applied(&read().await.unwrap());
        assert_eq!(old[&member("a")].state, State::default());
        lab.host("a").ready = true;
        let survey = read().await.unwrap();
        let wanted = last_applied(&survey);
        assert_eq!(wanted[&member("a")].state, new.state);
        assert_eq!(wanted[&member("a")].gates, new.gates);
        // What the last generation had and this one hasn't is not missing.
        let last = crate::fleet::prospect::last_applied(&survey, &member("a"));
        assert_eq!(last.state, new.state);
    }
}
