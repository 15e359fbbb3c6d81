//! What would make an apply fail, asked of the host before anything is done: each finding with the
//! line to type. Reads only.

use std::collections::BTreeSet;
use std::path::Path;

use super::app::App;
use super::belonging::Belonging;
use super::ports::{Ports, Taken};
use super::protocol::ObserveApp;
use super::registry::{Claims, ELSEWHERE};
use super::units::Units;
use crate::apply::site::kind_of;
use crate::apply::step::is_same;
use crate::host::{Entry, EntryType, HostError, Manager, ReadHost, UNITS, Unit, UnitRemark};
use crate::model::shell::quote;
use crate::model::{
    Finding, FindingClass, Gates, HostFacts, Ledger, Resource, ResourceId, ResourceKind, State,
    Value,
};
use crate::step::kind::Kind;
use crate::step::restart::unit_of;
use crate::step::sync::file::LEFT;

/// What findings are made of.
pub(super) struct Seen<'a> {
    pub host: &'a dyn ReadHost,
    pub kinds: &'a [&'a dyn Kind],
    pub app: &'a App,
    pub asked: &'a ObserveApp,
    /// What rosey has applied of this app.
    pub applied: Option<&'a State>,
    /// Its past.
    pub ledger: Option<&'a Ledger>,
    /// How everything is.
    pub actual: &'a State,
    /// What couldn't be read.
    pub unread: &'a BTreeSet<ResourceId>,
    /// What all apps of the host own.
    pub claims: &'a [Claims],
}

/// What would make only an apply fail that starts a service of the app.
pub(super) fn find_starting(seen: &Seen<'_>) -> Result<Vec<Finding>, HostError> {
    match seen.others_root() {
        Some(_) => Ok(Vec::new()),
        None => seen.ports(),
    }
}

/// Everything that would make an apply fail here.
pub(super) fn find(seen: &Seen<'_>) -> Result<Vec<Finding>, HostError> {
    if seen.asked.wanted.resources.is_empty() {
        return Ok(Vec::new());
    }
    // Whatever else lies there is that app's, and no concern of this one.
    if let Some(others) = seen.others_root() {
        return Ok(vec![others]);
    }
    let mut findings = Vec::new();
    findings.extend(seen.root()?);
    findings.extend(seen.state()?);
    findings.extend(seen.space()?);
    findings.extend(seen.owner()?);
    findings.extend(seen.units());
    findings.extend(seen.left());
    for (id, wanted) in &seen.asked.wanted.resources {
        if seen.unread.contains(id) {
            continue;
        }
        let found = seen.actual.get(id);
        findings.extend(seen.owned(id));
        if let Some(misplaced) = seen.misplaced(id, wanted, found)? {
            findings.push(misplaced);
            continue;
        }
        findings.extend(seen.expected(id, wanted, found)?);
        findings.extend(seen.directory(id, wanted, found)?);
        findings.extend(seen.foreign(id, wanted, found)?);
        findings.extend(seen.stale(id, wanted, found));
        findings.extend(seen.venv(id, wanted, found)?);
    }
    for (id, wanted) in &seen.given_back().resources {
        findings.extend(seen.misplaced(id, wanted, seen.actual.get(id))?);
    }
    Ok(findings)
}

impl Seen<'_> {
    fn blocking(&self, message: String, remedy: impl Into<Option<String>>) -> Finding {
        Finding {
            class: FindingClass::Blocking,
            host: self.asked.app.host.clone(),
            app: Some(self.asked.app.app.clone()),
            message,
            remedy: remedy.into(),
        }
    }

    /// A root belongs to the environment and app that its ledger names.
    fn others_root(&self) -> Option<Finding> {
        let address = &self.asked.app;
        let other = self.claims.iter().find(|claims| {
            claims.root == self.app.places.root && !address.is(&claims.environment, &claims.app)
        })?;
        let belongs = Belonging {
            root: &self.app.places.root.to_string_lossy(),
            environment: &other.environment,
            app: &other.app,
        };
        Some(self.blocking(belongs.words(address), belongs.remedy(address)))
    }

    /// The root must be a directory, or there must be one in which it can be made.
    fn root(&self) -> Result<Option<Finding>, HostError> {
        let root = &self.app.places.root;
        let Some((path, entry)) = self.nearest(root)? else {
            return Ok(None);
        };
        if entry.kind != EntryType::Directory {
            let message = format!(
                "{} is no directory, so the app can't be there",
                path.display()
            );
            let aside = format!("sudo mv {0} {0}.old", quote(&path.display().to_string()));
            return Ok(Some(self.blocking(message, aside)));
        }
        let facts = self.host.facts();
        if may_write(&facts, &entry) {
            return Ok(None);
        }
        let message = format!("{} may not write in {}", facts.user, path.display());
        let user = &facts.user;
        let shown = quote(&root.display().to_string());
        let make = format!("sudo install -d -o {user} -g {user} {shown}");
        Ok(Some(self.blocking(message, make)))
    }

    /// There must be a place for what rosey itself keeps.
    fn state(&self) -> Result<Option<Finding>, HostError> {
        let facts = self.host.facts();
        let state = &self.app.places.state;
        let Some((path, entry)) = self.nearest(state)? else {
            return Ok(None);
        };
        if entry.kind == EntryType::Directory && may_write(&facts, &entry) {
            return Ok(None);
        }
        let message = format!(
            "{} may not write in {}, where rosey is to keep its ledger ({})",
            facts.user,
            path.display(),
            state.display()
        );
        Ok(Some(self.blocking(message, ELSEWHERE.to_owned())))
    }

    /// What is at a path, or at the nearest one above it at which something is.
    fn nearest<'p>(&self, mut path: &'p Path) -> Result<Option<(&'p Path, Entry)>, HostError> {
        loop {
            match self.host.entry(path) {
                Ok(Some(entry)) => return Ok(Some((path, entry))),
                Ok(None) => {}
                Err(error) if error.kind == crate::host::HostErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let Some(parent) = path.parent() else {
                return Ok(None);
            };
            path = parent;
        }
    }

    /// Room for what comes, with a tenth to spare, and an inode for each of its entries.
    fn space(&self) -> Result<Option<Finding>, HostError> {
        let space = self.host.space(&self.app.places.root)?;
        let needed = self.asked.incoming + self.asked.incoming / 10;
        let entries: usize = if self.asked.incoming == 0 {
            0
        } else {
            let manifests = self.asked.manifests.values();
            manifests.map(|manifest| manifest.entries.len()).sum()
        };
        let root = self.app.places.root.display();
        let message = if needed > space.bytes {
            // Rounded apart, so that what is needed is always more than what is free.
            format!(
                "{} MiB are needed on the file system of {root}, {} MiB are free",
                needed.div_ceil(1 << 20),
                space.bytes >> 20
            )
        } else if entries as u64 > space.inodes {
            format!(
                "{entries} inodes are needed on the file system of {root}, {} are free",
                space.inodes
            )
        } else {
            return Ok(None);
        };
        let root = quote(&root.to_string());
        let remedy =
            format!("df -h {root}   # make room, or keep fewer releases (`keep releases=N`)");
        Ok(Some(self.blocking(message, remedy)))
    }

    fn owner(&self) -> Result<Option<Finding>, HostError> {
        let Some(owner) = &self.asked.app.owner else {
            return Ok(None);
        };
        let facts = self.host.facts();
        if !facts.root {
            if owner.user == facts.user {
                return Ok(None);
            }
            let message = format!(
                "the app belongs to {}, and the helper runs as {}: only root can give files away",
                owner.user, facts.user
            );
            let remedy = "add `become \"sudo\"` to the host".to_owned();
            return Ok(Some(self.blocking(message, remedy)));
        }
        if self.asked.app.create_owner {
            return Ok(None);
        }
        let message = if self.host.account(&owner.user)?.is_none() {
            format!("there is no user {}", owner.user)
        } else if !self.host.has_group(&owner.group)? {
            format!("there is no group {}", owner.group)
        } else {
            return Ok(None);
        };
        let remedy = format!(
            "{}   # or `create=#true` behind the owner",
            make_user(&owner.user)
        );
        Ok(Some(self.blocking(message, remedy)))
    }

    /// A file that the app shares and that only a person can make.
    fn expected(
        &self,
        id: &ResourceId,
        wanted: &Resource,
        found: Option<&Resource>,
    ) -> Result<Option<Finding>, HostError> {
        let expected = wanted.settings.get("expected").and_then(Value::as_text);
        let Some(expected) = expected.filter(|_| found.is_none() && wanted.attributes.is_empty())
        else {
            return Ok(None);
        };
        let message = format!("the {expected} is missing: {}", id.name);
        let remedy = format!(
            "{}   # and its content; or give it a `seed` in the declaration",
            self.making(&id.name)?
        );
        Ok(Some(self.blocking(message, remedy)))
    }

    /// The lines that make a file which the app can read. Before the first apply its directory isn't there, and nor may
    /// the app's user be.
    fn making(&self, path: &str) -> Result<String, HostError> {
        let shown = quote(path);
        if !self.host.facts().root {
            return Ok(format!("install -D -m 0640 /dev/stdin {shown}"));
        }
        let owner = &self.app.app_owner;
        let own = format!("-o {} -g {}", owner.user, owner.group);
        let mut lines = Vec::new();
        if self.host.account(&owner.user)?.is_none() {
            lines.push(make_user(&owner.user));
        }
        let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
        if self
            .nearest(directory)?
            .is_none_or(|(it, _)| it != directory)
        {
            let directory = quote(&directory.display().to_string());
            lines.push(format!("sudo install -d {own} {directory}"));
        }
        lines.push(format!("sudo install -m 0640 {own} /dev/stdin {shown}"));
        Ok(lines.join("\n"))
    }

    /// A `file` outside of the root is put into a directory that somebody else has made.
    fn directory(
        &self,
        id: &ResourceId,
        wanted: &Resource,
        found: Option<&Resource>,
    ) -> Result<Option<Finding>, HostError> {
        // Of all files these alone are wanted where a declaration says; rosey has made the place of any other.
        let is_declared =
            wanted.settings.contains_key("adopt") && !wanted.settings.contains_key("unit");
        let path = Path::new(&id.name);
        let places = &self.app.places;
        let is_own = path.starts_with(&places.root) || path.starts_with(&places.state);
        let Some(directory) = path.parent().filter(|_| is_declared && !is_own) else {
            return Ok(None);
        };
        let made = ResourceId {
            kind: ResourceKind::DIRECTORY,
            name: directory.display().to_string(),
            ..id.clone()
        };
        let is_made = self.asked.wanted.get(&made).is_some();
        if id.kind != ResourceKind::FILE
            || is_made
            || is_same(kind_of(self.kinds, id)?, id, found, Some(wanted))
        {
            return Ok(None);
        }
        let Some((nearest, entry)) = self.nearest(directory)? else {
            return Ok(None);
        };
        let shown = quote(&directory.display().to_string());
        if nearest != directory {
            let message = format!(
                "there is no directory {} for {}",
                directory.display(),
                id.name
            );
            let make = format!("sudo install -d {shown}");
            return Ok(Some(self.blocking(message, make)));
        }
        let facts = self.host.facts();
        // What a link leads to isn't known here, and is given the benefit of the doubt.
        let may = match entry.kind {
            EntryType::Directory => may_write(&facts, &entry),
            EntryType::Link => true,
            _ => {
                let message = format!(
                    "{} is no directory, so {} can't be there",
                    directory.display(),
                    id.name
                );
                let aside = format!("sudo mv {shown} {shown}.old");
                return Ok(Some(self.blocking(message, aside)));
            }
        };
        if may {
            return Ok(None);
        }
        let message = format!(
            "{} may not write in {}, where {} is to be",
            facts.user,
            directory.display(),
            id.name
        );
        let remedy = "add `become \"sudo\"` to the host".to_owned();
        Ok(Some(self.blocking(message, remedy)))
    }

    /// What another environment or app owns.
    fn owned(&self, id: &ResourceId) -> Option<Finding> {
        let other = self.claims.iter().find(|claims| {
            claims.root != self.app.places.root
                && claims.has(id)
                && !Path::new(&id.name).starts_with(&self.app.places.root)
        })?;
        let message = format!(
            "{} {} belongs to the app {} of the environment {} on this host ({})",
            id.kind,
            id.name,
            other.app,
            other.environment,
            other.root.display()
        );
        let remedy = format!("rosey remove {} {}", other.environment, other.app);
        Some(self.blocking(message, remedy))
    }

    /// What is there, isn't as wanted, and no ledger knows.
    fn foreign(
        &self,
        id: &ResourceId,
        wanted: &Resource,
        found: Option<&Resource>,
    ) -> Result<Option<Finding>, HostError> {
        let may_differ = [
            ResourceKind::DIRECTORY,
            ResourceKind::RELEASE,
            ResourceKind::TASK,
        ];
        let setting = |name: &str| wanted.settings.get(name).and_then(Value::as_bool) == Some(true);
        let known = self.applied.is_some_and(|state| state.get(id).is_some());
        let shared = Path::new(&id.name).starts_with(self.app.places.root.join("shared"));
        let taken = known || shared || setting("adopt") || setting("external");
        if taken || may_differ.contains(&id.kind) {
            return Ok(None);
        }
        let hidden = self.hidden(id, wanted)?;
        if hidden.is_some() || found.is_none() {
            return Ok(hidden);
        }
        let kind = kind_of(self.kinds, id)?;
        if is_same(kind, id, found, Some(wanted)) {
            return Ok(None);
        }
        let message = format!(
            "{} {} is there already, and rosey didn't make it",
            id.kind, id.name
        );
        let remedy = if id.kind == ResourceKind::SERVICE {
            let stop = match unit_of(id, wanted).manager {
                Manager::Systemd => format!("sudo systemctl disable --now {}", id.name),
                Manager::Process { directory } => {
                    format!("end its process, and remove {directory}/{}", id.name)
                }
            };
            format!("write `adopt #true` for it, or: {stop}")
        } else {
            format!(
                "write `adopt #true` for it, or: sudo mv {0} {0}.old",
                quote(&id.name)
            )
        };
        Ok(Some(self.blocking(message, remedy)))
    }

    /// A unit that systemd knows from elsewhere, such as a package's. The app's own would take its place, and nothing
    /// that is compared shows that: its file isn't there yet, and the service may already be as wanted.
    fn hidden(&self, id: &ResourceId, wanted: &Resource) -> Result<Option<Finding>, HostError> {
        let unit = unit_of(id, wanted);
        if id.kind != ResourceKind::SERVICE || unit.manager != Manager::Systemd {
            return Ok(None);
        }
        let Some(definition) = self.host.service(&unit)?.definition else {
            return Ok(None);
        };
        let own = self.host.real_path(Path::new(UNITS))?.join(&unit.name);
        // A file in the unit's own place is judged by what it holds; and of an instance (`bot@1.service`) the
        // definition may be a template that is declared beside it.
        if definition == own || self.has_file(&own) || self.has_file(&definition) {
            return Ok(None);
        }
        let message = format!(
            "{} {} is defined in {} already, and a unit of the app would take its place",
            id.kind,
            id.name,
            definition.display()
        );
        let remedy = "write `adopt #true` for it, or give the service another name".to_owned();
        Ok(Some(self.blocking(message, remedy)))
    }

    /// Whether one of the app's files is there.
    fn has_file(&self, path: &Path) -> bool {
        let mut actual = self.actual.resources.keys();
        actual.any(|id| id.kind == ResourceKind::FILE && Path::new(&id.name) == path)
    }

    /// What stands beside a unit that rosey comes to, and goes on changing it.
    fn left(&self) -> Vec<Finding> {
        let known = |id: &ResourceId| self.applied.is_some_and(|state| state.get(id).is_some());
        let actual = self.actual.resources.iter();
        let new = actual.filter(|(id, _)| !known(id));
        let left = new.filter_map(|(id, it)| Some((&id.name, it.settings.get(LEFT)?.as_text()?)));
        let finding = |(path, unit): (&String, &str)| Finding {
            class: FindingClass::Note,
            ..self.blocking(
                format!("{path} is there already, and is left: it goes on changing {unit}"),
                format!("sudo rm {}   # where that isn't wanted", quote(path)),
            )
        };
        left.map(finding).collect()
    }

    /// What a task that hasn't run yet will lack: only a note, since its command may know better.
    fn venv(
        &self,
        id: &ResourceId,
        wanted: &Resource,
        found: Option<&Resource>,
    ) -> Result<Option<Finding>, HostError> {
        let run = wanted.settings.get("run").and_then(Value::as_text);
        let Some(run) = run.filter(|_| id.kind == ResourceKind::TASK && found.is_none()) else {
            return Ok(None);
        };
        let missing = super::venv::missing(self.host, run)?;
        Ok(missing.map(|(message, remedy)| Finding {
            class: FindingClass::Note,
            ..self.blocking(message, remedy)
        }))
    }

    /// A service that is never restarted may run on what it used before: nothing that an apply changes.
    fn stale(
        &self,
        id: &ResourceId,
        wanted: &Resource,
        found: Option<&Resource>,
    ) -> Option<Finding> {
        let never = wanted.settings.get("restart").and_then(Value::as_text) == Some("never");
        let found = found.filter(|found| found.is("active") && !found.is("fresh"))?;
        if !never || id.kind != ResourceKind::SERVICE || self.applied.is_none() {
            return None;
        }
        let message = format!(
            "{} runs since before the last change of what it uses, and `restart \"never\"` leaves it so",
            id.name
        );
        let remedy = match found.settings.get("manager").and_then(Value::as_text) {
            Some("process") => None,
            _ => Some(format!("sudo systemctl restart {}", id.name)),
        };
        Some(Finding {
            class: FindingClass::Note,
            ..self.blocking(message, remedy)
        })
    }

    /// What systemd says of units as they will be, of those that change.
    fn units(&self) -> Vec<Finding> {
        let units = Units {
            actual: self.actual,
            wanted: &self.asked.wanted,
            texts: &self.asked.units,
        };
        let remarks = self.host.verify_units(&units.changing());
        let of_unit = |it: &UnitRemark| self.of_unit(it, units.is_known_whole(&it.unit));
        remarks.iter().map(of_unit).collect()
    }

    /// What is unknown may be what the unit lacks.
    fn of_unit(&self, remark: &UnitRemark, is_known_whole: bool) -> Finding {
        let UnitRemark {
            unit,
            refused,
            words,
        } = remark;
        let remedy = "man systemd.unit   # then change the unit where it is declared".to_owned();
        if *refused && is_known_whole {
            return self.blocking(
                format!("systemd can't load {unit} as it will be: {words}"),
                remedy,
            );
        }
        Finding {
            class: FindingClass::Note,
            ..self.blocking(
                format!("systemd says of {unit} as it will be: {words}"),
                remedy,
            )
        }
    }

    /// Ports on which a service of the app is to listen, and that somebody else has.
    fn ports(&self) -> Result<Vec<Finding>, HostError> {
        let services = |external: bool| {
            let known = self.wanted_and_past();
            let services = known.filter(move |(id, it)| {
                id.kind == ResourceKind::SERVICE && is_external(it) == external
            });
            let units: BTreeSet<Unit> = services.map(|(id, it)| unit_of(id, it)).collect();
            units.into_iter().collect::<Vec<_>>()
        };
        let actual = &mut self.actual.resources.iter();
        let runs = actual.any(|(id, it)| {
            id.kind == ResourceKind::SERVICE && !is_external(it) && it.is("active")
        });
        let root = &self.app.places.root;
        let ports = Ports {
            host: self.host,
            gates: &self.asked.gates,
            standing: self.ledger.and_then(standing_gates),
            own: &services(false),
            external: &services(true),
            runs,
            environment: &self.asked.app.environment,
            others: self.claims.iter().filter(|it| it.root != *root).collect(),
        };
        let finding = |taken: Taken| Finding {
            class: taken.class,
            ..self.blocking(taken.message, taken.remedy)
        };
        Ok(ports.taken()?.into_iter().map(finding).collect())
    }

    /// Everything that is or was the app's.
    fn wanted_and_past(&self) -> impl Iterator<Item = (&ResourceId, &Resource)> {
        let generations = self.ledger.into_iter().flat_map(|it| &it.generations);
        let past = generations.flat_map(|generation| &generation.state.resources);
        past.chain(&self.asked.wanted.resources)
    }
}

/// The gates of the generation that stands; none where nothing of rosey's does.
fn standing_gates(ledger: &Ledger) -> Option<&Gates> {
    let current = ledger.current();
    let current = current.filter(|generation| generation.release.is_some())?;
    Some(&current.gates)
}

fn make_user(name: &str) -> String {
    format!("sudo useradd --system --user-group --shell /usr/sbin/nologin {name}")
}

fn is_external(resource: &Resource) -> bool {
    let external = resource.settings.get("external");
    external.and_then(Value::as_bool) == Some(true)
}

fn may_write(facts: &HostFacts, entry: &Entry) -> bool {
    let bits = if entry.owner.user == facts.user {
        0o200
    } else {
        // Whether a group's bit is meant for this user isn't known here: it is given the benefit of the doubt.
        0o022
    };
    facts.root || entry.mode & bits != 0
}
