//! The parts of the contract's example that need no step kind.

use std::time::Duration;

use super::Project;
use crate::config::{
    Elevation, Manager, OnFailure, Reach, Rollout, SecretSource, SourceOrigin, Value,
    VersionSource, WaveSize,
};

const EXAMPLE: &str = r#"
include "common/bot.kdl"

vars {
    port 8000
    channel "rosey"
    admins "ann" "bob"
    limits { burst 5; }
}
assert "port > 1023" message="the bot doesn't run as root"
secret "cytube_password" env="CYTUBEBOT_PROD_PASSWORD"

host "bot-1" address="bot-1.example.org" user="deploy" port=22 {
    become "sudo"
    identity "~/.ssh/deploy_ed25519"
    known-hosts "../known_hosts"
    tags "bot" "eu"
    vars { shard 1; }
}
host "here" local=#true

app "rosey-bot" {
    on "bot"
    root "/opt/rosey-bot"
    owner "rosey" group="rosey" create=#true
    manager "systemd"
    source "../bot" { exclude ".git" "tests/" "*.pyc"; }
    build "npm ci && npm run build" { inputs "package-lock.json" "src/"; output "dist"; }
    version file="VERSION"
    keep releases=5 backups=10
    toy "one" size=3 { says "{{ port }} {{ shard }} {{ host.name }} {{ version }}"; }
}

rollout {
    waves 1 "50%" "100%"
    wave 1 bake="10m"
    bake "10s"
    max-failures 0
    on-failure "rollback-all"
    guard "60s"
}
drift { ignore "*.log" "__pycache__/"; }
protect { reason; version; saved-plan; }
notify {
    slack { env "DEPLOY_SLACK_WEBHOOK"; on "rolled-back" "stuck"; }
    webhook "https://example.org/hook"
}
"#;

fn project() -> Project {
    let project = Project::with(EXAMPLE);
    project.write(
        "environments/common/bot.kdl",
        "vars { channel \"other\"; colour \"red\"; }\n",
    );
    project.write("bot/VERSION", "1.4.2\n");
    project
}

#[test]
fn everything_of_the_example_is_read() {
    let environment = project().load().unwrap();
    assert_eq!(environment.name.as_str(), "prod");

    let variable = |name: &str| {
        environment
            .variables
            .iter()
            .find(|(known, _)| known.as_str() == name)
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(variable("port"), Value::Integer(8000));
    assert_eq!(variable("channel"), Value::String("rosey".into()));
    assert_eq!(variable("colour"), Value::String("red".into()));
    assert_eq!(
        variable("admins"),
        Value::List(vec![
            Value::String("ann".into()),
            Value::String("bob".into())
        ])
    );
    assert_eq!(
        variable("limits"),
        Value::Map([("burst".to_owned(), Value::Integer(5))].into())
    );
    assert_eq!(
        environment.secrets[0].source,
        SecretSource::Variable("CYTUBEBOT_PROD_PASSWORD".into())
    );

    let host = &environment.hosts[0];
    assert_eq!(host.elevation, Elevation::Sudo);
    let Reach::Ssh(target) = &host.reach else {
        panic!("{:?}", host.reach)
    };
    assert_eq!(
        (target.address.as_str(), target.user.as_deref(), target.port),
        ("bot-1.example.org", Some("deploy"), Some(22))
    );
    assert_eq!(
        target.identities,
        [std::path::Path::new("~/.ssh/deploy_ed25519")]
    );
    assert!(
        target
            .known_hosts
            .as_ref()
            .unwrap()
            .ends_with("known_hosts")
    );
    assert!(
        !target
            .known_hosts
            .as_ref()
            .unwrap()
            .ends_with("environments/../known_hosts")
    );
    assert!(environment.hosts[1].is_local());

    let app = &environment.apps[0];
    assert_eq!(
        app.hosts
            .iter()
            .map(|host| host.as_str())
            .collect::<Vec<_>>(),
        ["bot-1"]
    );
    assert_eq!(app.root.as_str(), "/opt/rosey-bot");
    let owner = app.owner.as_ref().unwrap();
    assert_eq!(
        (
            owner.user.as_str(),
            owner.group.as_ref().unwrap().as_str(),
            owner.create
        ),
        ("rosey", "rosey", true)
    );
    assert_eq!(app.manager, Some(Manager::Systemd));
    let source = app.source.as_ref().unwrap();
    assert!(matches!(&source.origin, SourceOrigin::Directory(path) if path.ends_with("bot")));
    assert_eq!(source.exclude, [".git", "tests/", "*.pyc"]);
    assert_eq!(app.build.as_ref().unwrap().run, "npm ci && npm run build");
    assert_eq!(
        app.version,
        Some(VersionSource::File("VERSION".parse().unwrap()))
    );
    assert_eq!((app.keep.releases, app.keep.backups), (5, 10));

    let declaration = &app.declarations[0];
    assert_eq!(
        (declaration.word.as_str(), declaration.name.as_deref()),
        ("toy", Some("one"))
    );
    assert_eq!(declaration.body["size"], 3);
    let scope = environment.scope(&app.name, host).with_version("1.4.2");
    let rendered = scope
        .render(declaration.body["says"].as_str().unwrap())
        .unwrap();
    assert_eq!(*rendered.text, "8000 1 bot-1 1.4.2");

    let expected = Rollout {
        waves: vec![
            WaveSize::Hosts(1),
            WaveSize::Percent(50.0),
            WaveSize::Percent(100.0),
        ],
        wave_bakes: [(1, Duration::from_secs(600))].into(),
        bake: Duration::from_secs(10),
        max_failures: 0,
        on_failure: OnFailure::RollbackAll,
        guard: Duration::from_secs(60),
    };
    assert_eq!(environment.rollout, expected);
    assert_eq!(environment.drift_ignore, ["__pycache__/", "*.pyc", "*.log"]);
    assert!(
        environment.protect.reason && environment.protect.version && environment.protect.saved_plan
    );
    assert_eq!(environment.notify.len(), 2);
}

#[test]
fn reading_twice_gives_the_same() {
    let project = project();
    assert_eq!(
        format!("{:?}", project.load().unwrap()),
        format!("{:?}", project.load().unwrap())
    );
}
