//! All hosts of the apps whose runs were cut off: one that wasn't chosen may have committed.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::progress::Member;
use crate::fleet::prospect::{Survey, survey};
use crate::fleet::reach::connections;
use crate::fleet::run::Fleet;
use crate::helper::protocol::AppAddress;
use crate::model::AppName;

use super::Session;
use super::arguments::Choice;
use super::deployment::{Deployment, asking, choose, reaching, unreachable_hosts, who_is_there};
use super::error::CommandError;

/// What a settlement is decided on.
pub(super) struct Siblings {
    /// The connections.
    pub fleet: Fleet,
    /// Every app whose run was cut off on a chosen host, on all of its hosts.
    pub addresses: BTreeMap<Member, AppAddress>,
    /// What the hosts know of them.
    pub survey: Survey,
}

impl Siblings {
    /// Reaches the hosts of a deployment's apps that weren't chosen, where a run was cut off on one that was.
    ///
    /// # Errors
    /// Exit code 4 when one is out of reach that may have committed what is ready on another.
    pub async fn of(
        session: &Session,
        deployment: &Deployment,
        chosen: &Survey,
    ) -> Result<Self, CommandError> {
        let cut = || {
            let members = chosen.members.iter();
            members.filter_map(|(member, app)| Some((member, app.interrupted.as_ref()?)))
        };
        let apps: BTreeSet<&AppName> = cut().map(|(member, _)| &member.app).collect();
        let is_ready = cut().any(|(_, interrupted)| interrupted.ready);
        let mut siblings = Self {
            fleet: deployment.fleet.clone(),
            addresses: deployment.addresses.clone(),
            survey: chosen.clone(),
        };
        let all = choose(&deployment.project, &Choice::default(), None)?;
        let mut addresses = all.addresses;
        addresses.retain(|member, _| {
            apps.contains(&member.app) && !deployment.addresses.contains_key(member)
        });
        // An app may have been chosen by its name, with others of it on hosts that were reached.
        let hosts: Vec<_> = all
            .hosts
            .into_iter()
            .filter(|host| addresses.keys().any(|member| member.host == host.name))
            .filter(|host| !siblings.fleet.contains_key(&host.name))
            .collect();
        if addresses.is_empty() {
            return Ok(siblings);
        }
        let reaching = reaching(session, &deployment.project)?;
        let (reached, missing) = who_is_there(&reaching, &hosts).await;
        if is_ready && !missing.is_empty() {
            let error = unreachable_hosts(&missing);
            return Err(error.hint(
                "a run that was cut off may have committed there, so it isn't known where the others go",
            ));
        }
        siblings.fleet.extend(connections(&reached));
        addresses.retain(|member, _| siblings.fleet.contains_key(&member.host));
        let asked: Fleet = siblings
            .fleet
            .iter()
            .filter(|(host, _)| addresses.keys().any(|member| member.host == **host))
            .map(|(host, connection)| (host.clone(), connection.clone()))
            .collect();
        let others = survey(&asked, &addresses, BTreeMap::new());
        let others = others.await.map_err(|errors| asking(&errors))?;
        siblings.survey.members.extend(others.members);
        siblings.addresses.extend(addresses);
        Ok(siblings)
    }
}
