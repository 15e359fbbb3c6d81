//! `rosey freeze`: nothing is applied any more until it is lifted; a rollback still is.
//!
//! It lies in the ledgers of the servers, so that it holds for every controller.

use crate::fleet::prospect::Survey;
use crate::helper::protocol::Marks;
use crate::model::{EnvironmentName, Freeze, Member};

use super::arguments;
use super::deployment::Deployment;
use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;
use super::say::say;
use super::surroundings::Surroundings;
use super::{Session, marking};

pub(super) async fn run(
    session: &Session,
    arguments: arguments::Freeze,
) -> Result<Exit, CommandError> {
    let now = jiff::Timestamp::now();
    let until = arguments
        .until
        .as_deref()
        .map(|until| end(until, now))
        .transpose()?;
    let project = Project::open_standing(&session.around, Some(&arguments.environment))?;
    // Every chosen host must be there: one that didn't hear of it would take the next apply.
    let mut deployment = Deployment::reach(session, project, &arguments.choice, None).await?;
    let survey = deployment.survey_all().await?;
    let members = known(&survey);
    if members.is_empty() {
        let message = format!(
            "nothing of {} was ever applied, so there is nothing to freeze",
            arguments.environment
        );
        return Err(CommandError::new(Exit::BLOCKED, message));
    }
    let freeze = Freeze {
        author: session.around.author(None, Some(arguments.reason)),
        at: Surroundings::now(),
        until: until.map(jiff::Timestamp::as_second),
    };
    let words = describe(&freeze);
    let marks = Marks {
        freeze: Some(Box::new(freeze)),
        ..Marks::default()
    };
    marking::mark(session, &deployment, &members, marks, "freeze").await?;
    for member in &members {
        say!("{member}: {words}");
    }
    say!("lift it: rosey unfreeze {}", arguments.environment);
    Ok(Exit::DONE)
}

/// Members that have a ledger, in which a freeze can lie.
pub(super) fn known(survey: &Survey) -> Vec<Member> {
    let members = survey.members.iter();
    let known = members.filter(|(_, app)| app.ledger.is_some());
    known.map(|(member, _)| member.clone()).collect()
}

/// Refuses while any host of a command is frozen.
///
/// # Errors
/// Exit code 5, with who froze it, why, and until when.
pub(super) fn refuse_frozen(
    survey: &Survey,
    environment: &EnvironmentName,
) -> Result<(), CommandError> {
    let now = jiff::Timestamp::now().as_second();
    for (member, app) in &survey.members {
        let freeze = app.ledger.as_ref().and_then(|ledger| ledger.frozen(now));
        if let Some(freeze) = freeze {
            let message = format!("{member} is {}", describe(freeze));
            let hint = format!(
                "wait, or lift it: rosey unfreeze {environment}\nrosey rollback {environment} is not refused"
            );
            return Err(CommandError::new(Exit::LOCKED, message).hint(hint));
        }
    }
    Ok(())
}

/// `frozen by ann since 2026-11-20T10:00:00Z until …: the fair`.
pub(super) fn describe(freeze: &Freeze) -> String {
    let Freeze { author, at, until } = freeze;
    let until = until.and_then(|until| jiff::Timestamp::from_second(until).ok());
    let until = match until {
        Some(until) => format!("until {until}"),
        None => "until it is lifted".to_owned(),
    };
    let reason = author.reason.as_deref().unwrap_or("no reason was given");
    let who = author.ci_actor.as_deref().unwrap_or(&author.user);
    format!(
        "frozen by {who} ({}) since {at} {until}: {reason}",
        author.machine
    )
}

/// When a freeze ends: a time (here, where it names no zone), a date (its first moment), or a duration from now.
fn end(text: &str, now: jiff::Timestamp) -> Result<jiff::Timestamp, CommandError> {
    let wrong = |why: &str| {
        CommandError::new(Exit::ERROR, format!("--until {text:?} {why}"))
            .hint("such as 2h, 3d, 2026-12-01T08:00:00Z, or 2026-12-01")
    };
    let zoned = |date: jiff::civil::DateTime| {
        let zoned = date.to_zoned(jiff::tz::TimeZone::system()).ok();
        zoned.map(|zoned| zoned.timestamp())
    };
    let lasting = || {
        let lasting: jiff::Span = text.parse().ok()?;
        let here = now.to_zoned(jiff::tz::TimeZone::system());
        here.checked_add(lasting).ok().map(|it| it.timestamp())
    };
    let end = text
        .parse::<jiff::Timestamp>()
        .ok()
        .or_else(lasting)
        .or_else(|| zoned(text.parse().ok()?))
        .ok_or_else(|| wrong("is neither a time nor a duration"))?;
    if end <= now {
        return Err(wrong("is over already"));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_times_dates_and_durations_that_lie_ahead() {
        let now: jiff::Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let end = |text| end(text, now).map_err(|error| error.words());
        assert_eq!(end("2h").unwrap().to_string(), "2026-11-20T12:00:00Z");
        assert_eq!(end("90m").unwrap().to_string(), "2026-11-20T11:30:00Z");
        assert_eq!(
            end("2026-12-01T08:00:00+01:00").unwrap().to_string(),
            "2026-12-01T07:00:00Z"
        );
        assert!(end("2026-12-01").unwrap() > now);
        assert!(end("3d").unwrap() > now);
        let day = end("2030-01-01").unwrap();
        for time in [
            "2030-01-01 10:30",
            "2030-01-01T10:30",
            "2030-01-01T10:30:00",
        ] {
            assert_eq!(
                end(time).unwrap(),
                day + jiff::SignedDuration::from_mins(630)
            );
        }
        assert!(
            end("2026-11-19T10:00:00Z")
                .unwrap_err()
                .contains("over already")
        );
        assert!(end("-2h").unwrap_err().contains("over already"));
        assert!(end("soon").unwrap_err().contains("neither"));
        assert!(end("5").unwrap_err().contains("neither"));
    }

    #[test]
    fn a_freeze_says_who_why_and_until_when() {
        let mut freeze = Freeze {
            author: crate::model::Author {
                user: "ann".to_owned(),
                machine: "desk".to_owned(),
                reason: Some("the fair".to_owned()),
                ..Default::default()
            },
            at: "2026-11-20T10:00:00Z".to_owned(),
            until: None,
        };
        assert_eq!(
            describe(&freeze),
            "frozen by ann (desk) since 2026-11-20T10:00:00Z until it is lifted: the fair"
        );
        freeze.until = Some(0);
        assert!(describe(&freeze).contains("until 1970-01-01T00:00:00Z"));
    }
}
