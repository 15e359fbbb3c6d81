//! The second phase: the journals are opened everywhere, and the baseline is read.

use super::conduct::{Conduct, Interruption};
use crate::helper::protocol::Begin;
use crate::model::EventKind;

impl Conduct {
    /// Opens the run on every member. Whoever refuses refuses for all: nothing has changed yet.
    pub(super) async fn begin(&mut self) -> Result<(), Interruption> {
        let members = self.taking_part();
        let set = self.on_each(&members, |member, connection| {
            let part = self.part(member);
            let begin = Begin {
                run: self.run.id.clone(),
                app: part.address.clone(),
                plan: self.run.plan.on(&member.host).of(&member.app),
                head: part.head.clone(),
                members: self.run.parts.keys().cloned().collect(),
                author: self.run.author.clone(),
                command: self.run.command.clone(),
                guard: u64::try_from(self.run.pace.guard.as_millis()).unwrap_or(u64::MAX),
            };
            let events = self.events.clone();
            async move { connection.begin(begin, &events).await }
        });
        for (member, begun) in self.all_answered(set).await? {
            for result in begun.baseline {
                self.events.emit(EventKind::GateRead {
                    host: member.host.clone(),
                    app: member.app.clone(),
                    result,
                    baseline: true,
                    back: false,
                    step: None,
                });
            }
        }
        Ok(())
    }
}
