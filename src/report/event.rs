//! An event in one line, for people.

use crate::model::{EventKind, Verdict, Wave};

use super::text::{bytes, count, duration, steps};

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
            resource,
            ..
        } => format!("{host}: {action} {resource}"),
        EventKind::StepDone {
            host,
            step,
            changed,
            elapsed,
            ..
        } => {
            let what = part_of_id(&step.0);
            if *changed {
                format!("{host}: {what} done in {}", duration(*elapsed))
            } else {
                format!("{host}: {what} was done already")
            }
        }
        EventKind::StepFailed {
            host, step, error, ..
        } => {
            format!("{host}: {} failed: {error}", part_of_id(&step.0))
        }
        EventKind::GateRead {
            host,
            result,
            baseline,
            ..
        } => {
            let before = if *baseline { " (before the run)" } else { "" };
            match result.verdict {
                Verdict::Passed => format!("{host}: gate {} passed{before}", result.gate),
                verdict => format!(
                    "{host}: gate {} {verdict}{before}: {}",
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
        EventKind::Note { host, text } => match host {
            Some(host) => format!("{host}: {text}"),
            None => text.clone(),
        },
        EventKind::Outcome(outcome) => super::outcome::summary(outcome),
    }
}

/// `link:/opt/x/current` of `host/app/link:/opt/x/current`, with a space for the colon.
fn part_of_id(id: &str) -> String {
    let resource = id.splitn(3, '/').nth(2).unwrap_or(id);
    resource.replacen(':', " ", 1)
}
