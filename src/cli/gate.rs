//! Reading gates now, and what they say as an exit code.

use std::collections::BTreeMap;

use crate::fleet::Events;
use crate::fleet::ask::AskError;
use crate::model::{EventKind, GateResult, Gates, Member, Verdict};

use super::deployment::{Deployment, asking};
use super::error::CommandError;
use super::exit::Exit;

/// What gates have said.
pub(super) type Results = BTreeMap<Member, Vec<GateResult>>;

/// Reads the gates of members, all hosts at once: those given, or those of what stands. `settle`
/// waits until they are stable; otherwise each is read once.
///
/// # Errors
/// Exit code 4 when a host is lost.
pub(super) async fn read(
    deployment: &Deployment,
    gates: BTreeMap<Member, Option<Gates>>,
    settle: bool,
    events: &Events,
) -> Result<Results, CommandError> {
    let (results, errors) = read_some(deployment, gates, settle, events).await;
    if errors.is_empty() {
        Ok(results)
    } else {
        Err(asking(&errors))
    }
}

/// The same of the hosts that answer, and why the others don't.
pub(super) async fn read_some(
    deployment: &Deployment,
    gates: BTreeMap<Member, Option<Gates>>,
    settle: bool,
    events: &Events,
) -> (Results, Vec<AskError>) {
    let mut tasks = Vec::new();
    for (member, gates) in gates {
        let (Some(connection), Some(address)) = (
            deployment.fleet.get(&member.host),
            deployment.addresses.get(&member),
        ) else {
            continue;
        };
        let (connection, address) = (connection.clone(), address.clone());
        tasks.push(tokio::spawn(async move {
            (member, connection.gates(address, gates, settle).await)
        }));
    }
    let mut results = BTreeMap::new();
    let mut errors = Vec::new();
    for task in tasks {
        match task.await {
            Ok((member, Ok(read))) => {
                for result in &read {
                    let Member { host, app } = member.clone();
                    let result = result.clone();
                    events.emit(EventKind::GateRead {
                        host,
                        app,
                        result,
                        baseline: false,
                        back: false,
                        step: None,
                    });
                }
                results.insert(member, read);
            }
            Ok((_, Err(error))) => errors.push(error),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    (results, errors)
}

/// The code of the first gate that failed; 9 when none did but one was inconclusive; else 0.
pub(super) fn exit_of<'a>(results: impl IntoIterator<Item = &'a GateResult> + Clone) -> Exit {
    let failed = results
        .clone()
        .into_iter()
        .find(|result| result.verdict == Verdict::Failed);
    if let Some(result) = failed {
        return Exit::of_gate(result.class);
    }
    let open = results
        .into_iter()
        .any(|result| result.verdict == Verdict::Inconclusive);
    if open { Exit::UNAPPROVED } else { Exit::DONE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gate::GateClass;

    fn result(class: GateClass, verdict: Verdict) -> GateResult {
        GateResult {
            gate: "it".to_owned(),
            class,
            verdict,
            detail: String::new(),
            elapsed: 1,
        }
    }

    #[test]
    fn each_class_of_gates_has_its_code() {
        let classes = [
            (GateClass::Process, 11),
            (GateClass::Connection, 12),
            (GateClass::Database, 13),
            (GateClass::Command, 14),
            (GateClass::Performance, 15),
            (GateClass::Health, 16),
        ];
        for (class, code) in classes {
            assert_eq!(exit_of(&[result(class, Verdict::Failed)]), Exit(code));
            assert_eq!(exit_of(&[result(class, Verdict::Passed)]), Exit::DONE);
        }
    }

    #[test]
    fn the_first_that_failed_counts_and_before_all_that_are_open() {
        use GateClass::{Command, Connection, Health, Process};
        let passed = result(Process, Verdict::Passed);
        let open = result(Command, Verdict::Inconclusive);
        let failed = result(Health, Verdict::Failed);
        let later = result(Connection, Verdict::Failed);
        let all = [passed.clone(), open.clone(), failed, later];
        assert_eq!(exit_of(&all), Exit(16));
        assert_eq!(exit_of(&[passed, open]), Exit::UNAPPROVED);
    }
}
