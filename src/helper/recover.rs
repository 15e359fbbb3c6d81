//! Taking back what was cut off, with no controller: at boot, and when a run's helper has died.

use std::path::Path;
use std::time::Duration;

use super::app::App;
use super::lock::{self, AppLock};
use super::protocol::{AppAddress, Holder, Refusal, RefusalKind};
use super::refuse::refusal;
use super::registry::Registry;
use super::returning::{Settling, stays};
use super::session::{Held, Options, Session, journal_path_in};
use crate::apply::{Opened, journal};
use crate::host::{Manager, WriteHost};
use crate::model::Places;

/// The longest pause between two tries.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// What is written of who holds a lock for this.
pub(super) const COMMAND: &str = "recover";

/// Takes back every run that was cut off in the middle and that nobody is at. What is ready stays where others may
/// have committed, and what another program wrote is left alone. While the host refuses, it is tried again.
pub fn recover(host: &dyn WriteHost, options: &Options) {
    let found = retrying(options, "", || {
        let registry = Registry::open(host.as_read(), options.place(), options.seal)?;
        let states = registry.states(host.as_read())?;
        Ok((registry, states))
    });
    let Some((registry, states)) = &found else {
        return;
    };
    // Side by side: one app may have to wait for room on its disk.
    std::thread::scope(|scope| {
        for state in states {
            scope.spawn(move || {
                let what = format!("{}: ", state.display());
                retrying(options, &what, || {
                    recover_app(host, options, registry, state)
                });
            });
        }
    });
}

/// Tries again until it works, or until no further try would help.
fn retrying<T>(
    options: &Options,
    what: &str,
    mut attempt: impl FnMut() -> Result<T, Refusal>,
) -> Option<T> {
    let mut said = String::new();
    let mut pause = options.retry;
    loop {
        let refused = match attempt() {
            Ok(done) => return Some(done),
            Err(refused) => refused,
        };
        if refused.message != said {
            (options.log)(&format!("{what}{}", refused.message));
            said.clone_from(&refused.message);
        }
        if refused.kind != RefusalKind::Host {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST);
    }
}

fn recover_app(
    host: &dyn WriteHost,
    options: &Options,
    registry: &Registry,
    state: &Path,
) -> Result<(), Refusal> {
    let Some(told) = journal::read(host.as_read(), &journal_path_in(state))? else {
        return Ok(());
    };
    if told.settled.is_some() || stays(host, registry, &told) {
        return Ok(());
    }
    let app = App::of_journal(&told.opened, state);
    let run = told.opened.run;
    let holder = Holder {
        app: app.address.app.clone(),
        run: run.clone(),
        author: told.opened.author,
        command: COMMAND.to_owned(),
        since: host.time(),
        process: std::process::id(),
    };
    let place = options.lock_of(state);
    let Some(lock) = AppLock::try_take_unnamed(&place, &holder)? else {
        let other = lock::holder(&place);
        // Its own helper sees to it, or another of our kind.
        if other.as_ref().is_some_and(|it| it.run == holder.run) {
            return Ok(());
        }
        // Who only marks something, or gives the lock back because another host is busy, doesn't.
        let by = other.map_or_else(String::new, |it| format!(" by `{}`", it.command));
        let words = format!("the lock of {} is held{by}", holder.app);
        return Err(refusal(RefusalKind::Host, words));
    };
    let mut session = Session::alone(host, options)?;
    let name = app.address.app.clone();
    let held = Held {
        run,
        app: app.clone(),
        lock,
    };
    session.held.insert(name, held);
    session.settle_app(0, &app, &Settling::Alone)?;
    Ok(())
}

impl App {
    /// An app as the journal of its run knows it.
    fn of_journal(opened: &Opened, state: &Path) -> Self {
        let manager = match opened.manager {
            Manager::Systemd => "systemd",
            Manager::Process { .. } => "process",
        };
        Self {
            address: AppAddress {
                environment: opened.environment.clone(),
                host: opened.host.clone(),
                app: opened.app.clone(),
                root: opened.root.to_string_lossy().into_owned(),
                owner: None,
                create_owner: false,
                manager: Some(manager.to_owned()),
                ignore: opened.ignore.clone(),
            },
            places: Places {
                root: opened.root.clone(),
                state: state.to_owned(),
            },
            manager,
            owner: opened.owner.clone(),
            // Only what is made for the app is made as its owner's, and nothing is made on the way back.
            app_owner: opened.owner.clone(),
        }
    }
}
