//! Handing a session over to the helper of a run, a unit of PID 1's, when a lock is asked for.

use super::lock;
use super::protocol::{AppAddress, Holder, Message, Refusal, RefusalKind, Reply, Request};
use super::recovery::Recovery;
use super::refuse::refusal;
use super::session::Session;
use super::unit::{Pulse, RunUnit, ask, wire};
use crate::model::RunId;

impl Session<'_> {
    /// Starts the run's helper, tells it all that was told here, and is its wire from then on: there is
    /// nothing more to do here after it. Where somebody holds a lock, says who, and does nothing.
    pub(super) fn hand_over(
        &mut self,
        id: u64,
        (run, apps): (&RunId, &[AppAddress]),
        request: &Request,
    ) -> Result<Option<Holder>, Refusal> {
        self.refuse_stranger()?;
        let mut found = Vec::new();
        for address in apps {
            let app = self.app(address)?;
            // The unit would find the same; what waits for a lock need not start one each time.
            if let Some(holder) = lock::holder(&self.options.lock_of(&app.places.state)) {
                return Ok(Some(holder));
            }
            found.push(app);
        }
        let refused = |what: &str, error: std::io::Error| {
            refusal(RefusalKind::Host, format!("{what}: {error}"))
        };
        // By the key in it the unit knows what this session has sealed.
        for app in &found {
            self.registry.make(self.host, &app.places)?;
        }
        let pulse = Pulse::begin(&self.out);
        let recovery = Recovery::of(self.registry.directory());
        recovery.install(&self.options.program).map_err(|error| {
            let what = "nothing was begun: what would bring this host back after a power cut can't be installed";
            refused(what, error)
        })?;
        let stopped = |error| refused("the helper of the run can't be started", error);
        let unit = RunUnit {
            run,
            program: &recovery.program(),
            leave_processes: self.manages_processes.get(),
        };
        let unit = unit.start().map_err(stopped)?;
        let program = self.options.program.clone();
        let mut first = vec![Request::Hello { program }];
        let told = std::mem::take(&mut self.manifests).into_iter();
        first.extend(told.map(|one| Request::Told {
            manifests: [one].into(),
        }));
        first.push(Request::Conceal {
            values: self.hidden.told.lines().map(Into::into).collect(),
            files: self.hidden.files.clone(),
        });
        for request in first {
            if let Reply::Refused(refusal) = ask(&unit, request).map_err(stopped)? {
                return Err(refusal);
            }
        }
        drop(pulse);
        let Some(stream) = self.inbox.hand_over() else {
            let words = "the stream of this session is gone";
            return Err(refusal(RefusalKind::Internal, words));
        };
        let request = request.clone();
        let message = Message::Request { id, request };
        // What goes wrong from here on is the end of the stream, for both.
        drop(wire(stream, &message, &self.out, unit));
        Ok(None)
    }
}
