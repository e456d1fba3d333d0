//! The ring of buffers from which the kernel takes one for each receive.
//!
//! An array of entries shared with the kernel: we write at the tail, the kernel takes from the head.
//! The kernel pins the pages while the ring is registered, so it may be unmapped at any time.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::IoUring;

use crate::buf::BufferRing;
use crate::sys::Mapping;

/// Where the kernel's own rings of buffers are found in a ring's descriptor.
const MAPPED_AT: i64 = 0x8000_0000;

/// Who has the memory of the ring, and how the kernel uses its buffers: flags of the registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Each receive takes a buffer (5.19).
    Whole = 0,
    /// The same, in memory of the kernel's (`IOU_PBUF_RING_MMAP`, 6.4).
    Mapped = 1,
    /// The kernel goes on filling a buffer where the last receive ended (`IOU_PBUF_RING_INC`, 6.12).
    Incremental = 2,
}

pub(crate) struct KernelRing {
    entries: Mapping,
    count: u16,
    tail: Cell<u16>,
}

impl KernelRing {
    /// Registers a ring for up to `count` buffers, as number `group` of `ring`.
    pub(crate) fn register(
        ring: &IoUring,
        group: u16,
        count: u16,
        kind: Kind,
    ) -> io::Result<KernelRing> {
        let count = count.next_power_of_two();
        let length = usize::from(count) * size_of::<BufRingEntry>();
        let (entries, address) = match kind {
            Kind::Mapped => (None, 0),
            Kind::Whole | Kind::Incremental => {
                let entries = Mapping::anonymous(length)?;
                let address = entries.address() as u64;
                (Some(entries), address)
            }
        };
        let submitter = ring.submitter();
        // SAFETY: the mapping has `count` entries; the kernel pins it while it is registered.
        unsafe { submitter.register_buf_ring_with_flags(address, count, group, kind as u16) }?;
        let entries = match entries {
            Some(entries) => entries,
            None => {
                // SAFETY: the ring is open while it is borrowed.
                let fd = unsafe { crate::sys::borrow(ring.as_raw_fd()) };
                Mapping::of(fd, length, MAPPED_AT | i64::from(group) << 16)?
            }
        };
        Ok(KernelRing { entries, count, tail: Cell::new(0) })
    }
}

impl BufferRing for KernelRing {
    fn supply(&self, id: u16, memory: NonNull<u8>, len: u32) {
        let tail = self.tail.get();
        let place = usize::from(tail & (self.count - 1));
        let entries = self.entries.pointer().cast::<BufRingEntry>();
        // SAFETY: the place is within the ring, and the kernel does not look at it before the tail
        // is published. There are never more buffers than places.
        unsafe {
            let entry = entries.add(place).as_mut();
            entry.set_addr(memory.as_ptr() as u64);
            entry.set_len(len);
            entry.set_bid(id);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail lies in the first entry, which is valid; both sides access it atomically.
        let shared =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries.as_ptr()).cast_mut()) };
        // Release: the kernel sees the entry before it sees the tail.
        shared.store(self.tail.get(), Ordering::Release);
    }
}
