//! splice(2): bytes go from one descriptor to another through a pipe, and never through user space.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{cvt, cvt_size, TRANSFER_MAX};

/// A pipe whose ends are both ours: a buffer in the kernel.
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// How many bytes are in it.
    len: usize,
}

impl Pipe {
    /// A new pipe with room for `size` bytes, or for as many as the system allows.
    pub(crate) fn new(size: usize) -> io::Result<Pipe> {
        // It may be a blocking one: each splice says that the pipe's side of it must not wait.
        let (reader, writer) = super::pipe()?;
        let size = libc::c_int::try_from(size).unwrap_or(libc::c_int::MAX);
        // SAFETY: F_SETPIPE_SZ takes an integer. A user who may have no more keeps what there is.
        unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
        Ok(Pipe { reader, writer, len: 0 })
    }

    /// How many bytes are in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Moves what a descriptor has into the pipe, `limit` bytes at most; 0 is its end. The
    /// descriptor is non-blocking.
    pub(crate) fn fill(&mut self, from: RawFd, limit: usize) -> io::Result<u32> {
        let count = splice(from, self.writer.as_raw_fd(), limit)?;
        self.len += count as usize;
        Ok(count)
    }

    /// Moves what is in the pipe to a descriptor, which is non-blocking.
    pub(crate) fn drain(&mut self, to: RawFd) -> io::Result<u32> {
        let count = splice(self.reader.as_raw_fd(), to, self.len)?;
        self.len -= count as usize;
        Ok(count)
    }
}

fn splice(from: RawFd, to: RawFd, limit: usize) -> io::Result<u32> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let (from_at, to_at) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: null pointers say that there is no offset.
    cvt_size(unsafe { libc::splice(from, from_at, to, to_at, limit.min(TRANSFER_MAX), flags) })
}

/// Whether writing to a connection that is gone kills the process: splice has no `MSG_NOSIGNAL`.
/// Programs of Rust ignore the signal from their start.
pub(crate) fn sigpipe_kills() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer asks for no change, and the other is valid for writing.
    let asked = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros is a valid value already.
    cvt(asked).is_err() || unsafe { action.assume_init() }.sa_sigaction == libc::SIG_DFL
}
