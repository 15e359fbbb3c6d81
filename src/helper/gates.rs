//! Reading gates, on request.

use super::app::App;
use super::protocol::{AppAddress, Reply};
use super::session::{Answer, Session};
use crate::apply::Cancel;
use crate::host::WriteHost;
use crate::model::{EventKind, GateResult, Gates};

/// What is to be read, and how.
pub struct GateRequest<'a> {
    /// The host; gates that are commands run there.
    pub host: &'a dyn WriteHost,
    /// The gates.
    pub gates: &'a Gates,
    /// Whether to wait for `within` and `stable`, or to read each once.
    pub settle: bool,
    /// Ends the waiting.
    pub cancel: &'a Cancel,
}

/// When in a run gates are read outside of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Before its first change.
    Before,
    /// When somebody asks.
    Asked,
    /// After its way back.
    Back,
}

/// Reads gates: one result each, in their order.
pub type GateReader = fn(&GateRequest<'_>) -> Vec<GateResult>;

impl Session<'_> {
    pub(super) fn gates(
        &mut self,
        id: u64,
        address: &AppAddress,
        gates: Option<Gates>,
        settle: bool,
    ) -> Answer {
        let app = self.app(address)?;
        let gates = match gates {
            Some(gates) => gates,
            None => self.standing_gates(&app)?,
        };
        let results = self.read_gates(&app, &gates, settle);
        for result in &results {
            self.tell_gate(id, &app, result, When::Asked);
        }
        Ok(Reply::Gates(results))
    }

    /// The gates of the generation that stands.
    pub(super) fn standing_gates(&self, app: &App) -> Result<Gates, super::protocol::Refusal> {
        let ledger = self.ledger(app)?;
        let current = ledger.as_ref().and_then(|ledger| ledger.current());
        Ok(current.map(|it| it.gates.clone()).unwrap_or_default())
    }

    pub(super) fn read_gates(&self, app: &App, gates: &Gates, settle: bool) -> Vec<GateResult> {
        let cancel = self.cancels.of(&app.address.app);
        self.read_gates_until(app, (gates, settle), &cancel)
    }

    pub(super) fn read_gates_until(
        &self,
        app: &App,
        (gates, settle): (&Gates, bool),
        cancel: &Cancel,
    ) -> Vec<GateResult> {
        if gates.gates.is_empty() {
            return Vec::new();
        }
        let results = (self.options.gates)(&GateRequest {
            host: self.host,
            gates,
            settle,
            cancel,
        });
        self.masked(app, results)
    }

    pub(super) fn tell_gate(&self, id: u64, app: &App, result: &GateResult, when: When) {
        self.out.event(
            id,
            EventKind::GateRead {
                host: app.address.host.clone(),
                app: app.address.app.clone(),
                result: result.clone(),
                baseline: when == When::Before,
                back: when == When::Back,
                step: None,
            },
        );
    }
}
