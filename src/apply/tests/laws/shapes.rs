//! What a run may find on a host, and what it is to change.

use std::time::Duration;

use super::app::{App, host};
use super::declared::{Declared, ROOT, SITE, UNITS, below};
use crate::host::{Manager, MemoryHost, ServiceAct, Unit, WriteHost as _};

/// A host, what the ledger knows of it, and what is declared now; nothing for an app that goes.
#[derive(Clone)]
pub struct Shape {
    pub name: String,
    pub app: App,
    pub host: MemoryHost,
    pub to: Option<Declared>,
}

/// The names of those that were thought of.
pub const NAMED: [&str; 11] = [
    "a first deploy",
    "a new version",
    "a rollback",
    "a removal",
    "a restore of data",
    "a take-over",
    "a heal",
    "the built-in manager",
    "a secret and a reload",
    "a few things leave",
    "a small change",
];

/// How many are drawn besides.
pub const DRAWN: u64 = 4;

/// Builds a shape by its name.
pub fn named(name: &str) -> Shape {
    let (app, host) = (App::new(), host());
    let one = Declared::usual("1");
    let two = Declared::usual("2");
    let (app, to) = match name {
        "a first deploy" => {
            let to = Declared {
                warm: true,
                external: true,
                seed: Some("0640"),
                ..one
            };
            (app, Some(to))
        }
        "everything at first" => (app, Some(Declared::all("1"))),
        "everything new" => {
            let app = applied(app, &host, &Declared::all("1"));
            (app, Some(Declared::all("2")))
        }
        "everything goes" => (applied(app, &host, &Declared::all("1")), None),
        "a small change" => {
            let app = applied(app, &host, &Declared::small("1"));
            (app, Some(Declared::small("2")))
        }
        "a new version" => (applied(app, &host, &one), Some(two)),
        "a rollback" => {
            let app = applied(app, &host, &one);
            (applied(app, &host, &two), Some(one))
        }
        "a removal" => {
            let app = applied(app, &host, &one);
            edited(&host, "side-1.service");
            (app, None)
        }
        "a restore of data" => {
            let small = |version| Declared {
                migrate: true,
                compatible: true,
                shared: Some("0750"),
                services: vec!["bot.service"],
                backup: true,
                ..Declared::bare(version)
            };
            // Somebody had disabled what ran.
            let one = Declared {
                disabled: true,
                ..small("1")
            };
            (applied(app, &host, &one), Some(small("2")))
        }
        "a take-over" => {
            foreign(&host);
            let to = Declared {
                site: Some("0644"),
                services: vec!["bot.service"],
                secret: true,
                adopt: true,
                ..Declared::bare("1")
            };
            (app, Some(to))
        }
        "a heal" => {
            let one = Declared {
                built: false,
                migrate: false,
                seed: Some("0640"),
                shared: Some("0750"),
                services: vec!["bot.service", "side-1.service"],
                ..one
            };
            let app = applied(app, &host, &one);
            changed_by_hand(&host);
            (app, Some(one))
        }
        "the built-in manager" => {
            let process = |it: Declared| Declared {
                process: true,
                migrate: false,
                backup: false,
                ..it
            };
            let app = applied(app, &host, &process(one));
            (app, Some(process(two)))
        }
        "a secret and a reload" => {
            let small = |version| Declared {
                site: Some("0644"),
                external: true,
                secret: true,
                warm: true,
                services: vec!["bot.service"],
                ..Declared::bare(version)
            };
            (applied(app, &host, &small("1")), Some(small("2")))
        }
        "a few things leave" => {
            let one = Declared {
                seed: Some("0640"),
                shared: Some("0750"),
                backup: true,
                ..one
            };
            let app = applied(app, &host, &one);
            let to = Declared {
                seed: Some("0600"),
                shared: Some("0700"),
                services: vec!["bot.service"],
                ..Declared::bare("2")
            };
            (app, Some(to))
        }
        other => panic!("there is no shape {other:?}"),
    };
    finished(name.to_owned(), app, host, to)
}

/// Builds a shape from a number.
pub fn drawn(number: u64) -> Shape {
    let mut draw = Draw(number);
    let (app, host) = (App::new(), host());
    if draw.one_of(4) == 0 {
        foreign(&host);
        let to = Declared {
            adopt: true,
            ..draw.declared("1")
        };
        return finished(format!("drawn {number}"), app, host, Some(to));
    }
    let process = draw.one_of(4) == 0;
    let from = Declared {
        process,
        ..draw.declared("1")
    };
    let version = if draw.one_of(4) == 0 { "1" } else { "2" };
    let to = Declared {
        process,
        ..draw.declared(version)
    };
    let app = applied(app, &host, &from);
    let to = (draw.one_of(6) != 0).then_some(to);
    finished(format!("drawn {number}"), app, host, to)
}

fn finished(name: String, app: App, host: MemoryHost, to: Option<Declared>) -> Shape {
    if let Some(to) = &to {
        app.supply(&host, to);
    }
    host.settle();
    Shape {
        name,
        app,
        host,
        to,
    }
}

/// What is declared stands, and the app has written data of its own.
fn applied(app: App, host: &MemoryHost, declared: &Declared) -> App {
    let app = app.bring(host, declared);
    if declared.backup {
        host.put_file(below("shared/data/db"), "rows");
        host.put_owner(below("shared/data/db"), "rosey", "rosey");
        host.put_file(below("shared/quotes/1"), "a quote");
    }
    // A backup is a copy of contents, modes and owners; whatever else is put aside keeps all that it has.
    for path in [SITE, ROOT, &below("shared/local.env"), &below("built")] {
        if !host
            .listing(|it| it == std::path::Path::new(path))
            .is_empty()
        {
            host.put_attribute(path, "user.note", b"kept");
        }
    }
    app
}

/// As `systemctl edit` leaves it: read, and in force.
fn edited(host: &MemoryHost, name: &str) {
    let path = format!("{UNITS}/{name}.d/override.conf");
    host.put_file(&path, "ExecStart=/bin/edited\n");
    host.put_mode(&path, 0o640);
    host.put_owner(&path, "nobody", "rosey");
    host.put_attribute(&path, "user.by", b"hand");
    let unit = Unit {
        manager: Manager::Systemd,
        name: name.to_owned(),
    };
    for act in [ServiceAct::DaemonReload, ServiceAct::Restart] {
        host.manage(&unit, &act, Duration::ZERO).unwrap();
    }
}

/// What was there before rosey: another's release and link, a site and a service of the same names.
fn foreign(host: &MemoryHost) {
    host.put_file(below("releases/by-hand/server.py"), "print(0)");
    host.put_link(below("current"), "releases/by-hand");
    host.put_file(SITE, "server { # by hand\n}\n");
    host.put_mode(SITE, 0o600);
    host.put_owner(SITE, "rosey", "nobody");
    host.put_attribute(SITE, "user.by", b"hand");
    let unit =
        format!("[Service]\nWorkingDirectory={ROOT}/current\nExecStart=/bin/old\n[Install]\n");
    host.put_file(format!("{UNITS}/bot.service"), unit);
    host.put_file(
        format!("{UNITS}/bot.service.d/limits.conf"),
        "LimitNOFILE=65536\n",
    );
    host.put_link(
        format!("{UNITS}/multi-user.target.wants/bot.service"),
        format!("{UNITS}/bot.service"),
    );
    host.reboot();
}

/// What people do to servers.
fn changed_by_hand(host: &MemoryHost) {
    edited(host, "side-1.service");
    // By hand, and for this boot; nobody has said so to systemd.
    host.put_file(
        "/run/systemd/system/bot.service.d/50-limit.conf",
        "ExecStart=/bin/limited\n",
    );
    host.put_file(below("releases/1/server.py"), "print('edited')");
    host.put_mode(below("shared/data"), 0o777);
    host.put_mode(SITE, 0o600);
    host.put_owner(below("shared/local.env"), "nobody", "nobody");
    host.put_mode(format!("{UNITS}/bot.service"), 0o600);
    host.take_away(format!("{UNITS}/multi-user.target.wants/bot.service"));
    let unit = Unit {
        manager: Manager::Systemd,
        name: "bot.service".to_owned(),
    };
    host.kill_service(&unit, "killed");
}

/// Draws what is declared (splitmix64, Steele et al. 2014).
struct Draw(u64);

impl Draw {
    fn one_of(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % count
    }

    fn flip(&mut self) -> bool {
        self.one_of(2) == 0
    }

    fn declared(&mut self, version: &'static str) -> Declared {
        let modes = ["0644", "0640", "0600"];
        let directories = ["0755", "0750", "0700"];
        let names = [
            vec![],
            vec!["bot.service"],
            vec!["side-1.service"],
            vec!["bot.service", "side-1.service"],
        ];
        let site = self.one_of(4);
        let site = (site < 3).then(|| modes[site as usize]);
        let seed = self.one_of(4);
        let shared = self.one_of(4);
        Declared {
            built: self.one_of(3) == 0,
            migrate: self.one_of(3) == 0,
            warm: self.one_of(3) == 0,
            site,
            external: site.is_some() && self.one_of(3) == 0,
            secret: self.one_of(3) == 0,
            seed: (seed < 3).then(|| modes[seed as usize]),
            shared: (shared < 3).then(|| directories[shared as usize]),
            services: names[self.one_of(4) as usize].clone(),
            disabled: self.one_of(4) == 0,
            backup: shared < 3 && self.flip(),
            gates: self.flip(),
            ..Declared::bare(version)
        }
    }
}
