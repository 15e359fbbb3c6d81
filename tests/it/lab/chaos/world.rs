//! What is declared: an environment made by chance, changes of it, and what has to be on a host that has it.

use std::fmt::Write as _;

use crate::support::{Dice, Project};

/// How long a host goes on without the controller before it goes back by itself.
pub const GUARD: &str = "2s";

/// An app of the environment: the example bot with what may be declared about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub name: String,
    pub port: u16,
    /// The numbers of the hosts that have it.
    pub hosts: Vec<usize>,
    pub version: usize,
    pub channel: usize,
    /// A file of the release.
    pub notes: usize,
    /// Further files of the release.
    pub extra: Vec<usize>,
    /// The number in the service's name.
    pub service: usize,
    /// Whether the unit is a file of the source; else rosey writes it.
    pub unit_file: bool,
    /// What stands in the unit.
    pub unit: usize,
    /// A file outside of the release.
    pub outside: Option<usize>,
    /// A task that makes a directory.
    pub words: Option<usize>,
    /// How many migrations there are, where a task runs them.
    pub migrations: Option<usize>,
    pub backup: bool,
    /// What is wrong with it; such a release never stays.
    pub fault: Option<Fault>,
}

/// What can be wrong with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Unhealthy,
    EndsAtOnce,
    BadUnit,
}

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    pub apps: Vec<App>,
    pub waves: &'static str,
}

impl App {
    fn by_chance(dice: &mut Dice, number: usize, place: usize, hosts: usize) -> Self {
        let mut on: Vec<usize> = (1..=hosts).collect();
        if place > 0 {
            on.remove(dice.below(hosts));
        }
        Self {
            name: format!("bot-{number}-{place}"),
            port: 8000 + u16::try_from(place).unwrap(),
            hosts: on,
            version: 1,
            channel: 1,
            notes: 1,
            extra: (0..dice.below(3)).collect(),
            service: 1,
            unit_file: dice.percent(60),
            unit: 1,
            outside: dice.percent(60).then_some(1),
            words: dice.percent(50).then_some(1),
            migrations: dice.percent(35).then_some(1),
            backup: dice.percent(60),
            fault: None,
        }
    }

    pub fn root(&self) -> String {
        format!("/opt/{}", self.name)
    }

    pub fn unit_name(&self) -> String {
        format!("{}-v{}.service", self.name, self.service)
    }

    pub fn outside_path(&self) -> String {
        format!("/etc/{}.conf", self.name)
    }

    pub fn version_text(&self) -> String {
        format!("{}.0.0", self.version)
    }

    pub fn channel_text(&self) -> String {
        format!("channel{}", self.channel)
    }

    fn fault_text(&self) -> &'static str {
        match self.fault {
            Some(Fault::Unhealthy) => "unhealthy",
            Some(Fault::EndsAtOnce) => "exit",
            Some(Fault::BadUnit) | None => "",
        }
    }

    /// What has to be in its rendered file.
    pub fn config_text(&self) -> String {
        self.config(&self.channel_text())
    }

    fn config(&self, channel: &str) -> String {
        let (port, fault) = (self.port, self.fault_text());
        format!(
            "{{\"listen\": \"127.0.0.1\", \"port\": {port}, \"channel\": \"{channel}\", \"tick\": 1.0, \"fault\": \"{fault}\"}}\n"
        )
    }

    fn notes_text(&self) -> String {
        format!("notes {}\n", self.notes).repeat(200)
    }

    /// The unit of its source.
    pub fn unit_text(&self) -> String {
        let before = if self.fault == Some(Fault::BadUnit) {
            "ExecStartPre=/bin/false\n"
        } else {
            ""
        };
        format!(
            "[Unit]\nDescription={} {}\n[Service]\nUser=rosey\nWorkingDirectory={root}/current\n{before}ExecStart=/usr/bin/python3 server.py\nRestart=on-failure\nRestartSec=100ms\n[Install]\nWantedBy=multi-user.target\n",
            self.name,
            self.unit,
            root = self.root()
        )
    }

    pub fn outside_text(&self) -> Option<String> {
        self.outside
            .map(|number| format!("outside {number} of {}\n", self.channel_text()))
    }

    /// What its task has to make.
    pub fn words_text(&self) -> Option<String> {
        self.words.map(|number| format!("words {number}\n"))
    }

    /// What the unit that rosey writes gives the process.
    pub fn mark(&self) -> String {
        format!("BOT_UNIT={}", self.unit)
    }

    /// Writes its source, whole: what is not in it any more is gone.
    pub fn write_source(&self, project: &Project) {
        let at = |inside: &str| format!("{}/{inside}", self.name);
        let directory = project.path(&self.name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory).unwrap();
        }
        crate::support::copy_tree(&project.path("bot"), &directory);
        project.write(
            &at("config.json.j2"),
            &self.config(&format!("{{{{ channel_{} }}}}", self.variable())),
        );
        project.write(&at("notes.txt"), &self.notes_text());
        project.write(&at("VERSION"), &format!("{}\n", self.version_text()));
        project.write(&at("words.in"), &self.words_text().unwrap_or_default());
        project.write(&at("systemd/bot.service"), &self.unit_text());
        let outside = format!(
            "outside {} of {{{{ channel_{} }}}}\n",
            self.outside.unwrap_or_default(),
            self.variable()
        );
        project.write(&at("outside.conf.j2"), &outside);
        for number in &self.extra {
            project.write(
                &at(&format!("extra/{number}.txt")),
                &format!("extra {number}\n"),
            );
        }
        for number in 2..=self.migrations.unwrap_or(1) {
            project.write(
                &at(&format!("migrations/{number:04}-more.up.sql")),
                &format!("CREATE TABLE t{number} (x INTEGER);\n"),
            );
            project.write(
                &at(&format!("migrations/{number:04}-more.down.sql")),
                &format!("DROP TABLE t{number};\n"),
            );
        }
    }

    fn variable(&self) -> String {
        self.name.replace('-', "_")
    }

    fn kdl(&self) -> String {
        let hosts: String = self
            .hosts
            .iter()
            .map(|host| format!(" \"h{host}\""))
            .collect();
        let (name, root, port, channel) = (&self.name, self.root(), self.port, self.variable());
        let service = self.unit_name();
        let service = service.trim_end_matches(".service");
        let mut text = format!(
            "app \"{name}\" {{\n    on{hosts}\n    root \"{root}\"\n    owner \"rosey\" group=\"rosey\" create=#true\n    source \"../{name}\" {{ exclude \"README.md\"; }}\n    version file=\"VERSION\"\n    keep releases=3 backups=2\n    render \"config.json\" from=\"config.json.j2\" mode=\"0640\"\n    shared {{ dir \"data\"; file \"local.env\" seed=\"local.env.example\"; }}\n"
        );
        let mut uses = "";
        if self.outside.is_some() {
            writeln!(
                text,
                "    file \"{}\" from=\"outside.conf.j2\" mode=\"0640\"",
                self.outside_path()
            )
            .unwrap();
            uses = "uses";
        }
        if self.words.is_some() {
            text += "    task \"words\" {\n        run \"mkdir .words && cp words.in .words/out && sleep 0.2\"\n        inputs \"words.in\"\n        output \".words\"\n        timeout \"20s\"\n    }\n";
        }
        if self.migrations.is_some() {
            text += "    task \"migrate\" once=#true {\n        run \"bin/migrate up\"\n        undo \"bin/migrate down\"\n        inputs \"migrations/\"\n        user \"rosey\"\n        timeout \"40s\"\n    }\n";
        }
        if self.backup {
            text += "    backup { sqlite \"data/rosey.db\"; path \"data/quotes\"; }\n";
        }
        writeln!(text, "    service \"{service}\" {{").unwrap();
        if self.unit_file {
            text += "        unit \"systemd/bot.service\"\n";
        } else {
            let exec = if self.fault == Some(Fault::BadUnit) {
                "/usr/bin/python3 nothing-here.py"
            } else {
                "/usr/bin/python3 server.py"
            };
            writeln!(
                text,
                "        exec \"{exec}\"\n        env BOT_UNIT=\"{}\"",
                self.unit
            )
            .unwrap();
        }
        if !uses.is_empty() {
            writeln!(text, "        uses \"{}\"", self.outside_path()).unwrap();
        }
        write!(
            text,
            "        start-timeout \"20s\"\n    }}\n    verify {{\n        within \"{within}\"\n        stable \"0.3s\"\n        process \"{service}\"\n        http \"http://127.0.0.1:{port}/api/health\" {{\n            status 200\n            json \"status\" \"running\"\n            json \"version\" \"{{{{ version }}}}\"\n            json \"channel\" \"{{{{ channel_{channel} }}}}\"\n        }}\n    }}\n}}\n",
            within = if self.fault.is_some() { "3s" } else { "20s" },
        )
        .unwrap();
        text
    }

    fn change(&mut self, dice: &mut Dice, number: usize) -> String {
        let what = dice.below(12);
        let words = match what {
            0 | 1 => {
                self.notes = number;
                "content"
            }
            2 => {
                self.channel = number;
                "a variable"
            }
            3 => {
                self.unit = number;
                "the unit"
            }
            4 => {
                self.service += 1;
                "a renamed service"
            }
            5 if !self.extra.is_empty() => {
                self.extra.remove(0);
                "a dropped file of the release"
            }
            5 | 6 => {
                self.extra.push(number);
                "a further file of the release"
            }
            7 if self.outside.is_some() => {
                self.outside = None;
                "a dropped file outside"
            }
            7 | 8 => {
                self.outside = Some(number);
                "a file outside"
            }
            9 => {
                self.words = Some(number);
                "a task with output"
            }
            10 => {
                self.migrations = Some(self.migrations.map_or(1, |count| count + 1));
                "a migration"
            }
            _ => {
                self.unit_file = !self.unit_file;
                "the other form of unit"
            }
        };
        format!("{}: {words}", self.name)
    }
}

impl World {
    /// An environment that has not been deployed yet.
    pub fn by_chance(dice: &mut Dice, number: usize, hosts: usize) -> Self {
        let apps = if dice.percent(30) { 2 } else { 1 };
        let waves = ["1 \"100%\"", "\"100%\"", "1 \"50%\" \"100%\""];
        Self {
            apps: (0..apps)
                .map(|place| App::by_chance(dice, number, place, hosts))
                .collect(),
            waves: dice.one(&waves),
        }
    }

    /// Another that follows it, and what was changed. Its version is a new one, so what fails once isn't held later.
    pub fn changed(&self, dice: &mut Dice, number: usize) -> (Self, String) {
        let mut next = self.clone();
        let place = dice.below(next.apps.len());
        let mut said = Vec::new();
        for _ in 0..=dice.below(3) {
            said.push(next.apps[place].change(dice, number));
        }
        if next.apps.len() > 1 && dice.percent(40) {
            let other = 1 - place;
            said.push(next.apps[other].change(dice, number));
            next.apps[other].version = number;
        }
        next.apps[place].version = number;
        (next, said.join(", "))
    }

    /// The same with another version of each of its apps.
    pub fn renewed(mut self, number: usize) -> Self {
        for app in &mut self.apps {
            app.version = 1000 + number;
        }
        self
    }

    /// The same with something wrong in one of its apps.
    pub fn broken(mut self, dice: &mut Dice) -> (Self, String) {
        let place = dice.below(self.apps.len());
        let fault = dice.one(&[Fault::Unhealthy, Fault::EndsAtOnce, Fault::BadUnit]);
        self.apps[place].fault = Some(fault);
        let said = format!("{}: {fault:?}", self.apps[place].name);
        (self, said)
    }

    /// Makes the project say so.
    pub fn declare(&self, project: &Project, hosts_kdl: &str) {
        let mut text = hosts_kdl.to_owned() + "vars {\n";
        for app in &self.apps {
            app.write_source(project);
            writeln!(
                text,
                "    channel_{} \"{}\"",
                app.variable(),
                app.channel_text()
            )
            .unwrap();
        }
        text += "}\n";
        for app in &self.apps {
            text += &app.kdl();
        }
        writeln!(
            text,
            "rollout {{ waves {}; guard \"{GUARD}\"; }}",
            self.waves
        )
        .unwrap();
        project.environment("lab", &text);
    }
}
