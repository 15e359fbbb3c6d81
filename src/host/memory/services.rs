//! Services of a host in memory: a simple model of systemd, and the built-in manager in its terms.
//!
//! systemd knows a unit when its file was there at the last daemon-reload or boot. (The real one also
//! reads the file of a unit that it never had; who relies on that forgets the reload when it matters.)
//! It takes its copy for old when the file is gone or was modified later than the one that it has read: a file that
//! is put back is older, and systemd sees nothing (`fragment_mtime_newer` in its `src/core/unit.c`). What stands beside
//! a unit is read after it, and one that came or went is seen (`unit_need_daemon_reload` there).
//! Enabling is a link
//! in `multi-user.target.wants`, and durable when it returns, as with `systemctl` through rosey.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::host::port::{
    Activity, DROP_INS, HostErrorKind, Manager, ServiceAct, ServiceStatus, Unit,
};
use crate::model::Moment;

use super::fault::Extent;
use super::tree::{Node, Tree};
use super::world::World;

/// Where units are, the first that has one wins.
pub(super) const UNIT_DIRECTORIES: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];
/// Where links are that let units start at boot.
pub(super) const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
/// How many failed starts systemd allows before it wants a reset-failed (`StartLimitBurst`).
const START_LIMIT: u32 = 5;

/// A service's definition as its manager read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loaded {
    path: PathBuf,
    /// When its file, and each that stands beside it, was modified last, by which systemd too tells a changed one.
    modified: BTreeMap<PathBuf, u64>,
    text: String,
}

/// What a running service was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The definition that the manager knew.
    pub definition: String,
    /// Its working directory and program, with links resolved when it started.
    pub places: Vec<PathBuf>,
    /// Its process.
    pub process: u32,
    /// How often it was told to reload since.
    pub reloads: u32,
}

/// One service.
#[derive(Debug, Clone, Default)]
pub(super) struct Service {
    pub(super) loaded: Option<Loaded>,
    pub(super) running: Option<Running>,
    pub(super) started: Option<Moment>,
    pub(super) activating: bool,
    /// Whether its start failed before it had a main process, and it waits to be started again.
    pub(super) waits: bool,
    pub(super) failed: Option<String>,
    pub(super) failures: u32,
    pub(super) restarts: u32,
    /// Of the built-in manager; systemd's is a link.
    pub(super) enabled: bool,
    pub(super) log: Vec<String>,
}

impl Service {
    pub(super) fn definition(&self) -> Option<&str> {
        self.loaded.as_ref().map(|loaded| loaded.text.as_str())
    }

    pub(super) fn stop(&mut self) {
        self.running = None;
        self.started = None;
        self.activating = false;
        self.waits = false;
    }
}

impl World {
    pub(super) fn service_status(&self, unit: &Unit) -> ServiceStatus {
        let nothing = Service::default();
        let service = self.services.get(unit).unwrap_or(&nothing);
        let on_disk = self.definition_on_disk(unit);
        let systemd = unit.manager == Manager::Systemd;
        let activity = match (&service.running, service.activating) {
            (_, true) => Activity::Activating,
            (Some(_), false) => Activity::Active,
            (None, false) if service.waits => Activity::Active,
            (None, false) => Activity::Inactive,
        };
        let words = match (activity, &service.failed) {
            (Activity::Active, _) => "active (running)".to_owned(),
            (Activity::Activating, _) => "activating (start)".to_owned(),
            (Activity::Inactive, Some(words)) => format!("failed ({words})"),
            (Activity::Inactive, None) => "inactive (dead)".to_owned(),
        };
        let known = if systemd { &service.loaded } else { &on_disk };
        ServiceStatus {
            exists: known.is_some(),
            activity,
            failed: activity == Activity::Inactive && service.failed.is_some(),
            enabled: self.is_enabled(unit),
            needs_daemon_reload: systemd && self.is_outdated(unit, service.loaded.as_ref()),
            main_process: service.running.as_ref().map(|running| running.process),
            started: service.started.clone(),
            definition: known.as_ref().map(|loaded| loaded.path.clone()),
            restarts: service.restarts,
            words,
        }
    }

    pub(super) fn processes_in(&self, path: &Path) -> Vec<u32> {
        let inside = |place: &PathBuf| place.starts_with(path);
        self.services
            .values()
            .filter_map(|service| service.running.as_ref())
            .filter(|running| running.places.iter().any(inside))
            .map(|running| running.process)
            .collect()
    }

    pub(super) fn manage(
        &mut self,
        unit: &Unit,
        act: &ServiceAct,
        extent: Extent,
    ) -> Result<(), HostErrorKind> {
        if extent == Extent::Half && *act != ServiceAct::Restart {
            return Ok(());
        }
        match act {
            ServiceAct::DaemonReload => self.daemon_reload(),
            ServiceAct::ResetFailed => {
                let service = self.services.entry(unit.clone()).or_default();
                service.failed = None;
                service.failures = 0;
            }
            ServiceAct::Enable => self.enable(unit)?,
            ServiceAct::Disable => self.disable(unit)?,
            ServiceAct::Start => {
                self.forget_restarts(unit);
                self.start(unit)?;
            }
            ServiceAct::Restart => {
                self.must_exist(unit)?;
                self.services.entry(unit.clone()).or_default().stop();
                self.forget_restarts(unit);
                if extent == Extent::Whole {
                    self.start(unit)?;
                }
            }
            ServiceAct::Reload => self.reload(unit)?,
            ServiceAct::Stop => self.services.entry(unit.clone()).or_default().stop(),
        }
        Ok(())
    }

    /// Begins to count automatic restarts anew, as somebody's start of what doesn't run does.
    fn forget_restarts(&mut self, unit: &Unit) {
        if let Some(service) = self.services.get_mut(unit)
            && service.running.is_none()
        {
            service.restarts = 0;
        }
    }

    /// Reads every definition again, as daemon-reload and a boot do.
    pub(super) fn daemon_reload(&mut self) {
        let mut names: Vec<String> = UNIT_DIRECTORIES
            .iter()
            .filter_map(|directory| self.disk.now.list(directory))
            .flatten()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.ends_with(".service"))
            .collect();
        let known = self.services.keys();
        names.extend(
            known
                .filter(|unit| unit.manager == Manager::Systemd)
                .map(|unit| unit.name.clone()),
        );
        for name in names {
            let unit = Unit {
                manager: Manager::Systemd,
                name,
            };
            let loaded = self.definition_on_disk(&unit);
            self.services.entry(unit).or_default().loaded = loaded;
        }
    }

    /// Starts what is enabled, as a boot does. What fails is to be started again (`Restart=`, `RestartSec=`), which may be
    /// long after all that looks at it.
    pub(super) fn start_enabled(&mut self) {
        let enabled: Vec<Unit> = self
            .services
            .keys()
            .filter(|unit| {
                self.wants_link(unit)
                    .is_some_and(|link| self.disk.now.link(link).is_some())
            })
            .cloned()
            .collect();
        for unit in enabled {
            // A service that fails at boot is a failed service, not an error of the boot.
            let started = self.start(&unit);
            if let (Err(_), Some(service)) = (started, self.services.get_mut(&unit)) {
                // What isn't there can't be started at all.
                service.waits = service.loaded.is_some();
            }
        }
    }

    pub(super) fn start(&mut self, unit: &Unit) -> Result<(), HostErrorKind> {
        let definition = self.must_exist(unit)?;
        let service = self.services.entry(unit.clone()).or_default();
        if service.running.is_some() {
            return Ok(());
        }
        service.waits = false;
        let systemd = unit.manager == Manager::Systemd;
        let outcome = if systemd && service.failures >= START_LIMIT {
            Err("start-limit-hit".to_owned())
        } else {
            let on_start = std::sync::Arc::clone(&self.on_start);
            on_start(&self.disk.now, unit, &definition)
        };
        let process = self.next_process;
        let places = self.places(&definition);
        let started = self.moment();
        let service = self.services.entry(unit.clone()).or_default();
        match outcome {
            Ok(()) => {
                service.running = Some(Running {
                    definition,
                    places,
                    process,
                    reloads: 0,
                });
                service.started = Some(started);
                service.failed = None;
                self.next_process += 1;
                Ok(())
            }
            Err(words) => {
                service.log.push(words.clone());
                let text = format!("{} failed: {words}", unit.name);
                service.failed = Some(words);
                service.failures += 1;
                if self.simple_starts {
                    return Ok(());
                }
                Err(HostErrorKind::Other(text))
            }
        }
    }

    /// What systemd runs, of which the definition isn't a distribution's.
    fn own_services(&self) -> impl Iterator<Item = (&Unit, &Service, &Running)> {
        self.services.iter().filter_map(|(unit, service)| {
            let loaded = service.loaded.as_ref()?;
            let is_own = loaded.path.starts_with(UNIT_DIRECTORIES[0]);
            let running = service.running.as_ref()?;
            (is_own && unit.manager == Manager::Systemd).then_some((unit, service, running))
        })
    }

    pub(super) fn has_services(&self) -> bool {
        self.own_services().next().is_some()
    }

    pub(super) fn has_outdated_services(&self) -> bool {
        self.own_services().any(|(unit, service, running)| {
            let on_disk = self.definition_on_disk(unit).map(|loaded| loaded.text);
            let on_disk = on_disk.as_deref();
            service.definition() != on_disk || Some(running.definition.as_str()) != on_disk
        })
    }

    /// Has everything die that systemd runs, and systemd start it again by itself (`Restart=` of systemd.service(5)):
    /// with the definition that it has loaded, until it runs or the limit of starts is hit.
    pub(super) fn die(&mut self) {
        let runs = |(unit, service): &(&Unit, &Service)| {
            unit.manager == Manager::Systemd && service.running.is_some()
        };
        let units: Vec<Unit> = self
            .services
            .iter()
            .filter(runs)
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in units {
            for _ in 0..=START_LIMIT {
                let service = self.services.entry(unit.clone()).or_default();
                service.stop();
                service.restarts += 1;
                // What comes of it is read from its state.
                let _ = self.start(&unit);
                let service = self.services.get(&unit);
                if service.is_some_and(|service| service.running.is_some()) {
                    break;
                }
            }
        }
    }

    fn reload(&mut self, unit: &Unit) -> Result<(), HostErrorKind> {
        let definition = self.must_exist(unit)?;
        let service = self.services.entry(unit.clone()).or_default();
        let Some(running) = &mut service.running else {
            let words = format!("{} is not active, cannot reload.", unit.name);
            return Err(HostErrorKind::Other(words));
        };
        if value(&definition, "ExecReload").is_none() {
            let words = format!("Job type reload is not applicable for unit {}.", unit.name);
            return Err(HostErrorKind::Other(words));
        }
        running.reloads += 1;
        Ok(())
    }

    fn enable(&mut self, unit: &Unit) -> Result<(), HostErrorKind> {
        let Some(loaded) = self.definition_on_disk(unit) else {
            let words = format!("Unit file {} does not exist.", unit.name);
            return Err(HostErrorKind::Other(words));
        };
        let Some(link) = self.wants_link(unit) else {
            self.services.entry(unit.clone()).or_default().enabled = true;
            return Ok(());
        };
        self.may_write()?;
        if !has_install(&loaded.text) || self.disk.now.link(&link).is_some() {
            return Ok(());
        }
        let root = super::tree::root_owner();
        self.create(&link, Node::Link(loaded.path), 0o777, &root)?;
        self.disk.sync_latest();
        Ok(())
    }

    fn disable(&mut self, unit: &Unit) -> Result<(), HostErrorKind> {
        let Some(link) = self.wants_link(unit) else {
            self.services.entry(unit.clone()).or_default().enabled = false;
            return Ok(());
        };
        self.may_write()?;
        if self.disk.now.link(&link).is_some() {
            self.remove(&link, false)?;
            self.disk.sync_latest();
        }
        Ok(())
    }

    fn is_enabled(&self, unit: &Unit) -> bool {
        let Some(link) = self.wants_link(unit) else {
            return self
                .services
                .get(unit)
                .is_some_and(|service| service.enabled);
        };
        let fixed = || {
            self.definition_on_disk(unit)
                .is_some_and(|loaded| !has_install(&loaded.text))
        };
        self.disk.now.link(link).is_some() || fixed()
    }

    fn wants_link(&self, unit: &Unit) -> Option<PathBuf> {
        (unit.manager == Manager::Systemd).then(|| Path::new(WANTS).join(&unit.name))
    }

    fn must_exist(&self, unit: &Unit) -> Result<String, HostErrorKind> {
        let loaded = match &unit.manager {
            Manager::Systemd => self
                .services
                .get(unit)
                .and_then(|service| service.loaded.clone()),
            Manager::Process { .. } => self.definition_on_disk(unit),
        };
        loaded
            .map(|loaded| loaded.text)
            .ok_or_else(|| HostErrorKind::Other(format!("Unit {} not found.", unit.name)))
    }

    fn definition_on_disk(&self, unit: &Unit) -> Option<Loaded> {
        let directories: Vec<&Path> = match &unit.manager {
            Manager::Systemd => UNIT_DIRECTORIES.iter().map(Path::new).collect(),
            Manager::Process { directory } => vec![Path::new(directory)],
        };
        directories.into_iter().find_map(|directory| {
            let path = directory.join(&unit.name);
            let (modified, text) = self.content_of(&path)?;
            let mut loaded = Loaded {
                modified: BTreeMap::from([(path.clone(), modified)]),
                path,
                text,
            };
            for path in self.drop_ins(unit) {
                let (modified, text) = self.content_of(&path)?;
                loaded.modified.insert(path, modified);
                loaded.text += &text;
            }
            Some(loaded)
        })
    }

    /// When a file was modified, and what it holds.
    fn content_of(&self, path: &Path) -> Option<(u64, String)> {
        let real = self.disk.now.real_path(path).ok()?;
        let (number, content) = self.disk.now.content(&real).ok()?;
        let modified = self.disk.now.inodes.get(&number)?.modified;
        Some((modified, String::from_utf8_lossy(content).into_owned()))
    }

    /// What stands beside a unit, in the order in which it is read.
    fn drop_ins(&self, unit: &Unit) -> Vec<PathBuf> {
        let directories = match unit.manager {
            Manager::Systemd => &DROP_INS[..],
            Manager::Process { .. } => &[],
        };
        let mut paths = Vec::new();
        for directory in directories {
            let directory = Path::new(directory).join(format!("{}.d", unit.name));
            let names = self.disk.now.list(&directory).unwrap_or_default();
            let read = names.into_iter().filter(|name| {
                let name = name.to_string_lossy();
                name.ends_with(".conf") && !name.starts_with('.')
            });
            paths.extend(read.map(|name| directory.join(name)));
        }
        // Of one name only the first counts.
        paths.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        paths.dedup_by(|one, other| one.file_name() == other.file_name());
        paths
    }

    /// Whether systemd would say so of what it has read.
    fn is_outdated(&self, unit: &Unit, loaded: Option<&Loaded>) -> bool {
        let Some(loaded) = loaded else {
            return false;
        };
        let is_as_read = |(path, read): (&PathBuf, &u64)| {
            let now = self.content_of(path).map(|(modified, _)| modified);
            now.is_some_and(|now| now <= *read)
        };
        let mut beside = self.drop_ins(unit).into_iter();
        !loaded.modified.iter().all(is_as_read)
            || beside.any(|path| !loaded.modified.contains_key(&path))
    }

    fn places(&self, definition: &str) -> Vec<PathBuf> {
        let directory = value(definition, "WorkingDirectory");
        let program = program(definition);
        directory
            .into_iter()
            .chain(program)
            .filter(|place| place.starts_with('/'))
            .filter_map(|place| self.disk.now.real_path(place).ok())
            .collect()
    }
}

/// What a service does that no test has said otherwise: it starts unless its working directory isn't
/// there, its program is reached through a link that dangles, or its command names `fail`.
pub(super) fn default_start(tree: &Tree, _unit: &Unit, definition: &str) -> Result<(), String> {
    if let Some(directory) = value(definition, "WorkingDirectory")
        && !tree.exists(directory)
    {
        return Err(format!("status=200/CHDIR: {directory}"));
    }
    let command = value(definition, "ExecStart").unwrap_or_default();
    if let Some(program) = program(definition).filter(|program| program.starts_with('/')) {
        let dangles = |path: &&Path| tree.link(path).is_some() && !tree.exists(path);
        if Path::new(program).ancestors().find(dangles).is_some() {
            return Err(format!("status=203/EXEC: {program}"));
        }
    }
    if command.split([' ', '/']).any(|word| word == "fail") {
        return Err("exit-code, status=1".to_owned());
    }
    Ok(())
}

/// The last value of a key in a unit file.
fn value<'a>(definition: &'a str, key: &str) -> Option<&'a str> {
    definition
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix(key)?
                .trim_start()
                .strip_prefix('=')
        })
        .map(str::trim)
        .next_back()
}

fn program(definition: &str) -> Option<&str> {
    value(definition, "ExecStart")?
        .trim_start_matches(['-', '@', ':', '+', '!'])
        .split_whitespace()
        .next()
}

fn has_install(definition: &str) -> bool {
    definition.lines().any(|line| line.trim() == "[Install]")
}
