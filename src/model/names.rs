//! The words that name things: environments, hosts, apps, paths on a server,
//! modes and accounts, each in its own type that can't hold an invalid value.
//!
//! Must not know where a name came from (KDL, a ledger, the wire): every way
//! in goes through the same validating constructor, serde included.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Says why a text can't be the name that it was given as.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not {what}: {why}")]
pub struct InvalidName {
    /// What it was meant to be, with its article: "a host name".
    pub what: &'static str,
    /// The text as given.
    pub text: String,
    /// What is expected instead.
    pub why: &'static str,
}

/// Defines a validated string newtype; `$check` gives the text in its one
/// normal form, or says what is expected.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Takes the text if it is valid.
            ///
            /// # Errors
            /// Says what is expected instead.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                match $check(&text) {
                    Ok(normal) => Ok(Self(normal)),
                    Err(why) => Err(InvalidName { what: $what, text, why }),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
    };
}

name! {
    /// Names an environment: the stem of `environments/NAME.kdl`.
    EnvironmentName, "an environment name", plain_name
}
name! {
    /// Names a host as the declaration does; its address is another thing.
    HostName, "a host name", plain_name
}
name! {
    /// Names a group of hosts that `on`, `--only` and `--except` may choose.
    Tag, "a tag", plain_name
}
name! {
    /// Names an app within its environment.
    AppName, "an app name", plain_name
}
name! {
    /// Names a task within its app.
    TaskName, "a task name", plain_name
}
name! {
    /// Names a service: its systemd unit without the `.service`.
    ServiceName, "a service name", service_name
}
name! {
    /// A version of an app; it becomes part of a directory's name.
    Version, "a version", version
}
name! {
    /// A user or group of a server, by name or by number.
    AccountName, "a user or group name", account_name
}
name! {
    /// Names a variable or a secret, as templates and the shell can both say it.
    VariableName, "a name of a variable", variable_name
}
name! {
    /// An absolute path on a server in normal form: no `.`, no `..`, no `//`, no slash at the end.
    RemotePath, "an absolute path on a server", absolute_path
}
name! {
    /// A path inside a tree (a source or release) in normal form; it can't leave the tree.
    TreePath, "a path inside the release", tree_path
}

impl ServiceName {
    /// The systemd unit of the service.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("{}.service", self.0)
    }
}

impl RemotePath {
    /// The path of something below this one.
    #[must_use]
    pub fn join(&self, below: &TreePath) -> Self {
        self.child(below.as_str())
    }

    /// The directory that holds this path; `/` for `/`.
    #[must_use]
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            None | Some(0) => Self("/".to_owned()),
            Some(end) => Self(self.0[..end].to_owned()),
        }
    }

    /// The last part; empty for `/`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether this path is `other` or lies below it, by whole parts.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.strip_prefix(other).is_some()
    }

    /// What follows `other/`; empty when both are the same path.
    #[must_use]
    pub fn strip_prefix(&self, other: &Self) -> Option<&str> {
        if other.0 == "/" {
            return Some(&self.0[1..]);
        }
        let rest = self.0.strip_prefix(&other.0)?;
        if rest.is_empty() {
            return Some(rest);
        }
        rest.strip_prefix('/')
    }

    fn child(&self, below: &str) -> Self {
        if self.0 == "/" {
            Self(format!("/{below}"))
        } else {
            Self(format!("{}/{below}", self.0))
        }
    }
}

impl AsRef<std::path::Path> for RemotePath {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}

impl AsRef<std::path::Path> for TreePath {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}

/// Permission bits of a file or directory, set-user-id and sticky included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// Takes the bits if none is beyond `07777`.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits <= 0o7777).then_some(Self(bits))
    }

    /// Keeps the permission bits of a `st_mode`, which also tells the file type.
    #[must_use]
    pub fn from_stat(st_mode: u32) -> Self {
        Self(st_mode & 0o7777)
    }

    /// The bits as `chmod` takes them.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let octal =
            (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(text, 8) {
            Ok(bits) if octal => Ok(Self(bits)),
            _ => Err(InvalidName {
                what: "a mode",
                text: text.to_owned(),
                why: "three or four octal digits are expected, such as \"0640\"",
            }),
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Mode({self})")
    }
}

fn plain_name(text: &str) -> Result<String, &'static str> {
    let first = text.bytes().next();
    let starts_well = first.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest_is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if starts_well && rest_is_plain && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, '.', '_' and '-' are allowed, a letter or digit first, 64 at most")
    }
}

/// What systemd.unit(5) allows before the suffix.
fn service_name(text: &str) -> Result<String, &'static str> {
    if text.ends_with(".service") {
        return Err("the name is written without \".service\"");
    }
    let starts_well = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let rest_is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte));
    if starts_well && rest_is_plain && text.len() <= 200 {
        Ok(text.to_owned())
    } else {
        Err("letters, digits and any of ':-_.\\@' are allowed, a letter, digit or '_' first")
    }
}

/// What a directory's name, a shell and a person can all read.
fn version(text: &str) -> Result<String, &'static str> {
    let starts_well = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest_is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte));
    if starts_well && rest_is_plain && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err("letters, digits and any of '._+~-' are allowed, a letter or digit first, 64 at most")
    }
}

/// What useradd(8) allows, in upper case too since directories hand out such names.
fn account_name(text: &str) -> Result<String, &'static str> {
    let starts_well = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let body = text.strip_suffix('$').unwrap_or(text);
    let rest_is_plain = body
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if starts_well && rest_is_plain && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, '.', '_' and '-' are allowed, none of '.' and '-' first")
    }
}

fn variable_name(text: &str) -> Result<String, &'static str> {
    let starts_well = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let rest_is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if starts_well && rest_is_plain {
        Ok(text.to_owned())
    } else {
        Err("lower case letters, digits and '_' are allowed, no digit first")
    }
}

fn absolute_path(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("it must start with '/'");
    }
    let parts = path_parts(text)?;
    Ok(format!("/{}", parts.join("/")))
}

fn tree_path(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Err("it must be relative, without a '/' in front");
    }
    let parts = path_parts(text)?;
    if parts.is_empty() {
        return Err("it must name something inside");
    }
    Ok(parts.join("/"))
}

fn path_parts(text: &str) -> Result<Vec<&str>, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("control characters are not allowed in it");
    }
    if text.len() > 4095 {
        return Err("it is longer than Linux allows");
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err("\"..\" is not allowed in it");
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_normal_form() {
        let path = RemotePath::new("//opt/./bot/").unwrap();
        assert_eq!(path.as_str(), "/opt/bot");
        assert_eq!(RemotePath::new("/").unwrap().as_str(), "/");
        assert_eq!(
            path.join(&TreePath::new("a//b/").unwrap()).as_str(),
            "/opt/bot/a/b"
        );
        assert_eq!(
            RemotePath::new("/")
                .unwrap()
                .join(&TreePath::new("a").unwrap())
                .as_str(),
            "/a"
        );
        assert_eq!(path.parent().as_str(), "/opt");
        assert_eq!(path.parent().parent().parent().as_str(), "/");
        assert_eq!(path.file_name(), "bot");
    }

    #[test]
    fn a_path_within_another_is_known_by_whole_parts() {
        let root = RemotePath::new("/opt/bot").unwrap();
        assert!(RemotePath::new("/opt/bot/x").unwrap().is_within(&root));
        assert!(root.is_within(&root));
        assert!(!RemotePath::new("/opt/bottle").unwrap().is_within(&root));
        assert!(root.is_within(&RemotePath::new("/").unwrap()));
    }

    #[test]
    fn what_could_leave_its_place_is_refused() {
        for bad in ["", "opt", "/opt/../etc", "/opt/a\nb"] {
            assert!(RemotePath::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", ".", "/x", "../x", "a/../../x", "a\0"] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_refuse_what_a_shell_or_a_path_would_take_apart() {
        for bad in ["", "a b", "a/b", "-a", ".a", "ä", "a\n"] {
            assert!(HostName::new(bad).is_err(), "{bad:?}");
            assert!(AppName::new(bad).is_err(), "{bad:?}");
        }
        assert!(ServiceName::new("bot.service").is_err());
        assert_eq!(
            ServiceName::new("getty@tty1").unwrap().unit(),
            "getty@tty1.service"
        );
        assert!(VariableName::new("Port").is_err());
        assert!(VariableName::new("_port2").is_ok());
    }

    #[test]
    fn modes_are_octal_text() {
        assert_eq!("0640".parse::<Mode>().unwrap().bits(), 0o640);
        assert_eq!("755".parse::<Mode>().unwrap().to_string(), "0755");
        for bad in ["", "8", "0888", "rw-r--r--", "00640", "+64"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn serde_refuses_what_the_constructor_refuses() {
        assert!(serde_json::from_str::<HostName>("\"a b\"").is_err());
        assert!(serde_json::from_str::<Mode>("\"0999\"").is_err());
        assert_eq!(
            serde_json::to_string(&Mode::from_bits(0o640).unwrap()).unwrap(),
            "\"0640\""
        );
    }
}
