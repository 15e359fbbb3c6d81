//! What surrounds the program: working directory, home, environment variables, terminal, git.
//!
//! Read once, here; everything else takes it as values.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::host::{LocalHost, ReadHost};
use crate::model::{Author, RunId};

use super::error::CommandError;
use super::exit::Exit;

/// Where a project's state usually lies.
const USUAL: &str = ".rosey";

/// What surrounds the program.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The working directory.
    pub directory: PathBuf,
    /// The home directory.
    pub home: PathBuf,
    /// The user.
    pub user: String,
    /// The machine.
    pub machine: String,
    /// `$ROSEY_ENV`.
    pub environment: Option<String>,
    /// `$ROSEY_STATE`.
    pub state: Option<PathBuf>,
    /// `$ROSEY_HELPER`: the program for hosts of another architecture.
    pub helper: Option<PathBuf>,
    /// `$SSH_AUTH_SOCK`.
    pub agent: Option<PathBuf>,
    /// Whether `$CI` is set: nobody can be asked, and acting is intended.
    pub ci: bool,
    /// Whether a person can be asked: stdin and stderr are a terminal.
    pub person: bool,
    /// Whether stderr is a terminal.
    pub terminal: bool,
    /// Who the CI system says began it, and where to look.
    pub ci_actor: Option<String>,
    /// The address of the CI job.
    pub ci_job: Option<String>,
}

impl Surroundings {
    /// Reads them.
    ///
    /// # Errors
    /// When there is no working directory.
    pub fn read() -> Result<Self, CommandError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let directory = std::env::current_dir().map_err(|error| {
            CommandError::new(
                Exit::ERROR,
                format!("there is no working directory: {error}"),
            )
        })?;
        let job = match (
            variable("GITHUB_SERVER_URL"),
            variable("GITHUB_REPOSITORY"),
            variable("GITHUB_RUN_ID"),
        ) {
            (Some(server), Some(repository), Some(run)) => {
                Some(format!("{server}/{repository}/actions/runs/{run}"))
            }
            _ => variable("CI_JOB_URL"),
        };
        let node = rustix::system::uname();
        let terminal = std::io::stderr().is_terminal();
        Ok(Self {
            directory,
            home: path("HOME").unwrap_or_else(|| PathBuf::from("/")),
            user: variable("USER")
                .or_else(|| variable("LOGNAME"))
                .unwrap_or_else(|| {
                    if rustix::process::getuid().is_root() {
                        "root"
                    } else {
                        "unknown"
                    }
                    .to_owned()
                }),
            machine: node.nodename().to_string_lossy().into_owned(),
            environment: variable("ROSEY_ENV"),
            state: path("ROSEY_STATE"),
            helper: path("ROSEY_HELPER"),
            agent: path("SSH_AUTH_SOCK"),
            ci: variable("CI").is_some_and(|value| value != "false" && value != "0"),
            person: terminal && std::io::stdin().is_terminal(),
            terminal,
            ci_actor: variable("GITHUB_ACTOR").or_else(|| variable("GITLAB_USER_LOGIN")),
            ci_job: job,
        })
    }

    /// The home directories of who runs this: `$HOME`, and the one that this machine's list of users has.
    #[must_use]
    pub fn homes(&self) -> Vec<PathBuf> {
        let user = rustix::process::geteuid().to_string();
        // Only what is known without doubt is held against anybody.
        let listed = LocalHost::new().account(&user).ok().flatten();
        let listed = listed.map(|account| account.home);
        [Some(self.home.clone()), listed]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Where caches of a project lie, and its history with them: `.rosey` in it, unless `$ROSEY_STATE` says
    /// otherwise. Where that is the history itself, caches lie in `.rosey` beside it.
    #[must_use]
    pub fn state_of(&self, project: &Path) -> PathBuf {
        match &self.state {
            None => project.join(USUAL),
            Some(state) if is_database(state) => state.with_file_name(USUAL),
            Some(state) => state.clone(),
        }
    }

    /// Where its history lies.
    #[must_use]
    pub fn history_of(&self, project: &Path) -> PathBuf {
        match &self.state {
            Some(state) if is_database(state) => state.clone(),
            _ => self.state_of(project).join("rosey.db"),
        }
    }

    /// Who begins a run now, and why.
    #[must_use]
    pub fn author(&self, commit: Option<String>, reason: Option<String>) -> Author {
        Author {
            user: self.user.clone(),
            machine: self.machine.clone(),
            ci_actor: self.ci_actor.clone(),
            ci_job: self.ci_job.clone(),
            commit,
            reason,
        }
    }

    /// The commit that a directory is checked out at; `+changes` behind it where it isn't clean.
    #[must_use]
    pub fn commit_of(&self, directory: &Path) -> Option<String> {
        let commit = git(directory, &["rev-parse", "--verify", "HEAD"])?;
        let clean = git(directory, &["status", "--porcelain", "--", "."])?.is_empty();
        Some(if clean {
            commit
        } else {
            format!("{commit}+changes")
        })
    }

    /// The commit that a name stands for.
    #[must_use]
    pub fn commit_named(&self, repository: &Path, name: &str) -> Option<String> {
        git(
            repository,
            &[
                "rev-parse",
                "--verify",
                "--end-of-options",
                &format!("{name}^{{commit}}"),
            ],
        )
    }

    /// Now, as RFC 3339 in UTC with milliseconds.
    #[must_use]
    pub fn now() -> String {
        format!("{:.3}", jiff::Timestamp::now())
    }

    /// A name for a run that begins now.
    ///
    /// # Panics
    /// When the kernel has no randomness, which it always has once it has booted.
    #[must_use]
    pub fn new_run() -> RunId {
        let now = jiff::Timestamp::now()
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let mut random = [0u8; 3];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .expect("BUG: the kernel has randomness");
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        RunId(format!("{now}-{random}"))
    }
}

/// Whether `$ROSEY_STATE` names the history itself rather than the directory that holds it.
fn is_database(state: &Path) -> bool {
    let named_so = state.extension().is_some_and(|it| it == "db") && !state.is_dir();
    named_so || state.is_file()
}

/// What git says; none where it says nothing useful (no git, no repository, no commit).
fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
