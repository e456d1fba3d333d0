//! `read(2)`: bytes from any descriptor.

use std::io;

use super::recv::filled;
use super::{Call, Code, Entry, Interest, Keeps, Op, Row, Waits};
use crate::buf::IoBufMut;
use crate::sys::abi;
use crate::sys::fd::RawFd;
use crate::sys::{self, Memory, Transfer};

/// Bytes from any descriptor.
///
/// Tried by `pipes_carry_bytes_both_ways_of_reading`.
pub(super) const ROW: Row = Row::new("read", 22, "5.6");

/// What a descriptor of any kind does where a call would have to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// The call says `WouldBlock`.
    Nonblocking,
    /// It waits, unless the descriptor has been looked at before.
    Blocking,
    /// It is of a regular file or a disk, which it waits for in any case.
    Disk,
}

impl Mode {
    pub(super) fn waits(self) -> Waits {
        match self {
            Mode::Nonblocking | Mode::Blocking => Waits::ForReadiness,
            Mode::Disk => Waits::ForDisk,
        }
    }
}

/// Reads at the descriptor's own position. `S` keeps it open.
pub(crate) struct Read<S, B> {
    descriptor: S,
    buffer: B,
    /// How many bytes are asked for at most.
    limit: usize,
    mode: Mode,
}

impl<S, B: IoBufMut> Read<S, B> {
    pub(crate) fn new(descriptor: S, buffer: B, mode: Mode) -> Read<S, B> {
        Read { descriptor, buffer, limit: usize::MAX, mode }
    }

    /// How many bytes are asked for.
    fn len(&self) -> usize {
        self.limit.min(self.buffer.bytes_total()).min(sys::TRANSFER_MAX)
    }

    /// Where the bytes go, and how many.
    fn room(&mut self) -> (*mut u8, usize) {
        let len = self.len();
        (self.buffer.stable_mut_ptr(), len)
    }
}

impl<S: Keeps<Vec<u8>>, B: IoBufMut> Read<S, B> {
    fn transfer(&mut self) -> Transfer {
        let (memory, len) = self.room();
        let memory = Memory::One(abi::iovec { iov_base: memory.cast(), iov_len: len });
        Transfer { fd: self.descriptor.fd(), memory, at: None, write: false }
    }
}

/// The offset that means the descriptor's own position.
pub(super) const OWN_POSITION: u64 = u64::MAX;

// SAFETY: entry and call point to the buffer's memory, whose address `IoBufMut` promises to be stable.
unsafe impl<S: Keeps<Vec<u8>>, B: IoBufMut> Op for Read<S, B> {
    /// How many bytes came, the buffer, and what keeps the descriptor open.
    type Output = (io::Result<usize>, B, S);
    const CODE: Code = Code::Read;

    fn fd(&self) -> RawFd {
        self.descriptor.fd()
    }

    fn interest(&self) -> Interest {
        Interest::Readable
    }

    fn waits(&self) -> Waits {
        self.mode.waits()
    }

    fn sqe(&mut self) -> Option<Entry> {
        let (memory, len) = self.room();
        Some(Entry { offset: OWN_POSITION, ..ROW.entry(self.fd()).memory(memory, len) })
    }

    fn attempt(&mut self) -> io::Result<u32> {
        if self.mode == Mode::Disk {
            // SAFETY: `IoBufMut` promises that the memory is valid.
            return unsafe { self.transfer().run_if_cached() };
        }
        let (memory, len) = self.room();
        let fd = self.fd();
        sys::non_blocking(fd, self.mode == Mode::Nonblocking, || {
            // SAFETY: `IoBufMut` promises that this memory is valid.
            unsafe { sys::read(fd, memory, len) }
        })
    }

    fn call(&mut self) -> Call {
        Call::transfer(self.transfer())
    }

    fn clip(&mut self, clip: &mut dyn FnMut(usize) -> usize) {
        self.limit = clip(self.len());
    }

    fn finish(mut self, result: io::Result<u32>) -> Self::Output {
        filled(&mut self.buffer, &result);
        (result.map(|count| count as usize), self.buffer, self.descriptor)
    }

    fn discard(mut self, result: io::Result<u32>) {
        filled(&mut self.buffer, &result);
        match result {
            Ok(count) => {
                self.descriptor.keep(Ok(self.buffer.as_slice()[..count as usize].to_vec()))
            }
            Err(error) => self.descriptor.keep(Err(error)),
        }
    }
}
