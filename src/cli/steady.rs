//! Reading hosts while nobody changes them: what is read in the middle of a run is a picture of nothing.

use crate::fleet::prospect::{Prospect, Survey};
use crate::model::{EnvironmentName, FindingClass, Member, RunId};

use super::anew::heads;
use super::error::CommandError;
use super::exit::Exit;
use super::notes::refuse_busy;

/// How often all is read, where one run follows another.
const READINGS: u32 = 3;

/// Reads on what a survey shows, and looks again afterwards: where a run has begun or ended meanwhile,
/// all is read once more. Gives what it was read on too.
///
/// # Errors
/// Those of reading, where nobody was at the hosts; exit code 5 where somebody is.
pub(super) async fn steady<T>(
    environment: &EnvironmentName,
    mut survey: Survey,
    again: impl AsyncFn() -> Result<Survey, CommandError>,
    read: impl AsyncFn(&Survey) -> Result<T, CommandError>,
) -> Result<(Survey, T), CommandError> {
    for _ in 0..READINGS {
        refuse_busy(&survey, environment)?;
        let found = read(&survey).await;
        let after = again().await?;
        if is_same(&survey, &after) {
            return Ok((survey, found?));
        }
        survey = after;
    }
    refuse_busy(&survey, environment)?;
    let message = format!("{environment} is busy: one run follows another");
    Err(CommandError::new(Exit::LOCKED, message).hint("try again when they have ended"))
}

/// Whether a plan with which a command would end was made in the middle of somebody's run, and is to be
/// made again.
///
/// A plan that has become old is refused by the hosts when it begins. That nothing is to be done, or that
/// something is in the way, nobody refuses: all may have been as declared for a moment only, or a port or
/// file been that of a release which is to go back.
///
/// # Errors
/// Those of surveying once more, which is done only where the command would end.
pub(super) async fn is_disturbed(
    prospect: &Prospect,
    survey: &Survey,
    again: impl AsyncFnOnce() -> Result<Survey, CommandError>,
) -> Result<bool, CommandError> {
    let mut findings = prospect.findings.iter();
    let would_end =
        prospect.plan.is_empty() || findings.any(|finding| finding.class == FindingClass::Blocking);
    Ok(would_end && !is_same(survey, &again().await?))
}

/// Whether no run has begun, ended or been settled between two surveys, and none is under way.
pub(super) fn is_same(before: &Survey, after: &Survey) -> bool {
    let is_free = after.members.values().all(|app| app.holder.is_none());
    is_free && heads(before) == heads(after) && cut_off(before) == cut_off(after)
}

/// The runs that were cut off, and whether they were ready.
fn cut_off(survey: &Survey) -> Vec<(&Member, &RunId, bool)> {
    let cut = survey.members.iter().filter_map(|(member, app)| {
        let interrupted = app.interrupted.as_ref()?;
        Some((member, &interrupted.run, interrupted.ready))
    });
    cut.collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use super::*;
    use crate::fleet::testing::{Lab, address, member, step};
    use crate::model::{Finding, HostName, Plan, Step};

    async fn survey(lab: &Lab) -> Survey {
        let addresses = ["a", "b"].map(|host| (member(host), address(host)));
        let addresses = addresses.into_iter().collect();
        crate::fleet::prospect::survey(&lab.fleet, &addresses, BTreeMap::new())
            .await
            .unwrap()
    }

    /// Reads while `meanwhile` happens, which is told how often was read before. Gives how often it was read
    /// in all, and how that ended.
    async fn read_while(lab: &Lab, meanwhile: impl Fn(u32)) -> (u32, Result<u32, u8>) {
        let times = Cell::new(0);
        let environment = EnvironmentName::new("prod").unwrap();
        let first = survey(lab).await;
        let again = async || Ok(survey(lab).await);
        let read = async |_: &Survey| {
            meanwhile(times.get());
            times.set(times.get() + 1);
            Ok(times.get())
        };
        let ended = steady(&environment, first, again, read).await;
        let ended = ended.map(|(_, found)| found).map_err(|error| error.exit.0);
        (times.get(), ended)
    }

    fn lab() -> Lab {
        Lab::new(&[("a", vec![]), ("b", vec![])])
    }

    fn end_a_run(lab: &Lab, number: u32) {
        lab.host("b").ledger.head = Some(RunId(format!("another-{number}")));
    }

    #[tokio::test]
    async fn what_nobody_disturbs_is_read_once() {
        assert_eq!(read_while(&lab(), |_| {}).await, (1, Ok(1)));
    }

    #[tokio::test]
    async fn a_run_that_has_begun_meanwhile_is_told() {
        let lab = lab();
        let begin = |_| lab.host("b").locked = Some(RunId("another".to_owned()));
        assert_eq!(read_while(&lab, begin).await, (1, Err(5)));
    }

    #[tokio::test]
    async fn after_a_run_that_has_come_and_gone_all_is_read_again() {
        let lab = lab();
        let come_and_go = |times| {
            if times == 0 {
                end_a_run(&lab, 0);
            }
        };
        assert_eq!(read_while(&lab, come_and_go).await, (2, Ok(2)));
    }

    #[tokio::test]
    async fn one_run_after_the_other_is_no_time_to_read() {
        let lab = lab();
        let ended = read_while(&lab, |times| end_a_run(&lab, times)).await;
        assert_eq!(ended, (READINGS, Err(5)));
    }

    #[tokio::test]
    async fn a_run_that_was_settled_meanwhile_is_another_picture() {
        let lab = lab();
        lab.host("b").open = Some(RunId("another".to_owned()));
        assert_eq!(
            read_while(&lab, |_| lab.host("b").open = None).await,
            (2, Ok(2))
        );
    }

    /// Plans these steps, with something in the way or not; `meanwhile` happens before it is looked again.
    /// Gives whether the plan is to be made again, and whether it was looked at all.
    async fn disturbed(steps: Vec<Step>, blocked: bool, meanwhile: impl Fn(&Lab)) -> (bool, bool) {
        let lab = lab();
        let finding = Finding {
            class: if blocked {
                FindingClass::Blocking
            } else {
                FindingClass::Note
            },
            host: HostName::new("a").unwrap(),
            app: None,
            message: "the port is taken".to_owned(),
            remedy: None,
        };
        let prospect = Prospect {
            members: BTreeMap::new(),
            plan: Plan { steps },
            undo: Plan::default(),
            findings: vec![finding],
            changes: BTreeMap::new(),
        };
        let before = survey(&lab).await;
        let looked = Cell::new(false);
        let again = async || {
            looked.set(true);
            meanwhile(&lab);
            Ok(survey(&lab).await)
        };
        let disturbed = is_disturbed(&prospect, &before, again).await;
        (disturbed.ok().unwrap(), looked.get())
    }

    #[tokio::test]
    async fn what_would_end_a_command_is_believed_only_where_nobody_came_meanwhile() {
        let steps = || vec![step("a", "app", 1, &[])];
        let begin = |lab: &Lab| lab.host("b").locked = Some(RunId("another".to_owned()));
        let end = |lab: &Lab| end_a_run(lab, 0);
        for (steps, blocked) in [(vec![], false), (steps(), true)] {
            assert_eq!(
                disturbed(steps.clone(), blocked, |_| {}).await,
                (false, true)
            );
            assert_eq!(disturbed(steps.clone(), blocked, begin).await, (true, true));
            assert_eq!(disturbed(steps, blocked, end).await, (true, true));
        }
        // The hosts themselves refuse this one where it is old.
        assert_eq!(disturbed(steps(), false, begin).await, (false, false));
    }
}
