//! What is asked of a throw-away ring by `io_uring_register`.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Napi, Timespec};

use super::ask::Ask;
use super::Trial;
use crate::driver::uring::buffers::Kind;
use crate::sys::uring::{self, enter_for, Params, ENTER_GETEVENTS, ENTER_REGISTERED_RING};
use crate::sys::Mapping;

/// `IORING_REGISTER_*`, where the io-uring crate has no call for what is asked.
const PBUF_RING: u32 = 22;
const UNREGISTER_PBUF_RING: u32 = 23;
const SEND_MSG_RING: u32 = 31;
const RESIZE_RINGS: u32 = 33;

/// `struct io_uring_buf_reg`.
#[repr(C)]
struct BufferRing {
    address: u64,
    entries: u32,
    group: u16,
    flags: u16,
    min_left: u32,
    reserved: [u32; 5],
}

impl Trial {
    /// Registers a plain value.
    ///
    /// # Safety
    /// `value` must be what the operation takes, and so must be what it points to, for as long as
    /// the ring uses it.
    unsafe fn register<T>(&self, opcode: u32, value: &mut T, count: u32) -> io::Result<u32> {
        // SAFETY: the caller vouches for the value.
        unsafe { uring::register(self.fd(), opcode, std::ptr::from_mut(value).cast(), count) }
    }

    /// Cancels what was asked under this number, and waits for its end.
    pub(crate) fn sync_cancel(&self, number: u64) -> io::Result<()> {
        let patience = Some(Timespec::new().nsec(100_000_000));
        let submitter = self.ring.submitter();
        submitter.register_sync_cancel(patience, CancelBuilder::user_data(number))
    }

    /// Lets the ring poll network queues by itself, and gives that up again.
    pub(crate) fn napi(&self) -> io::Result<()> {
        let mut napi = Napi::new().set_busy_poll_timeout(10);
        self.ring.submitter().register_napi(&mut napi)?;
        self.ring.submitter().unregister_napi(&mut napi)
    }

    /// Registers a ring of buffers of which the kernel gives up one with less than `min_left` left,
    /// and takes it away again.
    pub(crate) fn buffers_with_rest(&self, group: u16, min_left: u32) -> io::Result<()> {
        let memory = Mapping::anonymous(4096)?;
        let address = memory.address() as u64;
        let (flags, reserved) = (Kind::Incremental as u16, [0; 5]);
        let mut ring = BufferRing { address, entries: 8, group, flags, min_left, reserved };
        // SAFETY: the mapping has room for eight entries, and the kernel pins it.
        unsafe { self.register(PBUF_RING, &mut ring, 1) }?;
        (ring.address, ring.entries, ring.flags, ring.min_left) = (0, 0, 0, 0);
        // SAFETY: it holds no address.
        unsafe { self.register(UNREGISTER_PBUF_RING, &mut ring, 1) }.map(drop)
    }

    /// Makes a table for so many direct descriptors.
    pub(crate) fn table(&self, count: u32) -> io::Result<()> {
        self.ring.submitter().register_files_sparse(count)
    }

    /// Takes the table of direct descriptors away.
    pub(crate) fn no_table(&self) -> io::Result<()> {
        self.ring.submitter().unregister_files()
    }

    /// Gives both queues new sizes. The ring can only be dropped after that.
    pub(crate) fn resize(&self, submission: u32, completion: u32) -> io::Result<[u32; 2]> {
        let mut params = Params::default();
        (params.submission_entries, params.completion_entries) = (submission, completion);
        const CQSIZE: u32 = 1 << 3;
        params.flags = CQSIZE;
        // SAFETY: it holds no address.
        unsafe { self.register(RESIZE_RINGS, &mut params, 1) }?;
        Ok([params.submission_entries, params.completion_entries])
    }

    /// Leaves an answer in this ring from a thread without one.
    pub(crate) fn message_from_outside(&self, result: u32, number: u64) -> io::Result<()> {
        let mut message = Ask::message(self.fd(), result, number).entry;
        // SAFETY: a message holds no address.
        let done = unsafe { uring::register(-1, SEND_MSG_RING, (&raw mut message).cast(), 1) };
        done.map(drop)
    }

    /// How many worker threads the ring may have, for files and for the rest.
    pub(crate) fn workers(&self) -> io::Result<[u32; 2]> {
        // Zero leaves things as they are.
        let mut asked = [0u32; 2];
        self.ring.submitter().register_iowq_max_workers(&mut asked)?;
        Ok(asked)
    }

    /// Enters by the index of a registered descriptor.
    pub(crate) fn enter_by_index(&self) -> io::Result<()> {
        let index = uring::register_ring_fd(self.fd())?;
        let flags = ENTER_GETEVENTS | ENTER_REGISTERED_RING;
        let entered = uring::enter(index as RawFd, 0, 0, flags, None).map(drop);
        uring::unregister_ring(self.fd(), index)?;
        entered
    }

    /// Waits for `count` completions; with only one of them, until `least` is over.
    pub(crate) fn wait_least(
        &mut self,
        count: u32,
        least: Duration,
        most: Duration,
    ) -> io::Result<()> {
        let least_us = least.as_micros() as u32;
        let fd = self.ring().as_raw_fd();
        enter_for(fd, 0, count, ENTER_GETEVENTS, Some(most), least_us)?;
        Ok(())
    }
}
