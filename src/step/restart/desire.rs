//! What `service` wants: its unit, its environment, and that it runs.

use crate::config::Declaration;
use crate::host::{Manager, UNITS};
use crate::model::{Resource, ResourceKind};
use crate::step::desired::Desired;
use crate::step::run::desire::environment_line;
use crate::step::sync::desire::{file, own_directory};

use super::beside::NOTED;
use super::declare::{Restart, ServiceDeclaration, ServiceDefinition};

const START_TIMEOUT: u64 = 90_000;
const STOP_TIMEOUT: u64 = 90_000;

/// The service, and the files that define it.
pub fn desire(declaration: &Declaration, desired: &mut Desired<'_>) {
    let service: ServiceDeclaration = Desired::typed(declaration);
    let unit = service.name.unit();
    let external = service.definition == ServiceDefinition::External;
    let mut uses: Vec<String> = service.uses.iter().map(ToString::to_string).collect();
    if !external {
        let Some(files) = definition(&service, declaration, desired) else {
            return;
        };
        uses.extend(files);
        uses.push(desired.below_root("current"));
    }
    uses.sort();
    uses.dedup();
    let milliseconds = |time: Option<std::time::Duration>, default: u64| {
        time.map_or(default, |time| time.as_millis() as u64) as i64
    };
    let mut resource = Resource::new()
        .with("enabled", true)
        .with("active", true)
        .setting("uses", uses)
        .setting("restart", service.restart.word())
        .setting(
            "start_timeout",
            milliseconds(service.start_timeout, START_TIMEOUT),
        )
        .setting(
            "stop_timeout",
            milliseconds(service.stop_timeout, STOP_TIMEOUT),
        )
        .setting("external", external)
        .setting("adopt", service.adopt || desired.site.app.adopt);
    // A service that is never restarted may be stale: that is a finding, not a difference.
    if service.restart != Restart::Never {
        resource = resource.with("fresh", true);
    }
    if !external {
        resource = resource
            .setting("turn", desired.site.app.name.as_str())
            .setting(NOTED, true);
    }
    resource = match desired.site.manager {
        Manager::Systemd => resource.setting("manager", "systemd"),
        Manager::Process { directory } => resource
            .setting("manager", "process")
            .setting("process_directory", directory.as_str()),
    };
    desired.want(ResourceKind::SERVICE, unit, resource);
}

/// Wants the files that define a service, and says their paths.
fn definition(
    service: &ServiceDeclaration,
    declaration: &Declaration,
    desired: &mut Desired<'_>,
) -> Option<Vec<String>> {
    let unit = service.name.unit();
    let directory = match desired.site.manager {
        Manager::Systemd => UNITS,
        Manager::Process { directory } => {
            own_directory(desired, std::path::Path::new(directory));
            directory.as_str()
        }
    };
    let path = format!("{directory}/{unit}");
    let environment = environment(service, declaration, desired)?;
    let text = match &service.definition {
        ServiceDefinition::Unit(from) => desired
            .render_file(declaration, from)?
            .text
            .as_bytes()
            .to_vec(),
        ServiceDefinition::Exec(exec) => {
            let exec = desired.render(declaration, &exec.0)?.text.to_string();
            written_unit(service, &exec, environment.as_deref(), desired).into_bytes()
        }
        ServiceDefinition::External => return Some(Vec::new()),
    };
    let user = desired.site.owner.user.clone();
    let group = if desired.site.root {
        user.clone()
    } else {
        desired.site.owner.group.clone()
    };
    let adopt = service.adopt || desired.site.app.adopt;
    let mut paths = vec![path.clone()];
    let digest = desired.content(&format!("unit {unit}"), text, false);
    let resource = file(digest, "0644", &user, &group)
        .setting("adopt", adopt)
        .setting("unit", unit);
    desired.want(ResourceKind::FILE, path.as_str(), resource);
    if let Some(environment) = environment {
        // A unit of the source is left as it is written: what it lacks stands beside it.
        if matches!(service.definition, ServiceDefinition::Unit(_)) {
            let beside = format!("{path}.d");
            let text = format!("[Service]\nEnvironmentFile={environment}\n");
            let digest = desired.content(&format!("{path} environment"), text.into_bytes(), false);
            let directory = Resource::new()
                .with("mode", "0755")
                .with("owner", user.as_str())
                .with("group", group.as_str());
            desired.want(ResourceKind::DIRECTORY, beside.as_str(), directory);
            let resource = file(digest, "0644", &user, &group).setting("adopt", adopt);
            let beside = format!("{beside}/rosey.conf");
            desired.want(ResourceKind::FILE, beside.as_str(), resource);
            paths.push(beside);
        }
        paths.push(environment);
    }
    Some(paths)
}

/// Wants the file that holds a service's environment, and says its path; only root, or who runs
/// everything here, can read it.
fn environment(
    service: &ServiceDeclaration,
    declaration: &Declaration,
    desired: &mut Desired<'_>,
) -> Option<Option<String>> {
    if service.environment.is_empty() {
        return Some(None);
    }
    let mut text = String::new();
    let mut secret = false;
    for (name, template) in &service.environment {
        let rendered = desired.render(declaration, &template.0)?;
        secret |= rendered.is_secret();
        text += &environment_line(name, &rendered.text);
    }
    let directory = desired.site.places.state.join("env");
    own_directory(desired, &directory);
    let path = directory.join(format!("{}.env", service.name));
    let path = path.to_string_lossy().into_owned();
    let digest = desired.content(
        &format!("service {} env", service.name),
        text.into_bytes(),
        secret,
    );
    let user = desired.site.owner.user.clone();
    let group = if desired.site.root {
        user.clone()
    } else {
        desired.site.owner.group.clone()
    };
    let resource = file(digest, "0600", &user, &group).setting("secret", secret);
    desired.want(ResourceKind::FILE, path.as_str(), resource);
    Some(Some(path))
}

/// The unit that rosey writes for a command.
fn written_unit(
    service: &ServiceDeclaration,
    exec: &str,
    environment: Option<&str>,
    desired: &Desired<'_>,
) -> String {
    let current = desired.below_root("current");
    // A first word with a slash is inside the release; systemd wants an absolute path there.
    let exec = match exec.split_once(char::is_whitespace) {
        Some((first, rest)) if first.contains('/') && !first.starts_with('/') => {
            format!("{current}/{first} {rest}")
        }
        None if exec.contains('/') && !exec.starts_with('/') => format!("{current}/{exec}"),
        _ => exec.to_owned(),
    };
    // `%` begins a specifier in a unit (systemd.unit(5)).
    let percent = |text: &str| text.replace('%', "%%");
    let mut unit = format!(
        "# Written by rosey for {app} in {environment}; a change here is drift.\n\
         [Unit]\n\
         Description={app} ({environment})\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         WorkingDirectory={current}\n\
         ExecStart={exec}\n",
        app = desired.site.app.name,
        environment = desired.site.environment.name,
        current = percent(&current),
        exec = percent(&exec),
    );
    if let Some(environment) = environment {
        unit += &format!("EnvironmentFile={}\n", percent(environment));
    }
    if desired.site.root {
        let owner = desired.site.app_owner;
        unit += &format!("User={}\nGroup={}\n", owner.user, owner.group);
    }
    if let Some(timeout) = service.start_timeout {
        unit += &format!("TimeoutStartSec={}ms\n", timeout.as_millis());
    }
    if let Some(timeout) = service.stop_timeout {
        unit += &format!("TimeoutStopSec={}ms\n", timeout.as_millis());
    }
    unit + "Restart=on-failure\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n"
}
