//! Copying a file's content the cheapest way that the file system has.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{copy_file_range, ioctl_ficlone};
use rustix::io::Errno;

use crate::host::port::HostErrorKind;

/// How much one call copies.
const PIECE: usize = 1 << 30;

/// Fills an empty file with the content of another: by sharing blocks, else inside the kernel, else
/// byte by byte.
pub(super) fn copy(mut from: File, mut to: File) -> Result<File, HostErrorKind> {
    if ioctl_ficlone(to.as_fd(), from.as_fd()).is_ok() {
        return Ok(to);
    }
    let mut copied = 0;
    loop {
        match copy_file_range(&from, None, &to, None, PIECE) {
            // Some file systems say 0 at once for what they can't copy so, /proc among them: an
            // ordinary copy finds out whether that was the end.
            Ok(0) if copied > 0 => return Ok(to),
            Ok(0) => break,
            Ok(count) => copied += count,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF)
                if copied == 0 =>
            {
                break;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    std::io::copy(&mut from, &mut to)?;
    Ok(to)
}
