//! What can be asked of a throw-away ring.
//!
//! An [`Ask`] is made by its constructors alone. Each names either no memory at all or a range of the
//! ring's own arena, so that asking is safe whatever is asked.

use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use crate::op::{Entry, BUFFER_SELECT};

/// The memory that a throw-away ring may be told of, in bytes.
pub(super) const ARENA: usize = 64 << 10;

/// Something to ask of a ring.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(super) entry: Entry,
    /// `address` counts from the start of the arena.
    pub(super) arena: bool,
    /// So does `address3` or, for `IORING_OP_URING_CMD`, the option's value.
    pub(super) value: Option<usize>,
}

/// `IORING_RECVSEND_BUNDLE`
pub(crate) const BUNDLE: u16 = 1 << 4;
/// `IORING_RECV_MULTISHOT`
pub(crate) const MULTISHOT: u16 = 1 << 1;
/// `IORING_RECVSEND_POLL_FIRST`
pub(crate) const POLL_FIRST: u16 = 1;

/// `IORING_ASYNC_CANCEL_*`
pub(crate) const CANCEL_ALL: u32 = 1;
pub(crate) const CANCEL_FD: u32 = 1 << 1;
pub(crate) const CANCEL_ANY: u32 = 1 << 2;
pub(crate) const CANCEL_OP: u32 = 1 << 5;

/// The opcodes that are asked for.
pub(crate) mod opcode {
    pub(crate) const NOP: u8 = 0;
    pub(crate) const POLL_ADD: u8 = 6;
    pub(crate) const TIMEOUT: u8 = 11;
    pub(crate) const ACCEPT: u8 = 13;
    pub(crate) const ASYNC_CANCEL: u8 = 14;
    pub(crate) const CLOSE: u8 = 19;
    pub(crate) const SEND: u8 = 26;
    pub(crate) const RECV: u8 = 27;
    pub(crate) const MSG_RING: u8 = 40;
    pub(crate) const SOCKET: u8 = 45;
    pub(crate) const URING_CMD: u8 = 46;
    pub(crate) const SEND_ZC: u8 = 47;
    pub(crate) const FIXED_FD_INSTALL: u8 = 54;
}

/// Any free place of the table of direct descriptors.
const ANY_PLACE: u32 = u32::MAX;
const FIXED_FILE: u8 = 1;
const CQE_SKIP_SUCCESS: u8 = 1 << 6;

impl Ask {
    fn new(opcode: u8, fd: RawFd) -> Ask {
        Ask { entry: Entry::new(opcode, fd), arena: false, value: None }
    }

    fn on(opcode: u8, fd: RawFd, at: usize, len: usize) -> Ask {
        let mut ask = Ask::new(opcode, fd);
        assert!(at + len <= ARENA);
        (ask.entry.address, ask.entry.len, ask.arena) = (at as u64, len as u32, true);
        ask
    }

    /// Whether success is a descriptor of this process.
    pub(super) fn makes_descriptors(&self) -> bool {
        match self.entry.opcode {
            opcode::ACCEPT => self.entry.file_index == 0,
            opcode::FIXED_FD_INSTALL => true,
            _ => false,
        }
    }

    pub(crate) fn nop() -> Ask {
        Ask::new(opcode::NOP, -1)
    }

    fn accept(listener: RawFd) -> Ask {
        Ask::new(opcode::ACCEPT, listener)
    }

    pub(crate) fn accept_multi(listener: RawFd) -> Ask {
        let mut ask = Ask::accept(listener);
        ask.entry.ioprio = 1;
        ask
    }

    /// The connection becomes a direct descriptor.
    pub(crate) fn accept_direct(listener: RawFd) -> Ask {
        let mut ask = Ask::accept(listener);
        ask.entry.file_index = ANY_PLACE;
        ask
    }

    pub(crate) fn socket_direct() -> Ask {
        let mut ask = Ask::new(opcode::SOCKET, libc::AF_UNIX);
        (ask.entry.offset, ask.entry.file_index) = (libc::SOCK_STREAM as u64, ANY_PLACE);
        ask
    }

    /// Closes a descriptor, which is the kernel's from now on.
    pub(crate) fn close(fd: OwnedFd) -> Ask {
        Ask::new(opcode::CLOSE, fd.into_raw_fd())
    }

    pub(crate) fn close_direct(index: u32) -> Ask {
        let mut ask = Ask::new(opcode::CLOSE, 0);
        ask.entry.file_index = index + 1;
        ask
    }

    /// Makes an ordinary descriptor of a direct one.
    pub(crate) fn install(index: u32) -> Ask {
        let mut ask = Ask::new(opcode::FIXED_FD_INSTALL, index as RawFd);
        ask.entry.flags = FIXED_FILE;
        ask
    }

    /// Receives into buffers of `group`; `how` is of `MULTISHOT` and `BUNDLE`, `cap` in bytes or 0.
    pub(crate) fn recv_pooled(fd: RawFd, group: u16, how: u16, cap: u32) -> Ask {
        let mut ask = Ask::new(opcode::RECV, fd);
        (ask.entry.flags, ask.entry.ioprio, ask.entry.buffer) = (BUFFER_SELECT, how, group);
        ask.entry.len = cap;
        ask
    }

    pub(crate) fn send(fd: RawFd, at: usize, len: usize) -> Ask {
        let mut ask = Ask::on(opcode::SEND, fd, at, len);
        ask.entry.op_flags = (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;
        ask
    }

    /// The same with its success unsaid.
    pub(crate) fn send_quietly(fd: RawFd, at: usize, len: usize) -> Ask {
        let mut ask = Ask::send(fd, at, len);
        ask.entry.flags = CQE_SKIP_SUCCESS;
        ask
    }

    /// Sends the buffers of `group` as one.
    pub(crate) fn send_bundle(fd: RawFd, group: u16) -> Ask {
        let mut ask = Ask::new(opcode::SEND, fd);
        (ask.entry.flags, ask.entry.ioprio, ask.entry.buffer) = (BUFFER_SELECT, BUNDLE, group);
        ask.entry.op_flags = (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;
        ask
    }

    /// Sends `parts` ranges of the arena, which `Trial::put_vectors` has written to `at`.
    pub(crate) fn send_vectored(fd: RawFd, vectors: Vectors) -> Ask {
        let mut ask = Ask::on(opcode::SEND, fd, vectors.at, vectors.count * 16);
        (ask.entry.ioprio, ask.entry.len) = (1 << 5, vectors.count as u32);
        ask.entry.op_flags = libc::MSG_NOSIGNAL as u32;
        ask
    }

    /// Sends without a copy, and asks whether there was one all the same.
    pub(crate) fn send_zero_copy(fd: RawFd, at: usize, len: usize, report: bool) -> Ask {
        let mut ask = Ask::on(opcode::SEND_ZC, fd, at, len);
        ask.entry.ioprio = if report { 1 << 3 } else { 0 };
        ask.entry.op_flags = libc::MSG_NOSIGNAL as u32;
        ask
    }

    /// Waits until it is readable; again and again if `multi`.
    pub(crate) fn poll(fd: RawFd, multi: bool) -> Ask {
        let mut ask = Ask::new(opcode::POLL_ADD, fd);
        (ask.entry.op_flags, ask.entry.len) = (libc::POLLIN as u32, u32::from(multi));
        ask
    }

    /// Waits for a time, which `Trial::put_time` has written to `at`; again and again if `multi`.
    pub(crate) fn timeout(at: usize, multi: bool) -> Ask {
        let mut ask = Ask::on(opcode::TIMEOUT, -1, at, 16);
        (ask.entry.len, ask.entry.op_flags) = (1, u32::from(multi) << 6);
        ask
    }

    /// Cancels what was asked under this number.
    pub(crate) fn cancel(number: u64) -> Ask {
        let mut ask = Ask::new(opcode::ASYNC_CANCEL, -1);
        ask.entry.address = number;
        ask
    }

    /// Cancels by other marks: the descriptor, the operation, or anything.
    pub(crate) fn cancel_by(flags: u32, fd: RawFd, opcode: u8) -> Ask {
        let mut ask = Ask::new(opcode::ASYNC_CANCEL, fd);
        (ask.entry.op_flags, ask.entry.len) = (flags, u32::from(opcode));
        ask
    }

    /// Leaves an answer with `result` in another ring.
    pub(crate) fn message(ring: RawFd, result: u32, number: u64) -> Ask {
        let mut ask = Ask::new(opcode::MSG_RING, ring);
        (ask.entry.len, ask.entry.offset) = (result, number);
        ask
    }

    /// A command on a socket: what is not an option, such as how many bytes wait.
    pub(crate) fn socket_command(fd: RawFd, command: u32) -> Ask {
        let mut ask = Ask::new(opcode::URING_CMD, fd);
        ask.entry.offset = u64::from(command);
        ask
    }

    /// Reads or sets an option of a socket, whose value is at `at`.
    pub(crate) fn socket_option(fd: RawFd, set: bool, level: i32, name: i32, at: usize) -> Ask {
        let mut ask = Ask::socket_command(fd, if set { 3 } else { 2 });
        assert!(at + size_of::<i32>() <= ARENA);
        ask.entry.address = u64::from(level as u32) | u64::from(name as u32) << 32;
        ask.entry.file_index = size_of::<i32>() as u32;
        ask.value = Some(at);
        ask
    }
}

/// Vectors in the arena, all of which name ranges of the arena.
#[derive(Clone, Copy)]
pub(crate) struct Vectors {
    pub(super) at: usize,
    pub(super) count: usize,
}
