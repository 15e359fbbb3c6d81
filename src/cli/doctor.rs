//! `rosey doctor`: all that is missing to deploy, on every host at once, each with the line to type.
//!
//! Changes nothing; what it finds is what `plan` and `apply` would stumble over one after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Environment, Host, Manager, Reach};
use crate::fleet::prospect::Sought;
use crate::fleet::reach::{Reached, reach};
use crate::model::{Finding, FindingClass, HostFacts, HostName, State};
use crate::report::count;

use super::Session;
use super::arguments;
use super::conducting::print_data;
use super::deployment::{Chosen, Deployment, choose, reaching};
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;
use super::say::say;

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Doctor,
) -> Result<Exit, CommandError> {
    let project = Project::open(&session.around, Some(&arguments.environment))?;
    let mut chosen = choose(&project, &arguments.choice, None)?;
    let environment = project.environment.name.clone();
    let reaching = reaching(session, &project)?;
    let mut reached = BTreeMap::new();
    let mut report = Report::default();
    for (host, result) in reach(&reaching, &chosen.hosts).await {
        match result {
            Ok(there) => drop(reached.insert(host, there)),
            Err(error) => report.unreachable.push((host, error.to_string())),
        }
    }
    chosen.hosts.retain(|host| reached.contains_key(&host.name));
    chosen
        .addresses
        .retain(|member, _| reached.contains_key(&member.host));
    let there = chosen
        .hosts
        .iter()
        .filter_map(|host| Some((host, &reached.get(&host.name)?.facts)));
    for (host, facts) in there {
        let suits = suits(&project.environment, host, facts);
        report.take(suits, |finding| finding.class == FindingClass::Blocking);
        report.facts.insert(host.name.clone(), facts.clone());
    }
    if !chosen.hosts.is_empty() {
        examine(session, project, chosen, &reached, &mut report).await;
    }
    let (text, errors, exit) = report.words(environment.as_str());
    errors.iter().for_each(|error| say!("{error}"));
    print_data(text.trim_end())?;
    Ok(exit)
}

/// Asks the hosts that are there what a plan would find.
async fn examine(
    session: &Session,
    project: Project,
    chosen: Chosen,
    reached: &BTreeMap<HostName, Reached>,
    report: &mut Report,
) {
    let deployment = Deployment::with(session, project, chosen, reached);
    let declaration = match deployment.declaration(session, None).await {
        Ok(declaration) => declaration,
        Err(error) => {
            report.errors.push(error);
            // Where only secrets are missing, it can be found out what the hosts lack.
            match deployment.declaration_without_secrets(session).await {
                Ok(declaration) => declaration,
                Err(_) => return,
            }
        }
    };
    // Notes about a host itself are about what it lacks; those about an app tell how it stands.
    let notes = deployment.notes(&declaration.survey);
    report.take(notes, |finding| finding.app.is_none());
    let wanted = declaration
        .declared
        .iter()
        .map(|(member, it)| (member.clone(), it.wanted.clone()));
    let sought = (Sought::Declared, &State::default());
    match deployment
        .prospect(&declaration.survey, wanted.collect(), sought)
        .await
    {
        Ok(prospect) => report.take(prospect.findings, |finding| {
            finding.class == FindingClass::Blocking || finding.remedy.is_some()
        }),
        Err(error) => report.errors.push(error),
    }
}

/// Whether a host can manage services as its apps want it.
fn suits(environment: &Environment, host: &Host, facts: &HostFacts) -> Vec<Finding> {
    let find = |class, message: &str, remedy: &str| Finding {
        class,
        host: host.name.clone(),
        app: None,
        message: message.to_owned(),
        remedy: Some(remedy.to_owned()),
    };
    let mut apps = environment
        .apps
        .iter()
        .filter(|app| app.hosts.contains(&host.name));
    let wants_systemd = apps
        .clone()
        .any(|app| app.manager == Some(Manager::Systemd));
    let leaves_it_open = apps.any(|app| app.manager.is_none());
    let become_root = "add to the host in the declaration: become \"sudo\"";
    match (facts.systemd, facts.root) {
        (true, true) => Vec::new(),
        (true, false) if wants_systemd => {
            let message = format!(
                "units of systemd need root, and rosey runs as {} there",
                facts.user
            );
            vec![find(FindingClass::Blocking, &message, become_root)]
        }
        (false, _) if wants_systemd => {
            let message = "an app wants systemd, which isn't process 1 there";
            vec![find(
                FindingClass::Blocking,
                message,
                "write in the app: manager \"process\"",
            )]
        }
        // Whoever has a server there expects its services to survive a reboot.
        (true, false) if leaves_it_open && host.reach != Reach::Local => {
            let message = format!(
                "without root ({} isn't) services are started by rosey itself and not again after a reboot",
                facts.user
            );
            vec![find(FindingClass::Note, &message, become_root)]
        }
        _ => Vec::new(),
    }
}

/// All that was found.
#[derive(Default)]
struct Report {
    unreachable: Vec<(HostName, String)>,
    facts: BTreeMap<HostName, HostFacts>,
    /// What has to be done before a deployment.
    missing: BTreeSet<Finding>,
    /// What is merely worth knowing.
    notes: BTreeSet<Finding>,
    errors: Vec<CommandError>,
}

impl Report {
    fn take(&mut self, findings: Vec<Finding>, is_missing: impl Fn(&Finding) -> bool) {
        let (missing, notes): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_missing);
        self.missing.extend(missing);
        self.notes.extend(notes);
    }

    /// What to print, what to say of errors that concern no single host, and how it ends.
    fn words(&self, environment: &str) -> (String, Vec<String>, Exit) {
        let mut text = String::new();
        for (host, error) in &self.unreachable {
            text += &format!("{host}: out of reach\n{}", below("missing", error, None));
        }
        for (host, facts) in &self.facts {
            text += &format!("{host}: {}\n", describe(facts));
            for (word, findings) in [("missing", &self.missing), ("note", &self.notes)] {
                for finding in findings.iter().filter(|finding| finding.host == *host) {
                    text += &below(word, &finding.message, finding.remedy.as_deref());
                }
            }
        }
        let missing = self.missing.len() + self.unreachable.len() + self.errors.len();
        text += &match missing {
            0 => format!("\n{environment}: nothing is missing; next: rosey plan {environment}\n"),
            _ => format!(
                "\n{environment}: {} to do\n",
                count(missing as u64, "thing")
            ),
        };
        let exit = if !self.unreachable.is_empty() {
            Exit::UNREACHABLE
        } else if let Some(error) = self.errors.first() {
            error.exit
        } else if missing > 0 {
            Exit::BLOCKED
        } else {
            Exit::DONE
        };
        let errors = self.errors.iter().filter_map(CommandError::text).collect();
        (text, errors, exit)
    }
}

fn describe(facts: &HostFacts) -> String {
    let HostFacts {
        platform,
        system,
        user,
        systemd,
        ..
    } = facts;
    let system = if system.is_empty() {
        "an unknown system"
    } else {
        system
    };
    let manager = if *systemd { "systemd" } else { "no systemd" };
    format!("reached as {user}; {system}, {platform}, {manager}")
}

/// One finding below its host: every line of it indented, what to type further.
fn below(word: &str, message: &str, remedy: Option<&str>) -> String {
    let mut text = format!("  {word}: {}\n", message.replace('\n', "\n      "));
    for line in remedy.into_iter().flat_map(str::lines) {
        text += &format!("      {line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> HostFacts {
        HostFacts {
            platform: "linux-x86_64".into(),
            system: "Debian GNU/Linux 12".into(),
            user: "root".into(),
            root: true,
            systemd: true,
            clock: 0,
        }
    }

    fn finding(class: FindingClass, app: Option<&str>, message: &str, remedy: &str) -> Finding {
        Finding {
            class,
            host: HostName::new("bot-1").unwrap(),
            app: app.map(|app| crate::model::AppName::new(app).unwrap()),
            message: message.into(),
            remedy: Some(remedy.into()),
        }
    }

    #[test]
    fn everything_is_told_at_once_and_ends_by_the_worst() {
        let mut report = Report::default();
        report
            .facts
            .insert(HostName::new("bot-1").unwrap(), facts());
        let (text, _, exit) = report.words("prod");
        assert_eq!(exit, Exit::DONE);
        insta::assert_snapshot!(text, @"
        bot-1: reached as root; Debian GNU/Linux 12, linux-x86_64, systemd

        prod: nothing is missing; next: rosey plan prod
        ");
        let (held, none) = ("it is held", "there is no user bot");
        let found = vec![
            finding(
                FindingClass::Note,
                Some("bot"),
                held,
                "rosey release-hold prod",
            ),
            finding(
                FindingClass::Blocking,
                Some("bot"),
                none,
                "sudo useradd bot",
            ),
            finding(
                FindingClass::Note,
                None,
                "its clock is wrong",
                "timedatectl",
            ),
        ];
        report.take(found, |it| it.message != held);
        assert_eq!(report.words("prod").2, Exit::BLOCKED);
        let error = "failed to trust bot-2: no key\nrosey trust bot-2".to_owned();
        report
            .unreachable
            .push((HostName::new("bot-2").unwrap(), error));
        let (text, _, exit) = report.words("prod");
        assert_eq!(exit, Exit::UNREACHABLE);
        insta::assert_snapshot!(text, @"
        bot-2: out of reach
          missing: failed to trust bot-2: no key
              rosey trust bot-2
        bot-1: reached as root; Debian GNU/Linux 12, linux-x86_64, systemd
          missing: its clock is wrong
              timedatectl
          missing: there is no user bot
              sudo useradd bot
          note: it is held
              rosey release-hold prod

        prod: 3 things to do
        ");
    }
}
