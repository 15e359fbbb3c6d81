//! The network and the databases of a host in memory: a test says what is served.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::host::database::Databases;
use crate::host::error::Context;
use crate::host::port::{HostError, HostErrorKind, Unit};
use crate::host::probe::{HttpAnswer, HttpRequest, Probe, ProbeError};

use super::MemoryHost;
use super::services::Running;
use super::tree::Tree;
use super::world::World;

/// Answers a request.
pub(super) type OnHttp =
    dyn Fn(&HttpRequest, &Served<'_>) -> Result<HttpAnswer, ProbeError> + Send + Sync;
/// Takes a connection to an address.
pub(super) type OnTcp = dyn Fn(&str, &Served<'_>) -> Result<(), ProbeError> + Send + Sync;

/// What whoever answers on a host in memory answers from.
#[derive(Debug)]
pub struct Served<'a> {
    world: &'a World,
}

impl Served<'_> {
    /// The file system as programs see it.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.world.disk.now
    }

    /// What a service was started with; none when it doesn't run.
    #[must_use]
    pub fn running(&self, unit: &Unit) -> Option<&Running> {
        self.world.services.get(unit)?.running.as_ref()
    }
}

impl Probe for MemoryHost {
    fn http(&self, request: &HttpRequest) -> Result<HttpAnswer, ProbeError> {
        let mut world = self.world();
        world
            .enter()
            .map_err(|error| ProbeError::Unable(error.to_string()))?;
        let answer = Arc::clone(&world.on_http);
        answer(request, &Served { world: &world })
    }

    fn tcp(&self, address: &str, _timeout: Duration) -> Result<(), ProbeError> {
        let mut world = self.world();
        world
            .enter()
            .map_err(|error| ProbeError::Unable(error.to_string()))?;
        let answer = Arc::clone(&world.on_tcp);
        answer(address, &Served { world: &world })
    }
}

impl Databases for MemoryHost {
    /// A file that begins with `damaged` is a damaged database, any other a whole one.
    fn check_database(&self, path: &Path, _timeout: Duration) -> Result<Vec<String>, HostError> {
        let mut world = self.world();
        let look = |world: &mut World| -> Result<Vec<String>, HostErrorKind> {
            world.enter()?;
            let damaged = world.disk.now.content(path)?.1.starts_with(b"damaged");
            let words = "database disk image is malformed".to_owned();
            Ok(damaged.then_some(words).into_iter().collect())
        };
        look(&mut world).context("check the database", path)
    }
}

/// What a test does to the network of a host in memory.
impl MemoryHost {
    /// Answers requests; without it nothing listens.
    pub fn on_http(
        &self,
        answer: impl Fn(&HttpRequest, &Served<'_>) -> Result<HttpAnswer, ProbeError>
        + Send
        + Sync
        + 'static,
    ) {
        self.world().on_http = Arc::new(answer);
    }

    /// Takes connections; without it nothing listens.
    pub fn on_tcp(
        &self,
        answer: impl Fn(&str, &Served<'_>) -> Result<(), ProbeError> + Send + Sync + 'static,
    ) {
        self.world().on_tcp = Arc::new(answer);
    }
}

pub(super) fn nobody_answers(
    request: &HttpRequest,
    _served: &Served<'_>,
) -> Result<HttpAnswer, ProbeError> {
    Err(refused(&request.url))
}

pub(super) fn nothing_listens(address: &str, _served: &Served<'_>) -> Result<(), ProbeError> {
    Err(refused(address))
}

fn refused(at: &str) -> ProbeError {
    ProbeError::Connection(format!("no connection to {at}: nothing listens there"))
}
