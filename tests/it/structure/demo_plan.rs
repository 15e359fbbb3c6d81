//! `plans/demo.yaml`: the body of the demo's first plan, for people who want to see one, is what rosey plans today.
//!
//! What depends on where the checkout lies and on who plans is replaced by words: the checkout is `/rosey`, its owner
//! `you`, and digests of text that has a path in it are gone.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use crate::support::{Project, Rosey, checkout, copy_tree};

/// Set to anything, it has the test write the file anew.
const RENEW: &str = "ROSEY_RENEW_DEMO_PLAN";

const FILE: &str = "plans/demo.yaml";

const TOP: &str = "\
# The body of what `rosey plan demo --out` saves before the first `rosey apply demo`, as if the checkout were /rosey and
# its owner `you`. A test holds it true; it is no plan to apply. To renew it:
#     ROSEY_RENEW_DEMO_PLAN=1 cargo nextest run demo_plan
";

/// What stands for a digest of text that names the place of the checkout.
const PLACE: &str = "differs from place to place";

/// Modes as a checkout has them with the usual umask.
fn usual_modes(directory: &Path) {
    let status = std::process::Command::new("chmod")
        .args(["-R", "u=rwX,go=rX"])
        .arg(directory)
        .status()
        .expect("chmod runs");
    assert!(status.success(), "{}", directory.display());
}

/// Replaces what differs from one person and place to another.
fn in_general(value: &mut Value) {
    match value {
        Value::Mapping(mapping) => {
            of_a_person(mapping);
            of_a_place(mapping);
            mapping.iter_mut().for_each(|(_, value)| in_general(value));
        }
        Value::Sequence(values) => values.iter_mut().for_each(in_general),
        _ => {}
    }
}

/// `owner: ann`, and the reason that says the same.
fn of_a_person(mapping: &mut Mapping) {
    for name in ["owner", "group"] {
        let is_reason = mapping.get("attribute").and_then(Value::as_str) == Some(name);
        let field = if is_reason { "new" } else { name };
        if let Some(value) = mapping.get_mut(field) {
            *value = "you".into();
        }
    }
    if let Some(Value::Sequence(both)) = mapping.get_mut("asked") {
        both.fill("you".into());
    }
}

/// The digest of the declaration, which has the root in it, and that of the unit, which has the working directory.
fn of_a_place(mapping: &mut Mapping) {
    if let Some(declared) = mapping.get_mut("declared").filter(|it| it.is_string()) {
        *declared = PLACE.into();
    }
    let id = mapping
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !id.contains("/file:") || !id.ends_with(".service") {
        return;
    }
    let content = mapping["to"]["attributes"]["content"].clone();
    assert!(content.is_string(), "a unit has content");
    mapping["to"]["attributes"]["content"] = PLACE.into();
    let reasons = mapping["reasons"]
        .as_sequence_mut()
        .expect("reasons are a list");
    for reason in reasons {
        if reason["new"] == content {
            reason["new"] = PLACE.into();
        }
    }
}

/// Replaces the name of the app's directory in the registry, which is a digest of the root.
fn without_registry_names(text: &str, registry: &str) -> String {
    let apps = format!("{registry}/apps/");
    let mut parts = text.split(&apps);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digest, rest) = part.split_at(12);
        assert!(
            digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{digest}"
        );
        format!("{text}~/.local/state/rosey/apps/APP{rest}")
    })
}

/// The body as it is planned now, in general words.
fn planned() -> String {
    let project = Project::new();
    for directory in ["environments", "examples"] {
        copy_tree(&checkout().join(directory), &project.path(directory));
        usual_modes(&project.path(directory));
    }
    let registry = project.path("registry").display().to_string();
    let rosey = Rosey::here(&project).env("ROSEY_HELPER_STATE", &registry);
    let saved = project.path("saved.yaml");
    let out = saved.to_str().expect("a temporary path is UTF-8");
    let planned = rosey.run(&["plan", "demo", "--out", out]);
    // Somebody may have the demo's port on this machine: the plan is the same, and isn't applied.
    assert!(matches!(planned.code, Some(0 | 10)), "{}", planned.stderr);
    let text = std::fs::read_to_string(&saved).expect("the plan was saved");
    let text = without_registry_names(&text, &registry);
    let text = text.replace(&project.root().display().to_string(), "/rosey");
    // Root runs the app's commands as the app's owner, anybody else as they are.
    let text = text.replace(r#""user":"root""#, r#""user":null"#);
    let plan: Value = serde_yaml::from_str(&text).expect("a saved plan is YAML");
    let mut body = Mapping::new();
    body.insert("body".into(), plan["body"].clone());
    let mut body = Value::Mapping(body);
    in_general(&mut body);
    let body = serde_yaml::to_string(&body).expect("it was YAML");
    format!("{TOP}{body}")
}

#[test]
fn the_plan_that_is_checked_in_is_what_would_be_planned() {
    let path = checkout().join(FILE);
    let planned = planned();
    if std::env::var_os(RENEW).is_some() {
        std::fs::create_dir_all(path.parent().expect("it lies in a directory"))
            .expect("the checkout is writable");
        std::fs::write(&path, &planned).expect("the checkout is writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept
        .lines()
        .zip(planned.lines())
        .position(|(kept, now)| kept != now);
    let line = differs.unwrap_or_else(|| kept.lines().count().min(planned.lines().count())) + 1;
    assert!(
        kept == planned,
        "{FILE} is no longer what is planned, from line {line} on:\n{planned}\nIf that is meant: {RENEW}=1"
    );
}
