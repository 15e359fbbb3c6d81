//! The command line: what can be typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Deploys apps to ordinary Linux servers, proves them healthy, or takes every server back.
#[derive(Debug, Parser)]
#[command(name = "rosey", version, max_term_width = 100)]
#[command(after_help = "\
Begin with: rosey init, rosey check, rosey doctor ENV, rosey plan ENV, rosey apply ENV

Exit codes:
  0 done    1 wrong use or internal error    2 differences    3 wrong declaration
  4 a host is unreachable    5 locked, frozen or held    6 stale plan
  7 failed and rolled back   8 a person is needed        9 approval is missing
  10 can't work    11-16 a gate fails    17 degraded    18 still going back")]
pub struct Arguments {
    /// Says everything that happens.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Says nothing but failures.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a first environment, ready to apply, and says what to do next.
    Init(Init),
    /// Checks declarations and all that they name; contacts no server.
    Check(Check),
    /// Shows what an apply would change, in what order and why; changes nothing.
    Plan(Plan),
    /// Makes the servers as declared, or leaves them as they were.
    Apply(Apply),
    /// Goes back to an earlier generation.
    Rollback(Rollback),
    /// Takes an app away, as a plan like any other.
    Remove(Remove),
    /// Compares the servers with what was last applied.
    Drift(Drift),
    /// Reads the gates now.
    Verify(Verify),
    /// Says what runs where.
    Status(Status),
    /// Lists past runs.
    History(History),
    /// Shows one run, step by step.
    Show(Show),
    /// Finds all that is missing to deploy, each with the line to type.
    Doctor(Doctor),
    /// Learns a host's key, after showing its fingerprint.
    Trust(Trust),
    /// Refuses applies, until it is lifted.
    Freeze(Freeze),
    /// Lifts a freeze.
    Unfreeze(Unfreeze),
    /// Lifts the hold that a verdict or a rollback has set.
    ReleaseHold(ReleaseHold),
    /// Stops a run that makes no progress, and settles it.
    Unlock(Unlock),
    /// Prints a completion script for a shell.
    Completions(Completions),
    /// Prints the manual page.
    Man,
    /// Serves a controller; rosey starts this on servers itself.
    #[command(hide = true)]
    Helper(Helper),
}

/// Which hosts a command touches.
#[derive(Debug, Clone, Default, Args)]
pub struct Choice {
    /// Only these hosts or tags; repeatable.
    #[arg(long, value_name = "HOST or TAG")]
    pub only: Vec<String>,
    /// All but these hosts or tags; repeatable.
    #[arg(long, value_name = "HOST or TAG")]
    pub except: Vec<String>,
}

/// `rosey init`
#[derive(Debug, Args)]
pub struct Init {
    /// Where; the working directory when left out.
    pub directory: Option<PathBuf>,
}

/// `rosey check`
#[derive(Debug, Args)]
pub struct Check {
    /// Which environment; all when left out.
    pub environment: Option<String>,
}

/// `rosey plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// Which environment.
    pub environment: String,
    /// Saves the plan, for `rosey apply FILE`; `plans/ENV.yaml` when no file is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub out: Option<Option<PathBuf>>,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
    /// Shows the way back too, step by step.
    #[arg(long)]
    pub undo: bool,
    /// The version, where the declaration doesn't say it.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Exits with 2 when there are changes.
    #[arg(long)]
    pub detailed_exitcode: bool,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// An environment or a saved plan; $ROSEY_ENV or the only environment when left out.
    #[arg(value_name = "ENV or FILE")]
    pub target: Option<String>,
    /// Doesn't ask.
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The version that must be applied.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Agrees to steps that can't be taken back.
    #[arg(long)]
    pub allow_irreversible: bool,
    /// Waits for a lock instead of giving up.
    #[arg(long)]
    pub wait: bool,
    /// Exits with 2 when there were changes.
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey rollback`
#[derive(Debug, Args)]
pub struct Rollback {
    /// Which environment.
    pub environment: String,
    /// Which app; when left out, those that the last run has changed.
    pub app: Option<String>,
    /// Lists the generations that can be gone back to.
    #[arg(long)]
    pub list: bool,
    /// A generation, release, version or time; the nearest good one before when left out.
    #[arg(long, value_name = "GENERATION")]
    pub to: Option<String>,
    /// Doesn't ask.
    #[arg(long, short)]
    pub yes: bool,
    /// Skips the gates, never the safety of the switch.
    #[arg(long)]
    pub force: bool,
    /// Puts the data of the backup back too.
    #[arg(long)]
    pub with_data: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Waits for a lock instead of giving up.
    #[arg(long)]
    pub wait: bool,
    /// Agrees to steps that can't be taken back.
    #[arg(long)]
    pub allow_irreversible: bool,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey remove`
#[derive(Debug, Args)]
pub struct Remove {
    /// Which environment.
    pub environment: String,
    /// Which app, also one that is declared no more; all that are declared when left out.
    pub app: Option<String>,
    /// Where it was before its root was declared elsewhere; the declared root when left out. Of an app that is
    /// declared no more, the one of several that is meant.
    #[arg(long, value_name = "DIR")]
    pub root: Option<String>,
    /// Takes data and backups away too.
    #[arg(long)]
    pub with_data: bool,
    /// Doesn't ask.
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Agrees to steps that can't be taken back.
    #[arg(long)]
    pub allow_irreversible: bool,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey drift`
#[derive(Debug, Args)]
pub struct Drift {
    /// Which environment.
    pub environment: String,
    /// Puts everything right again.
    #[arg(long)]
    pub heal: bool,
    /// Doesn't ask.
    #[arg(long, short)]
    pub yes: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Agrees to steps that can't be taken back.
    #[arg(long)]
    pub allow_irreversible: bool,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Which environment.
    pub environment: String,
    /// Before a deployment: the gates of what runs.
    #[arg(long, conflicts_with = "post")]
    pub pre: bool,
    /// After a deployment: waits for `within` and `stable`.
    #[arg(long)]
    pub post: bool,
    /// The version that must run.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey status`
#[derive(Debug, Args)]
pub struct Status {
    /// Which environment; $ROSEY_ENV or all of them when left out.
    pub environment: Option<String>,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey history`
#[derive(Debug, Args)]
pub struct History {
    /// Which environment; all when left out.
    pub environment: Option<String>,
    /// How many runs at most.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `rosey show`
#[derive(Debug, Args)]
pub struct Show {
    /// Which run; its beginning is enough where only one begins so.
    pub run: String,
    /// Prints one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `rosey doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// Which environment.
    pub environment: String,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey trust`
#[derive(Debug, Args)]
pub struct Trust {
    /// A host of an environment, or an address.
    pub host: String,
    /// Doesn't ask: for a fingerprint that was compared already.
    #[arg(long, value_name = "SHA256:…")]
    pub fingerprint: Option<String>,
    /// Doesn't ask.
    #[arg(long, short)]
    pub yes: bool,
}

/// `rosey freeze`
#[derive(Debug, Args)]
pub struct Freeze {
    /// Which environment.
    pub environment: String,
    /// Why; told to whoever is refused.
    #[arg(long, value_name = "TEXT", value_parser = words)]
    pub reason: String,
    /// Until when (a date, a time, RFC 3339, or a duration such as 2h); until it is lifted when left out.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey unfreeze`
#[derive(Debug, Args)]
pub struct Unfreeze {
    /// Which environment.
    pub environment: String,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey release-hold`
#[derive(Debug, Args)]
pub struct ReleaseHold {
    /// Which environment.
    pub environment: String,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey unlock`
#[derive(Debug, Args)]
pub struct Unlock {
    /// Which environment.
    pub environment: String,
    /// The run that makes no progress.
    #[arg(long)]
    pub run: String,
    #[command(flatten)]
    pub choice: Choice,
}

/// `rosey completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell.
    pub shell: clap_complete::Shell,
}

/// `rosey helper`
#[derive(Debug, Args)]
pub struct Helper {
    /// Prints the digest of this program.
    #[arg(long)]
    pub digest: bool,
    /// Serves as the unit of a run whoever waits at this socket.
    #[arg(long, value_name = "SOCKET", conflicts_with = "digest")]
    pub unit: Option<PathBuf>,
    /// Takes back what was cut off on this machine, and ends.
    #[arg(long, conflicts_with_all = ["digest", "unit"])]
    pub recover: bool,
}

/// Words that say something.
fn words(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("it has to say something"),
        _ => Ok(text.to_owned()),
    }
}

/// Whether it is a program that reads what is said, whichever command it is.
pub(super) fn wants_json(words: impl IntoIterator<Item = OsString>) -> bool {
    words.into_iter().any(|word| word == "--json")
}

/// Whether arguments that can't be understood ask for JSON lines, of which the last is an outcome.
pub(super) fn wants_outcome(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let words: Vec<_> = arguments.into_iter().collect();
    let mut named = words.iter().filter_map(|word| word.to_str());
    let command = named.find(|word| !word.starts_with('-'));
    let acts = command.is_some_and(|it| ["apply", "rollback", "remove"].contains(&it));
    acts && !words.iter().any(|word| word == "--list") && wants_json(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_json_lines_gets_an_outcome_whatever_else_was_typed() {
        let wants = |line: &str| wants_outcome(line.split(' ').map(OsString::from));
        for line in [
            "apply --json --bogus",
            "-v rollback prod --json x y",
            "remove --json",
        ] {
            assert!(wants(line), "{line}");
        }
        for line in [
            "apply --bogus",
            "rollback prod --list --json --bogus",
            "drift --json --bogus",
            "--json",
        ] {
            assert!(!wants(line), "{line}");
        }
    }
}
