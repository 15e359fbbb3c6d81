//! What systemd will say of units that aren't there yet, through its own `systemd-analyze verify`.
//!
//! That reads files, whose names must be the units'. They are written where nobody else can see them:
//! into a file system in memory, in a mount namespace of the asking process that goes with it.
//! See systemd-analyze(1), unshare(1), mount_namespaces(7).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::host::port::UnitRemark;
use crate::host::program::{Said, ask};

/// How long it may take. It loads all that the units need, which takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// A directory that is there wherever programs share memory, and that no program runs from.
const PLACE: &str = "/dev/shm";
/// The most bytes of one file: Linux takes no longer argument (execve(2), MAX_ARG_STRLEN).
const LONGEST: usize = 128 * 1024 - 1;
/// Takes pairs of names and contents until an empty name; what follows is to be verified.
const SCRIPT: &str = r#"set -e
export SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=info SYSTEMD_LOG_COLOR=0 SYSTEMD_LOG_LOCATION=0
mount -t tmpfs -o size=16m,mode=0700 rosey "$0"
cd "$0"
while [ -n "$1" ]; do
    case $1 in */*) mkdir -p "${1%/*}" ;; esac
    printf %s "$2" >"$1"
    shift 2
done
shift
exec systemd-analyze --no-pager --man=no verify "$@"
"#;

/// What systemd says of the units among some files, which are named by their paths below
/// `/etc/systemd/system`. Nothing where it can't be asked, for whatever reason: it needs root, has to be there, and
/// takes only so many files. A plan goes without.
pub(in crate::host) fn verify(files: &BTreeMap<String, String>) -> Vec<UnitRemark> {
    let files: BTreeMap<_, _> = files
        .iter()
        .filter(|(_, text)| text.len() <= LONGEST && !text.contains('\0'))
        .collect();
    let units: Vec<String> = files
        .keys()
        .filter(|name| !name.contains('/'))
        .map(|name| format!("{PLACE}/{name}"))
        .collect();
    if units.is_empty() {
        return Vec::new();
    }
    let mut arguments = vec![
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        SCRIPT,
        PLACE,
    ];
    for (name, text) in &files {
        arguments.extend([name.as_str(), text.as_str()]);
    }
    arguments.push("");
    arguments.extend(units.iter().map(String::as_str));
    let Ok(Said { output, .. }) = ask("unshare", &arguments, PATIENCE) else {
        return Vec::new();
    };
    let names = files.keys().map(|name| name.as_str());
    remarks(&output, &names.collect())
}

/// What was said of some units. Other lines are about other units, or about what will be there by then.
fn remarks(output: &str, units: &BTreeSet<&str>) -> Vec<UnitRemark> {
    let mut said: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for line in output.lines() {
        if let Some(unit) = refusal(line).filter(|unit| units.contains(unit)) {
            refused.insert(unit);
            said.entry(unit).or_default();
        } else if let Some((unit, words)) = remark(line, units) {
            said.entry(unit).or_default().push(words);
        }
    }
    let mut remarks = Vec::new();
    for (unit, words) in said {
        let remark = |words: String| UnitRemark {
            unit: unit.to_owned(),
            refused: refused.contains(unit),
            words,
        };
        if refused.contains(unit) {
            remarks.push(remark(words.join("; ")));
        } else {
            remarks.extend(words.into_iter().map(remark));
        }
    }
    remarks
}

/// The unit that can't be loaded, where a line says so.
fn refusal(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("Unit ")?;
    rest.strip_suffix(" has a bad unit file setting.")
}

/// What a line says of one of the units: `PATH:LINE: words`, or `UNIT: words`.
fn remark<'a>(line: &str, units: &BTreeSet<&'a str>) -> Option<(&'a str, String)> {
    let in_file = line.strip_prefix(PLACE).and_then(|it| it.strip_prefix('/'));
    let (name, words) = match in_file {
        Some(rest) => {
            let (name, rest) = rest.split_once(':')?;
            let (number, words) = rest.split_once(": ")?;
            (name, format!("line {number}: {words}"))
        }
        None => {
            let (name, words) = line.split_once(": ")?;
            (name, words.to_owned())
        }
    };
    let unit = units.get(name)?;
    // A program comes with the release, and that a setting is fatal is said once more at the end.
    let is_later = words.contains(" is not executable: ");
    let is_repeated = words.starts_with("Unit configuration has fatal error");
    (!is_later && !is_repeated).then_some((unit, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(output: &str) -> Vec<(bool, String)> {
        let units = BTreeSet::from(["bot.service", "bot.timer"]);
        let remarks = remarks(output, &units).into_iter();
        remarks.map(|it| (it.refused, it.words)).collect()
    }

    #[test]
    fn where_systemd_cannot_be_asked_nothing_is_said() {
        // More than Linux takes in one call, however large the stack may be (execve(2)).
        let text = "#".repeat(LONGEST);
        let names = (0..64).map(|number| format!("bot-{number}.service"));
        let files = names.map(|name| (name, text.clone())).collect();
        assert_eq!(verify(&files), []);
    }

    // The outputs are those of systemd 247 and 252.
    #[test]
    fn a_unit_that_cannot_be_loaded_is_refused_with_every_reason() {
        let output = "/dev/shm/bot.service:2: Neither a valid executable name nor an absolute path: bin/x\n\
            bot.service: Unit configuration has fatal error, unit will not be started.\n\
            Unit bot.service has a bad unit file setting.\n";
        let words = "line 2: Neither a valid executable name nor an absolute path: bin/x";
        assert_eq!(told(output), [(true, words.to_owned())]);
        let words = "Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.";
        let output =
            format!("bot.service: {words}\nUnit bot.service has a bad unit file setting.\n");
        assert_eq!(told(&output), [(true, words.to_owned())]);
    }

    #[test]
    fn what_systemd_ignores_is_told_and_not_refused() {
        let output = "/dev/shm/bot.service:3: Unknown key name 'Foo' in section 'Service', ignoring.\n\
            /dev/shm/bot.service:4: Unknown section 'Bogus'. Ignoring.\n\
            bot.timer: Failed to create bot.timer/start: Unit none.service not found.\n";
        assert_eq!(
            told(output),
            [
                (
                    false,
                    "line 3: Unknown key name 'Foo' in section 'Service', ignoring.".to_owned()
                ),
                (
                    false,
                    "line 4: Unknown section 'Bogus'. Ignoring.".to_owned()
                ),
                (
                    false,
                    "Failed to create bot.timer/start: Unit none.service not found.".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn what_is_not_there_yet_and_what_is_anothers_is_not_told() {
        let output = "bot.service: Command /opt/bot/run is not executable: No such file or directory\n\
            /lib/systemd/system/other.service:3: Unknown key name 'Foo' in section 'Service', ignoring.\n\
            Unit other.service has a bad unit file setting.\n\
            unshare: unshare failed: Operation not permitted\n\
            sh: 11: exec: systemd-analyze: not found\n";
        assert_eq!(told(output), []);
    }
}
