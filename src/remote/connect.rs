//! Opens a connection: socket, jump hosts, handshake, host key, login.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelOpenFailure;
use russh::client::{self, Handle};
use tokio::io::{AsyncRead, AsyncWrite};

use super::auth::{self, Attempt};
use super::handler::{Client, KeyPolicy, Learnt};
use super::host_key::{HostKey, HostKeyCheck, HostKeyError};
use super::lookup::{self, LookupError};
use super::resolve::{self, ResolveError};
use super::session::Session;
use super::target::{Destination, Surroundings, Target};
use super::wire::{self, QuickAck, Wire};

/// Why a host can't be reached, or refuses us.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(
        "look up {host}: {cause}. Check the address \"{name}\" in the declaration, or try: getent ahosts {name}"
    )]
    Lookup {
        host: String,
        name: String,
        cause: LookupError,
    },
    #[error(
        "reach {host} at {place}: nothing listens there. Check the port, and on the server: systemctl status ssh"
    )]
    NotListening { host: String, place: String },
    #[error(
        "reach {host} at {place}: no answer within {} s. Is the server up, and does a firewall let us through?",
        .patience.as_secs()
    )]
    NoAnswer {
        host: String,
        place: String,
        patience: Duration,
    },
    #[error("reach {host} at {place}: {cause}. Check the network between here and there")]
    Network {
        host: String,
        place: String,
        cause: io::Error,
    },
    #[error(
        "reach {host} at {place}: it takes the connection and then says nothing for {} s. \
         Is that an SSH server, and is it overloaded?",
        .patience.as_secs()
    )]
    Silent {
        host: String,
        place: String,
        patience: Duration,
    },
    #[error(
        "reach {host} at {place}: it hung up in the handshake ({reason}). Is that an SSH server, and \
         does it throttle new connections (MaxStartups)?"
    )]
    HungUp {
        host: String,
        place: String,
        reason: String,
    },
    #[error(
        "reach {host} at {place}: no way to talk to it in common: {reason}. The server's SSH is too old or too narrow"
    )]
    NothingInCommon {
        host: String,
        place: String,
        reason: String,
    },
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    #[error(
        "log in to {host} at {place} as {user}: nothing was accepted:{tried}\n{way_in}",
        tried = list(.attempts), way_in = way_in(user, .attempts)
    )]
    Refused {
        host: String,
        place: String,
        user: String,
        attempts: Vec<Attempt>,
    },
    #[error("reach {host} at {place} through {jump}: {jump} {reason}")]
    Jump {
        host: String,
        place: String,
        jump: String,
        reason: String,
        temporary: bool,
    },
}

fn list(attempts: &[Attempt]) -> String {
    if attempts.is_empty() {
        return " there was no key to try".to_owned();
    }
    attempts
        .iter()
        .map(|attempt| format!("\n  - {attempt}"))
        .collect()
}

/// What to type on the server. Of several keys the first is meant: it's the one that was named, if one was.
fn way_in(user: &str, attempts: &[Attempt]) -> String {
    let other = "name another key (identity) or user in the declaration";
    match attempts.iter().find_map(|it| it.refused.as_deref()) {
        Some(key) => format!(
            "On the server, as root, type: install -d -m 700 -o {user} ~{user}/.ssh && echo '{key}' >> ~{user}/.ssh/authorized_keys\n\
             Or {other}"
        ),
        None => format!("Put your public key into ~{user}/.ssh/authorized_keys there, or {other}"),
    }
}

impl ConnectError {
    /// Whether trying again later may help without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::NotListening { .. }
            | Self::NoAnswer { .. }
            | Self::Network { .. }
            | Self::Silent { .. }
            | Self::HungUp { .. } => true,
            Self::Lookup { cause, .. } => matches!(cause, LookupError::Silent(_)),
            Self::Jump { temporary, .. } => *temporary,
            Self::Resolve(_)
            | Self::NothingInCommon { .. }
            | Self::HostKey(_)
            | Self::Refused { .. } => false,
        }
    }
}

/// A logged-in connection, and those it goes through.
pub(crate) struct Connection {
    host: String,
    pub(crate) handle: Handle<Client>,
    pub(crate) learnt: Learnt,
    quick: Option<QuickAck>,
    /// Kept only so that it isn't closed under us.
    _through: Option<Arc<Connection>>,
}

impl Connection {
    pub(crate) fn stop_quick_acknowledgements(&self) {
        if let Some(quick) = &self.quick {
            quick.stop();
        }
    }
}

/// Reaches a target and logs in.
///
/// # Errors
/// Nothing is left open. A temporary error (`is_temporary`) may be tried again.
pub async fn connect(target: &Target, around: &Surroundings) -> Result<Session, ConnectError> {
    let to = resolve::resolve(target, around).await?;
    let through = open_jumps(&to, around).await?;
    let connection = open(&to, through, around).await?;
    Ok(Session::new(to, connection))
}

/// Asks a server for its host key and hangs up; jump hosts on the way must be trusted already.
pub async fn scan_host_key(
    target: &Target,
    around: &Surroundings,
) -> Result<HostKey, ConnectError> {
    let to = resolve::resolve(target, around).await?;
    let through = open_jumps(&to, around).await?;
    let learnt = Learnt::default();
    let handler = Client {
        policy: KeyPolicy::Look,
        learnt: learnt.clone(),
    };
    let config = wire::config(wire::preferred());
    let result = start(&to, through.as_deref(), config, handler)
        .await
        .map(drop);
    match (learnt.shown(), result) {
        (Some(key), _) => Ok(key),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(ConnectError::HungUp {
            host: to.name.clone(),
            place: to.place(),
            reason: "it showed no host key".to_owned(),
        }),
    }
}

async fn open_jumps(
    to: &Destination,
    around: &Surroundings,
) -> Result<Option<Arc<Connection>>, ConnectError> {
    let mut through = None;
    for jump in &to.jumps {
        through = Some(open(jump, through, around).await?);
    }
    Ok(through)
}

async fn open(
    to: &Destination,
    through: Option<Arc<Connection>>,
    around: &Surroundings,
) -> Result<Arc<Connection>, ConnectError> {
    let check = HostKeyCheck::new(to)?;
    let mut preferred = wire::preferred();
    check.prefer(&mut preferred);
    let learnt = Learnt::default();
    let policy = KeyPolicy::Judge(Box::new(check));
    let handler = Client {
        policy,
        learnt: learnt.clone(),
    };
    let (mut handle, quick) =
        start(to, through.as_deref(), wire::config(preferred), handler).await?;
    if let Err(mut attempts) = auth::log_in(&mut handle, to, around).await {
        if let Some(reason) = learnt.ended() {
            attempts.push(Attempt {
                what: "the server then hung up".to_owned(),
                result: reason,
                refused: None,
            });
        }
        return Err(ConnectError::Refused {
            host: to.name.clone(),
            place: to.place(),
            user: to.user.clone(),
            attempts,
        });
    }
    Ok(Arc::new(Connection {
        host: to.name.clone(),
        handle,
        learnt,
        quick,
        _through: through,
    }))
}

/// Connects and shakes hands, over a socket of our own or a channel of a jump host.
async fn start(
    to: &Destination,
    through: Option<&Connection>,
    config: client::Config,
    handler: Client,
) -> Result<(Handle<Client>, Option<QuickAck>), ConnectError> {
    match through {
        None => {
            let (wire, quick) = dial(to).await?;
            Ok((shake_hands(to, config, wire, handler).await?, Some(quick)))
        }
        Some(jump) => {
            let stream = jump_channel(to, jump).await?;
            Ok((shake_hands(to, config, stream, handler).await?, None))
        }
    }
}

async fn dial(to: &Destination) -> Result<(Wire, QuickAck), ConnectError> {
    let patience = to.connect_timeout;
    let (host, place) = (to.name.clone(), to.place());
    let addresses = match lookup::addresses(&to.address, patience).await {
        Ok(addresses) => addresses,
        Err(cause) => {
            let name = to.address.clone();
            return Err(ConnectError::Lookup { host, name, cause });
        }
    };
    let failed = match Wire::connect(&addresses, to.port, patience).await {
        Ok(wire) => return Ok(wire),
        Err(cause) => cause,
    };
    Err(match failed.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::NotListening { host, place },
        io::ErrorKind::TimedOut => ConnectError::NoAnswer {
            host,
            place,
            patience,
        },
        _ => ConnectError::Network {
            host,
            place,
            cause: failed,
        },
    })
}

async fn jump_channel(
    to: &Destination,
    jump: &Connection,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, ConnectError> {
    let failed = |reason: String, temporary| ConnectError::Jump {
        host: to.name.clone(),
        place: to.place(),
        jump: jump.host.clone(),
        reason,
        temporary,
    };
    let opened =
        jump.handle
            .channel_open_direct_tcpip(to.address.clone(), to.port.into(), "127.0.0.1", 0);
    // The jump host itself may be waiting for a server that is down, so it gets a little longer.
    let patience = to.connect_timeout.saturating_mul(2);
    match tokio::time::timeout(patience, opened).await {
        Ok(Ok(channel)) => Ok(channel.into_stream()),
        Ok(Err(russh::Error::ChannelOpenFailure(
            ChannelOpenFailure::AdministrativelyProhibited,
        ))) => {
            let reason =
                "doesn't forward connections; on it, set AllowTcpForwarding yes in sshd_config";
            Err(failed(reason.to_owned(), false))
        }
        Ok(Err(russh::Error::ChannelOpenFailure(reason))) => Err(failed(
            format!("can't connect to it ({reason:?}); is the server up?"),
            true,
        )),
        Ok(Err(error)) => Err(failed(format!("is lost ({error})"), true)),
        Err(_) => Err(failed(
            format!("gave no answer within {} s", patience.as_secs()),
            true,
        )),
    }
}

async fn shake_hands<S>(
    to: &Destination,
    config: client::Config,
    stream: S,
    handler: Client,
) -> Result<Handle<Client>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (host, place) = (to.name.clone(), to.place());
    let patience = to.connect_timeout;
    let learnt = handler.learnt.clone();
    let started = client::connect_stream(Arc::new(config), stream, handler);
    let error = match tokio::time::timeout(patience, started).await {
        Ok(Ok(handle)) => return Ok(handle),
        Ok(Err(error)) => error,
        Err(_) => {
            return Err(ConnectError::Silent {
                host,
                place,
                patience,
            });
        }
    };
    if let Some(refusal) = learnt.take_refusal() {
        return Err(refusal.into());
    }
    Err(match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => ConnectError::NothingInCommon {
            host,
            place,
            reason: format!("{kind:?}; it offers {}", theirs.join(", ")),
        },
        error => {
            let reason = learnt.ended().unwrap_or_else(|| error.to_string());
            ConnectError::HungUp {
                host,
                place,
                reason,
            }
        }
    })
}
