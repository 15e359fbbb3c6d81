//! A plan in words: what will happen, in what order, why, and how each step is undone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::content::{PathChange, PathChangeKind};
use crate::model::{
    Action, Finding, FindingClass, HostName, Label, Plan, Reason, ResourceId, ResourceKind, Step,
    StepKind, Wave,
};

use super::text::{count, duration, steps, thing, thing_of};
use super::variables::{VariableChange, variables_text};

/// A plan with all that is shown beside it.
pub struct PlanView<'a> {
    /// The environment.
    pub environment: &'a str,
    /// The versions of its apps.
    pub versions: &'a BTreeMap<String, String>,
    /// The plan.
    pub plan: &'a Plan,
    /// The way back, as it would be planned after the plan.
    pub undo: &'a Plan,
    /// What was found beside the differences.
    pub findings: &'a [Finding],
    /// Files inside resources that differ; of a new release, from the one that stands.
    pub changes: &'a BTreeMap<ResourceId, Vec<PathChange>>,
    /// Variables that are declared otherwise than for what stands.
    pub variables: &'a [VariableChange],
    /// How long the last restart of each service took, in milliseconds, where it is known.
    pub restarts: &'a BTreeMap<ResourceId, u64>,
    /// Whether the way back is shown step by step.
    pub show_undo: bool,
}

/// How many paths of a resource are named before the rest is counted.
const PATHS_SHOWN: usize = 12;

/// The same for what is only new, against what stands.
const NEW_PATHS_SHOWN: usize = 5;

/// The whole plan as text; ends with a line break.
#[must_use]
pub fn plan_text(view: &PlanView<'_>) -> String {
    let mut text = String::new();
    if view.plan.is_empty() {
        let _ = writeln!(text, "{}: nothing to do", view.environment);
    } else {
        let _ = writeln!(text, "{}", headline(view));
        text += &variables_text(view.variables, hosts(view.plan).len());
        body(&mut text, view.plan, view.changes);
        away(&mut text, view);
    }
    if view.show_undo && !view.undo.is_empty() {
        let _ = writeln!(
            text,
            "\nthe way back, should it fail: {}",
            steps(view.undo.steps.len())
        );
        body(&mut text, view.undo, &BTreeMap::new());
    }
    findings(&mut text, view.findings);
    text
}

fn headline(view: &PlanView<'_>) -> String {
    let plan = view.plan;
    let versions: Vec<_> = view
        .versions
        .iter()
        .map(|(app, version)| format!("{app} {version}"))
        .collect();
    let worst = plan
        .steps
        .iter()
        .map(|step| step.label)
        .max()
        .unwrap_or(Label::Reversible);
    let labels = match worst {
        Label::Reversible => "all reversible".to_owned(),
        Label::Compensable => {
            let number = plan.steps.iter().filter(|step| step.label == worst).count();
            format!("{number} compensable, the rest reversible")
        }
        Label::Irreversible => {
            format!(
                "{} IRREVERSIBLE: needs --allow-irreversible",
                plan.irreversible().count()
            )
        }
    };
    let (steps, hosts) = (
        steps(plan.steps.len()),
        count(hosts(plan).len() as u64, "host"),
    );
    // A remove and a heal go to no version.
    let versions = match versions.join(", ") {
        none if none.is_empty() => none,
        versions => format!(": {versions}"),
    };
    format!(
        "{}{versions}: {steps} on {hosts}, {labels}",
        view.environment
    )
}

fn hosts(plan: &Plan) -> BTreeSet<&HostName> {
    plan.steps.iter().map(|step| &step.resource.host).collect()
}

fn body(text: &mut String, plan: &Plan, changes: &BTreeMap<ResourceId, Vec<PathChange>>) {
    let last = plan
        .steps
        .iter()
        .map(|step| step.wave)
        .max()
        .unwrap_or(Wave::INERT);
    for wave in 0..=last.0 {
        let of_wave: Vec<&Step> = plan
            .steps
            .iter()
            .filter(|step| step.wave == Wave(wave))
            .collect();
        if of_wave.is_empty() {
            continue;
        }
        let title = match wave {
            0 => "first, unseen by what runs".to_owned(),
            _ if last.0 == 1 => "then".to_owned(),
            _ => format!("wave {wave} of {}", last.0),
        };
        let _ = writeln!(text, "\n{title}");
        let mut by_host: BTreeMap<&HostName, Vec<&Step>> = BTreeMap::new();
        for step in of_wave {
            by_host.entry(&step.resource.host).or_default().push(step);
        }
        for (host, steps) in by_host {
            let _ = writeln!(text, "  {host}");
            for step in steps {
                line(
                    text,
                    step,
                    plan,
                    changes.get(&step.resource).map_or(&[], Vec::as_slice),
                );
            }
        }
    }
}

fn line(text: &mut String, step: &Step, plan: &Plan, paths: &[PathChange]) {
    let label = match step.label {
        Label::Reversible => "",
        Label::Compensable => "  (compensable)",
        Label::Irreversible => "  (IRREVERSIBLE)",
    };
    let what = thing(&step.resource.kind, &step.resource.name);
    let _ = writeln!(text, "    {:<8} {what}{label}", step.action.as_str());
    if let Some(first) = same_content(step) {
        let _ = writeln!(
            text,
            "             the content of {first}, with other rendered bytes"
        );
    }
    if step.action == Action::Note {
        let _ = writeln!(text, "             {}", note_text(step, plan));
    }
    // What a kind reads beside what is declared (the owner of a link) has no old value on the way to
    // what was read: that is no reason by itself.
    let is_read = |reason: &Reason| reason.old.is_none() && reason.because.is_none();
    let all_read = step.reasons.iter().all(is_read);
    let changes = step.from.is_some() && step.to.is_some();
    for reason in step
        .reasons
        .iter()
        .filter(|reason| changes && (all_read || !is_read(reason)))
    {
        let _ = writeln!(text, "             {}", reason_text(reason));
    }
    // What differs of the resource itself is said by the reasons; but not who has made what goes.
    let is_extra = |path: &PathChange| path.change == PathChangeKind::Extra;
    let inside = |path: &&PathChange| path.path != step.resource.name || is_extra(path);
    let paths: Vec<_> = paths.iter().filter(inside).collect();
    let shown = match step.from {
        // Not wrong, but new: a few are enough to know what it is about.
        None => NEW_PATHS_SHOWN,
        Some(_) => PATHS_SHOWN,
    };
    for path in paths.iter().take(shown) {
        let path = match step.from {
            None => new_path_text(path),
            Some(_) => path_text(path),
        };
        let _ = writeln!(text, "             {path}");
    }
    if paths.len() > shown {
        let _ = writeln!(text, "             and {} more", paths.len() - shown);
    }
}

/// One reason: `target: releases/a → releases/b`.
pub(super) fn reason_text(reason: &Reason) -> String {
    let value = |value: &Option<crate::model::Value>| match value {
        Some(value) => shortened(&value.to_string()),
        None => "absent".to_owned(),
    };
    match &reason.because {
        Some(cause) => format!("because of {}", thing_of(&cause.0)),
        None => format!(
            "{}: {} → {}",
            reason.attribute,
            value(&reason.old),
            value(&reason.new)
        ),
    }
}

/// Digests are told apart by their first digits.
fn shortened(text: &str) -> String {
    let digits = text.strip_prefix("sealed:").unwrap_or(text);
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        digits[..12].to_owned()
    } else {
        text.to_owned()
    }
}

pub(super) fn path_text(path: &PathChange) -> String {
    let word = match path.change {
        crate::content::PathChangeKind::Modified => "modified",
        crate::content::PathChangeKind::Missing => "missing",
        crate::content::PathChangeKind::Extra => "extra",
    };
    let mut text = format!("{word} {}", path.path);
    if !path.detail.is_empty() {
        let _ = write!(text, " ({})", path.detail);
    }
    if let (Some(owner), Some(at)) = (&path.owner, &path.modified_at) {
        let _ = write!(text, ", by {owner} at {at}");
    }
    text
}

/// The name of the release whose content a new one has too: `1.4.2-3fa9c1d2e0b7` of `1.4.2-3fa9c1d2e0b7-2`.
fn same_content(step: &Step) -> Option<&str> {
    let made = step.resource.kind == ResourceKind::RELEASE && step.from.is_none();
    let name = step.resource.name.rsplit('/').next().filter(|_| made)?;
    let (first, number) = name.rsplit_once('-')?;
    let (_, digest) = first.rsplit_once('-')?;
    let is_digest = digest.len() == 12 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = number.len() < 12 && number.parse::<u32>().is_ok();
    (is_digest && is_number).then_some(first)
}

/// Who does what is only noted here.
fn note_text(step: &Step, plan: &Plan) -> String {
    let id = &step.resource;
    let doer = plan.steps.iter().find(|other| {
        let other_id = &other.resource;
        other.action != Action::Note
            && (&other_id.app, &other_id.kind, &other_id.name) == (&id.app, &id.kind, &id.name)
    });
    match doer {
        Some(doer) => format!("not run here, but once for all on {}", doer.resource.host),
        None => "not run here: it was run once for all on another host".to_owned(),
    }
}

/// How a path of a new release is against the one that stands.
fn new_path_text(path: &PathChange) -> String {
    let word = match path.change {
        crate::content::PathChangeKind::Modified => "changed",
        crate::content::PathChangeKind::Missing => "added",
        crate::content::PathChangeKind::Extra => "left out",
    };
    match path.change {
        crate::content::PathChangeKind::Modified if path.detail != "content" => {
            format!("{word} {} ({})", path.path, path.detail)
        }
        _ => format!("{word} {}", path.path),
    }
}

/// For how long what runs is away.
fn away(text: &mut String, view: &PlanView<'_>) {
    let services = view
        .plan
        .steps
        .iter()
        .filter(|step| step.kind == StepKind::RESTART);
    let mut lines = Vec::new();
    for step in services {
        let (host, name) = (&step.resource.host, &step.resource.name);
        match step.action {
            Action::Restart => {
                let last = view.restarts.get(&step.resource).copied();
                lines.push(format!(
                    "{name} on {host} is away while it restarts{}",
                    how_long(step, last)
                ));
            }
            Action::Stop if step.to.is_some() => {
                lines.push(format!(
                    "{name} on {host} is away from its stop to its start, and as long as what is done between takes"
                ));
            }
            Action::Stop | Action::Remove => lines.push(format!("{name} on {host} goes for good")),
            _ => {}
        }
    }
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{}", lines.join("\n"));
    }
}

/// How long a restart took the last time, and how long it may take.
fn how_long(step: &Step, last: Option<u64>) -> String {
    let settings = step.to.as_ref().map(|to| &to.settings);
    let limit = |name: &str| {
        let value = settings.and_then(|settings| settings.get(name));
        value
            .and_then(crate::model::Value::as_int)
            .and_then(|value| u64::try_from(value).ok())
    };
    let most = match (limit("stop_timeout"), limit("start_timeout")) {
        (Some(stop), Some(start)) => Some(stop.saturating_add(start)),
        _ => None,
    };
    let last = last.map(|last| match last {
        0..100 => "under 0.1 s the last time".to_owned(),
        _ => format!("{} the last time", duration(last)),
    });
    let most = most.map(|most| format!("at most {}", duration(most)));
    let words: Vec<_> = last.into_iter().chain(most).collect();
    if words.is_empty() {
        return String::new();
    }
    format!(": {}", words.join(", "))
}

fn findings(text: &mut String, findings: &[Finding]) {
    for finding in findings {
        let word = match finding.class {
            FindingClass::Note => "note",
            FindingClass::Blocking => "BLOCKED",
        };
        let _ = writeln!(text, "\n{word}: {}: {}", finding.host, finding.message);
        if let Some(remedy) = &finding.remedy {
            for line in remedy.lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
}
