//! A ring and its provided buffers, no more than that: what the load generator and the
//! hand-written io_uring loop have in common.
//!
//! Nothing here is ringpark's: a floor that shares code with what it measures proves nothing.

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, SubmitArgs, Timespec};
use io_uring::{squeue, IoUring};

/// The flag of a buffer ring whose buffers are used up piece by piece (IOU_PBUF_RING_INC, 6.12).
const INCREMENTAL: u16 = 2;
const PAGE_SIZE: usize = 4096;

/// Opens a ring that runs its completions in this thread, when this thread asks for them.
pub fn open(submissions: u32, completions: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(submissions)
}

/// Queues an entry; a full queue goes to the kernel first.
///
/// # Safety
/// What the entry points to must stay valid until its last completion was seen.
pub unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    loop {
        // SAFETY: the caller vouches for what the entry points to.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}

/// Queues entries that are linked to each other: all of them go to the kernel at once.
///
/// # Safety
/// As for [`push`].
pub unsafe fn push_chain(ring: &mut IoUring, entries: &[squeue::Entry]) -> io::Result<()> {
    loop {
        // SAFETY: the caller vouches for what the entries point to.
        if unsafe { ring.submission().push_multiple(entries) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}

/// Submits what is queued and waits for a completion. A silence of `patience` is an error: no
/// workload has one, so it means that somebody hangs.
pub fn submit_and_wait(ring: &IoUring, patience: Duration) -> io::Result<()> {
    let patience = Timespec::from(patience);
    let arguments = SubmitArgs::new().timespec(&patience);
    loop {
        match ring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            // The completion queue was full: the caller empties it and comes back.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came for too long"));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Buffers that the kernel picks from: `count` of `size` bytes each.
#[derive(Debug)]
pub struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    size: u32,
    tail: u16,
}

impl Buffers {
    /// Registers a ring of buffers, each of which takes one message, as group `group`.
    pub fn new(ring: &IoUring, group: u16, count: u16, size: u32) -> io::Result<Self> {
        Self::register(ring, group, count, size, 0)
    }

    /// Registers a ring whose buffers are filled piece by piece.
    pub fn incremental(ring: &IoUring, group: u16, count: u16, size: u32) -> io::Result<Self> {
        Self::register(ring, group, count, size, INCREMENTAL)
    }

    fn register(ring: &IoUring, group: u16, count: u16, size: u32, flags: u16) -> io::Result<Self> {
        assert!(count.is_power_of_two() && size > 0, "the kernel wants a power of two");
        let entries = allocate(entries_layout(count)).cast::<BufRingEntry>();
        let memory = allocate(memory_layout(count, size));
        let mut buffers = Self { entries, memory, count, size, tail: 0 };
        let address = entries.as_ptr() as u64;
        // SAFETY: the entries are page-aligned, zeroed, `count` long, and freed in drop. The ring
        // that could write to them is closed before by every user, at the latest with its process.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(address, count, group, flags)?;
        }
        (0..count).for_each(|id| buffers.give_back(id));
        buffers.publish();
        Ok(buffers)
    }

    /// Where buffer `id` begins.
    pub fn start(&self, id: u16) -> *mut u8 {
        assert!(id < self.count, "there is no buffer {id}");
        // SAFETY: the index was checked, so the offset lies inside of the allocation.
        unsafe { self.memory.as_ptr().add(usize::from(id) * self.size as usize) }
    }

    /// The bytes from `offset` in buffer `id` that a completion said were received.
    pub fn bytes(&self, id: u16, offset: u32, len: u32) -> &[u8] {
        assert!(offset + len <= self.size, "a completion longer than its buffer");
        // SAFETY: the range was checked; the memory was zeroed when allocated, and the kernel
        // writes to this range no more once its completion was seen.
        unsafe { std::slice::from_raw_parts(self.start(id).add(offset as usize), len as usize) }
    }

    /// Hands a whole buffer to the kernel again; it sees it after the next `publish`.
    pub fn give_back(&mut self, id: u16) {
        let address = self.start(id) as u64;
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: the mask keeps the index below `count`. The kernel reads entries between its
        // head and the published tail only, and this one lies beyond it.
        let entry = unsafe { &mut *self.entries.as_ptr().add(index) };
        entry.set_addr(address);
        entry.set_len(self.size);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see every buffer given back so far.
    pub fn publish(&self) {
        // SAFETY: `entries` is the first entry of a registered ring; its tail is two bytes in it,
        // aligned, written by this thread only.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts; every user drops its ring first.
        unsafe {
            alloc::dealloc(self.entries.as_ptr().cast(), entries_layout(self.count));
            alloc::dealloc(self.memory.as_ptr(), memory_layout(self.count, self.size));
        }
    }
}

fn entries_layout(count: u16) -> Layout {
    page_aligned(usize::from(count) * size_of::<BufRingEntry>())
}

fn memory_layout(count: u16, size: u32) -> Layout {
    page_aligned(usize::from(count) * size as usize)
}

fn page_aligned(size: usize) -> Layout {
    Layout::from_size_align(size, PAGE_SIZE).expect("buffers beyond the address space")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here has size zero: counts and sizes are positive.
    let memory = unsafe { alloc::alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}
