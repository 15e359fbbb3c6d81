//! Commands of the user's that outlived the helper that had started them.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::ending::Family;
use super::local::COMMAND_MARK;
use super::port::HostErrorKind;
use super::proc::{self, Process};

/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills every process of a command of an app, by its root, whose helper is gone; says how many
/// commands that were. Those of a helper that lives (one that reads gates, say) are left alone.
pub(super) fn end(root: &Path) -> Result<usize, HostErrorKind> {
    let root = root.to_string_lossy();
    // With the slash at its end is how a declaration's commands get it.
    let roots = [format!("ROSEY_ROOT={root}"), format!("ROSEY_ROOT={root}/")];
    let mut marks = std::collections::BTreeSet::new();
    for process in proc::all()?.into_iter().filter_map(proc::process) {
        let mut mark = None;
        let its_own = proc::has_where(&process, |entries| {
            mark = entries
                .iter()
                .find_map(|entry| entry.strip_prefix(&format!("{COMMAND_MARK}=")))
                .map(str::to_owned);
            entries
                .iter()
                .any(|entry| roots.iter().any(|root| root == entry))
        });
        if let Some(mark) = mark.filter(|mark| its_own && !has_helper(&process, mark)) {
            marks.insert(mark);
        }
    }
    for mark in &marks {
        let family = Family {
            leader: None,
            mark: format!("{COMMAND_MARK}={mark}"),
        };
        if !family.end(Signal::KILL, PATIENCE)? {
            let words = "a command of a run that was cut off doesn't go away, even killed";
            return Err(HostErrorKind::other(words));
        }
    }
    Ok(marks.len())
}

/// Whether the helper lives that a mark names: a process of its number that is older than the command.
fn has_helper(process: &Process, mark: &str) -> bool {
    let number = mark
        .split('-')
        .next()
        .and_then(|number| number.parse().ok());
    let helper = number.and_then(proc::alive);
    helper.is_some_and(|helper| helper.started <= process.started)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn started(root: &str, mark: &str) -> Child {
        Command::new("sleep")
            .arg("60")
            .env("ROSEY_ROOT", root)
            .env(COMMAND_MARK, mark)
            .spawn()
            .unwrap()
    }

    #[test]
    fn only_what_has_lost_its_helper_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_string_lossy().into_owned();
        let mut gone = Command::new("true").spawn().unwrap();
        let dead = format!("{}-1-0", gone.id());
        gone.wait().unwrap();
        let own = format!("{}-1-0", std::process::id());
        let mut orphan = started(&format!("{root}/"), &dead);
        let mut wanted = started(&root, &own);
        let mut other = started("/somewhere/else", &format!("{dead}1"));
        assert_eq!(end(directory.path()).unwrap(), 1);
        assert!(!orphan.wait().unwrap().success());
        for child in [&mut wanted, &mut other] {
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
