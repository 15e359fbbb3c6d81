//! The history of a run, kept beside it: whatever becomes of the record, the run goes on.

use tokio::sync::mpsc::UnboundedSender;

use crate::fleet::run::Run;
use crate::history::{About, History, HistoryError, Recorder};
use crate::model::Event;

use super::Session;
use super::arguments::Choice;
use super::project::Project;
use super::say::say;

/// A record in the making; none where there can't be one, which was said.
pub(super) struct Recording(Option<(UnboundedSender<Event>, Recorder)>);

impl Recording {
    /// Begins to record a run.
    pub fn begin(session: &Session, project: &Project, choice: &Choice, run: &Run) -> Self {
        let versions = run
            .parts
            .values()
            .filter_map(|part| part.generation.version.clone());
        let version = versions
            .max()
            .filter(|_| ["apply", "rollback"].contains(&run.command.as_str()));
        let (only, except) = (choice.only.clone(), choice.except.clone());
        let about = About {
            version,
            only,
            except,
        };
        let path = session.around.history_of(&project.directory);
        let begun = History::open(&path).and_then(|history| history.record(about));
        Self(begun.map_err(|error| warn(&error)).ok())
    }

    /// Where events go.
    pub fn sender(&self) -> Option<UnboundedSender<Event>> {
        self.0.as_ref().map(|(sender, _)| sender.clone())
    }

    /// Waits until all is written.
    pub async fn end(self) {
        let Some((sender, recorder)) = self.0 else {
            return;
        };
        drop(sender);
        let written = tokio::task::spawn_blocking(move || recorder.finish()).await;
        if let Ok(Err(error)) = written {
            warn(&error);
        }
    }
}

/// A history that can't be kept is worth a word, no more.
pub(super) fn warn(error: &HistoryError) {
    say!("rosey: the history is not kept: {error}");
}
