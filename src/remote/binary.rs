//! The program that is sent to servers: our own, or another architecture's.

use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tokio::sync::OnceCell;

use super::elf::{Elf, ElfError, Machine};
use crate::model::Digest;

/// Where the programs lie.
#[derive(Debug, Clone)]
pub struct HelperSources {
    /// The running program: `/proc/self/exe`.
    pub own: PathBuf,
    /// `$ROSEY_HELPER`: a static rosey for another architecture.
    pub other: Option<PathBuf>,
    /// A directory of rosey's cache for the compressed form; may vanish at any moment.
    pub cache: Option<PathBuf>,
}

/// The programs, read and hashed once for all hosts.
#[derive(Debug)]
pub struct Helpers {
    sources: HelperSources,
    own: OnceCell<Arc<HelperBinary>>,
    other: OnceCell<Arc<HelperBinary>>,
}

/// One program, ready to be sent.
#[derive(Debug)]
pub struct HelperBinary {
    pub path: PathBuf,
    /// By it the helper is known on every host.
    pub digest: Digest,
    pub size: u64,
    pub elf: Elf,
    cache: Option<PathBuf>,
    packed: OnceCell<Arc<Vec<u8>>>,
}

/// Why there is no program that could run on a host. None of these passes by waiting.
#[derive(Debug, thiserror::Error)]
pub enum HelperBinaryError {
    #[error("read the helper program {path}", path = .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("use {path} as helper: {fault}", path = .path.display())]
    NotAProgram { path: PathBuf, fault: ElfError },
    #[error(
        "use {path} as helper on {host}: it isn't linked statically, so it needs this machine's libraries. \
         Build rosey as its repository does (cargo build in it sets target-feature=+crt-static), or name a \
         static one in $ROSEY_HELPER",
        path = .path.display()
    )]
    NotStatic { host: String, path: PathBuf },
    #[error(
        "find a helper for {host}: it is {wanted}, and this rosey is {own}. Set $ROSEY_HELPER to the path of a \
         static rosey of the same version built for {wanted}"
    )]
    NoneForMachine {
        host: String,
        wanted: Machine,
        own: Machine,
    },
    #[error(
        "find a helper for {host}: it is {wanted}, this rosey is {own}, and {path}, which $ROSEY_HELPER names, is \
         {other}. Set it to a static rosey of the same version built for {wanted}",
        path = .path.display()
    )]
    WrongMachine {
        host: String,
        wanted: Machine,
        own: Machine,
        path: PathBuf,
        other: Machine,
    },
}

impl Helpers {
    pub fn new(sources: HelperSources) -> Self {
        Self {
            sources,
            own: OnceCell::new(),
            other: OnceCell::new(),
        }
    }

    /// Our own program.
    pub async fn own(&self) -> Result<Arc<HelperBinary>, HelperBinaryError> {
        let load = || load(self.sources.own.clone(), self.sources.cache.clone());
        self.own.get_or_try_init(load).await.cloned()
    }

    /// The program that runs on a host of this architecture.
    pub async fn for_machine(
        &self,
        host: &str,
        wanted: Machine,
    ) -> Result<Arc<HelperBinary>, HelperBinaryError> {
        let own = self.own().await?;
        let chosen = if own.elf.machine == wanted {
            match &self.sources.other {
                // A dynamic build of our own is no obstacle when a static one is at hand.
                Some(path) if !own.elf.is_static => {
                    let other = self.other(path).await?;
                    if other.elf.machine == wanted {
                        other
                    } else {
                        own
                    }
                }
                _ => own,
            }
        } else {
            let host = host.to_owned();
            let own = own.elf.machine;
            let Some(path) = &self.sources.other else {
                return Err(HelperBinaryError::NoneForMachine { host, wanted, own });
            };
            let other = self.other(path).await?;
            if other.elf.machine != wanted {
                return Err(HelperBinaryError::WrongMachine {
                    host,
                    wanted,
                    own,
                    path: path.clone(),
                    other: other.elf.machine,
                });
            }
            other
        };
        if chosen.elf.is_static {
            return Ok(chosen);
        }
        Err(HelperBinaryError::NotStatic {
            host: host.to_owned(),
            path: chosen.path.clone(),
        })
    }

    async fn other(&self, path: &Path) -> Result<Arc<HelperBinary>, HelperBinaryError> {
        let load = || load(path.to_owned(), self.sources.cache.clone());
        self.other.get_or_try_init(load).await.cloned()
    }
}

async fn load(
    path: PathBuf,
    cache: Option<PathBuf>,
) -> Result<Arc<HelperBinary>, HelperBinaryError> {
    let reading = path.clone();
    let read = tokio::task::spawn_blocking(move || HelperBinary::read(reading, cache)).await;
    read.unwrap_or_else(|panic| {
        Err(HelperBinaryError::Unreadable {
            path,
            source: io::Error::other(panic),
        })
    })
    .map(Arc::new)
}

impl HelperBinary {
    fn read(path: PathBuf, cache: Option<PathBuf>) -> Result<Self, HelperBinaryError> {
        let bytes = std::fs::read(&path).map_err(|source| HelperBinaryError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let elf = Elf::read(&bytes).map_err(|fault| HelperBinaryError::NotAProgram {
            path: path.clone(),
            fault,
        })?;
        Ok(Self {
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            path,
            elf,
            cache,
            packed: OnceCell::new(),
        })
    }

    /// The name of its file on a server.
    pub fn file_name(&self) -> String {
        format!("helper-{}", self.digest.short())
    }

    /// The program as it is.
    pub(crate) async fn plain(&self) -> Result<Vec<u8>, HelperBinaryError> {
        tokio::fs::read(&self.path)
            .await
            .map_err(|source| self.unreadable(source))
    }

    /// The program compressed with gzip, which every server can undo.
    pub(crate) async fn packed(&self) -> Result<Arc<Vec<u8>>, HelperBinaryError> {
        let pack = || async {
            let (program, digest) = (self.path.clone(), self.digest);
            let cached = self
                .cache
                .as_ref()
                .map(|dir| dir.join(format!("{}.gz", self.file_name())));
            let packed = tokio::task::spawn_blocking(move || pack(&program, digest, cached)).await;
            packed
                .unwrap_or_else(|panic| Err(io::Error::other(panic)))
                .map(Arc::new)
                .map_err(|source| self.unreadable(source))
        };
        self.packed.get_or_try_init(pack).await.cloned()
    }

    fn unreadable(&self, source: io::Error) -> HelperBinaryError {
        HelperBinaryError::Unreadable {
            path: self.path.clone(),
            source,
        }
    }
}

/// Compresses a program, or takes the compressed form from the cache if it is whole.
fn pack(program: &Path, digest: Digest, cached: Option<PathBuf>) -> io::Result<Vec<u8>> {
    if let Some(packed) = cached.as_ref().and_then(|file| std::fs::read(file).ok()) {
        let mut unpacked = Vec::new();
        let whole = GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked);
        if whole.is_ok() && Digest::of(&unpacked) == digest {
            return Ok(packed);
        }
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let bytes = std::fs::read(program)?;
    if Digest::of(&bytes) != digest {
        return Err(io::Error::other("it was changed while rosey runs"));
    }
    encoder.write_all(&bytes)?;
    let packed = encoder.finish()?;
    if let Some(file) = cached {
        // A cache that can't be written costs time and nothing else.
        keep(&file, &packed).ok();
    }
    Ok(packed)
}

fn keep(file: &Path, packed: &[u8]) -> io::Result<()> {
    let directory = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    let part = PathBuf::from(name);
    let written = std::fs::write(&part, packed).and_then(|()| std::fs::rename(&part, file));
    if written.is_err() {
        std::fs::remove_file(&part).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of nothing but headers; with a loader it isn't static.
    fn program(directory: &Path, name: &str, machine: u8, loader: bool) -> PathBuf {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = machine;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = if loader { 3 } else { 1 };
        let path = directory.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[tokio::test]
    async fn the_program_fits_the_machine_or_the_error_says_what_would() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        let own = program(here, "own", 62, false);
        let dynamic = program(here, "dynamic", 62, true);
        let arm = program(here, "arm", 183, false);
        let ask = |own: &Path, other: Option<&Path>, wanted| {
            let sources = HelperSources {
                own: own.to_owned(),
                other: other.map(Path::to_owned),
                cache: None,
            };
            async move {
                let helpers = Helpers::new(sources);
                match helpers.for_machine("bot-1", wanted).await {
                    Ok(binary) => binary
                        .path
                        .file_name()
                        .unwrap()
                        .to_string_lossy()
                        .into_owned(),
                    Err(error) => error.to_string(),
                }
            }
        };
        let (x86, aarch) = (Machine::X86_64, Machine::Aarch64);
        assert_eq!(ask(&own, None, x86).await, "own");
        assert_eq!(ask(&own, Some(&arm), x86).await, "own");
        assert_eq!(ask(&own, Some(&arm), aarch).await, "arm");
        assert_eq!(ask(&dynamic, Some(&own), x86).await, "own");
        assert!(
            ask(&dynamic, None, x86)
                .await
                .contains("isn't linked statically")
        );
        assert!(
            ask(&own, Some(&dynamic), aarch)
                .await
                .contains("which $ROSEY_HELPER names, is x86_64")
        );
        insta::assert_snapshot!(ask(&own, None, aarch).await, @r#"find a helper for bot-1: it is aarch64, and this rosey is x86_64. Set $ROSEY_HELPER to the path of a static rosey of the same version built for aarch64"#);
        let script = here.join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert!(
            ask(&script, None, x86)
                .await
                .contains("it is no ELF program")
        );
        assert!(
            ask(&here.join("gone"), None, x86)
                .await
                .starts_with("read the helper program")
        );
    }

    #[tokio::test]
    async fn a_damaged_cache_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let own = program(directory.path(), "own", 62, false);
        let cache = directory.path().join("cache");
        let sources = HelperSources {
            own,
            other: None,
            cache: Some(cache.clone()),
        };
        let first = Helpers::new(sources.clone()).own().await.unwrap();
        let packed = first.packed().await.unwrap();
        let file = cache.join(format!("{}.gz", first.file_name()));
        assert_eq!(std::fs::read(&file).unwrap(), *packed);
        std::fs::write(&file, &packed[..packed.len() / 2]).unwrap();
        let again = Helpers::new(sources)
            .own()
            .await
            .unwrap()
            .packed()
            .await
            .unwrap();
        assert_eq!(again, packed);
        assert_eq!(std::fs::read(&file).unwrap(), *packed);
    }
}
