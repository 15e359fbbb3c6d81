//! Absolute paths taken apart, and links resolved, for every kind of host alike.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::port::HostErrorKind;

/// How many links the kernel follows before it gives up (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The components of an absolute path without `.` and `..`; none for `/`.
///
/// # Errors
/// When it is relative, has `..` in it, or holds a zero byte.
pub(super) fn components(path: &Path) -> Result<Vec<&OsStr>, HostErrorKind> {
    let mut rest = path.components();
    if rest.next() != Some(Component::RootDir) {
        return Err(HostErrorKind::other("the path is not absolute"));
    }
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(HostErrorKind::other("the path holds a zero byte"));
    }
    rest.map(|component| match component {
        Component::Normal(name) => Ok(name),
        _ => Err(HostErrorKind::other("the path has `..` in it")),
    })
    .collect()
}

/// What is at a path that holds no link but perhaps its last component.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A link, and where it points.
    Link(PathBuf),
    /// Anything else.
    Thing,
}

/// A path with every link resolved; what isn't there yet is kept as it is written.
///
/// # Errors
/// When `look` fails, or links lead round in a circle.
pub(super) fn resolve(
    path: &Path,
    look: impl Fn(&Path) -> Result<Found, HostErrorKind>,
) -> Result<PathBuf, HostErrorKind> {
    if !path.is_absolute() {
        return Err(HostErrorKind::other("the path is not absolute"));
    }
    let mut waiting: VecDeque<OsString> = VecDeque::new();
    for component in path.components() {
        match component {
            Component::ParentDir => waiting.push_back("..".into()),
            Component::Normal(name) => waiting.push_back(name.to_os_string()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let mut real = PathBuf::from("/");
    let mut links = 0;
    let mut gone = false;
    while let Some(name) = waiting.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&name);
        if gone {
            real = next;
            continue;
        }
        match look(&next)? {
            Found::Thing => real = next,
            Found::Nothing => {
                gone = true;
                real = next;
            }
            Found::Link(target) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(HostErrorKind::other("its links lead round in a circle"));
                }
                for component in target.components().rev() {
                    match component {
                        Component::RootDir => real = PathBuf::from("/"),
                        Component::ParentDir => waiting.push_front("..".into()),
                        Component::Normal(name) => waiting.push_front(name.to_os_string()),
                        Component::CurDir | Component::Prefix(_) => {}
                    }
                }
            }
        }
    }
    Ok(real)
}
