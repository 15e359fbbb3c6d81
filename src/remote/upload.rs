//! Brings the helper to a server, or finds it there.
//!
//! A first look (`probe`) is one command: system, architecture, user, and whether the
//! helper of our digest lies in one of the two places. Only when it doesn't is it sent. The
//! files are a cache: whoever deletes them costs a later contact a second.

use std::sync::Arc;
use std::time::Duration;

use super::binary::{HelperBinary, HelperBinaryError, Helpers};
use super::elf::Machine;
use super::printable::printable;
use super::session::{RunError, Session};
use crate::model::Digest;
use crate::model::shell::{self, quote};

/// The helper on a server, ready to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteHelper {
    /// Its absolute path there.
    pub path: String,
    /// The program, by which the protocol's greeting knows it.
    pub digest: Digest,
    pub machine: Machine,
    /// The user id of who logged in.
    pub uid: u32,
    /// Whether it had to be sent.
    pub sent: bool,
    /// Places that were better and didn't do; for `-v` and for `doctor`.
    pub passed_over: Vec<PlaceFault>,
}

/// A directory that can't hold the helper.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{directory}: {fault}{detail}")]
pub struct PlaceFault {
    pub directory: String,
    pub fault: Fault,
    /// What the host's programs said, with a separator in front, or nothing.
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("can't be made or isn't ours alone")]
    Directory,
    #[error("can't be written (is the disk full?)")]
    Write,
    #[error("what arrived isn't what was sent")]
    Digest,
    #[error("programs can't be run there (mounted noexec?)")]
    NotExecutable,
    #[error("the program doesn't run there")]
    Broken,
    #[error("the file can't be put in its place")]
    Rename,
    #[error("the upload ended without an answer")]
    NoAnswer,
}

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Binary(#[from] HelperBinaryError),
    #[error("look at {host}: it runs {system}; rosey deploys to Linux only")]
    NotLinux { host: String, system: String },
    #[error("look at {host}: rosey doesn't know its architecture \"{word}\"")]
    UnknownMachine { host: String, word: String },
    #[error(
        "look at {host}: its login shell doesn't run commands as asked ({status}): {output}. \
         Try: ssh {user}@{address} -p {port} uname -s"
    )]
    NoShell {
        host: String,
        user: String,
        address: String,
        port: u16,
        status: String,
        output: String,
    },
    #[error(
        "put the helper on {host}: no place for it:{}\nMake room or a directory that may hold programs in one of these",
        .faults.iter().map(|fault| format!("\n  - {fault}")).collect::<String>()
    )]
    NoPlace {
        host: String,
        faults: Vec<PlaceFault>,
    },
}

impl UploadError {
    /// Whether a new connection may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Run(error) if error.is_temporary())
    }
}

/// Where the helper may lie, the better place first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Home,
    VarTmp,
}

/// What the first look found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Probe {
    system: String,
    machine: String,
    uid: u32,
    home: Option<String>,
    gzip: bool,
    found: Option<String>,
}

/// Makes sure that the helper is on the server.
///
/// Calling it again finds what the first call left; at the same time from several
/// controllers is safe, as each writes a file of its own and renames it.
pub async fn ensure_helper(
    session: &Session,
    helpers: &Helpers,
) -> Result<RemoteHelper, UploadError> {
    let host = session.host().to_owned();
    let mut binary = helpers.own().await?;
    let mut probe = look(session, &binary).await?;
    if probe.system != "Linux" {
        return Err(UploadError::NotLinux {
            host,
            system: printable(&probe.system),
        });
    }
    let machine =
        Machine::from_uname(&probe.machine).ok_or_else(|| UploadError::UnknownMachine {
            host: host.clone(),
            word: printable(&probe.machine),
        })?;
    let fitting = helpers.for_machine(&host, machine).await?;
    if fitting.digest != binary.digest {
        binary = fitting;
        probe = look(session, &binary).await?;
    }
    let ready = |path, sent, passed_over| RemoteHelper {
        path,
        digest: binary.digest,
        machine,
        uid: probe.uid,
        sent,
        passed_over,
    };
    if let Some(path) = probe.found.clone() {
        return Ok(ready(path, false, Vec::new()));
    }
    session.stop_quick_acknowledgements();
    let mut faults = Vec::new();
    for place in [Place::Home, Place::VarTmp] {
        let Some(directory) = place.directory(&probe) else {
            continue;
        };
        match send(session, &binary, &probe, place, &directory).await? {
            Ok(path) => return Ok(ready(path, true, faults)),
            Err(fault) => faults.push(fault),
        }
    }
    Err(UploadError::NoPlace { host, faults })
}

impl Place {
    fn directory(self, probe: &Probe) -> Option<String> {
        match self {
            Self::Home => probe
                .home
                .as_ref()
                .map(|home| format!("{home}/.cache/rosey")),
            Self::VarTmp => Some(format!("/var/tmp/rosey-{}", probe.uid)),
        }
    }
}

/// Lines of ours in an answer begin so: a login script may print others.
const MARK: &str = "rosey:";
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

async fn look(session: &Session, binary: &HelperBinary) -> Result<Probe, UploadError> {
    let to = session.destination();
    let no_shell = |status: String, said: &str| UploadError::NoShell {
        host: to.name.clone(),
        user: to.user.clone(),
        address: to.address.clone(),
        port: to.port,
        status,
        output: last_lines(said),
    };
    let command = shell::script(&probe_script(binary));
    // A login script that waits for something would otherwise hold us for ever.
    let asked = tokio::time::timeout(PROBE_PATIENCE, session.run(&command, &[])).await;
    let output = asked.map_err(|_| {
        let status = format!("no answer within {} s", PROBE_PATIENCE.as_secs());
        no_shell(status, "does a login script wait for something?")
    })??;
    let stdout = String::from_utf8_lossy(&output.stdout);
    read_probe(&stdout).ok_or_else(|| {
        let silent = output.stderr.trim().is_empty();
        let said = if silent {
            stdout.as_ref()
        } else {
            &output.stderr
        };
        no_shell(output.status.to_string(), said)
    })
}

fn probe_script(binary: &HelperBinary) -> String {
    // A file of the right size under this name was checked when it was put there. What lies in
    // /var/tmp is believed only if the directory is ours: anybody may make one there.
    format!(
        r#"u=$(id -u)
echo "{MARK}system $(uname -s -m)"
echo "{MARK}uid $u"
case "$HOME" in /*) [ -d "$HOME" ] && echo "{MARK}home $HOME";; esac
command -v gzip >/dev/null 2>&1 && echo "{MARK}gzip yes"
for d in "$HOME/.cache/rosey" "/var/tmp/rosey-$u"; do
f="$d/{name}"
if [ -O "$d" ] && [ -f "$f" ] && [ -O "$f" ] && [ -x "$f" ] && [ "$(wc -c <"$f")" -eq {size} ]; then echo "{MARK}found $f"; break; fi
done
echo "{MARK}end""#,
        name = binary.file_name(),
        size = binary.size,
    )
}

fn read_probe(stdout: &str) -> Option<Probe> {
    let field = |name: &str| {
        stdout.lines().find_map(|line| {
            line.strip_prefix(MARK)?
                .strip_prefix(name)?
                .strip_prefix(' ')
                .map(str::to_owned)
        })
    };
    stdout.lines().find(|line| *line == format!("{MARK}end"))?;
    let (system, machine) = field("system")?
        .split_once(' ')
        .map(|(s, m)| (s.to_owned(), m.to_owned()))?;
    Some(Probe {
        system,
        machine,
        uid: field("uid")?.parse().ok()?,
        home: field("home"),
        gzip: field("gzip").is_some(),
        found: field("found"),
    })
}

async fn send(
    session: &Session,
    binary: &Arc<HelperBinary>,
    probe: &Probe,
    place: Place,
    directory: &str,
) -> Result<Result<String, PlaceFault>, UploadError> {
    let script = upload_script(binary, place, directory, probe.gzip, &nonce());
    let command = shell::script(&script);
    let output = if probe.gzip {
        session.run(&command, &binary.packed().await?).await?
    } else {
        session.run(&command, &binary.plain().await?).await?
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let verdict = stdout
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(MARK));
    let fault = match verdict {
        Some("stored") if output.status.is_success() => {
            return Ok(Ok(format!("{directory}/{}", binary.file_name())));
        }
        Some("directory") => Fault::Directory,
        Some("write") => Fault::Write,
        Some("digest") => Fault::Digest,
        Some("exec") => Fault::NotExecutable,
        Some("broken") => Fault::Broken,
        Some("rename") => Fault::Rename,
        _ => Fault::NoAnswer,
    };
    let said = last_lines(&output.stderr);
    let detail = if said.is_empty() {
        String::new()
    } else {
        format!(" ({said})")
    };
    Ok(Err(PlaceFault {
        directory: directory.to_owned(),
        fault,
        detail,
    }))
}

/// The script that takes the program from its input and puts it in its place.
fn upload_script(
    binary: &HelperBinary,
    place: Place,
    directory: &str,
    gzip: bool,
    nonce: &str,
) -> String {
    let make = match place {
        Place::Home => r#"mkdir -p "$d" && chmod 0700 "$d" && [ -O "$d" ]"#,
        // In a directory of everybody's the name may be taken by somebody else, or be a link.
        Place::VarTmp => {
            r#"{ mkdir -m 0700 "$d" 2>/dev/null || { [ -d "$d" ] && [ ! -h "$d" ]; }; } && [ -O "$d" ] && chmod 0700 "$d""#
        }
    };
    let unpack = if gzip { "gzip -dc" } else { "cat" };
    // Size and gzip's own checksum say whether all arrived; then the program says its own digest, and the
    // protocol's greeting asks it again at each start. What can't be started ends with 126 (POSIX, 2.8.2).
    format!(
        r#"umask 077
d={directory}
f="$d/{name}"
t="$f.part-{nonce}"
fail() {{ rm -f "$t"; cat >/dev/null 2>&1; echo "{MARK}$1"; exit 1; }}
{make} || fail directory
find "$d" -name "helper-*.part-*" -mmin +60 -exec rm -f {{}} + 2>/dev/null
{unpack} >"$t" || fail write
[ "$(wc -c <"$t")" -eq {size} ] || fail digest
chmod 0755 "$t" || fail write
s=$("$t" helper --digest </dev/null 2>/dev/null)
case $? in 0) ;; 126) fail exec;; *) fail broken;; esac
[ "$s" = {digest} ] || fail digest
sync "$t" 2>/dev/null
mv -f "$t" "$f" || fail rename
echo "{MARK}stored""#,
        directory = quote(directory),
        name = binary.file_name(),
        size = binary.size,
        digest = binary.digest,
    )
}

/// A name that no other upload uses at this moment.
fn nonce() -> String {
    use std::hash::{BuildHasher, Hasher};
    // Seeded by the system for each use; nobody else can write where it is used.
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    format!("{}-{random:016x}", std::process::id())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    printable(&lines[lines.len().saturating_sub(3)..].join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read_among_a_login_scripts_own_words() {
        let text = "Welcome!\nrosey:system Linux x86_64\nrosey:uid 1000\nrosey:home /home/de ploy\nrosey:gzip yes\nrosey:found /home/de ploy/.cache/rosey/helper-x\nrosey:end\n";
        let expected = Probe {
            system: "Linux".into(),
            machine: "x86_64".into(),
            uid: 1000,
            home: Some("/home/de ploy".into()),
            gzip: true,
            found: Some("/home/de ploy/.cache/rosey/helper-x".into()),
        };
        assert_eq!(read_probe(text), Some(expected));
    }

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        for text in [
            "",
            "This account is not available.\n",
            "rosey:system Linux x86_64\nrosey:uid 0\n",
        ] {
            assert_eq!(read_probe(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let fault = PlaceFault {
            directory: "/home/deploy/.cache/rosey".into(),
            fault: Fault::Write,
            detail: " (gzip: stdout: No space left on device)".into(),
        };
        let second = PlaceFault {
            directory: "/var/tmp/rosey-1000".into(),
            fault: Fault::NotExecutable,
            detail: String::new(),
        };
        let error = UploadError::NoPlace {
            host: "bot-1".into(),
            faults: vec![fault, second],
        };
        insta::assert_snapshot!(error.to_string(), @r#"
put the helper on bot-1: no place for it:
  - /home/deploy/.cache/rosey: can't be written (is the disk full?) (gzip: stdout: No space left on device)
  - /var/tmp/rosey-1000: programs can't be run there (mounted noexec?)
Make room or a directory that may hold programs in one of these
"#);
    }
}
