//! Which directories an app may have as its root.
//!
//! Must not know how the root is used, only what would be lost with it.

use std::path::Path;

use crate::model::names::RemotePath;

/// Directories that the system owns together with everything below them.
const WHOLE: [&str; 13] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run",
    "/sbin", "/sys", "/usr",
];
/// Directories that many share: an app's root may be in them, but not be them.
const SHARED: [&str; 16] = [
    "/",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/srv",
    "/tmp",
    "/usr/local",
    "/usr/local/lib",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/tmp",
    "/var/www",
];
/// What rosey keeps for itself on every server.
const OWN: &str = "/var/lib/rosey";
/// The same where it isn't root, in the home directory of who it is.
pub(crate) const IN_HOME: &str = ".local/state/rosey";

/// What to do about a directory that can't be one.
pub(crate) const OWN_DIRECTORY: &str = "give the app a directory of its own, such as \"/opt/NAME\"";

/// Says why the directory can't be an app's root, if it can't.
pub(crate) fn why_not(root: &RemotePath) -> Option<String> {
    let known = |path: &str| RemotePath::new(path).ok();
    let text = root.as_str();
    if SHARED.contains(&text) {
        return Some(format!("{text} belongs to the whole system"));
    }
    if known(OWN).is_some_and(|own| root.is_within(&own)) {
        return Some(format!("{OWN} is rosey's own"));
    }
    let mut above = Path::new(text).ancestors();
    if let Some(own) = above.find(|path| path.ends_with(IN_HOME)) {
        return Some(format!("{} is rosey's own", own.display()));
    }
    // A home is its user's: everything else in it would be taken for foreign.
    let parent = root.parent();
    if parent.as_str() == "/home" {
        return Some(format!("{text} is somebody's home directory"));
    }
    let local = known("/usr/local").is_some_and(|local| root.is_within(&local));
    let whole = WHOLE
        .iter()
        .find(|whole| known(whole).is_some_and(|whole| root.is_within(&whole)));
    whole
        .filter(|_| !local)
        .map(|whole| format!("{whole} and all below it belongs to the system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_directories_are_no_roots() {
        let bad = [
            "/",
            "/etc",
            "/etc/bot",
            "/usr",
            "/usr/lib/bot",
            "/usr/local",
            "/opt",
            "/home/ann",
            "/var/lib/rosey/x",
            "/home/ann/.local/state/rosey",
            "/root/.local/state/rosey/x",
            "/run/bot",
        ];
        for path in bad {
            assert!(why_not(&RemotePath::new(path).unwrap()).is_some(), "{path}");
        }
        for path in [
            "/opt/bot",
            "/srv/www/bot",
            "/home/ann/bot",
            "/home/ann/.local/state/bot",
            "/usr/local/bot",
            "/var/lib/bot",
            "/tmp/x",
            "/etcetera",
        ] {
            assert_eq!(why_not(&RemotePath::new(path).unwrap()), None, "{path}");
        }
    }
}
