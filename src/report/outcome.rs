//! The end of a run in words.

use crate::model::{Outcome, OutcomeKind};

use super::text::count;

/// How a run ended, in one line.
#[must_use]
pub fn summary(outcome: &Outcome) -> String {
    let hosts = count(outcome.hosts.len() as u64, "host");
    let run = outcome
        .run
        .as_ref()
        .map_or_else(String::new, |run| format!(" (run {run})"));
    match outcome.outcome {
        OutcomeKind::Applied => format!("applied on {hosts}{run}"),
        OutcomeKind::Unchanged => format!("unchanged: {hosts} as declared"),
        OutcomeKind::Unhealthy => {
            "unhealthy: everything is as declared, but a gate fails".to_owned()
        }
        OutcomeKind::RolledBack => format!("rolled back: {hosts} as before{run}"),
        OutcomeKind::GoingBack => {
            format!(
                "not settled: some hosts can't be read, and go back or stand as declared by themselves{run}; ask `rosey status`"
            )
        }
        OutcomeKind::Degraded => format!("degraded: not every host is as declared{run}"),
        OutcomeKind::Stuck => format!("STUCK: a person is needed{run}; ask `rosey status`"),
        OutcomeKind::Refused => "refused: nothing was begun".to_owned(),
        OutcomeKind::Cancelled if outcome.hosts.is_empty() => format!("cancelled{run}"),
        OutcomeKind::Cancelled => format!("cancelled: {hosts} as before{run}"),
    }
}
