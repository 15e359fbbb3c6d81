//! What a declaration wants of each of its members, with the content that it brings.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::prospect::{Survey, Wanted};
use super::run::ContentSource;
use crate::config::{App, ConfigErrors, Environment, Host, Secrets};
use crate::content::{Manifest, ManifestEntry, PackWriter, SourceTree};
use crate::helper::protocol::{AppAddress, SecretBytes, SurveyedApp};
use crate::host::{Manager, Owner, UNITS};
use crate::model::names::Version;
use crate::model::{
    AppName, Digest, HostFacts, HostName, Member, Places, Resource, ResourceKind, State, Value,
};
use crate::step::backup::desire::BACKUP;
use crate::step::desired::{Desired, Release, Site, content_digest, desired};
use crate::step::kind::Kind;

/// The content of an app, as it was read on the controller.
#[derive(Debug, Clone)]
pub struct AppContent {
    /// Its tree.
    pub tree: Arc<SourceTree>,
    /// Its version.
    pub version: Version,
}

/// What all members are put together from.
pub struct Declaring<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// The content of its apps.
    pub contents: &'a BTreeMap<AppName, AppContent>,
    /// The values of its secrets.
    pub secrets: &'a Arc<Secrets>,
    /// Everything that is known of kinds.
    pub kinds: &'a [&'a dyn Kind],
}

/// What is declared of one app on one host.
#[derive(Debug, Clone)]
pub struct Declared {
    /// What is wanted.
    pub wanted: Wanted,
    /// The release that it makes.
    pub release: Release,
    /// Its version.
    pub version: Version,
    /// The digest that releases are named by, the same for all hosts.
    pub content: Digest,
    /// The digest of the app as declared: what a hold holds.
    pub declared: Digest,
    /// The variables that it has on this host, as commands get them.
    pub variables: BTreeMap<String, String>,
    /// What its backups cover.
    pub backup: Option<Resource>,
    /// Content that isn't in the source as it is.
    pub made: BTreeMap<Digest, Vec<u8>>,
}

/// How an app on a host is addressed.
#[must_use]
pub fn address(environment: &Environment, app: &App, host: &Host) -> AppAddress {
    AppAddress {
        environment: environment.name.clone(),
        host: host.name.clone(),
        app: app.name.clone(),
        root: app.root.to_string(),
        owner: app.owner.as_ref().map(|owner| Owner {
            user: owner.user.to_string(),
            group: owner.group.as_ref().unwrap_or(&owner.user).to_string(),
        }),
        create_owner: app.owner.as_ref().is_some_and(|owner| owner.create),
        manager: app.manager.map(|manager| manager.word().to_owned()),
        ignore: environment.drift_ignore.clone(),
    }
}

/// The digest of an app as declared: content, variables, units and gates, and where it goes; no
/// secret. A hold is on it: whatever of this changes, it is another one.
#[must_use]
pub fn declared_digest(environment: &Environment, app: &App, content: &AppContent) -> Digest {
    let bodies: Vec<_> = app
        .declarations
        .iter()
        .map(|it| (&it.word, &it.name, &it.body))
        .collect();
    let variables: Vec<_> = environment
        .hosts
        .iter()
        .filter(|host| app.hosts.contains(&host.name))
        .map(|host| (&host.name, &host.variables))
        .collect();
    let whole = serde_json::json!([
        content_digest(&content.tree.manifest, app),
        content.version.as_str(),
        bodies,
        environment.variables,
        variables,
        app.root.as_str(),
        app.owner,
        app.adopt,
    ]);
    Digest::of(whole.to_string().as_bytes())
}

impl Declaring<'_> {
    /// The bytes of each host that hold a secret, by the labels that [`Self::of`] looks them up by.
    /// What is wrong in templates is found here too, before any host is asked.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn secret_bytes(
        &self,
        addresses: &BTreeMap<Member, AppAddress>,
    ) -> Result<BTreeMap<HostName, BTreeMap<String, SecretBytes>>, Vec<ConfigErrors>> {
        let mut all = BTreeMap::new();
        let mut errors = Errors::default();
        for member in addresses.keys() {
            let guess = unknown_host(addresses, member);
            let facts = HostFacts {
                platform: String::new(),
                system: String::new(),
                user: String::new(),
                root: true,
                systemd: true,
                clock: 0,
            };
            let collected = self.with_site(member, &guess, &facts, &BTreeMap::new(), |it| {
                errors.collect(self.environment, &it);
                let labelled = it.unsealed.into_iter();
                let of_app: Vec<_> = labelled
                    .map(|(label, bytes)| (key(member, &label), SecretBytes(bytes)))
                    .collect();
                of_app
            });
            let of_host: &mut BTreeMap<_, _> = all.entry(member.host.clone()).or_default();
            of_host.extend(collected.into_iter().flatten());
        }
        errors.none_or(all)
    }

    /// What is declared of every member, with what the hosts know.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn of(
        &self,
        survey: &Survey,
        facts: &BTreeMap<HostName, HostFacts>,
    ) -> Result<BTreeMap<Member, Declared>, Vec<ConfigErrors>> {
        let mut all = BTreeMap::new();
        let mut errors = Errors::default();
        for (member, surveyed) in &survey.members {
            let Some(facts) = facts.get(&member.host) else {
                continue;
            };
            let sealed = survey.sealed.get(&member.host);
            let prefix = key(member, "");
            let of_app = sealed.into_iter().flatten().filter_map(|(label, digest)| {
                label
                    .strip_prefix(&prefix)
                    .map(|label| (label.to_owned(), *digest))
            });
            let sealed: BTreeMap<String, Digest> = of_app.collect();
            let declared = self.with_site(member, surveyed, facts, &sealed, |desired| {
                errors.collect(self.environment, &desired);
                self.declared(member, desired)
            });
            all.extend(
                declared
                    .flatten()
                    .map(|declared| (member.clone(), declared)),
            );
        }
        errors.none_or(all)
    }

    fn declared(&self, member: &Member, desired: Desired<'_>) -> Option<Declared> {
        let app = self.environment.app(&member.app)?;
        let content = self.contents.get(&member.app)?;
        let release = desired.release().clone();
        let backup = desired
            .attendants
            .iter()
            .find(|it| it.resource.kind == BACKUP);
        let backup = backup.map(|attendant| attendant.with.clone());
        let manifests = BTreeMap::from([(release.tree.to_string(), desired.tree.clone())]);
        let incoming =
            size(&desired.tree) + desired.made.values().map(|it| it.len() as u64).sum::<u64>();
        let units = units(&desired.state, &desired.made);
        Some(Declared {
            wanted: Wanted {
                state: desired.state,
                gates: desired.gates,
                attendants: desired.attendants,
                manifests,
                incoming,
                units,
                for_good: false,
            },
            release,
            version: content.version.clone(),
            content: content_digest(&content.tree.manifest, app),
            declared: declared_digest(self.environment, app, content),
            variables: self.variables(&member.host),
            backup,
            made: desired.made,
        })
    }

    /// The variables on a host: its own take the place of the environment's.
    fn variables(&self, host: &HostName) -> BTreeMap<String, String> {
        let own = self.environment.host(host).map(|host| &host.variables);
        let all = self.environment.variables.iter();
        all.chain(own.into_iter().flatten())
            .map(|(name, value)| (name.to_string(), value.for_command()))
            .collect()
    }

    /// Puts together what is desired of a member; none where the member isn't declared.
    fn with_site<T>(
        &self,
        member: &Member,
        surveyed: &SurveyedApp,
        facts: &HostFacts,
        sealed: &BTreeMap<String, Digest>,
        take: impl FnOnce(Desired<'_>) -> T,
    ) -> Option<T> {
        let app = self.environment.app(&member.app)?;
        let host = self.environment.host(&member.host)?;
        let content = self.contents.get(&member.app)?;
        let scope = self
            .environment
            .scope(&app.name, host)
            .with_version(content.version.as_str())
            .with_secrets(Arc::clone(self.secrets));
        let places = Places {
            root: surveyed.root.clone().into(),
            state: surveyed.state.clone().into(),
        };
        let process = places.process().to_string_lossy().into_owned();
        let manager = match surveyed.manager.as_str() {
            "process" => Manager::Process { directory: process },
            _ => Manager::Systemd,
        };
        let site = Site {
            environment: self.environment,
            app,
            host: &host.name,
            places: &places,
            manager: &manager,
            owner: &surveyed.owner,
            app_owner: &surveyed.app_owner,
            root: facts.root,
            platform: &facts.platform,
            scope: &scope,
            version: content.version.as_str(),
            source: &content.tree,
            releases: &surveyed.releases,
            sealed,
        };
        Some(take(desired(site, self.kinds)))
    }
}

/// A label of one app among those of its host.
fn key(member: &Member, label: &str) -> String {
    format!("{} {label}", member.app)
}

/// What files of systemd's would hold, by their paths; without those that hold a secret, or no text.
fn units(state: &State, made: &BTreeMap<Digest, Vec<u8>>) -> BTreeMap<String, String> {
    let files = state.resources.iter().filter(|(id, file)| {
        let secret = file.settings.get("secret").and_then(Value::as_bool);
        id.kind == ResourceKind::FILE
            && Path::new(&id.name).starts_with(UNITS)
            && secret != Some(true)
    });
    let texts = files.filter_map(|(id, file)| {
        let digest: Digest = file.text("content")?.parse().ok()?;
        let text = String::from_utf8(made.get(&digest)?.clone()).ok()?;
        Some((id.name.clone(), text))
    });
    texts.collect()
}

/// What stands for a host that hasn't been asked yet: enough for rendering.
fn unknown_host(addresses: &BTreeMap<Member, AppAddress>, member: &Member) -> SurveyedApp {
    let nobody = Owner {
        user: String::new(),
        group: String::new(),
    };
    SurveyedApp {
        root: addresses
            .get(member)
            .map(|it| it.root.clone())
            .unwrap_or_default(),
        state: "/".to_owned(),
        manager: "systemd".to_owned(),
        owner: nobody.clone(),
        app_owner: nobody,
        ledger: None,
        releases: BTreeMap::new(),
        holder: None,
        interrupted: None,
        going_back: None,
        left: Vec::new(),
    }
}

fn size(tree: &Manifest) -> u64 {
    let sizes = tree.entries.values().map(|entry| match entry {
        ManifestEntry::File { size, .. } => *size,
        _ => 0,
    });
    sizes.sum()
}

/// What is wrong, each thing once though every host shows it again.
#[derive(Default)]
struct Errors {
    seen: BTreeSet<String>,
    errors: Vec<ConfigErrors>,
}

impl Errors {
    fn collect(&mut self, environment: &Environment, desired: &Desired<'_>) {
        let fresh = desired
            .problems
            .iter()
            .filter(|it| self.seen.insert(it.identity()));
        let problems: Vec<_> = fresh.cloned().collect();
        if !problems.is_empty() {
            self.errors.push(environment.errors(problems));
        }
        for error in &desired.template_errors {
            if self.seen.insert(format!("{error:?}")) {
                self.errors.push(error.clone());
            }
        }
    }

    fn none_or<T>(self, value: T) -> Result<T, Vec<ConfigErrors>> {
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(self.errors)
        }
    }
}

/// Content from the controller: the sources, and what was made of them for each member.
pub struct DeclaredContent {
    /// The content of the apps.
    pub contents: BTreeMap<AppName, AppContent>,
    /// What was made for each member.
    pub made: BTreeMap<Member, BTreeMap<Digest, Vec<u8>>>,
}

impl ContentSource for DeclaredContent {
    fn bytes(&self, member: &Member, digests: &BTreeSet<Digest>) -> u64 {
        let made = self.made.get(member);
        let made = made
            .into_iter()
            .flatten()
            .filter(|(digest, _)| digests.contains(digest));
        let made: u64 = made.map(|(_, bytes)| bytes.len() as u64).sum();
        let tree = self
            .contents
            .get(&member.app)
            .map(|content| &content.tree.manifest);
        let mut counted = BTreeSet::new();
        let files =
            tree.into_iter()
                .flat_map(|tree| tree.entries.values())
                .map(|entry| match entry {
                    ManifestEntry::File { size, digest, .. }
                        if digests.contains(digest) && counted.insert(*digest) =>
                    {
                        *size
                    }
                    _ => 0,
                });
        made + files.sum::<u64>()
    }

    fn pack(
        &self,
        member: &Member,
        digests: &BTreeSet<Digest>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut pack = PackWriter::new(out).map_err(io::Error::other)?;
        let mut from_source = digests.clone();
        for (digest, bytes) in self.made.get(member).into_iter().flatten() {
            if from_source.remove(digest) {
                let mut content = bytes.as_slice();
                pack.add(digest, bytes.len() as u64, &mut content)
                    .map_err(io::Error::other)?;
            }
        }
        if let Some(content) = self.contents.get(&member.app) {
            content
                .tree
                .pack(&from_source, &mut pack)
                .map_err(io::Error::other)?;
        }
        pack.finish().map_err(io::Error::other)?;
        Ok(())
    }
}
