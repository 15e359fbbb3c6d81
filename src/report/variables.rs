//! Variables that are declared otherwise than for what stands: why files of a plan are other ones.

use std::fmt::Write as _;

use serde::Serialize;

use crate::model::{AppName, HostName};

/// A variable that has another value than the generation that stands was declared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VariableChange {
    /// The app that stands there.
    pub app: AppName,
    /// Its name.
    pub name: String,
    /// What it was; none where it is new.
    pub old: Option<String>,
    /// What it is; none where it has gone.
    pub new: Option<String>,
    /// The hosts that this holds for.
    pub hosts: Vec<HostName>,
}

/// A line each; `of_all` hosts needn't be named, nor the app where all are of one.
pub(super) fn variables_text(changes: &[VariableChange], of_all: usize) -> String {
    let mut text = String::new();
    let several = changes.iter().any(|change| change.app != changes[0].app);
    for change in changes {
        let value = |value: &Option<String>| match value {
            Some(value) => shown(value),
            None => "absent".to_owned(),
        };
        let (old, new) = (value(&change.old), value(&change.new));
        let of = if several {
            format!(" of {}", change.app)
        } else {
            String::new()
        };
        let _ = write!(text, "variable {}{of}: {old} → {new}", change.name);
        if change.hosts.len() < of_all {
            let hosts: Vec<_> = change.hosts.iter().map(ToString::to_string).collect();
            let _ = write!(text, " on {}", hosts.join(", "));
        }
        text.push('\n');
    }
    text
}

/// The most characters of a value that are shown.
const SHOWN: usize = 60;

/// A value on one line, its beginning where it is long.
fn shown(value: &str) -> String {
    let line = value.escape_debug().to_string();
    if line.chars().count() <= SHOWN {
        return line;
    }
    let start: String = line.chars().take(SHOWN).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(old: Option<&str>, new: Option<&str>, hosts: &[&str]) -> VariableChange {
        VariableChange {
            app: AppName::new("bot").unwrap(),
            name: "port".to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            hosts: hosts
                .iter()
                .map(|host| HostName::new(*host).unwrap())
                .collect(),
        }
    }

    #[test]
    fn each_variable_has_a_line_that_names_hosts_where_not_all_are_meant() {
        let long = format!("two\nlines {}", "x".repeat(80));
        let changes = [
            change(Some("1"), Some("2"), &["a", "b"]),
            change(None, Some("2"), &["b"]),
            change(Some(&long), None, &["a", "b"]),
        ];
        insta::assert_snapshot!(variables_text(&changes, 2), @r"
        variable port: 1 → 2
        variable port: absent → 2 on b
        variable port: two\nlines xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… → absent
        ");
    }

    #[test]
    fn the_same_variable_of_two_apps_is_told_apart() {
        let mut other = change(Some("1"), Some("2"), &["a"]);
        other.app = AppName::new("site").unwrap();
        let changes = [change(Some("1"), Some("2"), &["a"]), other];
        insta::assert_snapshot!(variables_text(&changes, 1), @r"
        variable port of bot: 1 → 2
        variable port of site: 1 → 2
        ");
    }
}
