//! What hosts really have, seen without rosey, and whether that is what was declared.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::whole::{Ground, Whole};
use super::world::World;
use crate::support::{Lab, Look, Snapshot};

const PROGRAM: &str = include_str!("eyes.py");

/// Seconds that a service may take until it answers.
pub const PATIENCE: f64 = 6.0;

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
    pub health: Value,
    cwd: Option<String>,
    mark: Option<String>,
    pub migrations: Vec<String>,
    /// How many rows the app has written; none where there is no database.
    quotes: Vec<u64>,
    /// What is in its root, and in what rosey has there for itself.
    kept: Vec<String>,
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
    apps: Vec<Value>,
}

impl Eyes {
    pub fn new(old: &World, new: &World) -> Self {
        let mut roots = vec!["/etc/systemd/system".to_owned()];
        let mut look = Vec::new();
        let mut apps = Vec::new();
        for (old, new) in old.apps.iter().zip(&new.apps) {
            roots.extend([old.root(), old.outside_path()]);
            look.extend([old.unit_name(), new.unit_name()]);
            apps.push(json!({"name": new.name, "root": new.root(), "port": new.port, "units": [old.unit_name(), new.unit_name()]}));
        }
        // The database is the app's own work, and never twice the same.
        let at = Look::at(&roots).except("/opt/*/shared/data/rosey.db*");
        Self {
            look: look.iter().fold(at, |look, unit| look.unit(unit)),
            apps,
        }
    }

    /// At one host, where a service is given so many seconds until it answers.
    fn at(&self, lab: &Lab, host: usize, patience: f64) -> Host {
        let mut apps = self.apps.clone();
        for app in &mut apps {
            app["patience"] = json!(patience);
        }
        let facts = lab.python(host, PROGRAM, &Value::Array(apps).to_string());
        Host {
            facts: serde_json::from_str(&facts).expect("the program prints JSON"),
            picture: self.look.on(lab, host),
        }
    }

    /// At all hosts.
    pub fn at_all(&self, lab: &Lab, patience: f64) -> BTreeMap<usize, Host> {
        std::thread::scope(|scope| {
            let looks: Vec<_> = lab
                .hosts()
                .map(|host| (host, scope.spawn(move || self.at(lab, host, patience))))
                .collect();
            looks
                .into_iter()
                .map(|(host, look)| (host, look.join().expect("a look ends")))
                .collect()
        })
    }
}

/// How a host differs from what is declared for it; nothing when it is exactly that, and serves it.
pub fn differences(whole: &Whole, number: usize, host: &Host, ground: Ground<'_>) -> Vec<String> {
    let mut found = whole.differences(number, &host.picture, ground);
    for app in whole.apps_on(number) {
        let seen = &host.facts.apps[&app.name];
        let mut differs = |what: &str, is: &dyn std::fmt::Debug, should: &dyn std::fmt::Debug| {
            found.push(format!(
                "{}: {what}: is {is:?}, should be {should:?}",
                app.name
            ));
        };
        if !app.unit_file && seen.mark.as_ref() != Some(&app.mark()) {
            differs("the service's environment", &seen.mark, &app.mark());
        }
        let health = &seen.health;
        let right = health["version"] == app.version_text().as_str()
            && health["channel"] == app.channel_text().as_str()
            && health["status"] == "running";
        if !right {
            differs("health", health, &app.version_text());
        }
        let current = seen.current.clone().unwrap_or_default();
        let directory = format!("{}/{current}", app.root());
        if seen.cwd.as_deref() != Some(&directory) {
            differs("the process's release", &seen.cwd, &directory);
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

/// What of apps that were removed is still there, besides what they wrote and the backups of it.
pub fn remains(whole: &Whole, number: usize, host: &Host, ground: Ground<'_>) -> Vec<String> {
    let mut found = whole.remains(number, &host.picture, ground);
    for app in whole.apps_on(number) {
        let seen = &host.facts.apps[&app.name];
        if let Some(directory) = &seen.cwd {
            found.push(format!("{}: a process in {directory}", app.name));
        }
        let stays = ["shared", ".rosey/backups"].map(|it| format!("{}/{it}", app.root()));
        let strange = seen.kept.iter().filter(|path| !stays.contains(path));
        found.extend(strange.map(|path| format!("{}: {path}", app.name)));
    }
    found
}

/// What apps wrote before and that isn't there any more.
pub fn lost_rows(before: &Host, now: &Host) -> Vec<String> {
    let mut found = Vec::new();
    for (name, then) in &before.facts.apps {
        let Some(seen) = now.facts.apps.get(name) else {
            continue;
        };
        if seen.quotes < then.quotes {
            found.push(format!(
                "{name}: it had written {:?} rows, and now there are {:?}",
                then.quotes, seen.quotes
            ));
        }
    }
    found
}
