//! What hosts really have, seen without rosey, and whether that is what was declared.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::world::{App, World};
use crate::support::{Lab, Look, Snapshot};

const PROGRAM: &str = include_str!("eyes.py");

/// What one host has.
#[derive(Debug)]
pub struct Host {
    pub picture: Snapshot,
    pub facts: Facts,
}

#[derive(Debug, Deserialize)]
pub struct Facts {
    pub apps: BTreeMap<String, Seen>,
    /// Locks that are held.
    pub held: Vec<String>,
    /// Processes that only a run needs.
    pub processes: Vec<String>,
    /// What a run leaves behind that was cut off.
    pub debris: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Seen {
    pub current: Option<String>,
    tree: BTreeMap<String, Option<String>>,
    words: Option<String>,
    units: BTreeMap<String, Option<String>>,
    outside: Option<String>,
    pub health: Value,
    cwd: Option<String>,
    mark: Option<String>,
    pub migrations: Vec<String>,
}

impl Seen {
    pub fn version(&self) -> Option<&str> {
        self.health["version"].as_str()
    }
}

/// Where to look: at what either of two worlds names.
#[derive(Debug)]
pub struct Eyes {
    look: Look,
    apps: String,
}

impl Eyes {
    /// `patience`: seconds that a service may take until it answers.
    pub fn new(old: &World, new: &World, patience: f64) -> Self {
        let mut roots = vec!["/etc/systemd/system".to_owned()];
        let mut look = Vec::new();
        let mut apps = Vec::new();
        for (old, new) in old.apps.iter().zip(&new.apps) {
            roots.extend([old.root(), old.outside_path()]);
            look.extend([old.unit_name(), new.unit_name()]);
            apps.push(json!({"name": new.name, "root": new.root(), "port": new.port, "units": [old.unit_name(), new.unit_name()], "outside": new.outside_path(), "patience": patience}));
        }
        let at = Look::at(&roots).except("/opt/*/shared/data/*");
        Self {
            look: look.iter().fold(at, |look, unit| look.unit(unit)),
            apps: Value::Array(apps).to_string(),
        }
    }

    /// At one host.
    pub fn at(&self, lab: &Lab, host: usize) -> Host {
        let facts = lab.python(host, PROGRAM, &self.apps);
        Host {
            facts: serde_json::from_str(&facts).expect("the program prints JSON"),
            picture: self.look.on(lab, host),
        }
    }

    /// The same without asking who serves what.
    pub fn pictures(&self, lab: &Lab) -> BTreeMap<usize, Snapshot> {
        std::thread::scope(|scope| {
            let looks: Vec<_> = lab
                .hosts()
                .map(|host| (host, scope.spawn(move || self.look.on(lab, host))))
                .collect();
            looks
                .into_iter()
                .map(|(host, look)| (host, look.join().expect("a look ends")))
                .collect()
        })
    }

    /// At all hosts.
    pub fn at_all(&self, lab: &Lab) -> BTreeMap<usize, Host> {
        std::thread::scope(|scope| {
            let looks: Vec<_> = lab
                .hosts()
                .map(|host| (host, scope.spawn(move || self.at(lab, host))))
                .collect();
            looks
                .into_iter()
                .map(|(host, look)| (host, look.join().expect("a look ends")))
                .collect()
        })
    }
}

/// How a host differs from what is declared for it; nothing when it is exactly that, and serves it.
pub fn differences(world: &World, number: usize, host: &Host) -> Vec<String> {
    let mut found = Vec::new();
    for app in world.apps.iter().filter(|app| app.hosts.contains(&number)) {
        let seen = &host.facts.apps[&app.name];
        let mut differs = |what: &str, is: &dyn std::fmt::Debug, should: &dyn std::fmt::Debug| {
            found.push(format!(
                "{}: {what}: is {is:?}, should be {should:?}",
                app.name
            ));
        };
        let current = seen.current.clone().unwrap_or_default();
        let release = format!("releases/{}-", app.version_text());
        if !current.starts_with(&release) {
            differs("current", &current, &release);
        }
        let files = app.files();
        for (name, text) in files.iter().filter(|(name, _)| !name.starts_with(".words")) {
            let is = seen.tree.get(name).cloned().flatten();
            if is.as_deref() != Some(text) {
                differs(name, &is, text);
            }
        }
        for name in seen.tree.keys() {
            let of_example = !["extra/", ".words"].iter().any(|it| name.starts_with(it));
            let known =
                of_example || files.contains_key(name) || (name == ".words" && app.words.is_some());
            if !known {
                differs(name, &"there", &"not there");
            }
        }
        let words = app.words.map(|number| format!("words {number}\n"));
        if seen.words != words {
            differs(".words/out", &seen.words, &words);
        }
        if app.unit_file {
            let says = app.unit_says();
            let unit = seen.units.get(&app.unit_name()).cloned().flatten();
            if !unit.as_ref().is_some_and(|unit| unit.contains(&says)) {
                differs("unit", &unit, &says);
            }
        } else if seen.mark.as_ref() != Some(&app.unit_says()) {
            differs("the service's environment", &seen.mark, &app.unit_says());
        }
        if seen.outside != app.outside_text() {
            differs("file outside", &seen.outside, &app.outside_text());
        }
        let health = &seen.health;
        let right = health["version"] == app.version_text().as_str()
            && health["channel"] == app.channel_text().as_str()
            && health["status"] == "running";
        if !right {
            differs("health", health, &app.version_text());
        }
        let directory = format!("{}/{current}", app.root());
        if seen.cwd.as_deref() != Some(&directory) {
            differs("the process's release", &seen.cwd, &directory);
        }
        for line in others_units(app, &host.picture) {
            differs("a unit of another name", &line, &"not there");
        }
        let unit = host.picture.of(&app.unit_name()).unwrap_or("unknown");
        if !(unit.starts_with("unit active=yes")
            && unit.contains("UnitFileState=enabled")
            && unit.contains("NeedDaemonReload=no"))
        {
            differs("unit state", &unit, &"active, enabled, loaded");
        }
    }
    found
}

/// Units that an app had under another name.
fn others_units(app: &App, picture: &Snapshot) -> Vec<String> {
    let prefix = format!("/{}-v", app.name);
    let own = app.unit_name();
    let others = picture.names().filter(|name| {
        name.starts_with("/etc/systemd/") && name.contains(&prefix) && !name.ends_with(&own)
    });
    others.map(str::to_owned).collect()
}

/// What of an app that was removed is still there.
pub fn remains(world: &World, number: usize, host: &Host) -> Vec<String> {
    let mut found = Vec::new();
    for app in world.apps.iter().filter(|app| app.hosts.contains(&number)) {
        let seen = &host.facts.apps[&app.name];
        for (what, is) in [
            ("current", &seen.current),
            ("unit", &seen.units.values().flatten().next().cloned()),
            ("file outside", &seen.outside),
            ("process in", &seen.cwd),
        ] {
            if let Some(is) = is {
                found.push(format!("{}: {what}: {is}", app.name));
            }
        }
        found.extend(others_units(app, &host.picture));
    }
    found
}
