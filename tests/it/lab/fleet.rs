//! Lab hosts with a project that deploys the example bot to them: what most tests of whole commands begin with.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::support::{Lab, Look, Project, Ran, Rosey, Snapshot, Wanted};

/// What a test changes in the declaration, it replaces in this text; each line that one does has to stay on its own.
const BOT: &str = r#"
vars {
    port 8000
    user "rosey"
    root "/opt/rosey-bot"
    listen "127.0.0.1"
    channel "lab"
    admins "ann" "bob"
    limits { burst 5; }
    log_level "warning"
    start_delay 0
    fault ""
}
app "rosey-bot" {
    root "/opt/rosey-bot"
    owner "rosey" group="rosey" create=#true
    source "../bot" { exclude "README.md"; }
    version file="VERSION"
    render "config.json" from="config.json.j2" mode="0640"
    shared { dir "data"; file "local.env" seed="local.env.example"; }
    backup { sqlite "data/rosey.db"; path "data/quotes"; }
    service "rosey-bot" {
        unit "systemd/rosey-bot.service"
        start-timeout "20s"
    }
    verify {
        within "10s"
        stable "0.3s"
        process "rosey-bot"
        http "http://127.0.0.1:{{ port }}/api/health" {
            status 200
            json "status" "running"
            json "connected" #true
            json "version" "{{ version }}"
        }
    }
}
rollout { waves 1 "100%"; }
"#;

/// The environment's name and its file.
pub const ENVIRONMENT: &str = "lab";
pub const FILE: &str = "environments/lab.kdl";

pub struct Fleet {
    pub lab: Lab,
    pub project: Project,
}

impl Fleet {
    /// Boots hosts, and declares the bot on all of them. Nothing is deployed yet.
    pub fn up(hosts: usize) -> Self {
        Self::with(Wanted {
            hosts,
            ..Wanted::default()
        })
    }

    pub fn with(wanted: Wanted) -> Self {
        let lab = Lab::with(wanted);
        let project = Self::project_on(&lab);
        Self { lab, project }
    }

    /// A project that declares the bot on all hosts, as somebody else's clone would.
    pub fn project_on(lab: &Lab) -> Project {
        let project = Project::with_bot();
        // The bot needs no packages, and making an environment for them is another test's matter.
        project.replace(
            "bot/systemd/rosey-bot.service",
            "{{ root }}/current/.venv/bin/python",
            "/usr/bin/python3",
        );
        project.environment(ENVIRONMENT, &(lab.hosts_kdl() + BOT));
        project
    }

    /// The same with the bot deployed, by somebody whose home and history go with the handle.
    pub fn deployed(hosts: usize) -> Self {
        let fleet = Self::up(hosts);
        fleet.rosey().apply().exits(0);
        fleet
    }

    /// A person with a home of their own, so with no history: all that rosey needs lies on the servers.
    pub fn rosey(&self) -> Rosey<'_> {
        Rosey::in_lab(&self.project, &self.lab)
    }

    /// Replaces a piece of the declaration.
    pub fn declare(&self, old: &str, new: &str) {
        self.project.replace(FILE, old, new);
    }

    /// Makes the bot another version.
    pub fn version(&self, version: &str) {
        self.project.write("bot/VERSION", &format!("{version}\n"));
    }

    /// What the bot on a host says of itself.
    pub fn health(&self, host: usize) -> Value {
        let answer = self.lab.exec(
            host,
            "curl --silent --show-error --fail --max-time 10 http://127.0.0.1:8000/api/health",
        );
        serde_json::from_str(&answer).expect("the bot answers with JSON")
    }

    /// The version that each host serves.
    pub fn served(&self) -> Vec<String> {
        let version = |host| self.health(host)["version"].as_str().map(str::to_owned);
        self.lab
            .hosts()
            .map(|host| version(host).expect("the bot tells its version"))
            .collect()
    }

    /// Writes a row into the bot's database on each host, beside the bot; it has to outlive whatever comes.
    pub fn mark(&self) {
        for host in self.lab.hosts() {
            self.database(
                host,
                "INSERT INTO quotes (at, who, text) VALUES (0, 'marker', 'on h' || ?)",
            );
        }
    }

    /// Panics unless that row, and it once, is in the database of each host.
    #[track_caller]
    pub fn must_be_marked(&self) {
        for host in self.lab.hosts() {
            let found = self.database(
                host,
                "SELECT text FROM quotes WHERE who = 'marker' AND ? > 0",
            );
            assert_eq!(found, format!("on h{host}"), "the row on h{host}");
        }
    }

    /// What a statement, given the host's number, tells of the bot's database: a row a line.
    fn database(&self, host: usize, statement: &str) -> String {
        let program = r#"
import json, sqlite3, sys
statement, host = json.loads(sys.argv[1])
database = sqlite3.connect("file:/opt/rosey-bot/shared/data/rosey.db?mode=rw", uri=True, timeout=20)
with database:
    for row in database.execute(statement, (host,)):
        print(row[0])
"#;
        let argument = serde_json::json!([statement, host]).to_string();
        self.lab.python(host, program, &argument)
    }

    /// Where everything is that rosey manages, without what the bot writes.
    pub fn look() -> Look {
        Look::at(["/opt/rosey-bot", "/etc/systemd/system"])
            .except("/opt/rosey-bot/shared/data/*")
            .unit("rosey-bot.service")
    }

    /// All hosts as they are.
    pub fn snapshots(&self) -> BTreeMap<usize, Snapshot> {
        let look = Self::look();
        self.lab
            .hosts()
            .map(|host| (host, look.on(&self.lab, host)))
            .collect()
    }

    /// Panics unless all hosts are as they were.
    #[track_caller]
    pub fn must_be(&self, before: &BTreeMap<usize, Snapshot>) {
        for (host, snapshot) in self.snapshots() {
            before[&host].must_equal(&snapshot);
        }
    }
}

/// The commands that most tests give.
pub trait Commands {
    fn apply(&self) -> Ran;
    /// The steps of a plan, each as `HOST ACTION KIND RESOURCE`, sorted.
    fn steps(&self) -> Vec<String>;
    fn drift(&self) -> Ran;
    /// Starts a command to be interrupted.
    fn start(&self, arguments: &[&str]) -> std::process::Child;
}

impl Commands for Rosey<'_> {
    fn apply(&self) -> Ran {
        self.run(&["apply", ENVIRONMENT, "--yes"])
    }

    fn steps(&self) -> Vec<String> {
        let plan = self.run(&["plan", ENVIRONMENT, "--json"]).exits(0).json();
        let text = |step: &Value, name: &str| step[name].as_str().unwrap_or("?").to_owned();
        let mut steps: Vec<_> = plan["steps"]
            .as_array()
            .expect("a plan has steps")
            .iter()
            .map(|step| {
                format!(
                    "{} {} {}",
                    text(step, "host"),
                    text(step, "action"),
                    text(step, "resource")
                )
            })
            .collect();
        steps.sort();
        steps
    }

    fn drift(&self) -> Ran {
        self.run(&["drift", ENVIRONMENT, "--json"])
    }

    fn start(&self, arguments: &[&str]) -> std::process::Child {
        let mut command: Command = self.command(arguments);
        command.spawn().expect("rosey starts")
    }
}
