//! Running a task's command.

use std::collections::BTreeMap;
use std::path::Path;

use crate::host::{Command, HostError, HostErrorKind};
use crate::step::kind::{StepContext, StepError};
use crate::step::tail::tail;

use super::settings::TaskSettings;

const EXITED: &str = "exited with ";

/// Runs one of a task's commands, as long as the run goes on; what it printed last is part of the error.
pub(super) fn run(
    context: &StepContext<'_>,
    task: &TaskSettings,
    what: &str,
    shell: &str,
    directory: &Path,
) -> Result<(), StepError> {
    let mut env = task.env.clone();
    if let Some(file) = &task.env_file {
        env.extend(environment(&context.host.read(file)?, file)?);
    }
    let command = Command {
        shell: shell.to_owned(),
        directory: directory.to_owned(),
        user: task.user.clone(),
        env,
        timeout: task.timeout,
    };
    let wanted = || !(context.cancelled)();
    let output = context.host.run_while(&command, &wanted)?;
    let how = match (output.status, output.timed_out) {
        (Some(0), false) => return Ok(()),
        (_, true) => format!(
            "took longer than {} s and was killed",
            task.timeout.as_secs_f64()
        ),
        (Some(status), false) => format!("{EXITED}{status}"),
        (None, false) if (context.cancelled)() => "was ended, since the run is".to_owned(),
        (None, false) => "was killed".to_owned(),
    };
    (context.failing)();
    Err(StepError::Command {
        what: what.to_owned(),
        how,
        tail: tail(output.output.lines()),
    })
}

/// Whether it is known of a command that failed that it wasn't begun, or said itself that it failed; one that was
/// killed may have done anything.
pub(super) fn is_known(error: &StepError) -> bool {
    match error {
        StepError::Command { how, .. } => how.starts_with(EXITED),
        _ => true,
    }
}

/// Reads a file of environment variables in the quoting of systemd.exec(5), `EnvironmentFile=`, as
/// rosey writes it: each value in double quotes, a backslash before what would end or expand it. An
/// error never tells a value.
///
/// # Errors
/// When it isn't such a file.
pub fn environment(bytes: &[u8], file: &Path) -> Result<BTreeMap<String, String>, HostError> {
    let broken = || {
        let words = "it isn't what rosey wrote; apply again to put it right".to_owned();
        HostError::new("read", file, HostErrorKind::Other(words))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| broken())?;
    let mut env = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").ok_or_else(broken)?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().ok_or_else(broken)? {
                (at, '"') => break at,
                (_, '\\') => value.push(characters.next().ok_or_else(broken)?.1),
                (_, character) => value.push(character),
            }
        };
        env.insert(name.to_owned(), value);
        rest = after[end + 1..].strip_prefix('\n').ok_or_else(broken)?;
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::run::desire::environment_line;

    #[test]
    fn what_is_written_for_systemd_is_read_the_same() {
        let values = [
            "",
            "plain",
            "a \"b\" $c `d` \\e\\\\",
            "two\nlines",
            "ü=\"\n",
        ];
        let mut text = String::new();
        for (number, value) in values.iter().enumerate() {
            text += &environment_line(&format!("V{number}"), value);
        }
        let env = environment(text.as_bytes(), Path::new("/x")).unwrap();
        let read: Vec<&str> = env.values().map(String::as_str).collect();
        assert_eq!(read, values);
    }

    #[test]
    fn a_broken_file_is_told_without_its_secrets() {
        for broken in ["A", "A=hunter2\n", "A=\"hunter2", "A=\"hunter2\"x", "\u{0}"] {
            let error = environment(broken.as_bytes(), Path::new("/x")).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
