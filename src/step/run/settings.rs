//! What a task's declaration says beside its stamp.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{Attributes, ResourceId, Value};

/// Ten minutes, for who hasn't declared a time limit.
const TIMEOUT: i64 = 600_000;

/// How to run one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskSettings {
    /// How people know it: `task "dependencies"`.
    pub what: String,
    /// The shell command.
    pub run: String,
    /// The shell command that takes it back.
    pub undo: Option<String>,
    /// Paths in the release that it depends on.
    pub inputs: Vec<PathBuf>,
    /// What it makes, in its directory.
    pub output: Option<PathBuf>,
    /// The release that its inputs come from, and that it runs in where it has no output.
    pub release: PathBuf,
    /// Who runs it; none for the helper's own user.
    pub user: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// Environment variables; never a secret.
    pub env: BTreeMap<String, String>,
    /// A root-only file with further ones.
    pub env_file: Option<PathBuf>,
    /// Whether the release before can live with what it did.
    pub compatible: bool,
}

impl TaskSettings {
    /// Reads them.
    pub fn of(id: &ResourceId, settings: &Attributes) -> Self {
        let text = |name: &str| settings.get(name).and_then(Value::as_text);
        let path = |name: &str| text(name).map(PathBuf::from);
        let timeout = settings.get("timeout").and_then(Value::as_int);
        let timeout = u64::try_from(timeout.unwrap_or(TIMEOUT)).unwrap_or(0);
        let inputs = settings.get("inputs");
        let env = match settings.get("env") {
            Some(Value::Map(env)) => env
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
            _ => BTreeMap::new(),
        };
        Self {
            what: format!("task {:?}", task_name(&id.name)),
            run: text("run").unwrap_or_default().to_owned(),
            undo: text("undo").map(str::to_owned),
            inputs: inputs
                .into_iter()
                .flat_map(Value::texts)
                .map(PathBuf::from)
                .collect(),
            output: path("output"),
            release: path("release").unwrap_or_default(),
            user: text("user").map(str::to_owned),
            timeout: Duration::from_millis(timeout),
            env,
            env_file: path("env_file"),
            compatible: settings.get("compatible").and_then(Value::as_bool) == Some(true),
        }
    }
}

/// The task's own name: of what makes something the name of its directory, without the digest.
fn task_name(name: &str) -> &str {
    let path = Path::new(name);
    if !path.is_absolute() {
        return name;
    }
    let directory = path.file_name().and_then(|name| name.to_str());
    let directory = directory.unwrap_or(name);
    directory
        .rsplit_once('-')
        .map_or(directory, |(task, _)| task)
}
