//! A small reader of ssh_config(5), for machines without the `ssh` program.
//!
//! `ssh -G` is the reference and is asked where it exists (`resolve`). This
//! reader knows the words that decide how a host is reached, and refuses what
//! it can't follow instead of guessing: `Match`, `ProxyCommand`, a token that it can't
//! expand, an include that can't be read. Words that don't matter here are passed over.

use std::io;
use std::path::{Path, PathBuf};

use super::pattern;

/// What a configuration says about one host; the first value counts, as in `ssh`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostSettings {
    pub(crate) host_name: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) identity_files: Vec<String>,
    pub(crate) certificate_files: Vec<String>,
    pub(crate) identities_only: Option<bool>,
    pub(crate) identity_agent: Option<String>,
    pub(crate) proxy_jump: Option<String>,
    pub(crate) proxy_command: Option<String>,
    pub(crate) user_known_hosts: Option<Vec<String>>,
    pub(crate) global_known_hosts: Option<Vec<String>>,
    pub(crate) host_key_alias: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    #[error("read the ssh configuration {file}", file = .file.display())]
    Unreadable {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "read the ssh configuration {file}:{line}: {what}. Install the ssh program (openssh-client), \
         whose own reading is used then, or say it in the declaration instead",
        file = .file.display()
    )]
    Beyond {
        file: PathBuf,
        line: usize,
        what: String,
    },
    #[error("read the ssh configuration {file}:{line}: {what}", file = .file.display())]
    Wrong {
        file: PathBuf,
        line: usize,
        what: String,
    },
}

const INCLUDE_DEPTH: u32 = 16;

/// Reads what `file` says about `host`; a file that isn't there says nothing.
pub(crate) fn read(file: &Path, home: &Path, host: &str) -> Result<HostSettings, SshConfigError> {
    let mut reader = Reader {
        home,
        host,
        settings: HostSettings::default(),
    };
    match std::fs::read_to_string(file) {
        Ok(text) => reader.file(file, &text, true, 0)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(SshConfigError::Unreadable {
                file: file.to_owned(),
                source,
            });
        }
    }
    Ok(reader.settings)
}

struct Reader<'a> {
    home: &'a Path,
    host: &'a str,
    settings: HostSettings,
}

impl Reader<'_> {
    fn file(
        &mut self,
        file: &Path,
        text: &str,
        enclosing: bool,
        depth: u32,
    ) -> Result<(), SshConfigError> {
        let mut active = enclosing;
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            let wrong = |what: String| SshConfigError::Wrong {
                file: file.to_owned(),
                line,
                what,
            };
            let Some((keyword, arguments)) = split(raw).map_err(wrong)? else {
                continue;
            };
            match keyword.as_str() {
                "host" => {
                    active = enclosing
                        && pattern::matches_list(arguments.iter().map(String::as_str), self.host);
                }
                "match" => {
                    let what = "Match isn't understood without the ssh program".to_owned();
                    return Err(SshConfigError::Beyond {
                        file: file.to_owned(),
                        line,
                        what,
                    });
                }
                "include" if active => {
                    for pattern in &arguments {
                        self.include(file, line, pattern, depth)?;
                    }
                }
                _ if active => {
                    let first = arguments
                        .first()
                        .ok_or_else(|| wrong(format!("{keyword} has no value")))?
                        .clone();
                    self.settings
                        .set(&keyword, first, arguments)
                        .map_err(wrong)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        from: &Path,
        line: usize,
        pattern: &str,
        depth: u32,
    ) -> Result<(), SshConfigError> {
        if depth >= INCLUDE_DEPTH {
            let what = format!("more than {INCLUDE_DEPTH} includes inside each other");
            return Err(SshConfigError::Wrong {
                file: from.to_owned(),
                line,
                what,
            });
        }
        let unreadable = |file: &Path, source| SshConfigError::Unreadable {
            file: file.to_owned(),
            source,
        };
        let path = match pattern.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            // Relative to ~/.ssh wherever the including file lies: ssh_config(5).
            None => self.home.join(".ssh").join(pattern),
        };
        let files = expand(&path).map_err(|source| unreadable(&path, source))?;
        for file in files.ok_or_else(|| SshConfigError::Beyond {
            file: from.to_owned(),
            line,
            what: format!("the pattern of Include {pattern} isn't understood"),
        })? {
            match std::fs::read_to_string(&file) {
                Ok(text) => self.file(&file, &text, true, depth + 1)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(unreadable(&file, source)),
            }
        }
        Ok(())
    }
}

impl HostSettings {
    /// Takes one word; the first value of a word counts, lists of files add up.
    pub(crate) fn set(
        &mut self,
        keyword: &str,
        first: String,
        arguments: Vec<String>,
    ) -> Result<(), String> {
        match keyword {
            "hostname" => keep(&mut self.host_name, first),
            "port" => {
                let port = first
                    .parse()
                    .map_err(|_| format!("Port {first} is no port"))?;
                keep(&mut self.port, port);
            }
            "user" => keep(&mut self.user, first),
            "identityfile" => self.identity_files.push(first),
            "certificatefile" => self.certificate_files.push(first),
            "identitiesonly" => keep(&mut self.identities_only, is_yes(&first)),
            "identityagent" => keep(&mut self.identity_agent, first),
            "proxyjump" if self.proxy_command.is_none() => keep(&mut self.proxy_jump, first),
            "proxycommand" if self.proxy_jump.is_none() => {
                keep(&mut self.proxy_command, arguments.join(" "));
            }
            "userknownhostsfile" => keep(&mut self.user_known_hosts, arguments),
            "globalknownhostsfile" => keep(&mut self.global_known_hosts, arguments),
            "hostkeyalias" => keep(&mut self.host_key_alias, first),
            _ => {}
        }
        Ok(())
    }
}

fn keep<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

fn is_yes(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "yes" | "true")
}

/// Splits a line into its keyword, in lower case, and its arguments.
fn split(line: &str) -> Result<Option<(String, Vec<String>)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line
        .find(|c: char| c.is_whitespace() || c == '=')
        .unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Ok(Some((keyword.to_ascii_lowercase(), words(rest)?)))
}

/// Splits arguments at blanks; double quotes hold blanks together, `#` begins a comment.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let word;
        if let Some(quoted) = rest.strip_prefix('"') {
            let (inside, after) = quoted
                .split_once('"')
                .ok_or_else(|| "a quote isn't closed".to_owned())?;
            (word, rest) = (inside, after);
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            (word, rest) = rest.split_at(end);
        }
        words.push(word.to_owned());
        rest = rest.trim_start();
    }
    Ok(words)
}

/// The files of a pattern whose last part may hold `*` and `?`; `None` for other patterns.
fn expand(path: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let is_pattern = |text: &str| text.contains(['*', '?', '[']);
    if !is_pattern(&path.to_string_lossy()) {
        return Ok(Some(vec![path.to_owned()]));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let name = name.to_string_lossy();
    if is_pattern(&directory.to_string_lossy()) || name.contains('[') {
        return Ok(None);
    }
    let mut files = Vec::new();
    match std::fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                let found = entry.file_name();
                let found = found.to_string_lossy();
                // As in a shell, a pattern shows hidden files only when it says the dot.
                if pattern::matches_one(&name, &found)
                    && (name.starts_with('.') || !found.starts_with('.'))
                {
                    files.push(entry.path());
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    files.sort();
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, host: &str) -> Result<HostSettings, String> {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        std::fs::create_dir(&ssh).unwrap();
        std::fs::write(ssh.join("config"), text).unwrap();
        std::fs::write(ssh.join("more.conf"), "Host bot-*\n  Port 2200\n").unwrap();
        std::fs::write(ssh.join("loop.conf"), "Include loop.conf\n").unwrap();
        let directory = home.path().display().to_string();
        read(&ssh.join("config"), home.path(), host)
            .map_err(|error| error.to_string().replace(&directory, "HOME"))
    }

    #[test]
    fn the_first_value_counts_and_files_add_up() {
        let text = r#"
            # a comment
            Host bot-1
                HostName=10.0.0.1
                IdentityFile ~/.ssh/one
                User "de ploy"
            Host bot-* !bot-2
                HostName 10.0.0.9
                Port = 2222
                IdentityFile ~/.ssh/two
                ProxyJump gate,ann@inner:2022
                UserKnownHostsFile ~/.ssh/a ~/.ssh/b  # both
            Host *
                IdentitiesOnly yes
                ForwardX11 no
        "#;
        let settings = read_text(text, "bot-1").unwrap();
        let expected = HostSettings {
            host_name: Some("10.0.0.1".into()),
            port: Some(2222),
            user: Some("de ploy".into()),
            identity_files: vec!["~/.ssh/one".into(), "~/.ssh/two".into()],
            identities_only: Some(true),
            proxy_jump: Some("gate,ann@inner:2022".into()),
            user_known_hosts: Some(vec!["~/.ssh/a".into(), "~/.ssh/b".into()]),
            ..HostSettings::default()
        };
        assert_eq!(settings, expected);
        let other = read_text(text, "bot-2").unwrap();
        assert_eq!(
            other,
            HostSettings {
                identities_only: Some(true),
                ..HostSettings::default()
            }
        );
    }

    #[test]
    fn includes_are_followed_where_they_hold() {
        assert_eq!(
            read_text("Include more.conf\n", "bot-1").unwrap().port,
            Some(2200)
        );
        assert_eq!(
            read_text("Include *.conf.missing\n", "bot-1").unwrap().port,
            None
        );
        assert_eq!(
            read_text("Include m*.conf\n", "bot-1").unwrap().port,
            Some(2200)
        );
        assert_eq!(
            read_text("Host x\nInclude more.conf\n", "bot-1")
                .unwrap()
                .port,
            None
        );
        let after = "Include more.conf\nUser ann\n";
        assert_eq!(
            read_text(after, "other").unwrap().user.as_deref(),
            Some("ann")
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused_and_never_ignored() {
        let refused = [
            "Match host bot-1\n  Port 1\n",
            "Include conf.d/*/x\n",
            "Include [ab].conf\n",
            "Include loop.conf\n",
            "Port many\n",
            "User \"ann\n",
            "HostName\n",
        ];
        for text in refused {
            let message = read_text(text, "bot-1").unwrap_err();
            assert!(
                message.starts_with("read the ssh configuration HOME"),
                "{message}"
            );
        }
        insta::assert_snapshot!(read_text("\nMatch all\n", "bot-1").unwrap_err(), @r#"read the ssh configuration HOME/.ssh/config:2: Match isn't understood without the ssh program. Install the ssh program (openssh-client), whose own reading is used then, or say it in the declaration instead"#);
    }
}
