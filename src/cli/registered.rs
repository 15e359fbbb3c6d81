//! Apps as the hosts know them, for what is declared no more: it is found by its name in their registries.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Environment, Host, nearest};
use crate::fleet::compose;
use crate::fleet::prospect::Survey;
use crate::fleet::reach::ReachError;
use crate::helper::protocol::{AppAddress, RegistryEntry};
use crate::model::{Finding, FindingClass, HostName, Member};

use super::Session;
use super::arguments::Choice;
use super::deployment::{Chosen, Deployment, choose_hosts, reaching, who_is_there};
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;
use super::unread::Unread;

/// An app that the declaration doesn't have, as it is looked for.
#[derive(Clone, Copy)]
pub(super) struct Undeclared<'a> {
    /// Its name.
    pub app: &'a str,
    /// Its root; any when left out.
    pub root: Option<&'a str>,
}

/// Whether an app is declared on a host, by whichever name: this machine may have several.
pub(super) fn is_declared(environment: &Environment, member: &Member) -> bool {
    let is_here = |host: &HostName| environment.host(host).is_some_and(Host::is_local);
    let Some(app) = environment.app(&member.app) else {
        return false;
    };
    let by_another_name = is_here(&member.host) && app.hosts.iter().any(is_here);
    by_another_name || app.hosts.contains(&member.host)
}

/// Whether an app is declared on one of the chosen hosts.
///
/// # Errors
/// Exit code 1 when a name of a host or tag is unknown or nothing is left.
pub(super) fn is_declared_on_chosen(
    project: &Project,
    choice: &Choice,
    app: &str,
) -> Result<bool, CommandError> {
    let environment = &project.environment;
    let declared = environment.apps.iter().find(|it| it.name.as_str() == app);
    let hosts = choose_hosts(project, choice)?;
    Ok(declared.is_some_and(|app| hosts.iter().any(|host| app.hosts.contains(&host.name))))
}

/// The entries of a host's registry that are of an environment, and are still there; `left` for those of which a
/// remove has left data.
pub(super) fn entries<'a>(
    environment: &'a Environment,
    survey: &'a Survey,
    host: &HostName,
    left: bool,
) -> impl Iterator<Item = &'a RegistryEntry> {
    let entries = survey.registry.get(host).into_iter().flatten();
    entries.filter(move |entry| entry.environment == environment.name && entry.left == left)
}

impl Deployment {
    /// Reaches the chosen hosts, and finds an app on those whose registry knows it.
    ///
    /// # Errors
    /// Exit code 4 with all hosts that aren't there, 1 when none of them knows it or one knows several.
    pub async fn reach_registered(
        session: &Session,
        project: Project,
        choice: &Choice,
        sought: Undeclared<'_>,
    ) -> Result<Self, CommandError> {
        let hosts = choose_hosts(&project, choice)?;
        let (mut deployment, missing) = Self::reach_bare(session, project, hosts).await?;
        if !missing.is_empty() {
            return Err(deployment.lacking(&missing).await);
        }
        let survey = deployment.survey(BTreeMap::new()).await?;
        deployment.turn_to_registered(&survey, sought)?;
        Ok(deployment)
    }

    /// Reaches hosts of which nothing is asked yet but what they know.
    async fn reach_bare(
        session: &Session,
        project: Project,
        hosts: Vec<Host>,
    ) -> Result<(Self, Vec<(HostName, ReachError)>), CommandError> {
        let reaching = reaching(session, &project)?;
        let (reached, missing) = who_is_there(&reaching, &hosts).await;
        let addresses = BTreeMap::new();
        let chosen = Chosen { hosts, addresses };
        Ok((Self::with(session, project, chosen, &reached), missing))
    }

    /// What the hosts know of the apps, with those of the environment that are declared there no more: what is done to
    /// all of them is done to these too.
    ///
    /// # Errors
    /// Exit code 4 when a host refuses or is lost.
    pub async fn survey_all(&mut self) -> Result<Survey, CommandError> {
        let survey = self.survey(BTreeMap::new()).await?;
        let environment = &self.project.environment;
        let mut undeclared = BTreeMap::new();
        for host in survey.registry.keys() {
            for entry in entries(environment, &survey, host, false) {
                let member = Member::new(host, &entry.app);
                if !is_declared(environment, &member) {
                    undeclared.insert(member, address(environment, host, entry));
                }
            }
        }
        if undeclared.is_empty() {
            return Ok(survey);
        }
        self.addresses.extend(undeclared);
        self.survey(BTreeMap::new()).await
    }

    /// What hosts still have on which no app is declared any more. Nothing waits for these: of one that isn't there, that
    /// is told. Hosts of an included file are left out, since they may be another environment's.
    ///
    /// # Errors
    /// Exit code 1 when our own program can't be found.
    pub async fn emptied(
        &self,
        session: &Session,
        choice: &Choice,
    ) -> Result<Vec<Finding>, CommandError> {
        let environment = &self.project.environment;
        let mut hosts = choose_hosts(&self.project, choice)?;
        hosts.retain(|host| {
            let mut apps = environment.apps.iter();
            host.is_of_environment() && !apps.any(|app| app.hosts.contains(&host.name))
        });
        if hosts.is_empty() {
            return Ok(Vec::new());
        }
        let project = self.project.clone();
        let (mut emptied, missing) = Self::reach_bare(session, project, hosts).await?;
        let mut unread = Unread::missing(&missing);
        let survey = emptied.survey_rest(&mut unread).await;
        let mut notes = emptied.undeclared(&survey);
        notes.extend(unread.hosts.into_iter().map(|(host, why)| Finding {
            class: FindingClass::Note,
            host,
            app: None,
            message: format!("no app is declared for it, and what it still has isn't known: {why}"),
            remedy: None,
        }));
        Ok(notes)
    }

    /// Leaves nothing but an app, on the hosts that know it.
    fn turn_to_registered(
        &mut self,
        survey: &Survey,
        sought: Undeclared<'_>,
    ) -> Result<(), CommandError> {
        let environment = &self.project.environment;
        let addresses = addresses(environment, survey, sought)?;
        if addresses.is_empty() {
            return Err(unknown(environment, survey, sought));
        }
        let has_it = |host: &HostName| addresses.keys().any(|member| member.host == *host);
        let hosts = environment.hosts.iter().map(|host| host.name.clone());
        let hosts: Vec<_> = hosts.filter(has_it).collect();
        self.waves = compose::waves(&environment.rollout, &hosts);
        self.fleet.retain(|host, _| has_it(host));
        self.facts.retain(|host, _| has_it(host));
        self.addresses = addresses;
        Ok(())
    }
}

/// Where the registries know an app.
///
/// # Errors
/// Exit code 1 when a host knows it at several roots.
pub(super) fn addresses(
    environment: &Environment,
    survey: &Survey,
    sought: Undeclared<'_>,
) -> Result<BTreeMap<Member, AppAddress>, CommandError> {
    let mut addresses = BTreeMap::new();
    for host in survey.registry.keys() {
        let is_sought = |entry: &&RegistryEntry| {
            entry.app.as_str() == sought.app && sought.root.is_none_or(|root| entry.root == root)
        };
        let known = |left| entries(environment, survey, host, left).filter(is_sought);
        // What an earlier remove has left is meant where nothing else is.
        let mut found: Vec<_> = known(false).collect();
        if found.is_empty() {
            found = known(true).collect();
        }
        match found.as_slice() {
            [] => {}
            [entry] => {
                let member = Member::new(host, &entry.app);
                addresses.insert(member, address(environment, host, entry));
            }
            several => return Err(ambiguous(environment, host, several)),
        }
    }
    Ok(addresses)
}

/// How an app is addressed of which only the registry knows. Whose its files are stands in its ledger.
fn address(environment: &Environment, host: &HostName, entry: &RegistryEntry) -> AppAddress {
    AppAddress {
        environment: environment.name.clone(),
        host: host.clone(),
        app: entry.app.clone(),
        root: entry.root.clone(),
        owner: None,
        create_owner: false,
        manager: entry.manager.clone(),
        ignore: environment.drift_ignore.clone(),
    }
}

fn ambiguous(
    environment: &Environment,
    host: &HostName,
    several: &[&RegistryEntry],
) -> CommandError {
    let roots: Vec<_> = several.iter().map(|entry| entry.root.as_str()).collect();
    let app = &several[0].app;
    let message = format!("{host} has {app} at several roots: {}", roots.join(", "));
    let line = format!(
        "rosey remove {} {app} --root {}",
        environment.name, roots[0]
    );
    CommandError::new(Exit::ERROR, message).hint(format!("say which is meant: {line}"))
}

/// Neither the declaration nor a host knows it.
fn unknown(environment: &Environment, survey: &Survey, sought: Undeclared<'_>) -> CommandError {
    let (app, name) = (sought.app, &environment.name);
    if let Some(root) = sought.root {
        let message = format!("no host knows an app of {name} at {root}");
        return CommandError::new(Exit::ERROR, message)
            .hint(format!("what there is: rosey status {name}"));
    }
    if environment.apps.iter().any(|it| it.name.as_str() == app) {
        let message = format!("{app} is on none of the chosen hosts of {name}");
        return CommandError::new(Exit::ERROR, message)
            .hint(format!("what there is: rosey status {name}"));
    }
    let declared = environment.apps.iter().map(|app| app.name.as_str());
    let hosts = survey.registry.keys();
    let there = hosts.flat_map(|host| entries(environment, survey, host, false));
    let names: BTreeSet<&str> = declared.chain(there.map(|it| it.app.as_str())).collect();
    let message = format!("{name} has no app {app:?}");
    let error = CommandError::new(Exit::ERROR, message);
    let names: Vec<_> = names.into_iter().collect();
    if names.is_empty() {
        return error.hint("none is declared, and no host has one");
    }
    let all = format!("its apps are: {}", names.join(", "));
    match nearest(app, names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`? {all}")),
        None => error.hint(all),
    }
}
