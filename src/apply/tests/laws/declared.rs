//! What an app may consist of: every kind of resource, each as its declaration would want it.

use std::collections::BTreeMap;

use crate::content::{EntryPath, Manifest, ManifestEntry};
use crate::model::gate::{Gate, GateKind};
use crate::model::{AppName, Digest, Gates, HostName, Resource, ResourceId, ResourceKind, State};
use crate::plan::Attendant;
use crate::step::backup::desire as backup;
use crate::step::verify::desire as gates;

pub const ROOT: &str = "/opt/bot";
/// Where a helper of root's keeps what it knows of that root.
pub const STATE: &str = "/var/lib/rosey/apps/7fd30417c7f6";
pub const UNITS: &str = "/etc/systemd/system";
pub const SITE: &str = "/etc/nginx/bot.conf";
/// The key for digests of secrets.
pub const SEAL: [u8; 32] = [7; 32];

pub fn id(kind: ResourceKind, name: &str) -> ResourceId {
    ResourceId {
        host: HostName::new("a").unwrap(),
        app: AppName::new("bot").unwrap(),
        kind,
        name: name.to_owned(),
    }
}

pub fn below(name: &str) -> String {
    format!("{ROOT}/{name}")
}

/// An app as it is declared.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    pub version: &'static str,
    /// A task with output.
    pub built: bool,
    /// A migration: `once`, with `undo`.
    pub migrate: bool,
    /// Whether the migration has no `undo`, since the release before can live with it.
    pub compatible: bool,
    /// A task that only has an effect, with `undo`.
    pub warm: bool,
    /// A file outside of the release, with its mode.
    pub site: Option<&'static str>,
    /// Somebody else's service that reads that file, and is reloaded.
    pub external: bool,
    /// A file that holds a secret.
    pub secret: bool,
    /// A file in `shared` that begins as its seed, with its mode.
    pub seed: Option<&'static str>,
    /// A directory in `shared`, with its mode.
    pub shared: Option<&'static str>,
    /// Names of services.
    pub services: Vec<&'static str>,
    /// Whether the built-in manager runs them.
    pub process: bool,
    /// Whether a service is only enabled or only started.
    pub disabled: bool,
    /// A backup of the app's data, put back by the undo.
    pub backup: bool,
    /// Gates.
    pub gates: bool,
    /// Whether what is foreign is taken over.
    pub adopt: bool,
}

impl Declared {
    /// Everything at once.
    pub fn all(version: &'static str) -> Self {
        Self {
            version,
            built: true,
            migrate: true,
            warm: true,
            site: Some("0644"),
            external: true,
            secret: true,
            seed: Some("0640"),
            shared: Some("0750"),
            services: if version == "1" {
                vec!["bot.service", "side-1.service"]
            } else {
                vec!["bot.service", "side-2.service"]
            },
            backup: true,
            gates: true,
            ..Self::default()
        }
    }

    /// What many apps have.
    pub fn usual(version: &'static str) -> Self {
        Self {
            built: true,
            migrate: true,
            site: Some("0644"),
            services: if version == "1" {
                vec!["side-1.service"]
            } else {
                vec!["side-2.service"]
            },
            gates: true,
            ..Self::bare(version)
        }
    }

    /// One of each kind, and no more.
    pub fn small(version: &'static str) -> Self {
        Self {
            migrate: true,
            site: Some("0644"),
            shared: Some("0750"),
            services: vec!["bot.service"],
            backup: true,
            gates: true,
            ..Self::bare(version)
        }
    }

    /// A release, and the link that shows it.
    pub fn bare(version: &'static str) -> Self {
        Self {
            version,
            ..Self::default()
        }
    }

    fn services_at(&self) -> String {
        if self.process {
            format!("{STATE}/services")
        } else {
            UNITS.to_owned()
        }
    }

    fn release(&self) -> String {
        below(&format!("releases/{}", self.version))
    }

    /// The state that is wanted.
    pub fn state(&self) -> State {
        let mut state = State::default();
        let mut want = |kind: ResourceKind, name: &str, resource: Resource| {
            state.resources.insert(id(kind, name), resource);
        };
        for name in ["", "/releases", "/shared"] {
            let directory = owned(Resource::new().with("mode", "0755"));
            want(ResourceKind::DIRECTORY, &format!("{ROOT}{name}"), directory);
        }
        let release = self.release();
        let tree = tree(self.version).0.digest();
        let resource = owned(Resource::new().with("tree", tree));
        want(ResourceKind::RELEASE, &release, resource);
        let mut uses = Vec::new();
        let mut stamps = Vec::new();
        if let Some(mode) = self.shared {
            let directory = owned(Resource::new().with("mode", mode));
            let directory = directory.setting("declared", vec!["mode"]);
            want(ResourceKind::DIRECTORY, &below("shared/data"), directory);
            uses.push(below("shared/data"));
        }
        if let Some(mode) = self.seed {
            let file = file(b"seed", mode).setting("seed", true);
            want(ResourceKind::FILE, &below("shared/local.env"), file);
            uses.push(below("shared/local.env"));
        }
        if self.built {
            let directory = owned(Resource::new().with("mode", "0755"));
            want(ResourceKind::DIRECTORY, &below("built"), directory);
            let built = below(&format!("built/venv-{}", self.version));
            let task = Resource::new()
                .with("stamp", Digest::of(self.version.as_bytes()))
                .setting("run", "venv")
                .setting("inputs", vec!["requirements.txt"])
                .setting("output", ".venv")
                .setting("built", built.as_str())
                .setting("release", release.as_str())
                .setting("user", "rosey")
                .setting("uses", vec![release.as_str()]);
            want(ResourceKind::TASK, &built, task);
            uses.push(built);
        }
        for (name, wanted) in [("migrate", self.migrate), ("warm", self.warm)] {
            if wanted {
                let mut task = Resource::new()
                    .with("stamp", self.version)
                    .setting("run", format!("{name} {}", self.version))
                    .setting("once", name == "migrate")
                    .setting("compatible", self.compatible)
                    .setting("release", release.as_str())
                    .setting("uses", vec![release.as_str()]);
                if !self.compatible {
                    task = task.setting("undo", format!("un{name} {}", self.version));
                }
                want(ResourceKind::TASK, name, task);
                stamps.push(name);
            }
        }
        let link = Resource::new()
            .with("target", format!("releases/{}", self.version))
            .setting("tree", tree)
            .setting("stamps", stamps)
            .setting("uses", uses)
            .setting("adopt", self.adopt);
        want(ResourceKind::LINK, &below("current"), link);
        let mut beside = Vec::new();
        if let Some(mode) = self.site {
            let text = site_text(self.version);
            let site = file(&text, mode).setting("adopt", self.adopt);
            want(ResourceKind::FILE, SITE, site);
        }
        if self.secret {
            let path = format!("{STATE}/env/bot.env");
            let directory = owned(Resource::new().with("mode", "0700"));
            let directory = directory.setting("declared", vec!["mode"]);
            want(ResourceKind::DIRECTORY, &format!("{STATE}/env"), directory);
            let digest = Digest::sealed(&SEAL, &secret_text(self.version));
            let secret = owned(Resource::new().with("content", digest).with("mode", "0600"));
            want(ResourceKind::FILE, &path, secret.setting("secret", true));
            beside.push(path);
        }
        if self.external {
            let nginx = Resource::new()
                .with("enabled", true)
                .with("active", true)
                .with("fresh", true)
                .setting("manager", "systemd")
                .setting("external", true)
                .setting("restart", "reload")
                .setting("uses", vec![SITE]);
            want(ResourceKind::SERVICE, "nginx.service", nginx);
        }
        for name in &self.services {
            let path = format!("{}/{name}", self.services_at());
            let unit = file(&unit_text(name, self.version), "0644")
                .setting("unit", *name)
                .setting("adopt", self.adopt);
            want(ResourceKind::FILE, &path, unit);
            let mut uses = vec![below("current"), path];
            uses.extend(beside.iter().cloned());
            let mut service = Resource::new()
                .with("enabled", !self.disabled)
                .with("active", true)
                .with("fresh", true)
                .setting("turn", "bot")
                .setting("beside", true)
                .setting("start_timeout", 20)
                .setting("stop_timeout", 20)
                .setting("uses", uses);
            service = if self.process {
                let directory = self.services_at();
                service
                    .setting("manager", "process")
                    .setting("process_directory", directory)
            } else {
                service.setting("manager", "systemd")
            };
            want(ResourceKind::SERVICE, name, service);
        }
        state
    }

    /// What accompanies its changes.
    pub fn attendants(&self) -> Vec<Attendant> {
        let mut attendants = Vec::new();
        if self.backup {
            let with = Resource::new()
                .setting("sqlite", vec![below("shared/data/db")])
                .setting(
                    "paths",
                    vec![below("shared/quotes"), "/home/migrate.log".to_owned()],
                )
                .setting("restore", "undo");
            attendants.push(backup::attendant(id(backup::BACKUP, "bot"), with));
        }
        if self.gates {
            let gate = |service: &&'static str| Gate {
                name: format!("process {service}"),
                kind: GateKind::Process {
                    unit: (*service).to_owned(),
                    process_directory: self.process.then(|| self.services_at()),
                },
            };
            let wanted = Gates {
                gates: self.services.iter().map(gate).collect(),
                ..Gates::default()
            };
            attendants.push(gates::attendant(id(gates::GATES, "bot"), &wanted));
        }
        attendants
    }

    /// All content that it needs, by digest.
    pub fn contents(&self) -> BTreeMap<Digest, Vec<u8>> {
        let mut contents = tree(self.version).1;
        contents.extend([b"seed".to_vec(), site_text(self.version)]);
        let units = self.services.iter();
        contents.extend(units.map(|name| unit_text(name, self.version)));
        let plain = contents.into_iter();
        let mut contents: BTreeMap<_, _> = plain.map(|bytes| (Digest::of(&bytes), bytes)).collect();
        let secret = secret_text(self.version);
        contents.insert(Digest::sealed(&SEAL, &secret), secret);
        contents
    }
}

fn owned(resource: Resource) -> Resource {
    resource.with("owner", "root").with("group", "root")
}

fn file(content: &[u8], mode: &str) -> Resource {
    owned(Resource::new())
        .with("content", Digest::of(content))
        .with("mode", mode)
}

/// The tree of a release: what its task needs, and a program.
pub fn tree(version: &str) -> (Manifest, Vec<Vec<u8>>) {
    let contents = vec![format!("flask=={version}").into_bytes(), program(version)];
    let mut manifest = Manifest::default();
    for (name, content) in ["requirements.txt", "server.py"].iter().zip(&contents) {
        let entry = ManifestEntry::File {
            mode: 0o644,
            size: content.len() as u64,
            digest: Digest::of(content),
        };
        manifest
            .entries
            .insert(EntryPath::new(*name).unwrap(), entry);
    }
    (manifest, contents)
}

pub fn program(version: &str) -> Vec<u8> {
    format!("print({version})").into_bytes()
}

fn site_text(version: &str) -> Vec<u8> {
    format!("server {{ # {version}\n}}\n").into_bytes()
}

fn secret_text(version: &str) -> Vec<u8> {
    format!("TOKEN=\"hunter{version}\"\n").into_bytes()
}

fn unit_text(name: &str, version: &str) -> Vec<u8> {
    format!(
        "[Service]\nWorkingDirectory={ROOT}/current\nExecStart=/bin/{name} {version}\n[Install]\n"
    )
    .into_bytes()
}
