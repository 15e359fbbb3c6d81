//! Which processes hold on to a tree.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::host::port::HostErrorKind;
use crate::host::proc;

/// Live processes with their working directory, program, root or a mapped file at or below a path.
/// What may not be looked into (other users' processes, when not root) counts as not there.
pub(super) fn below(path: &Path) -> Result<Vec<u32>, HostErrorKind> {
    let mut found = proc::all()?;
    found.retain(|id| refers(*id, path));
    found.sort_unstable();
    Ok(found)
}

fn refers(id: u32, path: &Path) -> bool {
    let linked = ["cwd", "exe", "root"].iter().any(|name| {
        fs::read_link(format!("/proc/{id}/{name}"))
            .is_ok_and(|target| still(&target).starts_with(path))
    });
    linked
        || fs::read(format!("/proc/{id}/maps")).is_ok_and(|maps| {
            maps.split(|byte| *byte == b'\n')
                .filter_map(mapped)
                .any(|mapped| still(&mapped).starts_with(path))
        })
}

/// The file of a line of /proc/PID/maps; see proc_pid_maps(5).
fn mapped(line: &[u8]) -> Option<PathBuf> {
    let start = line.iter().position(|byte| *byte == b'/')?;
    Some(OsString::from_vec(unescape(&line[start..])).into())
}

/// The kernel writes a newline in a name as `\012`, and nothing else otherwise.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\012") {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(*first);
            rest = more;
        }
    }
    plain
}

/// A path without the mark of a file that was removed while in use.
fn still(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    OsString::from_vec(bytes.to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_gives_its_file() {
        let line = b"7f00-7f01 r-xp 00000000 fe:00 12 /opt/a b/lib\\012x.so (deleted)";
        let file = mapped(line).unwrap();
        assert_eq!(still(&file), Path::new("/opt/a b/lib\nx.so"));
        assert_eq!(mapped(b"7ffd-7ffe rw-p 00000000 00:00 0 [stack]"), None);
    }
}
