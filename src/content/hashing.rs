//! Digests of streams, and hashing many of them at once.

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::Digest;

/// Hashes what is read through it.
pub(crate) struct HashingReader<R> {
    inner: R,
    hasher: blake3::Hasher,
    sealed: bool,
    size: u64,
}

impl<R: Read> HashingReader<R> {
    /// Hashes plainly, or under a key where there is one.
    pub(crate) fn new(inner: R, seal: Option<&[u8; 32]>) -> Self {
        Self {
            inner,
            hasher: seal.map_or_else(blake3::Hasher::new, blake3::Hasher::new_keyed),
            sealed: seal.is_some(),
            size: 0,
        }
    }

    /// The digest and the number of the bytes that were read so far.
    pub(crate) fn finish(&self) -> (Digest, u64) {
        let hash = *self.hasher.finalize().as_bytes();
        let digest = if self.sealed {
            Digest::Sealed(hash)
        } else {
            Digest::Plain(hash)
        };
        (digest, self.size)
    }

    /// Reads to the end.
    pub(crate) fn drain(mut self) -> io::Result<(Digest, u64)> {
        // blake3 needs a few chunks at once to be fast.
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(self.finish()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

/// How many threads to read and write a host's file system with: more than there are processors,
/// since they mostly wait, but few.
pub(crate) fn threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors * 2).clamp(2, 8)
}

/// Does something with each item on a few threads; the results stand in the order of the items.
/// The order in which items are begun is theirs, but nothing says in which order they are done.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    // For a few items a thread costs more than it gains.
    let threads = threads.min(items.len() / 4 + 1);
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    let result = work(item);
                    let mut done = done
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    done.push((index, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled = in_parallel(4, &items, |item| item * 2);
        assert!(doubled.iter().zip(&items).all(|(two, one)| *two == one * 2));
        assert!(in_parallel(4, &[] as &[u32], |item| *item).is_empty());
    }

    #[test]
    fn a_stream_has_the_digest_of_its_bytes() {
        let plain = HashingReader::new(&b"hello"[..], None).drain().unwrap();
        assert_eq!(plain, (Digest::of(b"hello"), 5));
        let key = [7; 32];
        let sealed = HashingReader::new(&b"hello"[..], Some(&key)).drain();
        assert_eq!(sealed.unwrap(), (Digest::sealed(&key, b"hello"), 5));
    }
}
