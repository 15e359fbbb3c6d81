//! Runs commands as root through `sudo -n`, and reads from its words why it refuses.
//!
//! The words are those of sudo 1.8 to 1.9 and sudo-rs in the C locale, which is asked for.

use super::channel::{Exit, ExitStatus};
use super::printable::printable;
use super::session::{RunError, Session};
use super::target::{Become, Destination};

/// Why sudo doesn't let us, each with what to type on the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SudoRefusal {
    #[error(
        "become root on {host}: sudo wants a password of {user}. On the server, as root, type: \
         echo '{user} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/rosey && chmod 0440 /etc/sudoers.d/rosey"
    )]
    PasswordRequired { host: String, user: String },
    #[error(
        "become root on {host}: {user} isn't in the sudoers file. On the server, as root, type: \
         echo '{user} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/rosey && chmod 0440 /etc/sudoers.d/rosey"
    )]
    NotInSudoers { host: String, user: String },
    #[error(
        "become root on {host}: the sudoers file doesn't allow {user} to run rosey's helper. On the server, as \
         root, type: echo '{user} ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/rosey && chmod 0440 /etc/sudoers.d/rosey"
    )]
    NotAllowed { host: String, user: String },
    #[error(
        "become root on {host}: there is no sudo. On the server, as root, type: apt install sudo (or your \
         distribution's like); or log in as root and leave become out"
    )]
    Missing { host: String },
    #[error(
        "become root on {host}: sudo wants a terminal. On the server, as root, add to /etc/sudoers.d/rosey: \
         Defaults:{user} !requiretty"
    )]
    TerminalRequired { host: String, user: String },
    #[error(
        "become root on {host}: sudo says: {message}. Correct that on the server (visudo -c checks its files)"
    )]
    Broken { host: String, message: String },
}

#[derive(Debug, thiserror::Error)]
pub enum BecomeError {
    #[error(transparent)]
    Refused(#[from] SudoRefusal),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl BecomeError {
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Run(error) if error.is_temporary())
    }
}

/// The words in front of a command so that it runs with the rights that were asked for.
pub(crate) fn prefix(r#become: Become) -> &'static [&'static str] {
    match r#become {
        Become::No => &[],
        // `env` is how a variable is set whatever the login shell is.
        Become::Sudo => &["env", "LC_ALL=C", "sudo", "-n", "--"],
    }
}

/// Reads from a command's end whether it was sudo that refused.
pub(crate) fn refusal(to: &Destination, exit: &Exit) -> Option<SudoRefusal> {
    if to.r#become == Become::No || exit.status.is_success() {
        return None;
    }
    let (host, user) = (to.name.clone(), to.user.clone());
    let stderr = exit.stderr.as_str();
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    if exit.status == ExitStatus::Code(127)
        && says(&["sudo"])
        && says(&["not found", "No such file"])
    {
        return Some(SudoRefusal::Missing { host });
    }
    if says(&["must have a tty", "a terminal is required"]) {
        return Some(SudoRefusal::TerminalRequired { host, user });
    }
    if says(&[
        "a password is required",
        "interactive authentication is required",
    ]) {
        return Some(SudoRefusal::PasswordRequired { host, user });
    }
    if says(&["is not in the sudoers file", "may not run sudo"]) {
        return Some(SudoRefusal::NotInSudoers { host, user });
    }
    if says(&["is not allowed to execute", "I'm afraid I can't do that"]) {
        return Some(SudoRefusal::NotAllowed { host, user });
    }
    // What else sudo says is about itself, and it exits with 1 without running anything.
    let own = stderr
        .lines()
        .rev()
        .find(|line| line.starts_with("sudo: "))?;
    (exit.status == ExitStatus::Code(1)).then(|| SudoRefusal::Broken {
        host,
        message: printable(own.trim_start_matches("sudo: ")),
    })
}

impl Session {
    /// Finds out whether the rights that the declaration asks for are to be had.
    pub async fn check_become(&self) -> Result<(), BecomeError> {
        let to = self.destination();
        if to.r#become == Become::No {
            return Ok(());
        }
        let mut words = prefix(to.r#become).to_vec();
        words.push("true");
        let output = self.run(&crate::model::shell::join(words), &[]).await?;
        let exit = Exit {
            status: output.status,
            stderr: output.stderr,
        };
        if exit.status.is_success() {
            return Ok(());
        }
        Err(refusal(to, &exit)
            .unwrap_or_else(|| SudoRefusal::Broken {
                host: to.name.clone(),
                message: format!("{} ({})", printable(&exit.stderr), exit.status),
            })
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::resolve::from_declaration;
    use crate::remote::target::{Surroundings, Target};

    fn read(code: u32, stderr: &str) -> Option<SudoRefusal> {
        let mut target = Target::new("bot-1", "10.0.0.1");
        target.user = Some("deploy".into());
        target.r#become = Become::Sudo;
        let to = from_declaration(&target, &Surroundings::new("/home/ann", "ann"));
        refusal(
            &to,
            &Exit {
                status: ExitStatus::Code(code),
                stderr: stderr.to_owned(),
            },
        )
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let host = || "bot-1".to_owned();
        let user = || "deploy".to_owned();
        let cases = [
            (
                1,
                "sudo: a password is required\n",
                SudoRefusal::PasswordRequired {
                    host: host(),
                    user: user(),
                },
            ),
            (
                1,
                "sudo-rs: interactive authentication is required\n",
                SudoRefusal::PasswordRequired {
                    host: host(),
                    user: user(),
                },
            ),
            (
                1,
                "deploy is not in the sudoers file.  This incident will be reported.\n",
                SudoRefusal::NotInSudoers {
                    host: host(),
                    user: user(),
                },
            ),
            (
                1,
                "Sorry, user deploy may not run sudo on bot-1.\n",
                SudoRefusal::NotInSudoers {
                    host: host(),
                    user: user(),
                },
            ),
            (
                1,
                "Sorry, user deploy is not allowed to execute '/x' as root on bot-1.\n",
                SudoRefusal::NotAllowed {
                    host: host(),
                    user: user(),
                },
            ),
            (
                127,
                "env: 'sudo': No such file or directory\n",
                SudoRefusal::Missing { host: host() },
            ),
            (
                127,
                "bash: line 1: sudo: command not found\n",
                SudoRefusal::Missing { host: host() },
            ),
            (
                1,
                "sudo: sorry, you must have a tty to run sudo\n",
                SudoRefusal::TerminalRequired {
                    host: host(),
                    user: user(),
                },
            ),
            (
                1,
                "sudo: /etc/sudoers is world writable\n",
                SudoRefusal::Broken {
                    host: host(),
                    message: "/etc/sudoers is world writable".into(),
                },
            ),
        ];
        for (code, stderr, expected) in cases {
            assert_eq!(read(code, stderr), Some(expected), "{stderr}");
        }
    }

    #[test]
    fn a_failing_command_is_not_taken_for_a_refusal() {
        assert_eq!(read(3, "sudo: unrelated\n"), None);
        assert_eq!(read(1, "helper: boom\n"), None);
        assert_eq!(read(127, "/x/helper: not found\n"), None);
        assert_eq!(read(0, "sudo: a password is required\n"), None);
    }

    #[test]
    fn a_refusal_says_what_to_type() {
        insta::assert_snapshot!(read(1, "sudo: a password is required").unwrap(), @r#"become root on bot-1: sudo wants a password of deploy. On the server, as root, type: echo 'deploy ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/rosey && chmod 0440 /etc/sudoers.d/rosey"#);
    }
}
