//! What `task` wants.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Declaration, Problem};
use crate::content::{EntryPath, Manifest, ManifestEntry};
use crate::model::{Digest, Resource, ResourceKind, Value};
use crate::step::desired::{Desired, entry_path};
use crate::step::sync::desire::{file, own_directory};

use super::declare::TaskDeclaration;

/// How long a task may take where nothing is declared: ten minutes.
const TIMEOUT: u64 = 10 * 60 * 1000;

/// A link in the release's tree to what a task with `output` makes.
pub fn shape(declaration: &Declaration, desired: &mut Desired<'_>) {
    let task: TaskDeclaration = Desired::typed(declaration);
    let Some(output) = &task.output else { return };
    let Some(stamp) = stamp(&task, declaration, desired) else {
        return;
    };
    desired.put_link(output, &format!("built/{}/{output}", built(&task, &stamp)));
}

/// The task itself.
pub fn desire(declaration: &Declaration, desired: &mut Desired<'_>) {
    let task: TaskDeclaration = Desired::typed(declaration);
    let Some(stamp) = stamp(&task, declaration, desired) else {
        return;
    };
    let release = desired.release().path.to_string_lossy().into_owned();
    let Some(environment) = environment(&task, declaration, desired) else {
        return;
    };
    let user = match (&task.user, desired.site.root) {
        (Some(user), _) => user.to_string(),
        (None, true) => desired.site.app_owner.user.clone(),
        (None, false) => desired.site.owner.user.clone(),
    };
    let inputs: Vec<&str> = task
        .inputs
        .iter()
        .map(crate::model::names::TreePath::as_str)
        .collect();
    let mut uses = vec![release.clone()];
    let mut resource = Resource::new()
        .with("stamp", stamp)
        .setting("run", task.run.as_str())
        .setting("inputs", inputs)
        .setting("release", release.as_str())
        .setting("user", user.as_str())
        .setting("owner", desired.site.owner.user.as_str())
        .setting("group", desired.site.owner.group.as_str())
        .setting(
            "timeout",
            task.timeout.map_or(TIMEOUT, |time| time.as_millis() as u64) as i64,
        )
        .setting("once", task.once)
        .setting("compatible", task.compatible)
        .setting("env", Value::Map(environment.plain));
    if let Some(undo) = &task.undo {
        resource = resource.setting("undo", undo.as_str());
    }
    if let Some((path, bytes)) = environment.secret {
        let digest = desired.content(&format!("task {} env", task.name), bytes, true);
        let owner = desired.site.owner.user.clone();
        let group = if desired.site.root {
            "root".to_owned()
        } else {
            desired.site.owner.group.clone()
        };
        let secrets = file(digest, "0600", &owner, &group).setting("secret", true);
        desired.want(ResourceKind::FILE, path.as_str(), secrets);
        resource = resource.setting("env_file", path.as_str());
        uses.push(path);
    }
    let name = match &task.output {
        Some(output) => {
            let built = desired.below_root(&format!("built/{}", built(&task, &stamp)));
            resource = resource
                .setting("output", output.as_str())
                .setting("built", built.as_str())
                .setting("directory", built.as_str());
            built
        }
        None => {
            // Unlike what is built from a copy of its inputs, it runs in the release, and may use all that this leads to.
            uses.extend(desired.referred.iter().cloned());
            resource = resource.setting("directory", release);
            desired.before_shown.insert(task.name.to_string());
            task.name.to_string()
        }
    };
    desired.want(ResourceKind::TASK, name, resource.setting("uses", uses));
}

/// `<task>-<12 of the stamp>`.
fn built(task: &TaskDeclaration, stamp: &Digest) -> String {
    format!("{}-{}", task.name, stamp.short())
}

/// The digest of a task's definition and inputs; none where an input is missing, which is noted.
fn stamp(
    task: &TaskDeclaration,
    declaration: &Declaration,
    desired: &mut Desired<'_>,
) -> Option<Digest> {
    let mut inputs = Manifest::default();
    let mut missing = BTreeSet::new();
    for input in &task.inputs {
        let path = entry_path(input);
        let below = [path.as_bytes(), b"/"].concat();
        let found: Vec<(EntryPath, ManifestEntry)> = desired
            .tree
            .entries
            .iter()
            .filter(|(it, _)| **it == path || it.as_bytes().starts_with(&below))
            .map(|(it, entry)| (it.clone(), entry.clone()))
            .collect();
        if found.is_empty() {
            missing.insert(input.as_str());
        }
        inputs.entries.extend(found);
    }
    if !missing.is_empty() {
        let names: Vec<_> = missing.into_iter().collect();
        let message = format!("the source has no {}", names.join(", "));
        let problem = Problem::new(message)
            .at(declaration.place, "an input of this task")
            .help("paths of inputs are inside the source; is it excluded?");
        if !desired
            .problems
            .iter()
            .any(|known| known.message() == problem.message())
        {
            desired.problems.push(problem);
        }
        return None;
    }
    // The platform counts only where something is made that may depend on it.
    let platform = if task.output.is_some() {
        desired.site.platform
    } else {
        ""
    };
    let definition = (
        &task.run,
        &task.output,
        &defining(task, desired),
        &task.user,
        platform,
    );
    Some(Digest::of(
        format!("{}\n{}", serde_json::json!(definition), inputs.digest()).as_bytes(),
    ))
}

/// What of a task's environment makes it another task: the values that come of it. A secret counts by its template, since
/// a stamp can be seen by all; so does all of what is done once for all hosts, where values differ between them.
fn defining(task: &TaskDeclaration, desired: &Desired<'_>) -> BTreeMap<String, String> {
    let value = |template: &str| {
        let rendered = desired.site.scope.render(template).ok();
        let seen = rendered.filter(|it| !task.once && !it.is_secret());
        seen.map_or_else(|| template.to_owned(), |it| it.text.to_string())
    };
    let environment = task.environment.iter();
    environment
        .map(|(name, template)| (name.clone(), value(&template.0)))
        .collect()
}

/// A task's environment: what may be seen, and a file of what may not.
struct Environment {
    plain: BTreeMap<String, Value>,
    secret: Option<(String, Vec<u8>)>,
}

fn environment(
    task: &TaskDeclaration,
    declaration: &Declaration,
    desired: &mut Desired<'_>,
) -> Option<Environment> {
    let mut plain: BTreeMap<String, Value> = desired
        .command_environment()
        .into_iter()
        .map(|(name, value)| (name, Value::Text(value)))
        .collect();
    let mut secret = Vec::new();
    for (name, template) in &task.environment {
        let rendered = desired.render(declaration, &template.0)?;
        if rendered.is_secret() {
            secret.extend(environment_line(name, &rendered.text).into_bytes());
        } else {
            plain.insert(name.clone(), Value::Text(rendered.text.to_string()));
        }
    }
    let secret = if secret.is_empty() {
        None
    } else {
        let directory = desired.site.places.state.join("env");
        own_directory(desired, &directory);
        let path = directory.join(format!("task-{}.env", task.name));
        Some((path.to_string_lossy().into_owned(), secret))
    };
    Some(Environment { plain, secret })
}

/// One line of an environment file, in the quoting of systemd.exec(5), `EnvironmentFile=`: in
/// double quotes, with a backslash before `"`, `\`, `` ` `` and `$`.
#[must_use]
pub fn environment_line(name: &str, value: &str) -> String {
    let mut line = format!("{name}=\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '`' | '$') {
            line.push('\\');
        }
        line.push(character);
    }
    line + "\"\n"
}
