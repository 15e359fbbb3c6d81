//! Whether Python can make the virtual environments that tasks ask for.
//!
//! Debian and Ubuntu ship `python3` without `ensurepip`, which `python3 -m venv` needs; a task then
//! fails in the middle of an apply. See /usr/share/doc/python3.*/README.venv on such a system.

use std::path::Path;

use crate::host::{HostError, HostErrorKind, ReadHost};

/// The package that a task's command lacks here, with what to type; none when nothing is known to be missing.
pub(super) fn missing(
    host: &dyn ReadHost,
    run: &str,
) -> Result<Option<(String, String)>, HostError> {
    let asked = run.contains("python3 -m venv") || run.contains("python -m venv");
    if !asked || run.contains("--without-pip") {
        return Ok(None);
    }
    let is_there = |path: &Path| match host.entry(path) {
        Ok(entry) => Ok(entry.is_some()),
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    // Another Python that stands before the system's in the path is somebody's own business.
    if is_there(Path::new("/usr/local/bin/python3"))? {
        return Ok(None);
    }
    let python = Path::new("/usr/bin/python3");
    if !is_there(python)? {
        let message = "a task wants Python, and there is no /usr/bin/python3".to_owned();
        return Ok(Some((
            message,
            "sudo apt install python3 python3-venv".to_owned(),
        )));
    }
    // Debian's link says the version: python3 -> python3.11. Elsewhere venv comes with Python itself.
    let Ok(version) = host.link_target(python) else {
        return Ok(None);
    };
    let library = Path::new("/usr/lib").join(&version);
    let debian = is_there(Path::new("/etc/debian_version"))?;
    if !debian || !is_there(&library)? || is_there(&library.join("ensurepip"))? {
        return Ok(None);
    }
    let message = "a task makes a Python venv, and the package python3-venv is missing".to_owned();
    Ok(Some((message, "sudo apt install python3-venv".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::MemoryHost;

    const RUN: &str = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";

    fn remedy(host: &MemoryHost, run: &str) -> Option<String> {
        missing(host, run).unwrap().map(|(_, remedy)| remedy)
    }

    #[test]
    fn debian_without_ensurepip_is_told_what_to_install() {
        let host = MemoryHost::new();
        assert_eq!(remedy(&host, "npm ci"), None);
        assert_eq!(
            remedy(&host, RUN).unwrap(),
            "sudo apt install python3 python3-venv"
        );
        host.put_file("/usr/bin/python3.11", "");
        host.put_link("/usr/bin/python3", "python3.11");
        host.put_directory("/usr/lib/python3.11");
        assert_eq!(remedy(&host, RUN), None);
        host.put_file("/etc/debian_version", "12.1\n");
        assert_eq!(remedy(&host, RUN).unwrap(), "sudo apt install python3-venv");
        assert_eq!(remedy(&host, "python3 -m venv --without-pip .venv"), None);
        host.put_directory("/usr/lib/python3.11/ensurepip");
        assert_eq!(remedy(&host, RUN), None);
    }
}
