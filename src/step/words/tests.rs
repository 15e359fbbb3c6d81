//! The kinds' words as the whole declaration sees them.

use std::path::Path;

use insta::assert_snapshot;
use miette::{GraphicalReportHandler, GraphicalTheme};

use super::words;
use crate::config::{Environment, load};
use crate::step::backup::declare::BackupDeclaration;
use crate::step::restart::declare::{Restart, ServiceDeclaration, ServiceDefinition};
use crate::step::run::declare::TaskDeclaration;
use crate::step::sync::declare::{FileDeclaration, RenderDeclaration, SharedDeclaration};
use crate::step::verify::declare::{GateDeclaration, VerifyDeclaration};

/// The declaration that the contract shows, word for word.
const EXAMPLE: &str = include_str!("contract.kdl");

fn project(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("environments/prod.kdl", text);
    write("environments/common/bot.kdl", "vars { colour \"red\"; }\n");
    write("bot/VERSION", "1.4.2\n");
    write("bot/local.env.example", "");
    write(
        "bot/config.json.j2",
        "{ \"port\": {{ port }}, \"password\": \"{{ secret.cytube_password }}\" }\n",
    );
    write("bot/nginx.conf.j2", "server { listen {{ port }}; }\n");
    write(
        "bot/systemd/rosey-bot.service",
        "[Service]\nExecStart=/usr/bin/python3 server.py {{ port }}\n",
    );
    directory
}

pub(super) fn loaded(text: &str) -> Result<Environment, String> {
    let project = project(text);
    load(&project.path().join("environments/prod.kdl"), &words()).map_err(|errors| {
        let mut report = String::new();
        let theme = GraphicalTheme::unicode_nocolor();
        GraphicalReportHandler::new_themed(theme)
            .with_width(120)
            .render_report(&mut report, &errors)
            .unwrap();
        let report = report.replace(&format!("{}/", project.path().display()), "");
        report
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn body<T: serde::de::DeserializeOwned>(
    environment: &Environment,
    word: &str,
    name: Option<&str>,
) -> T {
    let mut declarations = environment.apps[0].declarations.iter();
    let found = declarations
        .find(|declaration| declaration.word == word && declaration.name.as_deref() == name);
    serde_json::from_value(found.unwrap().body.clone()).unwrap()
}

#[test]
fn every_kind_of_the_contracts_example_is_read() {
    let environment = loaded(EXAMPLE).unwrap();
    let order: Vec<&str> = environment.apps[0]
        .declarations
        .iter()
        .map(|declaration| declaration.word.as_str())
        .collect();
    assert_eq!(
        order,
        [
            "shared", "render", "file", "task", "task", "backup", "service", "service", "verify"
        ]
    );

    let shared: SharedDeclaration = body(&environment, "shared", None);
    assert_eq!(shared.directories.len(), 2);
    assert_eq!(
        shared.files[0].seed.as_ref().unwrap().as_str(),
        "local.env.example"
    );

    let render: RenderDeclaration = body(&environment, "render", Some("config.json"));
    assert_eq!(render.mode.unwrap().to_string(), "0640");
    let file: FileDeclaration = body(&environment, "file", Some("/etc/nginx/sites-enabled/bot"));
    assert_eq!(
        (file.path.as_str(), file.adopt),
        ("/etc/nginx/sites-enabled/bot", false)
    );

    let task: TaskDeclaration = body(&environment, "task", Some("dependencies"));
    assert_eq!(task.output.unwrap().as_str(), ".venv");
    assert_eq!(task.timeout.unwrap().as_secs(), 300);
    let task: TaskDeclaration = body(&environment, "task", Some("migrate"));
    assert!(task.once && !task.compatible);
    assert_eq!(task.undo.as_deref(), Some("bin/migrate down"));
    assert_eq!(task.inputs[0].as_str(), "migrations");

    let backup: BackupDeclaration = body(&environment, "backup", None);
    assert_eq!(
        (backup.sqlite[0].as_str(), backup.paths[0].as_str()),
        ("data/rosey.db", "data/quotes")
    );

    let service: ServiceDeclaration = body(&environment, "service", Some("rosey-bot"));
    assert!(matches!(service.definition, ServiceDefinition::Unit(_)));
    assert_eq!(
        service.environment["TOKEN"].0,
        "{{ secret.cytube_password }}"
    );
    let service: ServiceDeclaration = body(&environment, "service", Some("nginx"));
    assert_eq!(
        (service.definition, service.restart),
        (ServiceDefinition::External, Restart::Reload)
    );

    let verify: VerifyDeclaration = body(&environment, "verify", None);
    assert_eq!(
        (
            verify.within.as_secs(),
            verify.stable.as_secs(),
            verify.gates.len()
        ),
        (60, 3, 5)
    );
    let GateDeclaration::Http(http) = &verify.gates[1] else {
        panic!("{:?}", verify.gates[1])
    };
    assert_eq!(
        (http.json.len(), http.p95.as_ref().unwrap().samples),
        (3, 10)
    );
}

#[test]
fn a_declaration_is_the_same_wherever_its_lines_stand() {
    let bodies = |text: &str| -> Vec<serde_json::Value> {
        let environment = loaded(text).unwrap();
        environment.apps[0]
            .declarations
            .iter()
            .map(|declaration| declaration.body.clone())
            .collect()
    };
    assert_eq!(
        bodies(EXAMPLE),
        bodies(
            &EXAMPLE
                .replace("    ", "  ")
                .replace("app ", "\n\n// moved\napp ")
        )
    );
}

#[test]
fn what_is_wrong_with_the_kinds_words_is_told_at_once() {
    let report = loaded(
        r#"
secret "token" env="TOKEN"
host "here" local=#true
app "bot" {
    root "/opt/bot"
    source "../bot"
    shared { dir "../data"; file "a" "b" seed="nothing"; dir "config.json"; }
    render "config.json" from="confg.json.j2" mode=640
    file "etc/x" from="nginx.conf.j2"
    file "/opt/bot/x" from="nginx.conf.j2" adopt
    task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
    backup { restore "always"; }
    service "a.service" { exec "x"; }
    service "b" { unit "systemd/bot.service"; exec "echo {{ secret.token }}"; }
    service "c" { restart "onchange"; }
    service "d" external=#true { env A="1"; }
    verify {
        within "3s"
        stable "5s"
        process "bb"
        http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        tcp "localhost"
        command "smoke"
    }
}
"#,
    )
    .map(|_| ())
    .unwrap_err();
    assert_snapshot!(report, @r#"
      × environments/prod.kdl has 35 errors

    Error:
      × `dir` needs a relative path that stays inside
       ╭─[environments/prod.kdl:7:18]
     6 │     source "../bot"
     7 │     shared { dir "../data"; file "a" "b" seed="nothing"; dir "config.json"; }
       ·                  ────┬────
       ·                      ╰── ".." is not allowed in it
     8 │     render "config.json" from="confg.json.j2" mode=640
       ╰────

    Error:
      × `seed` can't be the beginning of several files
       ╭─[environments/prod.kdl:7:47]
     6 │     source "../bot"
     7 │     shared { dir "../data"; file "a" "b" seed="nothing"; dir "config.json"; }
       ·                                               ────┬────
       ·                                                   ╰── of which?
     8 │     render "config.json" from="confg.json.j2" mode=640
       ╰────
      help: give each file a line of its own

    Error:
      × nothing is not in the source bot
       ╭─[environments/prod.kdl:7:47]
     6 │     source "../bot"
     7 │     shared { dir "../data"; file "a" "b" seed="nothing"; dir "config.json"; }
       ·                                               ────┬────
       ·                                                   ╰── not there
     8 │     render "config.json" from="confg.json.j2" mode=640
       ╰────
      help: known here: VERSION, config.json.j2, local.env.example, nginx.conf.j2

    Error:
      × config.json of the release is declared twice in the app `bot`
       ╭─[environments/prod.kdl:7:62]
     6 │     source "../bot"
     7 │     shared { dir "../data"; file "a" "b" seed="nothing"; dir "config.json"; }
       ·                                                              ──────┬──────
       ·                                                                    ╰── first here
     8 │     render "config.json" from="confg.json.j2" mode=640
       ·            ──────┬──────
       ·                  ╰── again here
     9 │     file "etc/x" from="nginx.conf.j2"
       ╰────

    Error:
      × confg.json.j2 is not in the source bot
       ╭─[environments/prod.kdl:8:31]
     7 │     shared { dir "../data"; file "a" "b" seed="nothing"; dir "config.json"; }
     8 │     render "config.json" from="confg.json.j2" mode=640
       ·                               ───────┬───────
       ·                                      ╰── not there
     9 │     file "etc/x" from="nginx.conf.j2"
       ╰────
      help: did you mean `config.json.j2`?

    Error:
      × `mode` needs a mode in quotes, such as "0640"
       ╭─[environments/prod.kdl:8:52]
     7 │     shared { dir "../data"; file "a" "b" seed="nothing"; dir "config.json"; }
     8 │     render "config.json" from="confg.json.j2" mode=640
       ·                                                    ─┬─
       ·                                                     ╰── found 640
     9 │     file "etc/x" from="nginx.conf.j2"
       ╰────
      help: write it in quotes: `"0640"`

    Error:
      × `file` needs an absolute path on the server
        ╭─[environments/prod.kdl:9:10]
      8 │     render "config.json" from="confg.json.j2" mode=640
      9 │     file "etc/x" from="nginx.conf.j2"
        ·          ───┬───
        ·             ╰── it must start with '/'
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
        ╰────

    Error:
      × /opt/bot/x is inside the root of the app `bot`
        ╭─[environments/prod.kdl:10:10]
      9 │     file "etc/x" from="nginx.conf.j2"
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
        ·          ──────┬─────
        ·                ╰── a `file` is outside of every root
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
        ╰────
      help: `render` or `shared` put files into a release

    Error:
      × `file` takes no further argument
        ╭─[environments/prod.kdl:10:44]
      9 │     file "etc/x" from="nginx.conf.j2"
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
        ·                                            ──┬──
        ·                                              ╰── not expected here
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
        ╰────

    Error:
      × `task "t"` needs `run` inside its braces
        ╭─[environments/prod.kdl:11:10]
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
        ·          ─┬─
        ·           ╰── `run` is missing
     12 │     backup { restore "always"; }
        ╰────

    Error:
      × a `once` task can't have an `output`
        ╭─[environments/prod.kdl:11:27]
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
        ·                           ───┬──
        ·                              ╰── each host has its own release
     12 │     backup { restore "always"; }
        ╰────
      help: leave out `once` to make the output on every host, or `output` to run it on one

    Error:
      × a task with an `output` needs no `undo`
        ╭─[environments/prod.kdl:11:43]
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
        ·                                           ──┬─
        ·                                             ╰── never run
     12 │     backup { restore "always"; }
        ╰────
      help: its output goes with the release

    Error:
      × `timeout` needs a duration with its unit, such as "30s" or "5m"
        ╭─[environments/prod.kdl:11:61]
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
        ·                                                             ─┬
        ·                                                              ╰── found 30 without a unit
     12 │     backup { restore "always"; }
        ╰────
      help: `"30s"` for seconds, `"30m"` for minutes

    Error:
      × "1X" can't be the name of an environment variable
        ╭─[environments/prod.kdl:11:69]
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
        ·                                                                     ──┬─
        ·                                                                       ╰── letters, digits and '_' are allowed, no digit first
     12 │     backup { restore "always"; }
        ╰────

    Error:
      × `backup` needs something to keep
        ╭─[environments/prod.kdl:12:5]
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
     12 │     backup { restore "always"; }
        ·     ───┬──
        ·        ╰── `sqlite` or `path` is missing
     13 │     service "a.service" { exec "x"; }
        ╰────
      help: such as `sqlite "data/app.db"`

    Error:
      × `restore` needs one of "never", "undo"
        ╭─[environments/prod.kdl:12:22]
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
     12 │     backup { restore "always"; }
        ·                      ────┬───
        ·                          ╰── found "always"
     13 │     service "a.service" { exec "x"; }
        ╰────

    Error:
      × `service` needs the name of a service
        ╭─[environments/prod.kdl:13:13]
     12 │     backup { restore "always"; }
     13 │     service "a.service" { exec "x"; }
        ·             ─────┬─────
        ·                  ╰── the name is written without ".service"
     14 │     service "b" { unit "systemd/bot.service"; exec "echo {{ secret.token }}"; }
        ╰────

    Error:
      × the service `b` has both `unit` and `exec`
        ╭─[environments/prod.kdl:14:13]
     13 │     service "a.service" { exec "x"; }
     14 │     service "b" { unit "systemd/bot.service"; exec "echo {{ secret.token }}"; }
        ·             ─┬─
        ·              ╰── one or the other
     15 │     service "c" { restart "onchange"; }
        ╰────
      help: `unit` is a file of the source, `exec` a command, `external` somebody else's service

    Error:
      × systemd/bot.service is not in the source bot
        ╭─[environments/prod.kdl:14:24]
     13 │     service "a.service" { exec "x"; }
     14 │     service "b" { unit "systemd/bot.service"; exec "echo {{ secret.token }}"; }
        ·                        ──────────┬──────────
        ·                                  ╰── not there
     15 │     service "c" { restart "onchange"; }
        ╰────
      help: did you mean `systemd/rosey-bot.service`?

    Error:
      × a secret can't stand here: its value would be seen
        ╭─[environments/prod.kdl:14:52]
     13 │     service "a.service" { exec "x"; }
     14 │     service "b" { unit "systemd/bot.service"; exec "echo {{ secret.token }}"; }
        ·                                                    ────────────┬────────────
        ·                                                                ╰── here
     15 │     service "c" { restart "onchange"; }
        ╰────
      help: secrets belong into a rendered file or into `env`

    Error:
      × the service `c` needs `unit`, `exec` or `external=#true`
        ╭─[environments/prod.kdl:15:13]
     14 │     service "b" { unit "systemd/bot.service"; exec "echo {{ secret.token }}"; }
     15 │     service "c" { restart "onchange"; }
        ·             ─┬─
        ·              ╰── nothing says what it is
     16 │     service "d" external=#true { env A="1"; }
        ╰────
      help: `exec "python3 server.py"` lets rosey write the unit

    Error:
      × `restart` needs one of "on-change", "reload", "never"
        ╭─[environments/prod.kdl:15:27]
     14 │     service "b" { unit "systemd/bot.service"; exec "echo {{ secret.token }}"; }
     15 │     service "c" { restart "onchange"; }
        ·                           ─────┬────
        ·                                ╰── found "onchange"
     16 │     service "d" external=#true { env A="1"; }
        ╰────
      help: did you mean "on-change"?

    Error:
      × the environment of an external service is not ours to set
        ╭─[environments/prod.kdl:16:34]
     15 │     service "c" { restart "onchange"; }
     16 │     service "d" external=#true { env A="1"; }
        ·                                  ─┬─
        ·                                   ╰── leave it out
     17 │     verify {
        ╰────

    Error:
      × `stable` must be shorter than `within`, or no app could ever be healthy
        ╭─[environments/prod.kdl:19:9]
     18 │         within "3s"
     19 │         stable "5s"
        ·         ───┬──
        ·            ╰── 5 s
     20 │         process "bb"
        ╰────
      help: `within` is 3 s here

    Error:
      × the app `bot` has no service `bb`
        ╭─[environments/prod.kdl:20:17]
     19 │         stable "5s"
     20 │         process "bb"
        ·                 ──┬─
        ·                   ╰── not declared
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        ╰────
      help: did you mean `b`?

    Error:
      × `http` needs a web address
        ╭─[environments/prod.kdl:21:14]
     20 │         process "bb"
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        ·              ─────┬─────
        ·                   ╰── begins with http:// or https://
     22 │         tcp "localhost"
        ╰────

    Error:
      × 99 is no status of HTTP
        ╭─[environments/prod.kdl:21:28]
     20 │         process "bb"
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        ·                            ───┬──
        ·                               ╰── from 100 to 599
     22 │         tcp "localhost"
        ╰────

    Error:
      × `json` needs a value: a text, a number, #true, #false or #null
        ╭─[environments/prod.kdl:21:39]
     20 │         process "bb"
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        ·                                       ──┬─
        ·                                         ╰── nothing follows
     22 │         tcp "localhost"
        ╰────

    Error:
      × `p95 "500"` needs `samples=1`
        ╭─[environments/prod.kdl:21:49]
     20 │         process "bb"
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        ·                                                 ─┬─
        ·                                                  ╰── `samples` is missing
     22 │         tcp "localhost"
        ╰────

    Error:
      × `p95` needs a duration with its unit, such as "30s" or "5m"
        ╭─[environments/prod.kdl:21:53]
     20 │         process "bb"
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        ·                                                     ──┬──
        ·                                                       ╰── the unit is missing: one of ms, s, m, h, d
     22 │         tcp "localhost"
        ╰────

    Error:
      × `error-rate "1"` needs `errors="…"`
        ╭─[environments/prod.kdl:21:61]
     20 │         process "bb"
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        ·                                                             ─────┬────
        ·                                                                  ╰── `errors` is missing
     22 │         tcp "localhost"
        ╰────

    Error:
      × `error-rate` needs a share in percent, such as "50%"
        ╭─[environments/prod.kdl:21:72]
     20 │         process "bb"
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
        ·                                                                        ─┬─
        ·                                                                         ╰── the `%` is missing
     22 │         tcp "localhost"
        ╰────

    Error:
      × `tcp` needs an address and a port, such as "127.0.0.1:4222"
        ╭─[environments/prod.kdl:22:13]
     21 │         http "127.0.0.1" { status 99; json "x"; p95 "500" ; error-rate "1" of="x"; }
     22 │         tcp "localhost"
        ·             ─────┬─────
        ·                  ╰── the port is missing
     23 │         command "smoke"
        ╰────

    Error:
      × `command "smoke"` needs `run="…"`
        ╭─[environments/prod.kdl:23:9]
     22 │         tcp "localhost"
     23 │         command "smoke"
        ·         ───┬───
        ·            ╰── `run` is missing
     24 │     }
        ╰────

    Error:
      × `port` is not known here
       ╭─[bot/nginx.conf.j2:1:20]
     1 │ server { listen {{ port }}; }
       ·                    ──┬─
       ·                      ╰── here
       ╰────
      help: known here: environment, app, version, host.name, host.address, secret.token

    Advice:
      ☞ named here
        ╭─[environments/prod.kdl:10:28]
      9 │     file "etc/x" from="nginx.conf.j2"
     10 │     file "/opt/bot/x" from="nginx.conf.j2" adopt
        ·                            ───────┬───────
        ·                                   ╰── named here
     11 │     task "t" once=#true { output ".venv"; undo "x"; timeout 30; env "1X"="a"; }
        ╰────
    "#);
}

#[test]
fn one_unit_and_one_path_on_the_same_host() {
    let app = |name: &str, manager: &str| {
        format!(
            "app \"{name}\" {{\n    root \"/opt/{name}\"\n    source \"../bot\"\n    manager \"{manager}\"\n    \
             file \"/etc/bot.conf\" from=\"nginx.conf.j2\"\n    service \"bot\" {{ exec \"x\"; }}\n}}\n"
        )
    };
    let text = format!(
        "vars {{ port 1; }}\nhost \"here\" local=#true\n{}{}",
        app("one", "systemd"),
        app("two", "systemd")
    );
    assert_snapshot!(loaded(&text).map(|_| ()).unwrap_err(), @r#"
      × environments/prod.kdl has 2 errors

    Error:
      × /etc/bot.conf is declared twice on here
        ╭─[environments/prod.kdl:7:10]
      6 │     manager "systemd"
      7 │     file "/etc/bot.conf" from="nginx.conf.j2"
        ·          ───────┬───────
        ·                 ╰── first here
      8 │     service "bot" { exec "x"; }
      9 │ }
     10 │ app "two" {
     11 │     root "/opt/two"
     12 │     source "../bot"
     13 │     manager "systemd"
     14 │     file "/etc/bot.conf" from="nginx.conf.j2"
        ·          ───────┬───────
        ·                 ╰── again here
     15 │     service "bot" { exec "x"; }
        ╰────

    Error:
      × the unit bot.service is declared twice on here
        ╭─[environments/prod.kdl:8:13]
      7 │     file "/etc/bot.conf" from="nginx.conf.j2"
      8 │     service "bot" { exec "x"; }
        ·             ──┬──
        ·               ╰── first here
      9 │ }
     10 │ app "two" {
     11 │     root "/opt/two"
     12 │     source "../bot"
     13 │     manager "systemd"
     14 │     file "/etc/bot.conf" from="nginx.conf.j2"
     15 │     service "bot" { exec "x"; }
        ·             ──┬──
        ·               ╰── again here
     16 │ }
        ╰────
    "#);

    let text = text.replace("systemd", "process");
    let report = loaded(&text).map(|_| ()).unwrap_err();
    assert!(
        !report.contains("bot.service") && report.contains("/etc/bot.conf"),
        "{report}"
    );
}

#[test]
fn a_secret_in_a_unit_file_is_refused() {
    let project = project(EXAMPLE);
    std::fs::write(
        project.path().join("bot/systemd/rosey-bot.service"),
        "[Service]\nEnvironment=A={{ secret.cytube_password }}\n",
    )
    .unwrap();
    let errors = load(&project.path().join("environments/prod.kdl"), &words())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        errors.messages().collect::<Vec<_>>(),
        ["a secret can't stand here: its value would be seen"]
    );
}

#[test]
fn taking_over_is_said_as_a_property_or_inside() {
    let environment = loaded(
        "vars { port 1; }\nhost \"here\" local=#true\napp \"bot\" {\n    adopt #true\n    root \"/opt/bot\"\n    source \"../bot\"\n    \
         file \"/etc/a\" from=\"nginx.conf.j2\" adopt=#true\n    file \"/etc/b\" from=\"nginx.conf.j2\" { adopt #true; }\n    \
         service \"bot\" adopt=#true { exec \"x\"; }\n    service \"b2\" { exec \"x\"; adopt #false; }\n}\n",
    )
    .unwrap();
    assert!(environment.apps[0].adopt);
    for path in ["/etc/a", "/etc/b"] {
        assert!(
            body::<FileDeclaration>(&environment, "file", Some(path)).adopt,
            "{path}"
        );
    }
    assert!(body::<ServiceDeclaration>(&environment, "service", Some("bot")).adopt);
    assert!(!body::<ServiceDeclaration>(&environment, "service", Some("b2")).adopt);
}

#[test]
fn the_environments_of_this_repository_are_right() {
    for name in ["demo", "test", "prod"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("environments")
            .join(format!("{name}.kdl"));
        let environment = load(&path, &words()).unwrap();
        assert_eq!(environment.apps[0].name.as_str(), "rosey-bot");
    }
}
