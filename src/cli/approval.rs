//! Whether a command may act: asked of a person, or granted by `--yes`, CI or a saved plan.

use super::Session;
use super::error::CommandError;
use super::exit::Exit;

/// What was given instead of a person's answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given {
    /// `--yes`.
    pub yes: bool,
    /// A saved plan was reviewed before.
    pub saved_plan: bool,
}

/// Asks a person, where there is one; otherwise acts only with `--yes`, in CI, or for a saved plan.
///
/// # Errors
/// Exit code 9 when nobody agreed.
pub(super) fn ask(session: &Session, given: Given, question: &str) -> Result<(), CommandError> {
    if given.yes || given.saved_plan {
        return Ok(());
    }
    if session.around.person {
        let answer = dialoguer::Confirm::new()
            .with_prompt(question)
            .default(false)
            .interact();
        return match answer {
            Ok(true) => Ok(()),
            _ => Err(CommandError::new(Exit::UNAPPROVED, "nothing was done")),
        };
    }
    if session.around.ci {
        return Ok(());
    }
    let error = CommandError::new(
        Exit::UNAPPROVED,
        "nobody is here to agree, so nothing was done",
    );
    Err(error.hint("agree with --yes, set CI, or apply a saved plan (rosey plan ENV --out)"))
}
