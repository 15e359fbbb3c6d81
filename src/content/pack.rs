//! Packs: content by digest, many files in one compressed stream.
//!
//! A pack is one zstd stream: a line that names the format, records of (digest, length, bytes), and
//! an end that counts them, without which it is truncated. Nothing in it is compressed apart, so a
//! record is reached by reading all before it: who needs several reads the pack once.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use thiserror::Error;

use super::hashing::HashingReader;
use super::manifest::EntryPath;
use crate::host::HostError;
use crate::model::Digest;

const FORMAT: &[u8] = b"rosey-pack 1\n";
const PLAIN: u8 = 0;
const SEALED: u8 = 1;
const END: u8 = 2;

/// More buys little and costs much: 242 MiB/s at 3, 77 at 6.
const LEVEL: i32 = 3;

/// Why a pack can't be written or read.
#[derive(Debug, Error)]
pub enum PackError {
    /// A file that belongs into it can't be read.
    #[error("{path} can't be read: {cause}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file isn't what it was when its digest was taken.
    #[error("{path} has changed since the source was read; apply again")]
    Changed {
        /// The file, or its digest.
        path: String,
    },
    /// The pack can't be written, or what it is read from fails.
    #[error("the stream of content failed: {0}")]
    Stream(#[source] io::Error),
    /// The pack ends too early.
    #[error("the stream of content ends in the middle; nothing of it was kept. Apply again")]
    Truncated,
    /// It is no pack, or a damaged one.
    #[error("the stream of content is damaged ({0}); nothing of it was kept. Apply again")]
    Damaged(String),
    /// A primitive failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl PackError {
    /// The same, naming the file that it is about.
    pub(super) fn about(self, path: &EntryPath) -> Self {
        match self {
            Self::Changed { .. } => Self::Changed {
                path: path.to_string(),
            },
            Self::Unreadable { cause, .. } => Self::Unreadable {
                path: path.to_string(),
                cause,
            },
            other => other,
        }
    }
}

/// Writes a pack.
pub struct PackWriter<W: Write> {
    out: zstd::stream::write::Encoder<'static, W>,
    records: u64,
}

impl<W: Write> PackWriter<W> {
    /// Begins a pack.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn new(out: W) -> Result<Self, PackError> {
        let mut out = zstd::stream::write::Encoder::new(out, LEVEL).map_err(PackError::Stream)?;
        out.write_all(FORMAT).map_err(PackError::Stream)?;
        Ok(Self { out, records: 0 })
    }

    /// Adds content. That plain content has its digest is checked here; sealed content is checked by
    /// the host that has the key. After an error the pack is worth nothing.
    ///
    /// # Errors
    /// When the content can't be read or is another, or the pack can't be written.
    pub fn add(
        &mut self,
        digest: &Digest,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), PackError> {
        let tag = if digest.is_sealed() { SEALED } else { PLAIN };
        let mut head = vec![tag];
        head.extend_from_slice(digest.bytes());
        head.extend_from_slice(&size.to_le_bytes());
        self.out.write_all(&head).map_err(PackError::Stream)?;
        let mut hashing = HashingReader::new(content.take(size), None);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = match hashing.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => {
                    let path = digest.to_string();
                    return Err(PackError::Unreadable { path, cause });
                }
            };
            self.out
                .write_all(&buffer[..count])
                .map_err(PackError::Stream)?;
        }
        let (found, length) = hashing.finish();
        if length != size || (!digest.is_sealed() && found != *digest) {
            let path = digest.to_string();
            return Err(PackError::Changed { path });
        }
        self.records += 1;
        Ok(())
    }

    /// Ends the pack.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(mut self) -> Result<W, PackError> {
        let mut end = vec![END];
        end.extend_from_slice(&self.records.to_le_bytes());
        self.out.write_all(&end).map_err(PackError::Stream)?;
        self.out.finish().map_err(PackError::Stream)
    }
}

/// Reads a pack from its beginning.
pub(crate) struct PackReader<'k, R: Read> {
    input: zstd::stream::read::Decoder<'static, io::BufReader<R>>,
    seal: &'k [u8; 32],
    records: u64,
}

impl<'k, R: Read> PackReader<'k, R> {
    pub(crate) fn new(input: R, seal: &'k [u8; 32]) -> Result<Self, PackError> {
        let mut input = zstd::stream::read::Decoder::new(input).map_err(reading)?;
        let mut format = [0; FORMAT.len()];
        input.read_exact(&mut format).map_err(reading)?;
        if format != FORMAT {
            return Err(PackError::Damaged("it has another format".to_owned()));
        }
        Ok(Self {
            input,
            seal,
            records: 0,
        })
    }

    /// Shows the next record to a visitor, who need not read it; false at the end. The content is
    /// only known to be what its digest says when this has returned without an error.
    pub(crate) fn next<E: From<PackError>>(
        &mut self,
        visit: impl FnOnce(&Digest, u64, &mut dyn Read) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some((digest, size)) = self.head()? else {
            return Ok(false);
        };
        let seal = digest.is_sealed().then_some(self.seal);
        let mut content = HashingReader::new((&mut self.input).take(size), seal);
        visit(&digest, size, &mut content)?;
        let (found, length) = content.drain().map_err(reading)?;
        if length != size {
            return Err(PackError::Truncated.into());
        }
        if found != digest {
            let words = format!("a file in it doesn't have the digest {digest}");
            return Err(PackError::Damaged(words).into());
        }
        self.records += 1;
        Ok(true)
    }

    fn head(&mut self) -> Result<Option<(Digest, u64)>, PackError> {
        let mut tag = [0];
        self.input.read_exact(&mut tag).map_err(reading)?;
        let mut number = [0; 8];
        match tag[0] {
            PLAIN | SEALED => {
                let mut bytes = [0; 32];
                self.input.read_exact(&mut bytes).map_err(reading)?;
                self.input.read_exact(&mut number).map_err(reading)?;
                let digest = if tag[0] == SEALED {
                    Digest::Sealed(bytes)
                } else {
                    Digest::Plain(bytes)
                };
                Ok(Some((digest, u64::from_le_bytes(number))))
            }
            END => {
                self.input.read_exact(&mut number).map_err(reading)?;
                if u64::from_le_bytes(number) != self.records {
                    return Err(PackError::Damaged("records are missing".to_owned()));
                }
                if self.input.read(&mut tag).map_err(reading)? != 0 {
                    return Err(PackError::Damaged("something follows its end".to_owned()));
                }
                Ok(None)
            }
            other => Err(PackError::Damaged(format!("a record of kind {other}"))),
        }
    }
}

/// Reads all of a pack: what it holds, all of it checked.
pub(crate) fn check_pack(
    input: impl Read,
    seal: &[u8; 32],
) -> Result<BTreeMap<Digest, u64>, PackError> {
    let mut reader = PackReader::new(input, seal)?;
    let mut holds = BTreeMap::new();
    while reader.next(|digest, size, _| {
        holds.insert(*digest, size);
        Ok::<(), PackError>(())
    })? {}
    Ok(holds)
}

/// What went wrong in reading: zstd tells of a damaged stream by an error of no special kind.
fn reading(error: io::Error) -> PackError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => PackError::Truncated,
        io::ErrorKind::Other | io::ErrorKind::InvalidData if error.raw_os_error().is_none() => {
            PackError::Damaged(error.to_string())
        }
        _ => PackError::Stream(error),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::content) const KEY: [u8; 32] = [7; 32];

    pub(in crate::content) fn pack(contents: &[(Digest, &[u8])]) -> Vec<u8> {
        let mut writer = PackWriter::new(Vec::new()).unwrap();
        for (digest, content) in contents {
            let size = content.len() as u64;
            writer.add(digest, size, &mut &content[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    fn sample() -> Vec<u8> {
        pack(&[
            (Digest::of(b"one"), b"one"),
            (Digest::of(b""), b""),
            (Digest::sealed(&KEY, b"secret"), b"secret"),
        ])
    }

    #[test]
    fn what_was_written_is_read() {
        let holds = check_pack(&sample()[..], &KEY).unwrap();
        let expected = [
            (Digest::of(b"one"), 3),
            (Digest::of(b""), 0),
            (Digest::sealed(&KEY, b"secret"), 6),
        ];
        assert_eq!(holds, expected.into_iter().collect());
    }

    #[test]
    fn a_pack_cut_off_anywhere_is_no_pack() {
        let whole = sample();
        for length in 0..whole.len() {
            let error = check_pack(&whole[..length], &KEY).unwrap_err();
            assert!(matches!(error, PackError::Truncated), "{length}: {error:?}");
        }
    }

    #[test]
    fn a_damaged_pack_is_refused_and_never_panics() {
        let whole = sample();
        for position in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[position] ^= flip;
                // A flip that zstd doesn't mind (a bit of its header) still has to give the same content.
                if let Ok(holds) = check_pack(&damaged[..], &KEY) {
                    assert_eq!(holds, check_pack(&whole[..], &KEY).unwrap());
                }
            }
        }
        let mut more = whole;
        more.extend_from_slice(b"more");
        assert!(check_pack(&more[..], &KEY).is_err());
    }

    #[test]
    fn content_that_is_another_is_never_taken() {
        let mut writer = PackWriter::new(Vec::new()).unwrap();
        let wrong = writer.add(&Digest::of(b"one"), 3, &mut &b"two"[..]);
        assert!(matches!(wrong, Err(PackError::Changed { .. })));
        let mut writer = PackWriter::new(Vec::new()).unwrap();
        let short = writer.add(&Digest::of(b"one"), 3, &mut &b"on"[..]);
        assert!(matches!(short, Err(PackError::Changed { .. })));
        let other_key = pack(&[(Digest::sealed(&[8; 32], b"secret"), b"secret")]);
        assert!(matches!(
            check_pack(&other_key[..], &KEY),
            Err(PackError::Damaged(_))
        ));
    }
}
