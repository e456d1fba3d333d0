//! The ring of buffers from which the kernel takes one for each receive.
//!
//! An array of entries shared with the kernel: we write at the tail, the kernel takes from the head.
//! The kernel pins the pages while the ring is registered, so it may be unmapped at any time.

use std::cell::Cell;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::Submitter;

use crate::buf::BufferRing;

/// The number under which the core's only group of buffers is registered.
pub(super) const GROUP: u16 = 0;

/// The kernel goes on filling a buffer where the last receive ended (`IOU_PBUF_RING_INC`).
const INCREMENTAL: u16 = 2;

pub(super) struct KernelRing {
    entries: NonNull<BufRingEntry>,
    count: u16,
    tail: Cell<u16>,
}

impl KernelRing {
    /// Registers a ring for up to `count` buffers.
    pub(super) fn register(
        submitter: &Submitter<'_>,
        count: u16,
        incremental: bool,
    ) -> io::Result<KernelRing> {
        let count = count.next_power_of_two();
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE);
        let length = usize::from(count) * size_of::<BufRingEntry>();
        // SAFETY: a new mapping harms nobody.
        let memory = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a mapping that did not fail is not null.
        let entries = unsafe { NonNull::new_unchecked(memory.cast()) };
        let ring = KernelRing { entries, count, tail: Cell::new(0) };
        // SAFETY: the mapping is ours. A child of fork must not share what the kernel writes to.
        unsafe { libc::madvise(memory, length, libc::MADV_DONTFORK) };
        let flags = if incremental { INCREMENTAL } else { 0 };
        // SAFETY: the mapping has `count` entries; the kernel pins it while it is registered.
        unsafe { submitter.register_buf_ring_with_flags(memory as u64, count, GROUP, flags) }?;
        Ok(ring)
    }

    fn length(&self) -> usize {
        usize::from(self.count) * size_of::<BufRingEntry>()
    }
}

impl BufferRing for KernelRing {
    fn supply(&self, id: u16, memory: NonNull<u8>, len: u32) {
        let tail = self.tail.get();
        let place = usize::from(tail & (self.count - 1));
        // SAFETY: the place is within the ring, and the kernel does not look at it before the tail
        // is published. There are never more buffers than places.
        unsafe {
            let entry = self.entries.add(place).as_mut();
            entry.set_addr(memory.as_ptr() as u64);
            entry.set_len(len);
            entry.set_bid(id);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail lies in the first entry, which is valid; both sides access it atomically.
        let shared =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        // Release: the kernel sees the entry before it sees the tail.
        shared.store(self.tail.get(), Ordering::Release);
    }
}

impl Drop for KernelRing {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and the kernel has pinned what it still uses.
        unsafe { libc::munmap(self.entries.as_ptr().cast(), self.length()) };
    }
}
