//! The two ports to a host, and the plain values that cross them.
//!
//! One call is one primitive: a fault is injected before it, after it or in the middle of it, and
//! nowhere else. What a call wrote is durable only after the `sync` calls that cover it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{HostFacts, Moment};

use super::database::Databases;
use super::listening::Listener;
use super::probe::Probe;

/// What kind of entry a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A socket, pipe or device: rosey never makes or removes one.
    Other,
}

/// A user and a group, by name where the host has a name for them, else by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub user: String,
    /// The group.
    pub group: String,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.user, self.group)
    }
}

/// What `lstat` says of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: EntryType,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Whose it is.
    pub owner: Owner,
    /// Bytes; of a link its target's length.
    pub size: u64,
    /// Seconds since 1970 of the last change of content.
    pub modified: i64,
    /// The file system's number: a rename works only where both are the same.
    pub device: u64,
    /// The inode's number.
    pub inode: u64,
}

/// A user of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The name.
    pub name: String,
    /// The user's number.
    pub user: u32,
    /// The number of its first group.
    pub group: u32,
    /// The name of its first group.
    pub group_name: String,
    /// Its home directory.
    pub home: PathBuf,
}

/// Room on a file system for who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Bytes.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// Where systemd looks for units that a host's own administrator makes.
pub const UNITS: &str = "/etc/systemd/system";

/// Where systemd looks for what an administrator adds to units beside them, in `UNIT.d` (systemd.unit(5), "Unit File
/// Load Path"): `systemctl edit` and `set-property`, each for good and until the next boot. What lies below `/usr` is a
/// package's.
pub const DROP_INS: [&str; 4] = [
    UNITS,
    "/etc/systemd/system.control",
    "/run/systemd/system",
    "/run/systemd/system.control",
];

/// Who runs a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// systemd.
    Systemd,
    /// The built-in manager. Its unit files (the subset of systemd's syntax that it knows) and
    /// what it remembers of running services lie in the directory.
    Process {
        /// An absolute path.
        directory: String,
    },
}

/// A service, as its manager knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// Who runs it.
    pub manager: Manager,
    /// Its full name: `rosey-bot.service`.
    pub name: String,
}

/// Whether a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// It runs: `active`, `reloading`, or waiting for an automatic restart.
    Active,
    /// It doesn't: `failed`, `inactive` or `deactivating`.
    Inactive,
    /// It is on its way up: to be read again until it settles.
    Activating,
}

/// What the manager says of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Whether the manager knows the unit at all.
    pub exists: bool,
    /// Whether it runs.
    pub activity: Activity,
    /// Whether it failed, as opposed to being stopped.
    pub failed: bool,
    /// Whether it starts at boot. True too for units that can't be enabled (`static`, `indirect`, `generated`).
    pub enabled: bool,
    /// Whether the manager's copy of the definition is older than the file.
    pub needs_daemon_reload: bool,
    /// The main process.
    pub main_process: Option<u32>,
    /// When the main process was started.
    pub started: Option<Moment>,
    /// The file that defines it.
    pub definition: Option<PathBuf>,
    /// How many automatic restarts there were.
    pub restarts: u32,
    /// The manager's words: `active (running)`, `failed (exit-code)`.
    pub words: String,
}

/// What systemd says of a unit that isn't there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRemark {
    /// The unit: `rosey-bot.service`.
    pub unit: String,
    /// Whether it can't be loaded so; otherwise something in it is ignored.
    pub refused: bool,
    /// What is wrong, in systemd's words.
    pub words: String,
}

/// One act of a service manager; each returns when it is done or has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceAct {
    /// Reads all definitions again.
    DaemonReload,
    /// Forgets that a unit failed, and its start limit.
    ResetFailed,
    /// Lets it start at boot.
    Enable,
    /// The opposite.
    Disable,
    /// Starts it.
    Start,
    /// Stops and starts it.
    Restart,
    /// Has it read its configuration again.
    Reload,
    /// Stops it.
    Stop,
}

/// A command to be run by `sh -c`, in a session of its own, without input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// For `sh -c`; never built by quoting values into it.
    pub shell: String,
    /// The working directory.
    pub directory: PathBuf,
    /// Who runs it; none for the helper's own user.
    pub user: Option<String>,
    /// All of its environment but PATH, HOME, USER, LOGNAME, SHELL and LANG, which are made anew.
    pub env: BTreeMap<String, String>,
    /// After this time every process of its session is killed.
    pub timeout: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOutput {
    /// The exit status; none when it was killed.
    pub status: Option<i32>,
    /// The last 64 KiB of what it printed, both streams in the order of arrival.
    pub output: String,
    /// Whether its time ran out.
    pub timed_out: bool,
}

/// A primitive that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{doing} {path}: {kind}")]
pub struct HostError {
    /// What was being done: `read`, `rename`, `start`.
    pub doing: String,
    /// To what.
    pub path: String,
    /// Why it failed.
    pub kind: HostErrorKind,
}

/// Why a primitive failed.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum HostErrorKind {
    /// ENOENT.
    #[error("there is no such file")]
    NotFound,
    /// EEXIST or ENOTEMPTY.
    #[error("something is there already")]
    Exists,
    /// EACCES or EPERM.
    #[error("permission denied")]
    Denied,
    /// ENOSPC or EDQUOT.
    #[error("no space left on the device")]
    NoSpace,
    /// EROFS.
    #[error("the file system is read-only")]
    ReadOnly,
    /// ELOOP: a component of the path is a symbolic link, where none belongs.
    #[error("a directory on the way there is a symbolic link, which rosey doesn't follow")]
    LinkOnTheWay,
    /// EXDEV.
    #[error("it lies on another file system")]
    OtherFileSystem,
    /// What a service is to be started in or with isn't there, in the manager's words.
    #[error("{0}")]
    Missing(String),
    /// A live process refers to it, which it would break.
    #[error("process {0} still uses it; it is removed when that has ended")]
    InUse(u32),
    /// Its time ran out.
    #[error("it took too long")]
    TimedOut,
    /// Anything else, in the system's or the manager's words.
    #[error("{0}")]
    Other(String),
}

impl HostErrorKind {
    /// Whether the same call may succeed later with nothing changed by rosey.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::NoSpace | Self::ReadOnly | Self::TimedOut)
    }
}

/// A host as it can be read. Nothing behind it writes, locks or runs a command of the user's.
pub trait ReadHost: Send + Sync {
    /// What is at a path, without following a link; none when nothing is.
    ///
    /// # Errors
    /// When it can't be known whether something is there.
    fn entry(&self, path: &Path) -> Result<Option<Entry>, HostError>;

    /// A whole file.
    ///
    /// # Errors
    /// When it can't be read.
    fn read(&self, path: &Path) -> Result<Vec<u8>, HostError>;

    /// A file, bit by bit.
    ///
    /// # Errors
    /// When it can't be opened.
    fn open(&self, path: &Path) -> Result<Box<dyn Read + Send>, HostError>;

    /// Where a link points, as it is written.
    ///
    /// # Errors
    /// When it is no link.
    fn link_target(&self, path: &Path) -> Result<PathBuf, HostError>;

    /// The names in a directory, sorted by their bytes.
    ///
    /// # Errors
    /// When it is no directory that can be read.
    fn list(&self, path: &Path) -> Result<Vec<OsString>, HostError>;

    /// The path with every link resolved; of what isn't there yet, as far as it is there.
    ///
    /// # Errors
    /// When a part of it can't be read.
    fn real_path(&self, path: &Path) -> Result<PathBuf, HostError>;

    /// What its manager says of a service. An unknown unit is no error.
    ///
    /// # Errors
    /// When the manager can't be asked.
    fn service(&self, unit: &Unit) -> Result<ServiceStatus, HostError>;

    /// The last lines of a service's log, oldest first; empty when there is none. Lines from before `since` are left
    /// out where the manager knows when they were written.
    fn service_log(&self, unit: &Unit, lines: usize, since: Option<&Moment>) -> Vec<String>;

    /// What systemd would say of units, if these files were below `/etc/systemd/system`: their paths from there, with
    /// what they hold. Nothing where it can't be asked.
    fn verify_units(&self, files: &BTreeMap<String, String>) -> Vec<UnitRemark>;

    /// Live processes that refer to something at or below a path (cwd, exe, root, maps).
    ///
    /// # Errors
    /// When they can't be listed.
    fn processes_in(&self, path: &Path) -> Result<Vec<u32>, HostError>;

    /// The sockets that somebody listens on at a TCP port.
    ///
    /// # Errors
    /// When the kernel's tables can't be read. Whose a socket is may be unknown, and is no error.
    fn listeners(&self, port: u16) -> Result<Vec<Listener>, HostError>;

    /// Whether a process is one of a service's.
    ///
    /// # Errors
    /// When that can't be known.
    fn is_of_service(&self, process: u32, unit: &Unit) -> Result<bool, HostError>;

    /// Room on the file system of a path; of what isn't there yet, of the nearest directory above it.
    ///
    /// # Errors
    /// When it can't be asked.
    fn space(&self, path: &Path) -> Result<Space, HostError>;

    /// Whether the file system of a path takes no writes; of what isn't there yet, that of the nearest directory above it.
    ///
    /// # Errors
    /// When it can't be asked.
    fn is_read_only(&self, path: &Path) -> Result<bool, HostError>;

    /// A user; none when the host has none of that name (or number, as text).
    ///
    /// # Errors
    /// When it can't be known.
    fn account(&self, user: &str) -> Result<Option<Account>, HostError>;

    /// Whether the host has a group of that name or number.
    ///
    /// # Errors
    /// When it can't be known.
    fn has_group(&self, group: &str) -> Result<bool, HostError>;

    /// Now.
    fn moment(&self) -> Moment;

    /// Now, as RFC 3339 in UTC.
    fn time(&self) -> String;

    /// What the host says of itself.
    fn facts(&self) -> HostFacts;
}

/// A host that can be changed, and asked as its clients would ask it.
pub trait WriteHost: ReadHost + Probe + Databases {
    /// This host as one that can only be read.
    fn as_read(&self) -> &dyn ReadHost;

    /// Makes one directory; its parent is there.
    ///
    /// # Errors
    /// `Exists` when something is there.
    fn make_directory(&self, path: &Path, mode: u32, owner: &Owner) -> Result<(), HostError>;

    /// Makes a file with this content.
    ///
    /// # Errors
    /// `Exists` when something is there.
    fn write_file(
        &self,
        path: &Path,
        content: &mut dyn Read,
        mode: u32,
        owner: &Owner,
    ) -> Result<(), HostError>;

    /// Makes a file with the content of another, sharing blocks where the file system can.
    ///
    /// # Errors
    /// `Exists` when something is at `to`.
    fn clone_file(&self, from: &Path, to: &Path, mode: u32, owner: &Owner)
    -> Result<(), HostError>;

    /// Makes a copy of an SQLite database through SQLite itself, so that it is whole whoever writes
    /// to it meanwhile, and checks the copy.
    ///
    /// # Errors
    /// `Exists` when something is at `to`; otherwise in SQLite's words.
    fn copy_database(
        &self,
        from: &Path,
        to: &Path,
        mode: u32,
        owner: &Owner,
    ) -> Result<(), HostError>;

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// `Exists` when something is there.
    fn make_link(&self, path: &Path, target: &Path, owner: &Owner) -> Result<(), HostError>;

    /// Renames; nothing may be at `to`.
    ///
    /// # Errors
    /// `Exists` when something is there.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), HostError>;

    /// Renames over a file or link that may be at `to`, in one atomic act.
    ///
    /// # Errors
    /// When it can't be done; then nothing has changed.
    fn replace(&self, from: &Path, to: &Path) -> Result<(), HostError>;

    /// Exchanges what is at two paths in one atomic act.
    ///
    /// # Errors
    /// When it can't be done; then nothing has changed.
    fn exchange(&self, one: &Path, other: &Path) -> Result<(), HostError>;

    /// Removes a file or link.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    fn remove_file(&self, path: &Path) -> Result<(), HostError>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `Exists` when it isn't empty.
    fn remove_directory(&self, path: &Path) -> Result<(), HostError>;

    /// Sets permission bits.
    ///
    /// # Errors
    /// When it can't be done.
    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), HostError>;

    /// Sets user and group, of a link itself.
    ///
    /// # Errors
    /// When it can't be done, or the host doesn't know one of them.
    fn set_owner(&self, path: &Path, owner: &Owner) -> Result<(), HostError>;

    /// Adds to the end of a file, and makes it where it isn't there (mode 0600).
    ///
    /// # Errors
    /// When it can't be done; then a part may have been written.
    fn append(&self, path: &Path, bytes: &[u8]) -> Result<(), HostError>;

    /// Overwrites a part of a file that is there, without changing its length beyond the part's end.
    ///
    /// # Errors
    /// When it can't be done; then a part may have been written.
    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), HostError>;

    /// Makes sure that a file (made where it isn't there, mode 0600) can hold so many bytes without
    /// further space; new bytes are zero.
    ///
    /// # Errors
    /// `NoSpace` when it can't.
    fn allocate(&self, path: &Path, size: u64) -> Result<(), HostError>;

    /// Makes a file's content, or a directory's names, durable.
    ///
    /// # Errors
    /// When the file system can't promise it.
    fn sync(&self, path: &Path) -> Result<(), HostError>;

    /// Makes everything at and below a path durable.
    ///
    /// # Errors
    /// When the file system can't promise it.
    fn sync_tree(&self, path: &Path) -> Result<(), HostError>;

    /// Has a service's manager do something.
    ///
    /// # Errors
    /// When the manager refuses, the service fails, or the time runs out.
    fn manage(&self, unit: &Unit, act: &ServiceAct, timeout: Duration) -> Result<(), HostError>;

    /// Runs a command of the user's.
    ///
    /// # Errors
    /// When it can't be started. How it ended is in the output.
    fn run(&self, command: &Command) -> Result<CommandOutput, HostError> {
        self.run_while(command, &|| true)
    }

    /// The same, as long as somebody wants it: then all its processes are killed, as when its time
    /// has run out.
    ///
    /// # Errors
    /// When it can't be started. How it ended is in the output.
    fn run_while(
        &self,
        command: &Command,
        wanted: &dyn Fn() -> bool,
    ) -> Result<CommandOutput, HostError>;

    /// Ends commands of the app with this root that outlived the helper that had started them; says
    /// how many there were. Where a command ends with its helper, there are none.
    ///
    /// # Errors
    /// When one can't be ended.
    fn end_orphans(&self, root: &Path) -> Result<usize, HostError> {
        let _ = root;
        Ok(0)
    }
}
