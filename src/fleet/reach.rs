//! Reaching the hosts of an environment: over SSH, or this machine through a child of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::ask::AskError;
use super::connection::{Connection, Pulse, Transport};
use super::pending::Pending;
use super::run::Fleet;
use crate::config::{Elevation, Host, Reach, SshTarget, expand_home};
use crate::model::{HostFacts, HostName};
use crate::remote::{
    Become, BecomeError, ConnectError, HelperBinaryError, Helpers, RunError, Surroundings, Target,
    UploadError, connect, ensure_helper, start_helper,
};

/// Hosts that are reached at the same time.
const AT_ONCE: usize = 32;

/// The end of a child's standard error that is kept, in bytes.
const LAST_WORDS: usize = 8 * 1024;

/// Why a host isn't there.
#[derive(Debug, Error)]
pub enum ReachError {
    /// It can't be connected to, or refuses us.
    #[error("failed to {0}")]
    Connect(Box<ConnectError>),
    /// It doesn't let us become root.
    #[error("failed to {0}")]
    Become(Box<BecomeError>),
    /// Our program can't be brought there.
    #[error("failed to {0}")]
    Upload(Box<UploadError>),
    /// Our program can't be started there.
    #[error("failed to {0}")]
    Start(Box<RunError>),
    /// Our own program can't be read.
    #[error("failed to {0}")]
    Program(#[from] HelperBinaryError),
    /// A child of ours can't be started.
    #[error("failed to start {} for {host}: {cause}", program.display())]
    Child {
        /// The host.
        host: HostName,
        /// Our program.
        program: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The helper doesn't answer as it should.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// What reaching hosts needs.
pub struct Reaching {
    /// Our program, for here and for hosts of another architecture.
    pub helpers: Helpers,
    /// Our program's path.
    pub program: PathBuf,
    /// What surrounds SSH.
    pub around: Surroundings,
    /// How long a connection may take.
    pub patience: Duration,
    /// Environment variables of ours that a helper on this machine must not have: those that hold a secret.
    pub withheld: Vec<String>,
    /// How often signs of life are sent.
    pub pulse: Pulse,
    /// Is told what is waited for.
    pub pending: Pending,
}

/// A host that was reached.
#[derive(Clone)]
pub struct Reached {
    /// The connection to its helper.
    pub connection: Connection,
    /// What it says of itself.
    pub facts: HostFacts,
}

/// Reaches hosts, all at once; says of each whether it is there.
pub async fn reach(
    reaching: &Arc<Reaching>,
    hosts: &[Host],
) -> BTreeMap<HostName, Result<Reached, ReachError>> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = Vec::new();
    for host in hosts {
        let (reaching, host, turns) = (Arc::clone(reaching), host.clone(), Arc::clone(&turns));
        let name = host.name.clone();
        let task = tokio::spawn(async move {
            let _turn = turns.acquire().await;
            one(&reaching, &host).await
        });
        tasks.push((name, task));
    }
    let mut reached = BTreeMap::new();
    for (name, task) in tasks {
        match task.await {
            Ok(result) => drop(reached.insert(name, result)),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    reached
}

/// The connections of hosts that were reached.
#[must_use]
pub fn connections(reached: &BTreeMap<HostName, Reached>) -> Fleet {
    reached
        .iter()
        .map(|(host, reached)| (host.clone(), reached.connection.clone()))
        .collect()
}

async fn one(reaching: &Reaching, host: &Host) -> Result<Reached, ReachError> {
    let (transport, program) = match &host.reach {
        Reach::Local => local(reaching, host).await?,
        Reach::Ssh(target) => over_ssh(reaching, host, target).await?,
    };
    let connection = Connection::open(host.name.clone(), transport, reaching.pulse);
    let connection = connection.watched(reaching.pending.clone());
    let facts = connection.hello(program).await?;
    Ok(Reached { connection, facts })
}

async fn over_ssh(
    reaching: &Reaching,
    host: &Host,
    declared: &SshTarget,
) -> Result<(Transport, String), ReachError> {
    let target = target(host, declared, &reaching.around.home, reaching.patience);
    let under_way = reaching.pending.begin("connecting to", &host.name);
    let session = connect(&target, &reaching.around)
        .await
        .map_err(|error| ReachError::Connect(Box::new(error)))?;
    under_way.goes_on("becoming root on");
    session
        .check_become()
        .await
        .map_err(|error| ReachError::Become(Box::new(error)))?;
    under_way.goes_on("bringing rosey to");
    let helper = ensure_helper(&session, &reaching.helpers)
        .await
        .map_err(|error| ReachError::Upload(Box::new(error)))?;
    let channel = start_helper(&session, &helper, &["helper"])
        .await
        .map_err(|error| ReachError::Start(Box::new(error)))?;
    let last_words = channel.last_words();
    let (reader, writer) = tokio::io::split(channel);
    let transport = Transport {
        reader: Box::new(reader),
        writer: Box::new(writer),
        last_words,
        keep: Box::new(session),
    };
    Ok((transport, helper.digest.to_string()))
}

/// How a declared host is reached over SSH.
#[must_use]
pub fn target(host: &Host, declared: &SshTarget, home: &Path, patience: Duration) -> Target {
    let mut target = Target::new(host.name.as_str(), declared.address.as_str());
    target.port = declared.port;
    target.user = declared.user.as_ref().map(ToString::to_string);
    let identities = declared.identities.iter();
    target.identities = identities.map(|path| expand_home(path, home)).collect();
    let known_hosts = declared.known_hosts.iter();
    target.known_hosts = known_hosts.map(|path| expand_home(path, home)).collect();
    target.pinned_keys = declared
        .host_keys
        .iter()
        .map(|key| key.as_str().to_owned())
        .collect();
    target.r#become = match host.elevation {
        Elevation::None => Become::No,
        Elevation::Sudo => Become::Sudo,
    };
    target.connect_timeout = patience;
    target
}

/// This machine: the same helper, as a child. It begins a session of its own, so that what a terminal
/// sends to us (an interrupt) doesn't reach it.
async fn local(reaching: &Reaching, host: &Host) -> Result<(Transport, String), ReachError> {
    let digest = reaching.helpers.own().await?.digest.to_string();
    let mut command = Command::new(&reaching.program);
    for name in &reaching.withheld {
        command.env_remove(name);
    }
    let mut child = command
        .arg("helper")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| ReachError::Child {
            host: host.name.clone(),
            program: reaching.program.clone(),
            cause,
        })?;
    let words = Arc::new(Mutex::new(Vec::new()));
    listen(&mut child, &words);
    let last_words = move || {
        let words = words.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&words).into_owned()
    };
    let (Some(reader), Some(writer)) = (child.stdout.take(), child.stdin.take()) else {
        unreachable!("BUG: both were asked to be pipes")
    };
    let transport = Transport {
        reader: Box::new(reader),
        writer: Box::new(writer),
        last_words: Arc::new(last_words),
        // Tokio reaps it once it has ended; it is not killed when we go, since it may be on its way back.
        keep: Box::new(child),
    };
    Ok((transport, digest))
}

/// Keeps the end of what a child says on its standard error.
fn listen(child: &mut Child, words: &Arc<Mutex<Vec<u8>>>) {
    let Some(mut stderr) = child.stderr.take() else {
        return;
    };
    let words = Arc::clone(words);
    tokio::spawn(async move {
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = stderr.read(&mut part).await {
            let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
            words.extend_from_slice(&part[..read]);
            let surplus = words.len().saturating_sub(LAST_WORDS);
            words.drain(..surplus);
        }
    });
}
