//! Becoming another user in a child, and giving it an environment of its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{setsid, umask};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::port::Account;

/// Where programs are looked for; that of systemd's services (systemd.exec(5)).
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who a child runs as.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// The user.
    pub(super) account: Account,
    /// All its groups by number; none when the child stays who we are.
    pub(super) groups: Option<Vec<u32>>,
}

impl Identity {
    /// The variables that a child gets anew.
    pub(super) fn environment(&self) -> [(&'static str, OsString); 6] {
        let Account { name, home, .. } = &self.account;
        [
            ("PATH", PATH.into()),
            ("HOME", home.clone().into_os_string()),
            ("USER", name.into()),
            ("LOGNAME", name.into()),
            ("SHELL", "/bin/sh".into()),
            ("LANG", "C.UTF-8".into()),
        ]
    }

    /// A command that will run as this user, in a session of its own, with nothing of our environment.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment());
        let become_other = self.groups.as_ref().map(|groups| {
            let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
            let user = Uid::from_raw(self.account.user);
            (groups, Gid::from_raw(self.account.group), user)
        });
        let prepare = move || {
            setsid()?;
            umask(Mode::from_raw_mode(0o022));
            if let Some((groups, group, user)) = &become_other {
                // Groups first: without root's rights they can't be set any more.
                set_thread_groups(groups)?;
                set_thread_res_gid(*group, *group, *group)?;
                set_thread_res_uid(*user, *user, *user)?;
            }
            Ok(())
        };
        // SAFETY: the closure runs in the child between fork and exec, where only what is
        // async-signal-safe is allowed (signal-safety(7)). It makes five system calls by rustix's
        // raw backend, which takes no lock and allocates nothing, and reads memory that the parent
        // allocated before the fork. The child has one thread, so setting a thread's ids sets the
        // process's.
        #[expect(unsafe_code, reason = "no safe call makes a session or sets groups")]
        unsafe {
            command.pre_exec(prepare);
        }
        command
    }
}
