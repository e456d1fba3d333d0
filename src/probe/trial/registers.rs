//! What is asked of a throw-away ring by `io_uring_register`.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::Trial;
use crate::sys::uring::{self, enter_for, Params, ENTER_GETEVENTS, ENTER_REGISTERED_RING};
use crate::sys::Mapping;

/// `struct io_uring_sync_cancel_reg`.
#[repr(C)]
struct SyncCancel {
    number: u64,
    fd: i32,
    flags: u32,
    seconds: i64,
    nanoseconds: i64,
    opcode: u8,
    reserved: [u8; 7],
    more_reserved: [u64; 3],
}

/// `struct io_uring_napi`.
#[repr(C)]
struct Napi {
    busy_poll_us: u32,
    prefer: u8,
    reserved: [u8; 11],
}

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

/// `struct io_uring_rsrc_register`.
#[repr(C)]
struct Resources {
    count: u32,
    flags: u32,
    reserved: u64,
    data: u64,
    tags: u64,
}

/// `struct io_uring_sqe`, with what a message between rings needs.
#[repr(C)]
struct Message {
    opcode: u8,
    reserved: [u8; 3],
    fd: i32,
    number: u64,
    command: u64,
    result: u32,
    rest: [u32; 9],
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
        let mut cancel = SyncCancel {
            number,
            fd: -1,
            flags: 0,
            seconds: 0,
            nanoseconds: 100_000_000,
            opcode: 0,
            reserved: [0; 7],
            more_reserved: [0; 3],
        };
        // SAFETY: it holds no address.
        unsafe { self.register(24, &mut cancel, 1) }.map(drop)
    }

    /// Lets the ring poll network queues by itself, and gives that up again.
    pub(crate) fn napi(&self) -> io::Result<()> {
        let mut napi = Napi { busy_poll_us: 10, prefer: 0, reserved: [0; 11] };
        // SAFETY: it holds no address.
        unsafe { self.register(27, &mut napi, 1) }?;
        // SAFETY: as above.
        unsafe { self.register(28, &mut napi, 1) }.map(drop)
    }

    /// Registers a ring of buffers of which the kernel gives up one with less than `min_left` left,
    /// and takes it away again.
    pub(crate) fn buffers_with_rest(&self, group: u16, min_left: u32) -> io::Result<()> {
        let memory = Mapping::anonymous(4096)?;
        let address = memory.address() as u64;
        let (flags, reserved) = (2, [0; 5]);
        let mut ring = BufferRing { address, entries: 8, group, flags, min_left, reserved };
        // SAFETY: the mapping has room for eight entries, and the kernel pins it.
        unsafe { self.register(22, &mut ring, 1) }?;
        (ring.address, ring.entries, ring.flags, ring.min_left) = (0, 0, 0, 0);
        // SAFETY: it holds no address.
        unsafe { self.register(23, &mut ring, 1) }.map(drop)
    }

    /// Makes a table for so many direct descriptors.
    pub(crate) fn table(&self, count: u32) -> io::Result<()> {
        let sparse = 1;
        let mut table = Resources { count, flags: sparse, reserved: 0, data: 0, tags: 0 };
        // SAFETY: a sparse table names no descriptors.
        unsafe { self.register(13, &mut table, size_of::<Resources>() as u32) }.map(drop)
    }

    /// Takes the table of direct descriptors away.
    pub(crate) fn no_table(&self) -> io::Result<()> {
        // SAFETY: there is no argument.
        unsafe { uring::register(self.fd(), 3, std::ptr::null_mut(), 0) }.map(drop)
    }

    /// Gives both queues new sizes. The ring can only be dropped after that.
    pub(crate) fn resize(&self, submission: u32, completion: u32) -> io::Result<[u32; 2]> {
        let mut params = Params::default();
        (params.submission_entries, params.completion_entries) = (submission, completion);
        const CQSIZE: u32 = 1 << 3;
        params.flags = CQSIZE;
        // SAFETY: it holds no address.
        unsafe { self.register(33, &mut params, 1) }?;
        Ok([params.submission_entries, params.completion_entries])
    }

    /// Leaves an answer in this ring from a thread without one.
    pub(crate) fn message_from_outside(&self, result: u32, number: u64) -> io::Result<()> {
        let (opcode, fd, reserved) = (super::ask::opcode::MSG_RING, self.fd(), [0; 3]);
        let (command, rest) = (0, [0; 9]);
        let mut message = Message { opcode, reserved, fd, number, command, result, rest };
        // SAFETY: a message holds no address.
        let done = unsafe { uring::register(-1, 31, (&raw mut message).cast(), 1) };
        done.map(drop)
    }

    /// How many worker threads the ring may have, for files and for the rest.
    pub(crate) fn workers(&self) -> io::Result<[u32; 2]> {
        let mut asked = [0u32; 2];
        // SAFETY: two numbers, of which zero leaves things as they are.
        unsafe { self.register(19, &mut asked, 2) }?;
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
