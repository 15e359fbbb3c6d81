//! An event in one line, for people.

use crate::model::{Action, EventKind, Verdict, Wave};

use super::text::{after, bytes, count, duration, steps, thing_of};

/// What happened, in one line; a failure may take several.
#[must_use]
pub fn message(event: &EventKind) -> String {
    match event {
        EventKind::RunStarted {
            run,
            environment,
            command,
            steps: number,
            hosts,
            ..
        } => {
            let (steps, hosts) = (steps(*number), count(hosts.len() as u64, "host"));
            format!("{command} {environment}: {steps} on {hosts} (run {run})")
        }
        EventKind::Waiting { host, reason } => match host {
            Some(host) => format!("{host}: waiting for {reason}"),
            None => format!("waiting for {reason}"),
        },
        EventKind::StepWaits { host, reason, .. } => format!("{host}: waiting for {reason}"),
        EventKind::Transfer {
            host,
            files,
            bytes: all,
            sent,
            done,
            ..
        } => {
            let (files, all) = (count(*files, "file"), bytes(*all));
            if *done {
                format!(
                    "{host}: received {files} ({all}, {} on the wire)",
                    bytes(*sent)
                )
            } else {
                format!("{host}: sending {files} ({all})")
            }
        }
        EventKind::WaveStarted { wave, of, hosts } => {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            if *wave == Wave::INERT {
                format!("preparing {}", hosts.join(", "))
            } else {
                format!("wave {} of {of}: {}", wave.0, hosts.join(", "))
            }
        }
        EventKind::StepStarted {
            host,
            action,
            step,
            within,
            ..
        } => {
            let what = thing_of(&step.0);
            match within {
                Some(within) => format!(
                    "{host}: waiting for the {what} (within {})",
                    duration(*within)
                ),
                None => format!("{host}: {action} {what}"),
            }
        }
        EventKind::StepDone {
            host,
            step,
            action,
            back,
            changed,
            elapsed,
            ..
        } => {
            let what = thing_of(&step.0);
            if *changed {
                let done = action.map_or("done", |action| done(action, *back));
                format!("{host}: {what} {done} in {}", duration(*elapsed))
            } else {
                format!("{host}: {what} was so already")
            }
        }
        EventKind::StepFailed {
            host, step, error, ..
        } => {
            format!("{host}: {} failed: {error}", thing_of(&step.0))
        }
        EventKind::GateRead {
            host,
            result,
            baseline,
            back,
            ..
        } => {
            let when = match (baseline, back) {
                (true, _) => " (before the run)",
                (_, true) => " (after the way back)",
                _ => "",
            };
            match result.verdict {
                Verdict::Passed => format!("{host}: gate {} passed{when}", result.gate),
                verdict => format!(
                    "{host}: gate {} {verdict}{when}: {}",
                    result.gate, result.detail
                ),
            }
        }
        EventKind::GoingBack { host, reason, .. } => format!("{host}: going back: {reason}"),
        EventKind::WentBack {
            host,
            complete,
            problems,
            steps: number,
            elapsed,
            ..
        } => {
            if *complete {
                format!(
                    "{host}: back as it was ({} in {})",
                    steps(*number),
                    duration(*elapsed)
                )
            } else {
                format!("{host}: NOT back as it was: {}", problems.join("; "))
            }
        }
        EventKind::Committed { generation, hosts } => {
            format!(
                "generation {generation} stands on {}",
                count(hosts.len() as u64, "host")
            )
        }
        EventKind::Pruned {
            host,
            count: number,
            bytes: all,
            ..
        } => {
            format!(
                "{host}: pruned {} ({})",
                count(*number, "thing"),
                bytes(*all)
            )
        }
        EventKind::CutOff {
            host,
            app,
            run,
            command,
            user,
            steps,
            forward,
        } => {
            let goes = if *forward {
                "is committed, as on the other hosts"
            } else {
                "goes back to how it was before"
            };
            format!(
                "{host}: {app}: the run {run} ({command} by {user}) was cut off {} and {goes}",
                after(steps)
            )
        }
        EventKind::Note { host, text } => match host {
            Some(host) => format!("{host}: {text}"),
            None => text.clone(),
        },
        EventKind::PlannedAnew { run } => {
            format!("what the run {run} was planned on has changed: planning anew")
        }
        EventKind::Outcome(outcome) => super::outcome::summary(outcome),
    }
}

/// What a step has done, in one word or two; on the way back, what was there before is put back.
fn done(action: Action, back: bool) -> &'static str {
    match action {
        Action::Create | Action::Update if back => "put back",
        Action::Create => "created",
        Action::Update => "updated",
        Action::Remove => "removed",
        Action::Run => "ran",
        Action::Undo => "undone",
        Action::Note => "noted as run",
        Action::Start => "started",
        Action::Restart => "restarted",
        Action::Reload => "reloaded",
        Action::Stop => "stopped",
        Action::Enable => "enabled",
        Action::Disable => "disabled",
        Action::Take => "taken",
        Action::Restore => "restored",
        Action::Check => "passed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HostName, StepId};

    fn told(step: &str, action: Action, back: bool) -> String {
        message(&EventKind::StepDone {
            host: HostName::new("a").unwrap(),
            app: crate::model::AppName::new("bot").unwrap(),
            step: StepId(step.to_owned()),
            action: Some(action),
            back,
            changed: true,
            elapsed: 120,
        })
    }

    #[test]
    fn a_step_says_what_it_did_and_which_way() {
        let lines = [
            told("a/bot/link:/opt/bot/current", Action::Update, false),
            told("a/bot/link:/opt/bot/current", Action::Update, true),
            told("a/bot/release:/opt/bot/releases/2", Action::Remove, true),
            told("a/bot/gates:bot#check", Action::Check, false),
            told("a/bot/backup:bot#take", Action::Take, false),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        a: link /opt/bot/current updated in 0.1 s
        a: link /opt/bot/current put back in 0.1 s
        a: release /opt/bot/releases/2 removed in 0.1 s
        a: gates of bot passed in 0.1 s
        a: backup of bot taken in 0.1 s
        ");
    }
}
