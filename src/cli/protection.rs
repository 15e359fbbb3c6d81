//! What a protected environment insists on before anything is done in it.

use super::error::CommandError;
use super::exit::Exit;
use super::project::Project;

/// What was given of what an environment may insist on. Of what a command has no option for, it is given:
/// a way back must stay possible.
pub(super) struct Insisted<'a> {
    /// `--reason`.
    pub reason: Option<&'a str>,
    /// Whether `--version` was given.
    pub version: bool,
    /// Whether it is a saved plan.
    pub saved_plan: bool,
}

impl<'a> Insisted<'a> {
    /// What a command can be given that goes back, puts right or takes away.
    pub fn reason(reason: Option<&'a str>) -> Self {
        Self {
            reason,
            version: true,
            saved_plan: true,
        }
    }
}

/// Refuses what the environment insists on and wasn't given. A reason that says nothing is none.
///
/// # Errors
/// Exit code 9 with all that is missing.
pub(super) fn insist(project: &Project, given: &Insisted<'_>) -> Result<(), CommandError> {
    let protect = &project.environment.protect;
    let environment = &project.environment.name;
    let says_why = given.reason.is_some_and(|reason| !reason.trim().is_empty());
    let saved_plan = format!("a saved plan (rosey plan {environment} --out)");
    let missing = [
        (protect.reason && !says_why, "--reason TEXT"),
        (protect.version && !given.version, "--version VERSION"),
        (protect.saved_plan && !given.saved_plan, saved_plan.as_str()),
    ];
    let missing: Vec<_> = missing
        .into_iter()
        .filter(|it| it.0)
        .map(|it| it.1)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" and ");
    let message = format!("{environment} is protected: it needs {missing}");
    Err(CommandError::new(Exit::UNAPPROVED, message))
}
