//! Memory straight from the kernel, page by page.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// A mapping, readable and writable, and not inherited by a child.
#[derive(Debug)]
pub(crate) struct Mapping {
    memory: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Zeroed memory of `length` bytes.
    pub(crate) fn anonymous(length: usize) -> io::Result<Mapping> {
        Mapping::map(length, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE, -1, 0)
    }

    /// What a descriptor has at `offset`, shared with the kernel.
    pub(crate) fn of(fd: BorrowedFd<'_>, length: usize, offset: i64) -> io::Result<Mapping> {
        Mapping::map(length, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), offset)
    }

    fn map(length: usize, flags: i32, fd: i32, offset: i64) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping harms nobody.
        let memory =
            unsafe { libc::mmap64(ptr::null_mut(), length, protection, flags, fd, offset) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is ours. A child of fork must not share what the kernel writes to.
        // Where that cannot be had, nothing but a child is the worse for it.
        unsafe { libc::madvise(memory, length, libc::MADV_DONTFORK) };
        // SAFETY: a mapping that did not fail is not null.
        let memory = unsafe { NonNull::new_unchecked(memory.cast()) };
        Ok(Mapping { memory, length })
    }

    pub(crate) fn pointer(&self) -> NonNull<u8> {
        self.memory
    }

    pub(crate) fn address(&self) -> usize {
        self.memory.as_ptr() as usize
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and the kernel has pinned what it still uses.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.length) };
    }
}
