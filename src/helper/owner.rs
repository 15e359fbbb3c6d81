//! Making the user that an app runs as: a change of the system, only where it is declared.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::app::App;
use super::protocol::{Refusal, RefusalKind};
use super::refuse::refusal;
use super::session::Session;
use crate::host::{Command, HostError};

const TIMEOUT: Duration = Duration::from_secs(60);

impl Session<'_> {
    /// Makes the app's owner and its group where `create` is declared and they aren't there.
    pub(super) fn make_owner(&self, app: &App) -> Result<(), Refusal> {
        let (user, group) = (&app.app_owner.user, &app.app_owner.group);
        let has_user = self.host.account(user)?.is_some();
        let has_group = self.host.has_group(group)?;
        if (has_user && has_group) || !app.address.create_owner {
            return Ok(());
        }
        if !has_group {
            self.system("groupadd --system -- \"$GROUP\"", user, group)?;
        }
        if !has_user {
            let shell = "useradd --system --gid \"$GROUP\" --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin -- \"$ACCOUNT\"";
            self.system(shell, user, group)?;
        }
        Ok(())
    }

    fn system(&self, shell: &str, user: &str, group: &str) -> Result<(), Refusal> {
        let command = Command {
            shell: shell.to_owned(),
            directory: PathBuf::from("/"),
            user: None,
            env: BTreeMap::from([
                ("ACCOUNT".to_owned(), user.to_owned()),
                ("GROUP".to_owned(), group.to_owned()),
            ]),
            timeout: TIMEOUT,
        };
        let output = self.host.run(&command).map_err(|error: HostError| {
            refusal(
                RefusalKind::Host,
                format!("the user {user} can't be made: {error}"),
            )
        })?;
        if output.status == Some(0) {
            return Ok(());
        }
        let words = format!("the user {user} can't be made: {}", output.output.trim());
        Err(refusal(RefusalKind::Host, words))
    }
}
