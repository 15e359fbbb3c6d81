//! All members of runs that were cut off: one that wasn't chosen may have committed.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Environment;
use crate::fleet::declared;
use crate::fleet::prospect::{Survey, survey};
use crate::fleet::reach::{ReachError, connections};
use crate::fleet::run::Fleet;
use crate::fleet::settle::Siblings;
use crate::helper::protocol::AppAddress;
use crate::model::{AppName, HostName, Member};

use super::Session;
use super::arguments::Choice;
use super::deployment::{
    Deployment, asking, choose_hosts, reaching, unreachable_hosts, who_is_there,
};
use super::error::CommandError;
use super::registered::{self, Undeclared, is_declared};

/// Reaches the members that weren't chosen of runs that were cut off on one that was.
///
/// # Errors
/// Exit code 4 when one is out of reach that may have committed what is ready on another.
pub(super) async fn siblings(
    session: &Session,
    deployment: &Deployment,
    chosen: &Survey,
) -> Result<Siblings, CommandError> {
    let cut = || {
        chosen
            .members
            .values()
            .filter_map(|it| it.interrupted.as_ref())
    };
    let members: BTreeSet<&Member> = cut().flat_map(|it| &it.members).collect();
    let is_ready = cut().any(|interrupted| interrupted.ready);
    let mut siblings = Siblings {
        fleet: deployment.fleet.clone(),
        addresses: deployment.addresses.clone(),
        survey: chosen.clone(),
        unreached: BTreeSet::new(),
    };
    let unchosen = Unchosen::reach(session, deployment, |it| members.contains(it)).await?;
    if is_ready && !unchosen.missing.is_empty() {
        let error = unreachable_hosts(&unchosen.missing);
        return Err(error.hint(
            "a run that was cut off may have committed there, so it isn't known where the others go",
        ));
    }
    let is_missing = |it: &Member| unchosen.missing.iter().any(|(host, _)| *host == it.host);
    let unreached = members.into_iter().filter(|it| is_missing(it));
    siblings.unreached = unreached.cloned().collect();
    let others = survey(&unchosen.fleet, &unchosen.addresses, BTreeMap::new());
    let others = others.await.map_err(|errors| asking(&errors))?;
    siblings.fleet.extend(unchosen.fleet);
    siblings.survey.members.extend(others.members);
    siblings.addresses.extend(unchosen.addresses);
    Ok(siblings)
}

/// Members that weren't chosen.
pub(super) struct Unchosen {
    /// The connections to those that are there.
    pub fleet: Fleet,
    /// The apps on them.
    pub addresses: BTreeMap<Member, AppAddress>,
    /// Those that aren't there.
    pub missing: Vec<(HostName, ReachError)>,
}

impl Unchosen {
    /// Reaches those that are wanted.
    ///
    /// # Errors
    /// Exit code 1 when our own program can't be found, 4 when a host is lost that may have what is declared no more.
    pub async fn reach(
        session: &Session,
        deployment: &Deployment,
        wanted: impl Fn(&Member) -> bool,
    ) -> Result<Self, CommandError> {
        let project = &deployment.project;
        let environment = &project.environment;
        let mut addresses = all_addresses(environment);
        let is_wanted = |it: &Member| wanted(it) && !deployment.addresses.contains_key(it);
        addresses.retain(|member, _| is_wanted(member));
        let undeclared = undeclared(deployment, &wanted);
        // Which hosts have what is declared no more, only they know.
        let is_asked = |host: &HostName| {
            !undeclared.is_empty() || addresses.keys().any(|member| member.host == *host)
        };
        // An app may have been chosen by its name, with others of it on hosts that were reached.
        let hosts = choose_hosts(project, &Choice::default())?.into_iter();
        let (known, hosts): (Vec<_>, Vec<_>) = hosts
            .filter(|host| is_asked(&host.name))
            .partition(|host| deployment.fleet.contains_key(&host.name));
        let known = known.into_iter().filter_map(|host| {
            let connection = deployment.fleet.get(&host.name)?.clone();
            Some((host.name, connection))
        });
        let mut unchosen = Self {
            fleet: known.collect(),
            addresses: BTreeMap::new(),
            missing: Vec::new(),
        };
        if !hosts.is_empty() {
            let reaching = reaching(session, project)?;
            let (reached, missing) = who_is_there(&reaching, &hosts).await;
            unchosen.fleet.extend(connections(&reached));
            unchosen.missing = missing;
        }
        addresses.retain(|member, _| unchosen.fleet.contains_key(&member.host));
        if !undeclared.is_empty() {
            let none = BTreeMap::new();
            let survey = survey(&unchosen.fleet, &none, BTreeMap::new());
            let survey = survey.await.map_err(|errors| asking(&errors))?;
            for (app, root) in &undeclared {
                let (app, root) = (app.as_str(), Some(root.as_str()));
                let known = registered::addresses(environment, &survey, Undeclared { app, root })?;
                for (member, address) in known.into_iter().filter(|(it, _)| is_wanted(it)) {
                    addresses.entry(member).or_insert(address);
                }
            }
        }
        unchosen.addresses = addresses;
        Ok(unchosen)
    }
}

/// All that is declared.
fn all_addresses(environment: &Environment) -> BTreeMap<Member, AppAddress> {
    let mut addresses = BTreeMap::new();
    for app in &environment.apps {
        let hosts = environment.hosts.iter();
        for host in hosts.filter(|host| app.hosts.contains(&host.name)) {
            let member = Member::new(&host.name, &app.name);
            addresses.insert(member, declared::address(environment, app, host));
        }
    }
    addresses
}

/// The apps that a deployment has on hosts where they are declared no more, and where they are there, of those wanted.
fn undeclared(
    deployment: &Deployment,
    wanted: impl Fn(&Member) -> bool,
) -> BTreeSet<(AppName, String)> {
    let environment = &deployment.project.environment;
    let members = deployment.addresses.iter();
    let members = members.filter(|(it, _)| wanted(it) && !is_declared(environment, it));
    let places = members.map(|(member, address)| (member.app.clone(), address.root.clone()));
    places.collect()
}
