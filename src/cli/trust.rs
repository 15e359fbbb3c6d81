//! `rosey trust`: learns a host key, after a person has seen its fingerprint or a script knew it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Host, Reach, Rigour};
use crate::fleet::reach::target;
use crate::remote::{self, HostKey, HostKeyError, Target, TrustError, Trusted};

use super::Session;
use super::approval;
use super::arguments;
use super::deployment::TerminalPrompt;
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;
use super::say::say;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Trust,
) -> Result<Exit, CommandError> {
    let around = &session.around;
    let mut ssh = remote::Surroundings::new(&around.home, &around.user);
    ssh.agent_socket = around.agent.clone();
    ssh.ssh_program = Some("ssh".into());
    if around.person {
        // A jump host on the way may want a key that has a passphrase.
        ssh.prompt = Some(Arc::new(TerminalPrompt(session.pending.clone())));
    }
    let target = find(session, &arguments.host)?;
    let unreachable = |error: &dyn std::fmt::Display| {
        CommandError::new(
            Exit::UNREACHABLE,
            format!("{}: failed to {error}", target.name),
        )
    };
    let key = remote::scan_host_key(&target, &ssh)
        .await
        .map_err(|error| unreachable(&error))?;
    let file = remote::known_hosts_file(&target, &ssh)
        .await
        .map_err(|error| unreachable(&error))?;
    say!(
        "{} ({}) shows the key\n  {} {}",
        target.name,
        target.address,
        key.algorithm(),
        key.fingerprint()
    );
    agree(session, &arguments, &target, &key)?;
    match remote::trust(&target, &ssh, &key, &file).await {
        Ok(Trusted::Added) => {
            say!("{} is trusted from now on: {}", target.name, file.display());
        }
        Ok(Trusted::AlreadyKnown) => {
            say!("{} was trusted by this key already", target.name);
        }
        Err(error @ TrustError::Refused(HostKeyError::Changed { .. })) => {
            let message = format!(
                "THE KEY OF {} HAS CHANGED, and nothing was written\nrosey: failed to {error}",
                target.name
            );
            return Err(CommandError::new(Exit::UNREACHABLE, message));
        }
        Err(error @ TrustError::Write { .. }) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let message = format!("failed to {error}{}", cause.unwrap_or_default());
            return Err(CommandError::new(Exit::ERROR, message));
        }
        Err(error) => return Err(unreachable(&error)),
    }
    Ok(Exit::DONE)
}

/// Whether this key is to be trusted: the fingerprint agrees, or a person does, or has.
fn agree(
    session: &Session,
    arguments: &arguments::Trust,
    target: &Target,
    key: &HostKey,
) -> Result<(), CommandError> {
    if let Some(expected) = &arguments.fingerprint {
        if is_same(expected, &key.fingerprint()) {
            return Ok(());
        }
        let message = format!(
            "{} shows another key than {expected}; nothing was written",
            target.name
        );
        return Err(CommandError::new(Exit::UNAPPROVED, message).hint(
            "somebody may be in between, or the fingerprint is of another key of the server",
        ));
    }
    if arguments.yes {
        return Ok(());
    }
    let hint = "compare it with the server (ssh-keygen -lf on its /etc/ssh/ssh_host_*_key.pub)";
    if !session.around.person {
        let message = format!(
            "nobody is here to say whether this is the key of {}",
            target.name
        );
        let line = format!(
            "then type: rosey trust {} --fingerprint {}",
            arguments.host,
            key.fingerprint()
        );
        return Err(CommandError::new(Exit::UNAPPROVED, message)
            .hint(hint)
            .hint(line));
    }
    say!("  {hint}");
    match approval::answer("Is it the same?") {
        Ok(true) => Ok(()),
        _ => Err(CommandError::new(Exit::UNAPPROVED, "nothing was written")),
    }
}

/// Compares fingerprints, with or without the name of the digest before them.
fn is_same(expected: &str, shown: &str) -> bool {
    let digits = |text: &'_ str| -> String {
        let text = text.trim();
        text.strip_prefix("SHA256:")
            .unwrap_or(text)
            .trim_end_matches('=')
            .to_owned()
    };
    digits(expected) == digits(shown) && !digits(expected).is_empty()
}

/// The host of that name in any environment; else what was typed is an address.
fn find(session: &Session, name: &str) -> Result<Target, CommandError> {
    let around = &session.around;
    // Outside of a project, and in one that is wrong, an address is all there is to go by.
    let projects = Project::all(around, Rigour::Written).unwrap_or_default();
    let hosts: Vec<Host> = projects
        .into_iter()
        .flatten()
        .flat_map(|project| project.environment.hosts)
        .filter(|host| host.name.as_str() == name)
        .collect();
    let mut targets: Vec<Target> = Vec::new();
    for host in &hosts {
        if let Reach::Ssh(declared) = &host.reach {
            let mut target = target(host, declared, &around.home, PATIENCE);
            // Neither of them matters for a key, but would make one host look like two.
            (target.r#become, target.identities) = Default::default();
            target.user = None;
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    match (targets.len(), hosts.is_empty()) {
        (1, _) => Ok(targets.remove(0)),
        (0, false) => {
            let message = format!("{name} is this machine, which needs no key");
            Err(CommandError::new(Exit::ERROR, message))
        }
        (0, true) => {
            let (address, port) = address(name)?;
            let mut target = Target::new(name, address);
            target.port = port;
            target.connect_timeout = PATIENCE;
            Ok(target)
        }
        _ => {
            let addresses: Vec<_> = targets
                .iter()
                .map(|target| target.address.as_str())
                .collect();
            let message = format!(
                "environments have different hosts {name}: {}",
                addresses.join(", ")
            );
            Err(CommandError::new(Exit::ERROR, message).hint("type the address instead"))
        }
    }
}

/// `bot.example.org`, `bot.example.org:2222`, `[2001:db8::1]:22` or `2001:db8::1`.
fn address(text: &str) -> Result<(String, Option<u16>), CommandError> {
    let wrong = || {
        let message = format!("{text:?} is no host of any environment here, and no address");
        CommandError::new(Exit::ERROR, message)
    };
    let text = text.rsplit_once('@').map_or(text, |(_, address)| address);
    let (address, port) = match text.rsplit_once(':') {
        Some((address, port)) if address.starts_with('[') && address.ends_with(']') => {
            (&address[1..address.len() - 1], Some(port))
        }
        Some((address, port)) if !address.contains(':') => (address, Some(port)),
        _ => (text.trim_start_matches('[').trim_end_matches(']'), None),
    };
    let port = port.map(str::parse).transpose().map_err(|_| wrong())?;
    if address.is_empty() || address.starts_with('-') || address.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok((address.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let of = |text| address(text).map_err(|error| error.words());
        assert_eq!(
            of("bot.example.org").unwrap(),
            ("bot.example.org".into(), None)
        );
        assert_eq!(of("ann@bot:2222").unwrap(), ("bot".into(), Some(2222)));
        assert_eq!(of("2001:db8::1").unwrap(), ("2001:db8::1".into(), None));
        assert_eq!(
            of("[2001:db8::1]:22").unwrap(),
            ("2001:db8::1".into(), Some(22))
        );
        for wrong in ["", "bot:ssh", "-oProxyCommand=x", "two words", "bot:99999"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fingerprints_agree_whatever_stands_around_them() {
        assert!(is_same("SHA256:abc", "SHA256:abc"));
        assert!(is_same(" abc= ", "SHA256:abc"));
        assert!(!is_same("SHA256:", "SHA256:abc"));
        assert!(!is_same("SHA256:abd", "SHA256:abc"));
    }
}
