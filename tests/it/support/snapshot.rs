//! A look at a machine that is not rosey's: what law 3 calls *as before* is judged by these eyes alone.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Lab;

/// The program that looks: Python's standard library only, so that any host can run it.
const PROGRAM: &str = include_str!("snapshot.py");

/// Where to look, and what to leave aside.
///
/// For every path: type, content digest, mode, owner, extended attributes, link target. For every unit: whether it is
/// loaded, enabled and active, and from which files. Times and inodes are a part of it only for [`Look::untouched`], process ids
/// never.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Look {
    roots: Vec<String>,
    except: Vec<String>,
    units: Vec<String>,
    times: bool,
}

impl Look {
    /// At everything below these paths (shell patterns). What is rosey's own is left aside: `.rosey` in a root, its
    /// recovery unit and the units of its runs.
    pub fn at<P: AsRef<Path>>(roots: impl IntoIterator<Item = P>) -> Self {
        let except = [
            "*/.rosey",
            "*/rosey-recover.service",
            "*/rosey-run-*.service",
        ]
        .map(str::to_owned)
        .to_vec();
        let roots = roots
            .into_iter()
            .map(|root| {
                root.as_ref()
                    .to_str()
                    .expect("a test's roots are UTF-8")
                    .to_owned()
            })
            .collect();
        Self {
            roots,
            except,
            units: Vec::new(),
            times: false,
        }
    }

    /// At everything below these paths, rosey's own too, and when each was written and changed: that nobody wrote.
    pub fn untouched<P: AsRef<Path>>(roots: impl IntoIterator<Item = P>) -> Self {
        Self {
            except: Vec::new(),
            times: true,
            ..Self::at(roots)
        }
    }

    /// Leaves paths aside, with all below them: a whole path, in which `*` may stand for anything.
    pub fn except(mut self, pattern: &str) -> Self {
        self.except.push(pattern.to_owned());
        self
    }

    /// Looks at another path too.
    pub fn and(mut self, root: &str) -> Self {
        self.roots.push(root.to_owned());
        self
    }

    /// Looks at a unit too.
    pub fn unit(mut self, name: &str) -> Self {
        self.units.push(name.to_owned());
        self
    }

    /// At a host of the lab; works while it is cut off.
    pub fn on(&self, lab: &Lab, host: usize) -> Snapshot {
        let mut command = lab.script();
        command.args(["exec", &host.to_string(), "python3", "-", &self.request()]);
        Snapshot::read(command)
    }

    /// At this machine.
    pub fn here(&self) -> Snapshot {
        let mut command = Command::new("python3");
        command.args(["-", &self.request()]);
        Snapshot::read(command)
    }

    fn request(&self) -> String {
        serde_json::to_string(self).expect("a list of strings")
    }
}

/// What was seen: a line for each path and unit.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Snapshot {
    lines: BTreeMap<String, String>,
}

impl Snapshot {
    fn read(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the looking program starts");
        child
            .stdin
            .take()
            .expect("it was piped")
            .write_all(PROGRAM.as_bytes())
            .expect("the program is read");
        let output = child.wait_with_output().expect("the looking program ends");
        assert!(
            output.status.success(),
            "a look failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("the looking program prints JSON")
    }

    /// What is said of one path or unit.
    pub fn of(&self, path: &str) -> Option<&str> {
        self.lines.get(path).map(String::as_str)
    }

    /// All paths and units that were seen, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }

    /// All paths and units that were seen, sorted, with what was seen of them.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.lines.iter();
        lines.map(|(name, line)| (name.as_str(), line.as_str()))
    }

    /// Each difference on a line: `-` as it is here, `+` as it is in `other`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, line) in &self.lines {
            if other.lines.get(name) != Some(line) {
                found.push(format!("- {name}: {line}"));
                found.extend(
                    other
                        .lines
                        .get(name)
                        .map(|other| format!("+ {name}: {other}")),
                );
            }
        }
        let extra = other
            .lines
            .iter()
            .filter(|(name, _)| !self.lines.contains_key(*name));
        found.extend(extra.map(|(name, line)| format!("+ {name}: {line}")));
        found
    }

    /// Panics unless `now` is this very picture, and shows what differs.
    #[track_caller]
    pub fn must_equal(&self, now: &Self) {
        let differences = self.differences(now);
        assert!(
            differences.is_empty(),
            "not as it was (- before, + now):\n{}",
            differences.join("\n")
        );
        assert!(
            !self.lines.is_empty(),
            "the look saw nothing, so it compares nothing"
        );
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lines
            .iter()
            .try_for_each(|(name, line)| writeln!(formatter, "{name}: {line}"))
    }
}
