//! Removing what no kept generation needs, after the commit.
//!
//! What is to go is written down before the ledger forgets it, so that a prune that is cut off is
//! ended by the next one and nothing is lost sight of. What goes is decided in [`crate::step::prune`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::ledger;
use super::protocol::Reply;
use super::registry::{read_if_there, write_durably};
use super::session::{Answer, Session};
use crate::content::{Removed, Store};
use crate::host::HostError;
use crate::model::{AppName, RunId};
use crate::step::prune::{Choice, Pruning, choose};

impl Session<'_> {
    pub(super) fn prune(
        &mut self,
        run: &RunId,
        name: &AppName,
        releases: u32,
        backups: u32,
    ) -> Answer {
        let app = self.locked_by(name, run)?;
        let Some(mut ledger) = self.ledger(&app)? else {
            return Ok(Reply::Pruned { count: 0, bytes: 0 });
        };
        let list = app.places.state.join("prune.json");
        let earlier: BTreeSet<PathBuf> = read_if_there(self.host.as_read(), &list)?
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let choice = Choice {
            kinds: self.options.kinds,
            places: &app.places,
            releases,
        };
        let going = choose(&choice, &mut ledger, earlier);
        let pruning = Pruning {
            host: self.host,
            places: &app.places,
            run,
        };
        let mut removed = Removed::default();
        if !going.is_empty() {
            self.write_list(&list, &going)?;
            ledger::store(self.host, &app.places.state, &ledger, self.registry.user())?;
            let (gone, stay) = pruning.remove(going)?;
            removed += gone;
            self.write_list(&list, &stay)?;
        }
        removed += pruning.remove_backups(backups)?;
        let store = Store::new(self.host, &app.places, self.registry.seal());
        removed += pruning.remove_content(&store, &ledger)?;
        Ok(Reply::Pruned {
            count: removed.count,
            bytes: removed.bytes,
        })
    }

    fn write_list(&self, list: &Path, trees: &BTreeSet<PathBuf>) -> Result<(), HostError> {
        let text = serde_json::to_vec(trees).unwrap_or_default();
        write_durably(self.host, list, &text, self.registry.user())
    }
}
