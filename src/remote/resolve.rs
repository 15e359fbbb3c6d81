//! Merges the declaration with the ssh configuration.
//!
//! What the declaration says counts; what it leaves open is taken from the ssh
//! configuration, read by `ssh -G` where the program exists and by
//! `ssh_config` elsewhere; then come OpenSSH's defaults.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::ssh_config::{self, HostSettings, SshConfigError};
use super::target::{Become, Destination, Identity, Surroundings, Target};

/// Why it isn't clear how to reach a host. None of these passes by waiting.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("find out how to reach {host}: \"{address}\" is no host name or address")]
    BadAddress { host: String, address: String },
    #[error("find out how to reach {host}")]
    Config {
        host: String,
        #[source]
        source: SshConfigError,
    },
    #[error("find out how to reach {host}: can't start {program}", program = .program.display())]
    Program {
        host: String,
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "find out how to reach {host}: ssh -G {address} says: {message}. Correct the ssh configuration"
    )]
    Refused {
        host: String,
        address: String,
        message: String,
    },
    #[error(
        "find out how to reach {host}: its ssh configuration uses ProxyCommand ({command}), which rosey \
         doesn't run; use ProxyJump instead"
    )]
    ProxyCommand { host: String, command: String },
    #[error(
        "find out how to reach {host}: its ProxyJump \"{jump}\" isn't [user@]host[:port]; correct the ssh configuration"
    )]
    BadJump { host: String, jump: String },
    #[error(
        "find out how to reach {host}: its jump hosts lead in a circle or are more than {limit}; correct ProxyJump"
    )]
    TooManyJumps { host: String, limit: usize },
    #[error(
        "find out how to reach {host}: the ssh configuration's {value} has a token (%) that isn't understood without the ssh program"
    )]
    Token { host: String, value: String },
}

const JUMP_LIMIT: usize = 8;
const DEFAULT_IDENTITIES: [&str; 3] = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];
const SSH_PROGRAM_PATIENCE: Duration = Duration::from_secs(10);

/// Finds out how to reach a target, jump hosts included.
pub async fn resolve(target: &Target, around: &Surroundings) -> Result<Destination, ResolveError> {
    let settings = settings(target, around).await?;
    let jumps = settings.proxy_jump.clone();
    let mut destination = merge(target, settings, around)?;
    destination.jumps = jumps_of(target, jumps.as_deref(), around).await?;
    Ok(destination)
}

/// What holds without any ssh configuration.
#[cfg(test)]
pub(crate) fn from_declaration(target: &Target, around: &Surroundings) -> Destination {
    build(target, HostSettings::default(), around)
}

/// Walks the chain from the target outward: `ProxyJump a,b` goes through a, then b.
async fn jumps_of(
    target: &Target,
    jump: Option<&str>,
    around: &Surroundings,
) -> Result<Vec<Destination>, ResolveError> {
    let mut chain: Vec<Destination> = Vec::new();
    let mut waiting: Option<String> = jump.map(str::to_owned);
    // Each round puts a list in front of what is known; only its first host may have
    // a jump of its own, since the others are reached from the one before them.
    while let Some(list) = waiting.take().filter(|l| !l.eq_ignore_ascii_case("none")) {
        let mut stage = Vec::new();
        for (index, word) in list.split(',').enumerate() {
            let hop = jump_target(target, word.trim())?;
            let settings = settings(&hop, around).await?;
            if index == 0 {
                waiting = settings.proxy_jump.clone();
            }
            stage.push(merge(&hop, settings, around)?);
        }
        stage.append(&mut chain);
        chain = stage;
        if chain.len() > JUMP_LIMIT {
            return Err(ResolveError::TooManyJumps {
                host: target.name.clone(),
                limit: JUMP_LIMIT,
            });
        }
    }
    Ok(chain)
}

/// Reads `[user@]host[:port]` or `ssh://[user@]host[:port]`.
fn jump_target(target: &Target, word: &str) -> Result<Target, ResolveError> {
    let bad = || ResolveError::BadJump {
        host: target.name.clone(),
        jump: word.to_owned(),
    };
    let rest = word.strip_prefix("ssh://").unwrap_or(word);
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, rest),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']').ok_or_else(bad)?;
            (host, after.strip_prefix(':'))
        }
        None => match place.rsplit_once(':') {
            // More than one colon without brackets is an IPv6 address.
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (place, None),
        },
    };
    if host.is_empty() {
        return Err(bad());
    }
    let mut hop = Target::new(host, host);
    hop.user = user;
    hop.port = port.map(|p| p.parse().map_err(|_| bad())).transpose()?;
    hop.connect_timeout = target.connect_timeout;
    // A jump host is judged by the same files; the pins and the key are the target's alone.
    hop.known_hosts.clone_from(&target.known_hosts);
    Ok(hop)
}

async fn settings(target: &Target, around: &Surroundings) -> Result<HostSettings, ResolveError> {
    let address = &target.address;
    let odd = |c: char| c.is_whitespace() || c.is_control() || "'\"`$\\;&<>|(){},".contains(c);
    if address.is_empty() || address.starts_with('-') || address.contains(odd) {
        return Err(ResolveError::BadAddress {
            host: target.name.clone(),
            address: address.clone(),
        });
    }
    if let Some(program) = &around.ssh_program {
        match ask_ssh(program.clone(), target, around).await {
            // Not installed here: then our own reader must do.
            Err(ResolveError::Program { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            answered => return answered,
        }
    }
    let default = around.home.join(".ssh/config");
    let file = around.ssh_config.as_ref().unwrap_or(&default);
    let source = |source| ResolveError::Config {
        host: target.name.clone(),
        source,
    };
    let mut settings = ssh_config::read(file, &around.home, address).map_err(source)?;
    expand_tokens(target, &mut settings, around)?;
    Ok(settings)
}

async fn ask_ssh(
    program: PathBuf,
    target: &Target,
    around: &Surroundings,
) -> Result<HostSettings, ResolveError> {
    let host = &target.name;
    let mut command = Command::new(&program);
    command.arg("-G");
    if let Some(file) = around.ssh_config.clone().or_else(|| elsewhere(around)) {
        command.arg("-F").arg(file);
    }
    // `Match user` and tokens depend on what the declaration says.
    if let Some(user) = &target.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = target.port {
        command.arg("-p").arg(port.to_string());
    }
    command.arg("--").arg(&target.address);
    command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let refused = |message: String| ResolveError::Refused {
        host: host.clone(),
        address: target.address.clone(),
        message,
    };
    let output = tokio::time::timeout(SSH_PROGRAM_PATIENCE, command.output())
        .await
        .map_err(|_| refused("nothing, for ten seconds".to_owned()))?
        .map_err(|source| ResolveError::Program {
            host: host.clone(),
            program,
            source,
        })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', "; ");
        return Err(refused(message));
    }
    read_answer(&String::from_utf8_lossy(&output.stdout)).map_err(refused)
}

/// Reads the answer of `ssh -G`: a keyword in lower case and its value on each line.
fn read_answer(text: &str) -> Result<HostSettings, String> {
    let mut settings = HostSettings::default();
    for line in text.lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        if value.is_empty() {
            continue;
        }
        let words = value.split(' ').map(str::to_owned).collect();
        // Only lists of files are split at blanks; elsewhere a blank belongs to the value.
        settings.set(keyword, value.to_owned(), words)?;
    }
    Ok(settings)
}

/// The configuration in a `$HOME` that isn't the account's home, as in the containers of CI systems: ssh(1) looks for it
/// by the account alone, whatever `$HOME` says, and finds another or none. Keys and host keys are taken from `$HOME` too.
/// Of an account that isn't in `/etc/passwd` nothing is known, and ssh is left to itself.
fn elsewhere(around: &Surroundings) -> Option<PathBuf> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let user = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let home = accounts.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()? == user).then(|| fields.nth(2))?
    })?;
    let file = around.home.join(".ssh/config");
    (Path::new(home) != around.home && file.exists()).then_some(file)
}

/// Expands the tokens of ssh_config(5) that name host, user, port and home.
fn expand_tokens(
    target: &Target,
    settings: &mut HostSettings,
    around: &Surroundings,
) -> Result<(), ResolveError> {
    let original = target.address.clone();
    let user = target
        .user
        .clone()
        .or_else(|| settings.user.clone())
        .unwrap_or_else(|| around.user.clone());
    let port = target.port.or(settings.port).unwrap_or(22).to_string();
    let home = around.home.display().to_string();
    let expand = |value: &str, host: &str| -> Result<String, ResolveError> {
        let mut expanded = String::with_capacity(value.len());
        let mut rest = value.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                expanded.push(c);
                continue;
            }
            match rest.next() {
                Some('%') => expanded.push('%'),
                Some('h') => expanded.push_str(host),
                Some('n') => expanded.push_str(&original),
                Some('p') => expanded.push_str(&port),
                Some('r') => expanded.push_str(&user),
                Some('u') => expanded.push_str(&around.user),
                Some('d') => expanded.push_str(&home),
                _ => {
                    return Err(ResolveError::Token {
                        host: target.name.clone(),
                        value: value.to_owned(),
                    });
                }
            }
        }
        Ok(expanded)
    };
    if let Some(name) = &mut settings.host_name {
        *name = expand(name, &original)?;
    }
    let host = settings
        .host_name
        .clone()
        .unwrap_or_else(|| original.clone());
    let files = settings
        .identity_files
        .iter_mut()
        .chain(&mut settings.certificate_files)
        .chain(&mut settings.identity_agent)
        .chain(settings.user_known_hosts.iter_mut().flatten());
    for file in files {
        *file = expand(file, &host)?;
    }
    Ok(())
}

fn merge(
    target: &Target,
    settings: HostSettings,
    around: &Surroundings,
) -> Result<Destination, ResolveError> {
    match &settings.proxy_command {
        Some(command) if !command.eq_ignore_ascii_case("none") => Err(ResolveError::ProxyCommand {
            host: target.name.clone(),
            command: command.clone(),
        }),
        _ => Ok(build(target, settings, around)),
    }
}

fn build(target: &Target, settings: HostSettings, around: &Surroundings) -> Destination {
    let identities = if target.identities.is_empty() {
        identities(&settings.identity_files, around)
    } else {
        let named = target.identities.iter().map(|path| Identity {
            path: around.expand_home(path),
            named: true,
        });
        named.collect()
    };
    let known_hosts = if target.known_hosts.is_empty() {
        known_hosts(&settings, around)
    } else {
        target
            .known_hosts
            .iter()
            .map(|file| around.expand_home(file))
            .collect()
    };
    let agent_socket = match settings.identity_agent.as_deref() {
        None | Some("SSH_AUTH_SOCK") => around.agent_socket.clone(),
        Some("none") => None,
        Some(path) => Some(around.expand_home(path)),
    };
    Destination {
        name: target.name.clone(),
        address: settings.host_name.unwrap_or_else(|| target.address.clone()),
        port: target.port.or(settings.port).unwrap_or(22),
        user: target
            .user
            .clone()
            .or(settings.user)
            .unwrap_or_else(|| around.user.clone()),
        host_key_alias: settings.host_key_alias.filter(|alias| alias != "none"),
        identities,
        certificates: settings
            .certificate_files
            .iter()
            .filter(|file| *file != "none")
            .map(|file| around.expand_home(file))
            .collect(),
        // Keys that the declaration names are the only ones meant.
        identities_only: !target.identities.is_empty() || settings.identities_only.unwrap_or(false),
        agent_socket,
        known_hosts,
        pinned_keys: target.pinned_keys.clone(),
        r#become: target.r#become,
        connect_timeout: target.connect_timeout,
        jumps: Vec::new(),
    }
}

/// The configured key files, else the default ones. `ssh -G` lists its defaults, too.
fn identities(configured: &[String], around: &Surroundings) -> Vec<Identity> {
    let is_default = |file: &str| {
        let name = file.rsplit('/').next().unwrap_or(file);
        file.starts_with("~/.ssh/id_") || around.home.join(".ssh").join(name) == *file
    };
    let configured: Vec<&str> = configured
        .iter()
        .map(String::as_str)
        .filter(|file| *file != "none")
        .collect();
    if configured.is_empty() {
        let default = |file: &&str| Identity {
            path: around.expand_home(file),
            named: false,
        };
        return DEFAULT_IDENTITIES.iter().map(default).collect();
    }
    configured
        .into_iter()
        .map(|file| Identity {
            path: around.expand_home(file),
            named: !is_default(file),
        })
        .collect()
}

fn known_hosts(settings: &HostSettings, around: &Surroundings) -> Vec<PathBuf> {
    // `ssh -G` expands its default by the account's home, whatever $HOME says; `~` means one place in all that rosey reads.
    let configured = settings.user_known_hosts.clone();
    let user = configured
        .filter(|files| !are_default(files))
        .unwrap_or_else(|| {
            vec![
                "~/.ssh/known_hosts".to_owned(),
                "~/.ssh/known_hosts2".to_owned(),
            ]
        });
    let global = settings.global_known_hosts.clone().unwrap_or_else(|| {
        vec![
            "/etc/ssh/ssh_known_hosts".to_owned(),
            "/etc/ssh/ssh_known_hosts2".to_owned(),
        ]
    });
    user.iter()
        .chain(&global)
        .filter(|file| *file != "none")
        .map(|file| around.expand_home(file))
        .collect()
}

/// Whether these files are what OpenSSH looks into when nothing is configured.
fn are_default(known_hosts: &[String]) -> bool {
    matches!(known_hosts, [first, second] if first.ends_with("/.ssh/known_hosts") && *second == format!("{first}2"))
}

/// What stands for the helper's rights: kept here so that a jump host never gets any.
impl Destination {
    pub fn uses_sudo(&self) -> bool {
        self.r#become == Become::Sudo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(config: &str) -> (tempfile::TempDir, Surroundings) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        std::fs::write(home.path().join(".ssh/config"), config).unwrap();
        let mut around = Surroundings::new(home.path(), "ann");
        around.ssh_config = Some(home.path().join(".ssh/config"));
        (home, around)
    }

    /// Resolves by the program and by our own reader, which must agree.
    async fn both(config: &str, target: &Target) -> Result<Destination, String> {
        let (_home, mut around) = around(config);
        let own = resolve(target, &around).await.map_err(|e| e.to_string());
        around.ssh_program = Some(PathBuf::from("/nowhere/ssh"));
        let without = resolve(target, &around).await.map_err(|e| e.to_string());
        assert_eq!(own, without);
        around.ssh_program = Some(PathBuf::from("ssh"));
        let ssh = resolve(target, &around).await.map_err(|e| e.to_string());
        match (&own, &ssh) {
            (Ok(own), Ok(ssh)) => {
                let reached = |d: &Destination| {
                    (d.address.clone(), d.port, d.user.clone(), d.identities_only)
                };
                assert_eq!(reached(own), reached(ssh));
                let own: Vec<_> = own.jumps.iter().map(reached).collect();
                assert_eq!(own, ssh.jumps.iter().map(reached).collect::<Vec<_>>());
            }
            (Err(_), Err(_)) => {}
            other => panic!("the readers disagree: {other:?}"),
        }
        ssh
    }

    #[tokio::test]
    async fn the_declaration_beats_the_configuration() {
        let config = "Host bot\nHostName 10.0.0.1\nPort 2200\nUser deploy\nIdentityFile ~/k\n";
        let mut target = Target::new("bot-1", "bot");
        let found = both(config, &target).await.unwrap();
        assert_eq!(
            (found.address.as_str(), found.port, found.user.as_str()),
            ("10.0.0.1", 2200, "deploy")
        );
        assert!(found.identities[0].named && !found.identities_only);
        target.port = Some(22);
        target.user = Some("root".into());
        target.identities = vec!["/keys/one".into(), "/keys/two".into()];
        let found = both(config, &target).await.unwrap();
        assert_eq!((found.port, found.user.as_str()), (22, "root"));
        let named = |path: &str| Identity {
            path: path.into(),
            named: true,
        };
        assert_eq!(found.identities, [named("/keys/one"), named("/keys/two")]);
        assert!(found.identities_only);
    }

    #[tokio::test]
    async fn jump_hosts_are_resolved_in_their_order() {
        let config = "Host bot\nProxyJump a,eve@b:2022\nHost a\nHostName 10.1.1.1\nUser gate\nProxyJump outer\nHost *\nUser ann\n";
        let found = both(config, &Target::new("bot", "bot")).await.unwrap();
        let chain: Vec<String> = found
            .jumps
            .iter()
            .map(|d| format!("{}@{}", d.user, d.place()))
            .collect();
        assert_eq!(chain, ["ann@outer:22", "gate@10.1.1.1:22", "eve@b:2022"]);
    }

    #[tokio::test]
    async fn circles_and_what_cannot_be_run_are_refused() {
        let circle = "Host bot\nProxyJump a\nHost a\nProxyJump bot\n";
        let message = both(circle, &Target::new("bot", "bot")).await.unwrap_err();
        assert!(message.contains("in a circle"), "{message}");
        let command = "Host bot\nProxyCommand nc %h %p\n";
        let message = both(command, &Target::new("bot", "bot")).await.unwrap_err();
        assert!(message.contains("ProxyJump instead"), "{message}");
        for address in ["-oProxyCommand=x", "", "a b", "a;b"] {
            let message = both("", &Target::new("bot", address)).await.unwrap_err();
            assert!(message.contains("is no host name"), "{message}");
        }
    }

    #[tokio::test]
    async fn defaults_hold_without_a_configuration() {
        let (home, around) = around("");
        let found = resolve(&Target::new("bot", "bot"), &around).await.unwrap();
        let names: Vec<_> = found.identities.iter().map(|i| i.path.clone()).collect();
        let expected =
            ["id_ed25519", "id_ecdsa", "id_rsa"].map(|n| home.path().join(".ssh").join(n));
        assert_eq!(names, expected);
        assert!(found.identities.iter().all(|i| !i.named));
        assert_eq!(found.known_hosts[0], home.path().join(".ssh/known_hosts"));
        assert_eq!((found.port, found.user.as_str()), (22, "ann"));
    }

    #[tokio::test]
    async fn the_default_known_hosts_are_in_the_home_that_rosey_was_given() {
        let (home, mut around) = around("");
        around.ssh_program = Some(PathBuf::from("ssh"));
        let found = resolve(&Target::new("bot", "bot"), &around).await.unwrap();
        assert_eq!(found.known_hosts[0], home.path().join(".ssh/known_hosts"));
    }

    #[test]
    fn jumps_are_read_in_every_form() {
        let target = Target::new("bot", "bot");
        let read = |word: &str| {
            jump_target(&target, word)
                .ok()
                .map(|t| (t.user, t.address, t.port))
        };
        let cases = [
            ("a", Some((None, "a", None))),
            ("u@a:2", Some((Some("u"), "a", Some(2)))),
            ("ssh://u@a:2", Some((Some("u"), "a", Some(2)))),
            ("[::1]:2", Some((None, "::1", Some(2)))),
            ("fe80::1", Some((None, "fe80::1", None))),
            ("a:x", None),
            ("u@", None),
        ];
        for (word, expected) in cases {
            let expected = expected.map(|(u, a, p): (Option<&str>, &str, Option<u16>)| {
                (u.map(str::to_owned), a.to_owned(), p)
            });
            assert_eq!(read(word), expected, "{word}");
        }
    }
}
