//! Running a command of the user's.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::host::clock;
use crate::host::ending::Family;
use crate::host::error::Context;
use crate::host::identity::Identity;
use crate::host::port::{Command, CommandOutput, HostError, HostErrorKind};
use crate::host::proc;
use crate::host::program::{Tail, follow};

use super::LocalHost;

/// Marks the processes of one command, wherever they go. Its value begins with the number of the
/// process that started it.
pub(in crate::host) const MARK: &str = "ROSEY_COMMAND";

impl LocalHost {
    /// Who a child runs as: the named user, or who we are.
    pub(super) fn identity(&self, user: Option<&str>) -> Result<Identity, HostErrorKind> {
        let own = rustix::process::geteuid();
        let name = user.map_or_else(|| own.as_raw().to_string(), str::to_owned);
        let Some(account) = self.accounts.account(&name)? else {
            let words = format!("this host has no user {name:?}");
            return Err(HostErrorKind::Other(words));
        };
        if account.user == own.as_raw() {
            return Ok(Identity {
                account,
                groups: None,
            });
        }
        if !own.is_root() {
            let words = format!("only root may run something as {name}");
            return Err(HostErrorKind::Other(words));
        }
        let groups = self.accounts.groups_of(&account)?;
        Ok(Identity {
            account,
            groups: Some(groups),
        })
    }

    pub(super) fn run_command(
        &self,
        command: &Command,
        wanted: &dyn Fn() -> bool,
    ) -> Result<CommandOutput, HostError> {
        let what = Path::new(&command.shell);
        let deadline = Instant::now() + command.timeout;
        let identity = self
            .identity(command.user.as_deref())
            .context("run", what)?;
        if !command.directory.is_dir() {
            let words = format!("there is no directory {}", command.directory.display());
            return Err(HostError::new("run", what, HostErrorKind::Other(words)));
        }
        run(&identity, command, deadline, wanted).context("run", what)
    }
}

fn run(
    identity: &Identity,
    command: &Command,
    deadline: Instant,
    wanted: &dyn Fn() -> bool,
) -> Result<CommandOutput, HostErrorKind> {
    let mark = unique();
    let (reader, writer) = std::io::pipe()?;
    let mut program = identity.command("/bin/sh");
    program
        .arg("-c")
        .arg(&command.shell)
        .current_dir(&command.directory)
        .envs(&command.env)
        .env(MARK, &mark)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = program.spawn()?;
    // It holds the pipe's writing end, without whose closing the end of output is never seen.
    drop(program);
    let family = Family {
        leader: proc::process(child.id()),
        mark: format!("{MARK}={mark}"),
    };
    let mut tail = Tail::default();
    let ended = follow(&mut child, reader, &mut tail, deadline, wanted);
    if !matches!(ended, Ok(Some(_))) {
        let killed = family.kill();
        child.wait()?;
        killed?;
    }
    let status = ended?;
    Ok(CommandOutput {
        timed_out: status.is_none() && Instant::now() >= deadline,
        status: status.and_then(|status| status.code()),
        output: tail.text(),
    })
}

/// A text that no other command on this machine has in this boot.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{}-{}-{count}",
        std::process::id(),
        clock::moment().monotonic
    )
}
