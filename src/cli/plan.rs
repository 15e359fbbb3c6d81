//! `rosey plan`: what an apply would change, in what order and why. Runs no gate and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::fleet::declared::Declared;
use crate::fleet::prospect::{Prospect, Sought, Survey, Wanted};
use crate::fleet::reach::ReachError;
use crate::model::shell::quote;
use crate::model::{
    Digest, EnvironmentName, Finding, FindingClass, Hold, HostName, Member, Plan, ResourceId, State,
};
use crate::plan::saved::{Body, SavedMember, SavedPlan};
use crate::report::{PlanView, VariableChange, plan_document, plan_text};

use super::arguments::{self, Choice};
use super::deployment::{Declaration, Deployment, unreachable_hosts};
use super::error::CommandError;
use super::exit::Exit;
use super::notes::cut_off;
use super::project::Project;
use super::renewal::renewed;
use super::restarts::restarts;
use super::restating::Restatement;
use super::say::say;
use super::surroundings::Surroundings;
use super::unread::Unread;
use super::{Session, approval, conducting, once, variables};

/// For how long a saved plan may be applied.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// What an apply would do.
pub(super) struct Planned {
    /// The hosts.
    pub deployment: Deployment,
    /// What is declared of them.
    pub declaration: Declaration,
    /// The plan, with what was found.
    pub prospect: Prospect,
    /// Variables that are declared otherwise than for what stands.
    pub variables: Vec<VariableChange>,
    /// How long the last restart of each service took.
    pub restarts: BTreeMap<ResourceId, u64>,
    /// Which hosts were chosen.
    pub choice: Choice,
}

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Plan,
) -> Result<Exit, CommandError> {
    let project = Project::open(&session.around, Some(&arguments.environment))?;
    let directory = project.directory.clone();
    let (choice, version) = (&arguments.choice, arguments.version.as_deref());
    let (deployment, missing) = Deployment::reach_some(session, project, choice, None).await?;
    if !missing.is_empty() {
        if arguments.json {
            return Err(tell_rest(session, deployment, &arguments, &missing).await);
        }
        return Err(lacking(session, &deployment, version, &missing).await);
    }
    let planned = plan_reached(session, deployment, choice, version).await;
    let planned = planned.map_err(|error| tell_lost(&arguments, error))?;
    if let Some(out) = &arguments.out {
        let default = || {
            directory
                .join("plans")
                .join(format!("{}.yaml", arguments.environment))
        };
        save(
            &planned,
            &arguments.choice,
            &out.clone().unwrap_or_else(default),
        )?;
    }
    let versions = versions(&planned.declaration);
    let view = view(&planned, &versions, arguments.undo);
    if arguments.json {
        let survey = &planned.declaration.survey;
        print_document(&view, survey, &Unread::default())?;
    } else {
        conducting::print_data(plan_text(&view).trim_end())?;
    }
    if planned
        .prospect
        .findings
        .iter()
        .any(|finding| finding.class == FindingClass::Blocking)
    {
        return Ok(Exit::BLOCKED);
    }
    let changes = arguments.detailed_exitcode && !planned.prospect.plan.is_empty();
    Ok(if changes {
        Exit::DIFFERENCES
    } else {
        Exit::DONE
    })
}

/// Plans what an apply would do.
///
/// # Errors
/// As reaching, declaring and observing fail.
pub(super) async fn plan(
    session: &Session,
    project: Project,
    choice: &Choice,
    version: Option<&str>,
) -> Result<Planned, CommandError> {
    let (deployment, missing) = Deployment::reach_some(session, project, choice, None).await?;
    if !missing.is_empty() {
        return Err(lacking(session, &deployment, version, &missing).await);
    }
    plan_reached(session, deployment, choice, version).await
}

/// Plans on the hosts that were reached.
async fn plan_reached(
    session: &Session,
    deployment: Deployment,
    choice: &Choice,
    version: Option<&str>,
) -> Result<Planned, CommandError> {
    let declaration = deployment.declaration(session, version).await?;
    let sought = (wanted(&declaration), Sought::Declared);
    let prospect = once::prospect(session, &deployment, &declaration.survey, sought);
    let mut prospect = prospect.await?;
    let renewed = renewed(&deployment, &declaration, &prospect).await?;
    prospect.changes.extend(renewed);
    prospect
        .findings
        .extend(deployment.notes(&declaration.survey));
    prospect
        .findings
        .extend(deployment.undeclared(&declaration.survey));
    let emptied = deployment.emptied(session, choice).await?;
    prospect.findings.extend(emptied);
    if prospect.plan.is_empty() {
        let environment = deployment.project.environment.name.as_str();
        let notes = Restatement::of(&declaration).notes(environment);
        prospect.findings.extend(notes);
    }
    let restarts = restarts(session, &deployment.project, &prospect.plan);
    let variables = variables::changed(&declaration, &prospect.plan);
    let mut planned = Planned {
        variables,
        deployment,
        declaration,
        prospect,
        restarts,
        choice: choice.clone(),
    };
    let held = held(&planned);
    planned.prospect.findings.extend(held);
    Ok(planned)
}

fn print_document(
    view: &PlanView<'_>,
    survey: &Survey,
    unread: &Unread,
) -> Result<(), CommandError> {
    let mut document = plan_document(view);
    document["cut_off"] = cut_off(survey);
    document["unreachable"] = serde_json::json!(unread.hosts);
    conducting::print_data(&document.to_string())
}

/// Prints what an apply would do on the hosts that are there, for who reads documents, and says why the
/// others aren't. Nothing of that can be applied: a plan is for all that was chosen.
async fn tell_rest(
    session: &Session,
    deployment: Deployment,
    arguments: &arguments::Plan,
    missing: &[(HostName, ReachError)],
) -> CommandError {
    let unread = Unread::missing(missing);
    let error = unreachable_hosts(missing);
    let (choice, version) = (&arguments.choice, arguments.version.as_deref());
    let planned = if deployment.fleet.is_empty() {
        None
    } else {
        Some(plan_reached(session, deployment, choice, version).await)
    };
    match planned {
        Some(Ok(planned)) => {
            let versions = versions(&planned.declaration);
            let view = view(&planned, &versions, arguments.undo);
            let printed = print_document(&view, &planned.declaration.survey, &unread);
            printed.err().unwrap_or(error)
        }
        other => {
            if let Err(error) = print_nothing(arguments, &unread) {
                return error;
            }
            let why = other.and_then(|planned| planned.err()?.text());
            why.into_iter().fold(error, CommandError::hint)
        }
    }
}

/// A host was there and is lost by now: who reads documents gets one all the same.
fn tell_lost(arguments: &arguments::Plan, error: CommandError) -> CommandError {
    if !arguments.json || error.unread.is_empty() {
        return error;
    }
    let unread = Unread {
        hosts: error.unread.clone(),
        errors: Vec::new(),
    };
    print_nothing(arguments, &unread).err().unwrap_or(error)
}

/// The document where no host could be planned for.
fn print_nothing(arguments: &arguments::Plan, unread: &Unread) -> Result<(), CommandError> {
    let nothing = PlanView {
        environment: &arguments.environment,
        versions: &BTreeMap::new(),
        plan: &Plan::default(),
        undo: &Plan::default(),
        findings: &[],
        changes: &BTreeMap::new(),
        variables: &[],
        restarts: &BTreeMap::new(),
        show_undo: false,
    };
    print_document(&nothing, &Survey::default(), unread)
}

/// Why hosts are out of reach, and what stands in the way on those that are there: who has a first
/// server before them is told all of it at once.
async fn lacking(
    session: &Session,
    deployment: &Deployment,
    version: Option<&str>,
    missing: &[(HostName, ReachError)],
) -> CommandError {
    let error = unreachable_hosts(missing);
    if deployment.fleet.is_empty() {
        return error;
    }
    let (known, _) = deployment.survey_some(BTreeMap::new()).await;
    let error = error.knowing(conducting::hosts_of(&known, None));
    let found = async {
        let declaration = deployment.declaration(session, version).await?;
        let wanted = wanted(&declaration);
        let survey = &declaration.survey;
        let sought = (Sought::Declared, &State::default());
        deployment.prospect(survey, wanted, sought).await
    };
    match found.await {
        Ok(prospect) => {
            let told = prospect.findings.into_iter();
            let told = told.filter(|it| it.class == FindingClass::Blocking || it.remedy.is_some());
            told.fold(error, |error, finding| error.hint(approval::told(&finding)))
        }
        Err(other) => other.text().into_iter().fold(error, CommandError::hint),
    }
}

fn wanted(declaration: &Declaration) -> BTreeMap<Member, Wanted> {
    let declared = declaration.declared.iter();
    declared
        .map(|(member, declared)| (member.clone(), declared.wanted.clone()))
        .collect()
}

/// The holds that stand in the way of an apply; none where nothing would change.
pub(super) fn holds(planned: &Planned) -> Vec<(&Member, &Hold)> {
    if planned.prospect.plan.is_empty() {
        return Vec::new();
    }
    let declared = planned.declaration.declared.iter();
    let hold = |member: &Member, declared: &Declared| {
        let surveyed = planned.declaration.survey.members.get(member)?;
        let mut holds = surveyed.ledger.as_ref()?.holds.iter();
        holds.find(|hold| hold.declared == declared.declared)
    };
    declared
        .filter_map(|(member, it)| Some((member, hold(member, it)?)))
        .collect()
}

/// What an apply would refuse because a verdict or a rollback holds it.
fn held(planned: &Planned) -> Vec<Finding> {
    let environment = &planned.deployment.project.environment.name;
    let finding = |(member, hold): (&Member, &Hold)| Finding {
        class: FindingClass::Note,
        host: member.host.clone(),
        app: Some(member.app.clone()),
        message: format!(
            "{} is held since {}, so apply refuses it: {}",
            hold.release, hold.at, hold.why
        ),
        remedy: Some(way_out(environment)),
    };
    holds(planned).into_iter().map(finding).collect()
}

/// What to do about a hold.
pub(super) fn way_out(environment: &EnvironmentName) -> String {
    format!(
        "change what is wrong (any change lifts it), or agree to try again: rosey release-hold {environment}"
    )
}

/// The version of each app.
pub(super) fn versions(declaration: &Declaration) -> BTreeMap<String, String> {
    let declared = declaration.declared.iter();
    declared
        .map(|(member, it)| (member.app.to_string(), it.version.to_string()))
        .collect()
}

/// What is shown of a plan.
pub(super) fn view<'a>(
    planned: &'a Planned,
    versions: &'a BTreeMap<String, String>,
    show_undo: bool,
) -> PlanView<'a> {
    PlanView {
        environment: planned.deployment.project.environment.name.as_str(),
        versions,
        plan: &planned.prospect.plan,
        undo: &planned.prospect.undo,
        findings: &planned.prospect.findings,
        changes: &planned.prospect.changes,
        variables: &planned.variables,
        restarts: &planned.restarts,
        show_undo,
    }
}

/// All that a plan depends on and does.
pub(super) fn body(planned: &Planned, choice: &Choice) -> Body {
    let member = |member: &Member, it: &Declared| {
        let surveyed = planned.declaration.survey.members.get(member);
        let head = surveyed
            .and_then(|it| it.ledger.as_ref())
            .and_then(|ledger| ledger.head.clone());
        let facts = planned
            .prospect
            .members
            .get(member)
            .map(|seen| &seen.actual);
        let facts = serde_json::json!(facts).to_string();
        let saved = SavedMember {
            version: it.version.to_string(),
            release: it.release.name.clone(),
            content: it.content,
            declared: it.declared,
            tree: it.release.tree.to_string(),
            head,
            facts: Digest::of(facts.as_bytes()),
        };
        (member.to_string(), saved)
    };
    let declared = planned.declaration.declared.iter();
    Body {
        environment: planned.deployment.project.environment.name.to_string(),
        only: choice.only.clone(),
        except: choice.except.clone(),
        members: declared
            .map(|(it, declared)| member(it, declared))
            .collect(),
        steps: planned.prospect.plan.steps.clone(),
    }
}

/// Writes the saved plan, and nothing else.
fn save(planned: &Planned, choice: &Choice, path: &Path) -> Result<(), CommandError> {
    let made = Surroundings::now();
    let expires = jiff::Timestamp::now() + LIFETIME;
    let expires = format!("{expires:.3}");
    let plan = SavedPlan::new(
        body(planned, choice),
        made,
        expires,
        planned.prospect.findings.clone(),
    );
    let failed = |error: std::io::Error| {
        CommandError::new(
            Exit::ERROR,
            format!("the plan can't be written to {}: {error}", path.display()),
        )
    };
    let temporary = |path: &Path| -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        name.into()
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let new = temporary(path);
    std::fs::write(&new, plan.to_yaml()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    say!("saved: rosey apply {}", quote(&path.display().to_string()));
    Ok(())
}
