//! Whether a command may act: what can't work is refused, and the rest asked of a person, or granted
//! by `--yes`, CI or a saved plan.

use std::io::{ErrorKind, stdin};

use dialoguer::console::{Key, Term};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::model::{Action, Finding, FindingClass, Plan};
use crate::report::display::Volume;
use crate::report::{PlanView, plan_text};

use super::Session;
use super::error::{CommandError, NEXT};
use super::exit::Exit;
use super::say::say;

/// What was given instead of a person's answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given {
    /// `--yes`.
    pub yes: bool,
    /// Whether a saved plan was reviewed before; none where a command has no saved plans.
    pub saved_plan: Option<bool>,
}

impl Given {
    /// Whether it stands for a person's answer.
    fn agrees(self) -> bool {
        self.yes || self.is_reviewed()
    }

    pub fn is_reviewed(self) -> bool {
        self.saved_plan == Some(true)
    }
}

/// What somebody has to agree to.
pub(super) struct Consent<'a> {
    /// The environment that it is about.
    pub environment: &'a str,
    /// What was agreed to beforehand.
    pub given: Given,
    /// What is asked.
    pub question: &'a str,
    /// Whether something was settled before, so that a no doesn't mean that nothing was done.
    pub settled: bool,
}

/// A plan that is to be agreed to.
pub(super) struct Proposal<'a> {
    /// The plan, as it is shown.
    pub view: PlanView<'a>,
    /// Whether stdout and stderr are for a script, which is shown nothing.
    pub json: bool,
    /// What was agreed to beforehand.
    pub given: Given,
    /// `--allow-irreversible`.
    pub allow_irreversible: bool,
    /// Whether something was settled before, so that a no doesn't mean that nothing was done.
    pub settled: bool,
    /// What is asked.
    pub question: &'a str,
}

/// Shows a plan and has it agreed to.
///
/// # Errors
/// Exit code 9 when nobody agreed, 10 when something can't be taken back and nobody agreed to that.
pub(super) async fn propose(session: &Session, proposal: Proposal<'_>) -> Result<(), CommandError> {
    let given = proposal.given;
    // Who is asked sees what about, however quiet it is to be.
    let shown = session.display.volume > Volume::Quiet || asks(session, given);
    if !proposal.json && !given.is_reviewed() && shown {
        say!("{}", plan_text(&proposal.view).trim_end());
    }
    refuse_irreversible(proposal.view.plan, proposal.allow_irreversible)?;
    let consent = Consent {
        environment: proposal.view.environment,
        given,
        question: proposal.question,
        settled: proposal.settled,
    };
    ask(session, &consent).await
}

/// Refuses what would fail.
///
/// # Errors
/// Exit code 10 with everything that is in the way, each with the line to type.
pub(super) fn refuse_blocked(findings: &[Finding]) -> Result<(), CommandError> {
    let blocking = findings
        .iter()
        .filter(|finding| finding.class == FindingClass::Blocking);
    let lines: Vec<_> = blocking.map(told).collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(Exit::BLOCKED, lines.join(NEXT)))
}

/// A finding with what to type below it.
pub(super) fn told(finding: &Finding) -> String {
    let remedy = finding.remedy.as_deref().unwrap_or_default();
    let remedy: String = remedy.lines().map(|line| format!("\n  {line}")).collect();
    format!("{}: {}{remedy}", finding.host, finding.message)
}

/// Refuses what can't be taken back, unless that was agreed to; and what can't be undone in any case.
fn refuse_irreversible(plan: &Plan, allowed: bool) -> Result<(), CommandError> {
    let undone = plan.irreversible().find(|it| it.action == Action::Undo);
    if let Some(step) = undone {
        let id = &step.resource;
        let message = format!(
            "{}: the {} {} of {} can't be undone: it is declared with neither `undo` nor `compatible`",
            id.host, id.kind, id.name, id.app
        );
        return Err(CommandError::new(Exit::BLOCKED, message)
            .hint("go back to something that came after it, or apply a version that lives with what it did"));
    }
    if plan.irreversible().next().is_some() && !allowed {
        let error = CommandError::new(Exit::BLOCKED, "the plan has steps that can't be taken back");
        return Err(error.hint("agree with --allow-irreversible"));
    }
    Ok(())
}

/// Whether a person will be asked.
pub(super) fn asks(session: &Session, given: Given) -> bool {
    !given.agrees() && session.around.person
}

/// Asks a person, where there is one; otherwise acts only with `--yes`, in CI, or for a saved plan.
///
/// # Errors
/// Exit code 9 when nobody agreed.
pub(super) async fn ask(session: &Session, consent: &Consent<'_>) -> Result<(), CommandError> {
    let given = consent.given;
    if given.agrees() {
        return Ok(());
    }
    let nothing = if consent.settled {
        "nothing more was done than to settle what was cut off"
    } else {
        "nothing was done"
    };
    if asks(session, given) {
        return if confirmed(consent).await? {
            Ok(())
        } else {
            Err(CommandError::new(Exit::UNAPPROVED, nothing))
        };
    }
    if session.around.ci {
        return Ok(());
    }
    let message = format!("nobody is here to agree, so {nothing}");
    let error = CommandError::new(Exit::UNAPPROVED, message);
    let environment = consent.environment;
    Err(error.hint(match given.saved_plan {
        Some(_) => format!(
            "agree with --yes, set CI, or apply a saved plan (rosey plan {environment} --out)"
        ),
        None => "agree with --yes, or set CI".to_owned(),
    }))
}

/// A person's answer. It is waited for on a thread of its own, so that a signal is heard meanwhile.
async fn confirmed(consent: &Consent<'_>) -> Result<bool, CommandError> {
    let _terminal = Terminal::keep();
    let question = consent.question.to_owned();
    let answer = tokio::task::spawn_blocking(move || answer(&question));
    match answer.await {
        Ok(Ok(answer)) => Ok(answer),
        // The terminal is raw while it is asked: Ctrl-C comes as a key.
        Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {
            Err(CommandError::cancelled(2, consent.settled))
        }
        _ => Ok(false),
    }
}

/// Asks on the terminal and waits for a key: everything that ends a question means no, and only `y` yes.
///
/// # Errors
/// [`ErrorKind::Interrupted`] after Ctrl-C, others where the terminal is gone.
pub(super) fn answer(question: &str) -> std::io::Result<bool> {
    /// Ctrl-D, as a raw terminal has it (ASCII, end of transmission).
    const END: char = '\u{4}';
    let terminal = Term::stderr();
    terminal.write_str(&format!("{question} [y/N] "))?;
    let agreed = loop {
        match terminal.read_key()? {
            Key::Char('y' | 'Y') => break true,
            Key::Char('n' | 'N' | END) | Key::Enter | Key::Escape => break false,
            _ => {}
        }
    };
    terminal.write_line(if agreed { "yes" } else { "no" })?;
    Ok(agreed)
}

/// The terminal as it was before a question: a signal ends the question, and must leave no raw terminal.
struct Terminal(Option<Termios>);

impl Terminal {
    fn keep() -> Self {
        Self(tcgetattr(stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            tcsetattr(stdin(), OptionalActions::Now, before).ok();
            Term::stderr().show_cursor().ok();
        }
    }
}
